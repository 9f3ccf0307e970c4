package protocol

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestErrorsAreExplainedWithoutChangingWhatTheySay(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"SERROR\x00C55P03\x00Mno\x00RProcessInterrupts\x00\x00", "SERROR\x00C55P03\x00Mno\x00RProcessInterrupts\x00Da\x00Hb\x00\x00"},
		{"Mno\x00Dtheirs\x00\x00", "Mno\x00Dtheirs\x00Hb\x00\x00"},
		{"Mno\x00Htheirs\x00Dtheirs\x00\x00", "Mno\x00Htheirs\x00Dtheirs\x00\x00"},
		{"\x00", "Da\x00Hb\x00\x00"},
	} {
		frame := append([]byte{ErrorResponse, 0, 0, 0, byte(4 + len(c.body))}, c.body...)
		got := AppendExplained([]byte("before"), frame, "a\x00more", "b")
		want := append([]byte{ErrorResponse, 0, 0, 0, byte(4 + len(c.want))}, c.want...)
		if string(got) != "before"+string(want) {
			t.Errorf("%q becomes %q, want %q", c.body, got, want)
		}
	}
}

// FuzzExplained holds that any body can be read and added to, that the length is right, and that nothing is lost.
func FuzzExplained(f *testing.F) {
	f.Add([]byte("SERROR\x00C55P03\x00Mno\x00\x00"), "detail", "hint")
	f.Add([]byte("M"), "", "\x00")
	f.Fuzz(func(t *testing.T, body []byte, detail, hint string) {
		frame := append(binary.BigEndian.AppendUint32([]byte{ErrorResponse}, uint32(4+len(body))), body...)
		got := AppendExplained(nil, frame, detail, hint)
		if got[0] != ErrorResponse || int(binary.BigEndian.Uint32(got[1:])) != len(got)-1 || got[len(got)-1] != 0 ||
			!bytes.HasPrefix(got[HeadSize:], bytes.TrimSuffix(body, []byte{0})) {
			t.Errorf("%q becomes %q", frame, got)
		}
	})
}
