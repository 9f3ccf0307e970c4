package backend

import (
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"slices"
)

// announced is what a server says, on its way to pgconn, which keeps what was reported in a map: in which order it came is noted
// here. Since PostgreSQL 16 that is a hash table's, before by name (guc.c, BeginReportingGUCOptions).
type announced struct {
	io.Reader
	begun []byte   // a message that has not come as a whole
	names []string // of what was reported
	over  bool     // the server has been ready: what it reports from now on has changed
}

// Read hands on what the server says, and looks for what it reports.
func (a *announced) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if a.over {
		return n, err
	}
	a.begun = append(a.begun, p[:n]...)
	for !a.over && len(a.begun) >= headSize {
		size := uint64(binary.BigEndian.Uint32(a.begun[1:])) + 1
		if size < headSize || size > maxLoginMessage {
			a.over = true // no message: pgconn says so
		} else if uint64(len(a.begun)) < size {
			return n, err
		} else {
			a.hear(a.begun[0], a.begun[headSize:size])
			a.begun = a.begun[size:]
		}
	}
	if a.over {
		a.begun = nil
	}
	return n, err
}

func (a *announced) hear(kind byte, body []byte) {
	switch kind {
	case 'S':
		name, _, _ := bytes.Cut(body, []byte{0})
		a.names = append(a.names, string(name))
	case 'Z':
		a.over = true
	}
}

// inOrder gives what the server has reported in the order in which it did; what came later is last.
func (a *announced) inOrder(reported map[string]string) (list []Parameter) {
	for _, name := range slices.Concat(a.names, slices.Sorted(maps.Keys(reported))) {
		value, is := reported[name]
		if is && !slices.ContainsFunc(list, func(one Parameter) bool { return one.Name == name }) {
			list = append(list, Parameter{name, value})
		}
	}
	return list
}
