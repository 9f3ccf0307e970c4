package differential

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// twins hold each conversation twice: with PostgreSQL itself, and through lockproxy.
type twins struct {
	direct, through *side
	waits           map[int]bool // the clients that wait for a lock
	at              int          // the step at hand
	over            bool         // each side goes its own way from here, and neither is wrong
	crashed         bool         // the servers themselves have
}

// hold holds a conversation and gives the first difference, or nothing. An error is the test's own.
func (t *twins) hold(c conversation) (difference string, err error) {
	t.waits, t.over = map[int]bool{}, false
	var errs [2]error
	t.both(func(i int, s *side) { errs[i] = s.reset() })
	if err := errors.Join(errs[:]...); err != nil {
		return "", err
	}
	defer t.direct.leave()
	defer t.through.leave()
	for i, one := range c.steps {
		t.at = i
		if d := t.step(c, one); d != "" {
			return fmt.Sprintf("step %d: %s", i, d), nil
		}
		if t.over {
			return "", nil
		}
		if len(t.waits) == len(t.direct.peers) {
			break // each waits for another
		}
	}
	return t.compareNotifications(), nil
}

func (t *twins) sides() [2]*side { return [2]*side{t.direct, t.through} }

// both does something on both sides at once.
func (t *twins) both(do func(i int, s *side)) {
	direct := make(chan bool)
	go func() {
		do(0, t.direct)
		close(direct)
	}()
	do(1, t.through)
	<-direct
}

// step takes one step on both sides, unless the client cannot.
func (t *twins) step(c conversation, one step) (difference string) {
	if t.waits[one.client] {
		return ""
	}
	if one.client >= len(t.direct.peers) || t.direct.peers[one.client] == nil {
		if d := t.connect(c, one.client); d != "" {
			return d
		}
	}
	if t.direct.peers[one.client].closed {
		return ""
	}
	for _, s := range t.sides() {
		s.lines = append(s.lines, spellStep(one)...)
		s.peers[one.client].send(one.messages, one.cuts)
	}
	if d := t.hear(one.client); d != "" {
		return d
	}
	for client := range t.direct.peers {
		if !t.waits[client] {
			continue
		}
		if d := t.hear(client); d != "" {
			return d
		}
	}
	if t.over = len(t.waits) > 1 && t.direct.race(); t.over {
		return ""
	}
	return t.hearNotifications()
}

func (t *twins) connect(c conversation, client int) (difference string) {
	var answers [2][][]byte
	var errs [2]error
	parameters, first := c.clients[client], len(c.clients)-c.guests
	t.both(func(i int, s *side) {
		s.lines = append(s.lines, spellStart(client, parameters))
		if client < first {
			answers[i], errs[i] = s.connect(client, parameters)
		} else {
			answers[i], errs[i] = s.invite(client, client-first, parameters)
		}
		s.tell(client, welcome(answers[i]), false)
	})
	return compare(answers, errs)
}

// settles is how long one side may take longer than the other to let a client go on that waits for a lock: lockproxy has clients wait for up to
// two seconds for a reading of functions that have changed, which may itself wait for somebody's lock.
const settles = 5 * time.Second

// hear has both sides hear a client's answers and compares them.
func (t *twins) hear(client int) (difference string) {
	var answers [2][][]byte
	var errs [2]error
	var waits [2]bool
	t.both(func(i int, s *side) { waits[i], errs[i] = s.hear(client) })
	for i, s := range t.sides() { // who let it go on may have done so on one side only, so far
		for began := time.Now(); waits[i] && !waits[1-i] && time.Since(began) < settles; time.Sleep(settles / 100) {
			waits[i], errs[i] = s.hear(client)
		}
	}
	for i, s := range t.sides() {
		p := s.peers[client]
		if answers[i] = p.got; !waits[i] {
			p.got = nil
		}
		if p.closed {
			errs[i] = fmt.Errorf("the connection is closed")
		}
	}
	if waits[0] != waits[1] {
		return fmt.Sprintf("client %s waits for a lock directly: %v, through lockproxy: %v\ndirectly\n%s\nthrough\n%s", nameOf(client), waits[0], waits[1],
			spellAll(answers[0]), spellAll(answers[1]))
	}
	told := t.waits[client]
	if delete(t.waits, client); waits[0] {
		t.waits[client] = true
		if told {
			return ""
		}
	}
	for i, s := range t.sides() {
		s.tell(client, answers[i], waits[i])
	}
	if waits[0] {
		return ""
	}
	difference = compare(answers, errs)
	if t.over = difference != "" && planChanged(answers); t.over {
		return ""
	}
	return difference
}

// tell writes answers into the transcript.
func (s *side) tell(client int, answers [][]byte, waits bool) {
	switch {
	case waits:
		s.note("%s < waits", nameOf(client))
		return
	case len(answers) == 0 && !s.peers[client].closed:
		s.note("%s < nothing yet", nameOf(client))
	}
	for _, f := range answers {
		s.note("%s < %s", nameOf(client), spellServer(f))
	}
	if s.peers[client] != nil && s.peers[client].closed {
		s.note("%s < closed", nameOf(client))
	}
}

// hearNotifications has lockproxy's clients get the notifications that their twins have got by now.
func (t *twins) hearNotifications() (difference string) {
	for client, p := range t.direct.peers {
		if p == nil || p.closed {
			continue
		}
		p.drain(0)
		q := t.through.peers[client]
		q.drain(len(p.notifications))
		if len(q.notifications) < len(p.notifications) {
			return fmt.Sprintf("client %s does not get its notification:\n%s", nameOf(client), spellAll(p.notifications[len(q.notifications):]))
		}
	}
	return ""
}

// compareNotifications compares them at the end, since which answer they come before is chance.
func (t *twins) compareNotifications() (difference string) {
	for client := range t.direct.peers {
		var got [2][][]byte
		for i, s := range t.sides() {
			p := s.peers[client]
			if p == nil {
				continue
			}
			p.drain(0)
			got[i] = p.notifications
			for _, f := range got[i] {
				s.note("%s < %s", nameOf(client), spellServer(f))
			}
		}
		if d := compare(got, [2]error{}); d != "" {
			return "notifications: " + d
		}
	}
	return ""
}

// compare compares what was answered directly with what was answered through lockproxy.
func compare(answers [2][][]byte, errs [2]error) (difference string) {
	a, b := answers[0], answers[1]
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			difference = "there is one more"
		case i >= len(b):
			difference = "one is missing"
		case !same(a[i], b[i]):
			difference = fmt.Sprintf("message %d differs", i)
		}
		if difference != "" {
			break
		}
	}
	if difference == "" && fmt.Sprint(errs[0]) != fmt.Sprint(errs[1]) {
		difference = "the end differs"
	}
	if difference == "" {
		return ""
	}
	return fmt.Sprintf("%s\ndirectly (%v)\n%s\nthrough (%v)\n%s", difference, errs[0], shortened(spellAll(a)), errs[1], shortened(spellAll(b)))
}

func shortened(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		if len(lines[i]) > 300 {
			lines[i] = lines[i][:300] + "..."
		}
	}
	if len(lines) > 40 {
		lines = append(lines[:40], "...")
	}
	return "    " + strings.Join(lines, "\n    ")
}

// same compares two messages byte for byte, apart from what cannot be the same on two servers.
func same(a, b []byte) bool {
	if a[0] != b[0] {
		return false
	}
	switch a[0] {
	case protocol.BackendKeyData:
		return len(a) == len(b)
	case protocol.RowDescription:
		return bytes.Equal(withoutTables(a), withoutTables(b))
	case protocol.ErrorResponse, protocol.NoticeResponse:
		return sameError(a, b) || bothRight(a, b)
	case protocol.Notification:
		return bytes.Equal(a[9:], b[9:])
	}
	return bytes.Equal(a, b)
}

// withoutTables takes the oids of tables out of a RowDescription, whether there is one or not stays.
func withoutTables(f []byte) []byte {
	b := slices.Clone(f)
	for at := protocol.HeadSize + 2; at < len(b); {
		end := at + bytes.IndexByte(b[at:], 0) + 1
		if !bytes.Equal(b[end:end+4], make([]byte, 4)) {
			copy(b[end:], "any ")
		}
		at = end + 18
	}
	return b
}

// sameError compares errors. Where in PostgreSQL's source it was raised is not in lockproxy's own; and in a failed transaction
// whatever comes first is refused, which may be a Parse message of lockproxy's.
func sameError(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	return (!bytes.Contains(b, []byte("\x00F")) || bytes.Contains(b, []byte("\x00C25P02\x00"))) && bytes.Equal(withoutSource(a), withoutSource(b))
}

// planChanged tells whether one side's server has a statement prepared from before its table was altered, and the other's has
// not: lockproxy's clients share servers. What follows is another conversation on each side.
func planChanged(answers [2][][]byte) bool {
	for _, side := range answers {
		for _, f := range side {
			if bytes.Contains(f, []byte("\x00Mcached plan must not change result type\x00")) {
				return true
			}
		}
	}
	return false
}

// bothRight tells whether both errors are right: in a failed transaction an unnamed statement that lockproxy's server lacks cannot
// be prepared there, so that it is not known how many parameters it has, unless the client had it described.
func bothRight(a, b []byte) bool {
	return bytes.Contains(a, []byte(" parameters, but prepared statement \"\" requires ")) && bytes.Contains(b, []byte("\x00C25P02\x00"))
}

// withoutSource leaves out where an error was raised, and whether a function's schema was in the search_path when its server first called it
// (pl_comp.c, fn_signature).
func withoutSource(f []byte) (out []byte) {
	f = bytes.ReplaceAll(f, []byte("PL/pgSQL function public."), []byte("PL/pgSQL function "))
	for _, field := range bytes.Split(f[protocol.HeadSize:], []byte{0}) {
		if len(field) > 0 && !strings.ContainsRune("FLR", rune(field[0])) {
			out = append(append(out, field...), 0)
		}
	}
	return out
}

// welcome leaves out of what a client is told at login all that every client is told.
func welcome(answers [][]byte) [][]byte {
	return slices.DeleteFunc(slices.Clone(answers), func(f []byte) bool {
		name, rest, _ := protocol.CString(f[protocol.HeadSize:])
		value, _, _ := protocol.CString(rest)
		usual, known := usually[string(name)]
		return f[0] == protocol.Authentication || f[0] == protocol.BackendKeyData || f[0] == protocol.ParameterStatus && known && (usual == "any" || usual == string(value))
	})
}

// usually are the settings that servers report at login, with their values.
var usually = map[string]string{"application_name": "", "client_encoding": "UTF8", "DateStyle": "ISO, MDY", "default_transaction_read_only": "off", "in_hot_standby": "off", "integer_datetimes": "on", "IntervalStyle": "postgres",
	"is_superuser": "any", "server_encoding": "any", "server_version": "any", "session_authorization": "any", "standard_conforming_strings": "on", "TimeZone": "UTC"}
