package differential

import (
	"fmt"

	"github.com/lockproxy/lockproxy/protocol"
)

// follower follows what a server still owes for the messages that it was sent, so that a client knows when it has all
// answers that it will get (manual, "Message Flow").
type follower struct {
	due      []byte // the kinds of the messages under way
	copying  bool   // the server takes COPY data
	skipping bool   // an error came, and the batch's Sync was not sent yet
}

func (f *follower) send(m message) {
	if f.copying {
		f.feed(m[0])
		return
	}
	if f.skipping && m[0] != protocol.Sync {
		return
	}
	f.skipping = false
	f.due = append(f.due, m[0])
	f.pass()
}

// feed takes a message that the server reads in the middle of a COPY: any but these fails it (copyfromparse.c).
func (f *follower) feed(kind byte) {
	switch kind {
	case protocol.CopyData, protocol.Flush, protocol.Sync:
	default:
		f.copying = false
	}
}

// pass takes off what the server says nothing to.
func (f *follower) pass() {
	for len(f.due) > 0 {
		switch f.due[0] {
		case protocol.Flush, protocol.CopyData, protocol.CopyDone, protocol.CopyFail:
			f.due = f.due[1:]
		default:
			return
		}
	}
}

// complete tells whether the server will say no more before it is sent more. What has neither Sync nor Flush behind it
// may be answered later.
func (f *follower) complete() bool {
	if f.copying {
		return true
	}
	for _, one := range f.due {
		switch one {
		case protocol.Query, protocol.Sync, protocol.FunctionCall, protocol.Flush:
			return false
		}
	}
	return true
}

// answer takes one answer. One that does not fit what was sent is an error.
func (f *follower) answer(kind byte) error {
	defer f.pass()
	if kind == protocol.NoticeResponse || kind == protocol.ParameterStatus {
		return nil
	}
	if len(f.due) == 0 {
		return fmt.Errorf("%q answers nothing", kind)
	}
	head := f.due[0]
	switch kind {
	case protocol.ErrorResponse:
		f.failed(head)
		return nil
	case protocol.CopyInResponse:
		f.copyBegins()
		return nil
	case protocol.DataRow, protocol.CopyData, protocol.CopyDone, protocol.CopyOutResponse, protocol.ParameterDescription, protocol.FunctionCallResponse:
		return nil
	}
	ends, known := endings[kind]
	switch {
	case !known || !contains(ends, head) && head != protocol.Query:
		return fmt.Errorf("%q answers %q", kind, head)
	case head != protocol.Query || kind == protocol.ReadyForQuery:
		f.due = f.due[1:]
	}
	return nil
}

// endings are the messages that an answer is the last of.
var endings = map[byte]string{
	protocol.ParseComplete: "P", protocol.BindComplete: "B", protocol.CloseComplete: "C", protocol.RowDescription: "D", protocol.NoData: "D",
	protocol.CommandComplete: "E", protocol.EmptyQueryResponse: "E", protocol.PortalSuspended: "E", protocol.ReadyForQuery: "QSF",
}

func contains(all string, one byte) bool {
	for i := range len(all) {
		if all[i] == one {
			return true
		}
	}
	return false
}

// failed skips what the server skips after an error: in a batch, everything up to its Sync.
func (f *follower) failed(head byte) {
	f.copying = false
	if head == protocol.Query || head == protocol.FunctionCall || head == protocol.Sync {
		return
	}
	for len(f.due) > 0 && f.due[0] != protocol.Sync {
		f.due = f.due[1:]
	}
	f.skipping = len(f.due) == 0
}

// copyBegins has the COPY take what was sent behind it.
func (f *follower) copyBegins() {
	f.copying = true
	for len(f.due) > 1 && f.copying {
		f.feed(f.due[1])
		f.due = append(f.due[:1], f.due[2:]...)
	}
}
