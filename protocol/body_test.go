package protocol

import "testing"

func TestCStringNeedsItsZeroByte(t *testing.T) {
	for _, c := range []struct {
		p, s, rest string
		ok         bool
	}{
		{"", "", "", false},
		{"a", "", "", false},
		{"\x00", "", "", true},
		{"ab\x00", "ab", "", true},
		{"ab\x00cd", "ab", "cd", true},
		{"\x00\x00", "", "\x00", true},
	} {
		s, rest, ok := CString([]byte(c.p))
		if string(s) != c.s || string(rest) != c.rest || ok != c.ok {
			t.Errorf("%q: got %q, %q, %v", c.p, s, rest, ok)
		}
	}
}

func TestBindNamesAreKnownAsSoonAsBothAreThere(t *testing.T) {
	const body = "portal\x00statement\x00\x00\x00\x00\x01\x00\x00\x00\x02hi\x00\x00"
	const names = len("portal\x00statement\x00")
	for end := range len(body) + 1 {
		portal, statement, ok := BindNames([]byte(body[:end]))
		if ok != (end >= names) {
			t.Fatalf("cut at %d: ok is %v", end, ok)
		}
		if ok && (string(portal) != "portal" || string(statement) != "statement") {
			t.Fatalf("cut at %d: %q and %q", end, portal, statement)
		}
		if !ok && (portal != nil || statement != nil) {
			t.Fatalf("cut at %d: half a result: %q and %q", end, portal, statement)
		}
	}
}

func TestBindOfUnnamedPortalAndStatement(t *testing.T) {
	portal, statement, ok := BindNames([]byte("\x00\x00\x00\x00"))
	if !ok || len(portal) != 0 || len(statement) != 0 {
		t.Errorf("got %q, %q, %v", portal, statement, ok)
	}
}

func TestReadingNamesAllocatesNothing(t *testing.T) {
	body := []byte("portal\x00statement\x00")
	if n := testing.AllocsPerRun(100, func() { BindNames(body) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
