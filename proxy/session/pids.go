package session

import (
	"encoding/binary"
	"strconv"

	"github.com/lockproxy/lockproxy/protocol"
	"github.com/lockproxy/lockproxy/protocol/sql"
)

// A client knows itself by the process id of its BackendKeyData, which is ours, and so above all that a system gives
// (Linux: 2^22). Where a text asks about server processes by id (pg_cancel_backend, pg_stat_activity, pg_blocking_pids ...),
// such an id stands for the process that serves that client now, if one does; and a notification comes from the client
// that sent it.

// Pids tells which client a server process works for, and the reverse. Called from steps of any session; the answers may
// be old as soon as they are given.
type Pids interface {
	// ServerOf gives the process that serves the client now; 0: none, or there is no such client.
	ServerOf(client uint32) uint32
	// NotifierOf gives the client whose NOTIFY the process ran last; 0: none.
	NotifierOf(server uint32) uint32
}

// minPidDigits is how many digits a client's process id has at least.
const minPidDigits = 7

// serverPid gives the server's process for a client's id, 0 for any other number.
func (s *Session) serverPid(pid uint64) uint32 {
	switch {
	case s.cfg.Pids == nil || pid>>32 != 0:
		return 0
	case uint32(pid) == s.client.Pid:
		return s.srv.Pid
	}
	return s.cfg.Pids.ServerOf(uint32(pid))
}

// asksPids tells whether a text's numbers may be clients' process ids: it asks about processes, and takes no locks, whose keys may be
// the same numbers.
func asksPids(touches sql.Touch, locks sql.Effect) bool {
	return touches.Has(sql.TouchPids) && locks == 0
}

// withServerPids gives a text with servers' process ids in place of clients'. They are shorter and get spaces behind
// them, so that nothing moves: an error counts characters. The result is p itself where there is nothing to replace.
func (s *Session) withServerPids(p []byte) []byte {
	copied := false
	for i := 0; i < len(p); {
		end := i
		for end < len(p) && isDigit(p[end]) {
			end++
		}
		if end-i >= minPidDigits && end-i <= 10 {
			n, _ := strconv.ParseUint(string(p[i:end]), 10, 64)
			if pid := s.serverPid(n); pid != 0 {
				if !copied {
					p, copied = append([]byte(nil), p...), true
				}
				fill(p[i:end], pid)
			}
		}
		i = end + 1
	}
	return p
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func fill(p []byte, pid uint32) {
	for i := copy(p, strconv.FormatUint(uint64(pid), 10)); i < len(p); i++ {
		p[i] = ' '
	}
}

// bindWithServerPids does the same for the body of a Bind message behind its names, in text and in binary.
func (s *Session) bindWithServerPids(p []byte) []byte {
	p = append([]byte(nil), p...)
	formats, rest, ok := int16s(p)
	if !ok || len(rest) < 2 {
		return p
	}
	count := int(binary.BigEndian.Uint16(rest))
	rest = rest[2:]
	for i := 0; i < count && len(rest) >= 4; i++ {
		size := int(int32(binary.BigEndian.Uint32(rest)))
		rest = rest[4:]
		if size < 0 {
			continue
		}
		if size > len(rest) {
			return p
		}
		s.putServerPid(rest[:size], formatOf(formats, i))
		rest = rest[size:]
	}
	return p
}

// int16s reads a counted list of 16-bit numbers.
func int16s(p []byte) (list, rest []byte, ok bool) {
	if len(p) < 2 {
		return nil, nil, false
	}
	n := 2 * int(binary.BigEndian.Uint16(p))
	if p = p[2:]; n > len(p) {
		return nil, nil, false
	}
	return p[:n], p[n:], true
}

// formatOf gives the format of the i-th parameter: none is given for all, one for all, or each has its own.
func formatOf(formats []byte, i int) byte {
	switch len(formats) {
	case 0:
		return 0
	case 2:
		return formats[1]
	}
	if 2*i+1 < len(formats) {
		return formats[2*i+1]
	}
	return 0
}

// putServerPid replaces a client's process id in a parameter's value.
func (s *Session) putServerPid(value []byte, format byte) {
	switch {
	case format == 0:
		copy(value, s.withServerPids(value))
	case len(value) == 4:
		if pid := s.serverPid(uint64(binary.BigEndian.Uint32(value))); pid != 0 {
			binary.BigEndian.PutUint32(value, pid)
		}
	case len(value) == 8:
		if pid := s.serverPid(binary.BigEndian.Uint64(value)); pid != 0 {
			binary.BigEndian.PutUint64(value, uint64(pid))
		}
	}
}

// pidStatement has the server parse a text that asks about processes as it is to be read now, for one Bind, and gives its
// name there.
func (s *Session) pidStatement(st *statement) string {
	const ours = ourNames + "pids"
	at := len(s.o.scratch)
	s.o.scratch = appendCloseStatement(s.o.scratch, ours)
	s.o.scratch = appendParse(s.o.scratch, ours, string(s.withServerPids([]byte(st.again()))))
	s.toServer(s.o.since(at))
	s.pushed(request{kind: protocol.Close, purpose: forStatement})
	s.pushed(request{kind: protocol.Parse, purpose: forStatement})
	return ours
}

// notification hands on a notification, with the client's process id in place of the server's. It tells whether the
// server's own message is the one to pass.
func (s *Session) notification(frame []byte) (visible bool) {
	const size = 4
	if len(frame) < protocol.HeadSize+size {
		return true
	}
	server := binary.BigEndian.Uint32(frame[protocol.HeadSize:])
	pid := s.client.Pid
	if server != s.srv.Pid {
		if s.cfg.Pids == nil {
			return true
		}
		if pid = s.cfg.Pids.NotifierOf(server); pid == 0 {
			return true
		}
	}
	at := len(s.o.scratch)
	s.o.scratch = append(s.o.scratch, frame...)
	binary.BigEndian.PutUint32(s.o.scratch[at+protocol.HeadSize:], pid)
	s.toClient(s.o.since(at))
	return false
}
