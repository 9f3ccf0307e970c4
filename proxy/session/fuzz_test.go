package session

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/lockproxy/lockproxy/protocol"
)

// script is a server that answers whatever well-formed messages it gets, as PostgreSQL would in its protocol: errors
// skip to Sync, COPY takes data, transactions have a status. It knows no SQL but the words that it looks for.
type script struct {
	kept     []byte
	status   byte
	skipping bool
	copying  bool
	batch    bool // the COPY began in a batch
}

// takes gives the answers to what was sent.
func (v *script) takes(p []byte) (answers []byte) {
	v.kept = append(v.kept, p...)
	for len(v.kept) >= protocol.HeadSize {
		kind, size := protocol.Head(v.kept)
		if size == 0 || size > len(v.kept) {
			break
		}
		answers = append(answers, v.answer(kind, v.kept[protocol.HeadSize:size])...)
		v.kept = v.kept[size:]
	}
	return answers
}

func (v *script) answer(kind byte, body []byte) []byte {
	switch {
	case v.copying:
		return v.copies(kind, body)
	case v.skipping && kind != protocol.Sync:
		return nil
	}
	switch kind {
	case protocol.Query:
		if bytes.IndexByte(body, 0) != len(body)-1 || len(body) == 0 {
			return v.fails(false)
		}
		return v.runs(strings.ToLower(string(body)))
	case protocol.FunctionCall:
		if len(body) < 4 {
			return v.fails(false)
		}
		return join([][]byte{message(protocol.FunctionCallResponse, "\x00\x00\x00\x00"), ready(v.status)})
	case protocol.Sync:
		v.skipping = false
		if len(body) > 0 {
			return v.fails(false)
		}
		return ready(v.status)
	case protocol.Parse, protocol.Describe, protocol.Close, protocol.Execute, protocol.Bind, protocol.Flush:
		if malformed(kind, body) {
			return v.fails(true)
		}
	}
	switch kind {
	case protocol.Parse:
		if strings.Contains(string(body), "fail") {
			return v.fails(true)
		}
		return parsed
	case protocol.Bind:
		return bound
	case protocol.Close:
		return closed
	case protocol.Describe:
		if body[0] == 'S' {
			return join([][]byte{noParams, columns})
		}
		return noData
	case protocol.Execute:
		if body[0] == 'f' {
			return v.fails(true)
		}
		if body[0] == 'c' {
			v.copying, v.batch = true, true
			return copyStarts
		}
		return join([][]byte{row("t"), selected})
	}
	return nil
}

// malformed tells whether a server finds that a message is not what its kind has (postgres.c, PostgresMain).
func malformed(kind byte, body []byte) bool {
	texts, rest := map[byte]int{protocol.Parse: 2, protocol.Bind: 2, protocol.Execute: 1}[kind], map[byte]int{protocol.Execute: 4}[kind]
	if kind == protocol.Describe || kind == protocol.Close {
		if len(body) == 0 {
			return true
		}
		body, texts = body[1:], 1
	}
	for range texts {
		end := bytes.IndexByte(body, 0)
		if end < 0 {
			return true
		}
		body = body[end+1:]
	}
	switch kind {
	case protocol.Bind:
		return false // of its values it knows nothing
	case protocol.Parse:
		if len(body) < 2 {
			return true
		}
		rest = 2 + 4*int(binary.BigEndian.Uint16(body))
	}
	return len(body) != rest
}

func (v *script) fails(batch bool) []byte {
	if v.status == 'T' {
		v.status = 'E'
	}
	if v.skipping = batch; batch {
		return failed("XX001", "failed")
	}
	return join([][]byte{failed("XX001", "failed"), ready(v.status)})
}

// copies takes a message in the middle of a COPY (copyfromparse.c, CopyGetData).
func (v *script) copies(kind byte, body []byte) []byte {
	switch kind {
	case protocol.CopyData, protocol.Flush, protocol.Sync:
		if kind != protocol.CopyData || !strings.Contains(string(body), "fail") {
			return nil
		}
	}
	v.copying = false
	if kind != protocol.CopyDone {
		return v.fails(v.batch)
	}
	if v.batch {
		return complete("COPY 0")
	}
	return join([][]byte{complete("COPY 0"), ready(v.status)})
}

func (v *script) runs(text string) []byte {
	several := strings.Contains(text, ";")
	switch {
	case strings.Contains(text, "fail") || strings.HasPrefix(text, "rollback to"):
		return v.fails(false)
	case strings.HasPrefix(text, "copy"):
		v.copying, v.batch = true, false
		return copyStarts
	case several:
	case strings.HasPrefix(text, "begin"):
		v.status = 'T'
	case strings.HasPrefix(text, "commit"), strings.HasPrefix(text, "rollback"):
		v.status = 'I'
	}
	return join([][]byte{row("t"), complete("DISCARD ALL"), ready(v.status)})
}

// play is a session with a server and pools that give whatever is asked.
type play struct {
	*conversation
	v    *script
	told int // bytes to the client, of all steps
}

func newPlay(t *testing.T) *play {
	c := newConversation(t, func(cfg *Config) { cfg.MaxStatement, cfg.MaxBuffer = 4<<10, 2<<10 })
	return &play{conversation: c, v: &script{status: 'I'}}
}

// settle carries out what the session wants until it wants nothing more.
func (p *play) settle() {
	for rounds := 0; len(p.actions)+len(p.server) > 0; rounds++ {
		if rounds > 100_000 {
			p.t.Fatal("the session does not come to rest")
		}
		p.told += len(p.client)
		p.client = nil
		if out := p.server; len(out) > 0 {
			p.server = nil
			if answers := p.v.takes(out); len(answers) > 0 {
				p.answers(answers)
			}
			continue
		}
		a := p.actions[0]
		p.actions = p.actions[1:]
		p.act(a)
	}
}

func (p *play) act(a Action) {
	switch a.Op {
	case Checkout:
		p.v = &script{status: 'I'}
		p.srv = NewServer(99, NewSettings([]Setting{{"server_version", "15"}}), p.now)
		p.s.Granted(&p.o, p.now, p.srv, a.Kind)
	case Promote:
		p.s.Promoted(&p.o, p.now)
	case CancelServer:
		p.s.CancelDone(&p.o, p.now)
	case CloseClient:
		p.s.ClientLost(&p.o, p.now)
	case Release:
		if p.v.status != 'I' || p.v.copying || p.v.skipping || len(p.v.kept) > 0 {
			p.t.Fatalf("a backend was given back in the middle: %+v", p.v)
		}
		return
	default:
		return
	}
	p.took()
}

// FuzzClientBytes: no bytes of a client's make the session panic, hang, keep more than its bounds, or give back a
// server that is in the middle of something; and a client that leaves is left by its server.
func FuzzClientBytes(f *testing.F) {
	for _, messages := range [][][]byte{
		{query("select 1")}, {query("begin"), query("select pg_advisory_lock(1)"), query("fail"), query("rollback"), goodbye},
		{parse("a", "select pg_advisory_xact_lock($1)"), describe('S', "a"), flushNow, bind("", "a"), execute(""), syncMessage()},
		{parse("", "select 1"), closing('S', ""), bind("f", ""), execute("f"), execute("f"), syncMessage(), syncMessage(), bind("", "a")},
		{query("copy t from stdin"), copyData("x"), syncMessage(), copyDone, copyDone, query("select 2")},
		{query("copy t from stdin"), syncMessage(), copyData("fail"), syncMessage(), query("select 2"), copyData("x"), copyDone, query("select 3")},
		{parse("", "copy"), bind("c", ""), execute("c"), copyData("fail"), syncMessage(), parse("a", "select 1"), bind("", "a"), execute(""), syncMessage()},
		{parse("", "copy"), bind("c", ""), execute("c"), copyData("x"), syncMessage(), message(protocol.CopyFail, "\x00"), syncMessage()},
		{callOfLock, query("set x = 1"), query("prepare a as select 1; deallocate all"), query("discard all")},
		{query(strings.Repeat("x", 5000)), query("select 1")}, {parse("a", strings.Repeat("x", 5000)), syncMessage()},
		{message('?', "")}, {[]byte("Q\x00\x00\x00\x03")}, {[]byte("B\x00\x00\x00\x04E\x00\x00\x00\x05\x00")},
		{[]byte("Q\x3f\xff\xff\xffselect")}, {message(protocol.Flush, "surplus"), message(protocol.Sync, "surplus")},
	} {
		f.Add(join(messages), uint16(0))
		f.Add(join(messages), uint16(3))
	}
	f.Fuzz(func(t *testing.T, bytes []byte, piece uint16) {
		p := newPlay(t)
		size := int(piece)
		if size == 0 {
			size = max(len(bytes), 1)
		}
		for rest := bytes; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			p.sends(rest[:min(size, len(rest))])
			p.settle()
			if kept := len(p.s.kept); kept > maxNames+4<<10+size {
				t.Fatalf("%d bytes are kept", kept)
			}
		}
		if p.told > 4096*(len(bytes)+8) {
			t.Fatalf("%d bytes are the answer to %d", p.told, len(bytes))
		}
		p.s.ClientLost(&p.o, p.now)
		p.took()
		p.settle()
		p.now = p.now.Add(time.Minute)
		p.s.Tick(&p.o, p.now)
		p.took()
		p.settle()
		if !p.s.Ended() {
			t.Fatal("the client is gone and the session is not over")
		}
	})
}

// FuzzServerBytes: no bytes of a server's make the session panic, or say more than the server did.
func FuzzServerBytes(f *testing.F) {
	big := row(strings.Repeat("x", 300))
	for i := range uint8(len(underWay)) {
		for _, messages := range [][][]byte{
			{parsed, bound, row("t"), selected, ready('I')}, {row("t"), selected, ready('T')}, {failed("XX000", "x"), ready('E')},
			{copyStarts, copyDone, complete("COPY 1"), ready('I')}, {big, big, ready('I')}, {emptyResult, ready('I')},
			{message(protocol.ParameterStatus, "a\x00b\x00"), message(protocol.NoticeResponse, "\x00")}, {closed, noParams, noData},
			{message(protocol.Notification, "\x00\x00\x00\x63n\x00p\x00")}, {[]byte("D\x00\x00\x00\x03")}, {[]byte("D\x7f\xff\xff\xffx")},
			{message(protocol.DataRow, "\x00\x01\xff\xff\xff\xfe")}, {message(protocol.DataRow, "\x00\x09\x00\x00\x00\x01t")},
			{message(protocol.ReadyForQuery, "")}, {message('?', "what")}, {[]byte("E\x3f\xff\xff\xff")},
			{protocol.AppendError(nil, protocol.Fatal("57P01", "shut down"))},
		} {
			f.Add(i, join(messages), uint16(0), true)
			f.Add(i, join(messages), uint16(1), false)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, bytes []byte, piece uint16, leaves bool) {
		c := newConversation(t)
		c.sends(underWay[int(which)%len(underWay)]...)
		for len(c.actions) > 0 && c.actions[0].Op == Checkout {
			c.granted(c.actions[0].Kind)
		}
		c.client, c.server, c.actions = nil, nil, nil
		if leaves {
			c.s.ClientLost(&c.o, c.now)
			c.took()
		}
		size := int(piece)
		if size == 0 {
			size = max(len(bytes), 1)
		}
		for rest := bytes; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			c.answers(rest[:min(size, len(rest))])
			if c.srv != nil && len(c.srv.partial) > maxAnswer+size {
				t.Fatalf("%d bytes of an answer are kept", len(c.srv.partial))
			}
		}
		if ours := 1000 * (len(bytes) + 1); len(c.client) > len(bytes)+ours || leaves && len(c.client) > 0 {
			t.Fatalf("%d bytes are said after %d", len(c.client), len(bytes))
		}
		c.s.ServerLost(&c.o, c.now)
		c.s.ClientLost(&c.o, c.now)
		c.s.CancelDone(&c.o, c.now)
		c.now = c.now.Add(time.Minute)
		c.s.Tick(&c.o, c.now)
		if c.s.phase == queueing {
			c.s.Refused(&c.o, c.now, canceled())
		}
		if !c.s.Ended() {
			t.Fatalf("both are gone and the session is not over: phase %d", c.s.phase)
		}
	})
}

// underWay is what a client may have sent when its server says something odd.
var underWay = [][][]byte{
	{query("select 1")},
	{query("select pg_try_advisory_lock(1)")},
	{parse("a", "select 1"), describe('S', "a"), bind("", "a"), execute(""), syncMessage()},
	{parse("a", "select 1"), flushNow},
	{parse("", "select 1"), bind("", ""), execute(""), syncMessage(), query("begin"), query("select 2"), query("commit")},
	{callOfLock},
	{query("set work_mem = '1MB'"), query("discard all")},
	{query("copy t from stdin"), copyData("x"), copyDone},
	{query("begin"), query("select 1/0"), syncMessage()},
}

// Execute's body tells the fuzzers' script what to do: 'c' and 'f' are names of portals.
func TestScriptKnowsItsPortals(t *testing.T) {
	v := &script{status: 'I'}
	if got := v.takes(execute("f")); got[0] != protocol.ErrorResponse || !v.skipping {
		t.Errorf("f fails: %s", spell(got))
	}
	if got := v.takes(join([][]byte{execute("c"), syncMessage(), execute("c")})); got[0] != protocol.ReadyForQuery || !v.copying {
		t.Errorf("c copies: %s", spell(got))
	}
	if got := binary.BigEndian.Uint32(execute("")[1:]); got != 9 {
		t.Errorf("an Execute without a name has %d bytes", got)
	}
}
