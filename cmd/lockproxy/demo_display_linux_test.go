package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens a terminal of the size that nobody looks at.
func terminal(t *testing.T, width, height uint16) *os.File {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	t.Cleanup(func() { far.Close() })
	number, err := unix.IoctlGetInt(int(far.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(far.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	near, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	t.Cleanup(func() { near.Close() })
	if err := unix.IoctlSetWinsize(int(near.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width}); err != nil {
		t.Fatal(err)
	}
	return near
}

func TestOnlyALargeEnoughTerminalIsDrawnOn(t *testing.T) {
	for _, c := range []struct {
		name           string
		width, height  uint16
		environment    map[string]string
		plain          bool
		drawn, colored bool
	}{
		{"usual", 80, 24, nil, false, true, true},
		{"NO_COLOR", 80, 24, map[string]string{"NO_COLOR": "1"}, false, true, false},
		{"NO_COLOR must not be empty", 80, 24, map[string]string{"NO_COLOR": ""}, false, true, true},
		{"--plain", 80, 24, nil, true, false, false},
		{"dumb", 80, 24, map[string]string{"TERM": "dumb"}, false, false, false},
		{"narrow", leastWidth - 1, 24, nil, false, false, false},
		{"low", 80, frameHeight, nil, false, false, false},
	} {
		on := newDisplay(streams{terminal(t, c.width, c.height), nil, lookup(c.environment)}, c.plain)
		d, drawn := on.(*screen)
		if drawn != c.drawn || drawn && d.colored != c.colored {
			t.Errorf("%s: got %T %+v", c.name, on, on)
		}
	}
	if on, ok := newDisplay(streams{&bytes.Buffer{}, nil, lookup(nil)}, false).(*printer); !ok {
		t.Errorf("a pipe is no terminal, got %T", on)
	}
}

// frames are what a screen writes at each update.
type frames struct {
	screen
	out           bytes.Buffer
	width, height int
}

func newFrames(width, height int) *frames {
	f := &frames{width: width, height: height}
	f.screen = screen{out: &f.out, size: func() (int, int) { return f.width, f.height }}
	return f
}

func (f *frames) next(s *show) string {
	f.out.Reset()
	f.update(s)
	return f.out.String()
}

func TestFramesAreDrawnOverEachOther(t *testing.T) {
	s := scenes()["proxy"]
	f := newFrames(80, 24)
	first := f.next(s)
	if !strings.HasPrefix(first, holdBack+hideCursor+"lockproxy demo") || strings.Contains(first, clearAll) {
		t.Errorf("the first frame begins where the cursor is and clears nothing, got %q", first)
	}
	if n := strings.Count(first, clearToRight+"\r\n"); n != frameHeight {
		t.Errorf("every line clears what was in its place, got %d", n)
	}
	second := f.next(s)
	if want := fmt.Sprintf("%s\r\x1b[%dAlockproxy demo", holdBack, frameHeight); !strings.HasPrefix(second, want) {
		t.Errorf("the second goes up to where the first began, got %q", second)
	}
	if !strings.HasSuffix(second, clearBelow+letGo) {
		t.Errorf("got %q", second)
	}
}

func TestAScreenOfAnotherSizeIsDrawnAnew(t *testing.T) {
	s := scenes()["end"]
	f := newFrames(80, 24)
	f.next(s)
	f.width, f.height = 50, 10
	small := f.next(s)
	if !strings.HasPrefix(small, holdBack+clearAll) {
		t.Errorf("old lines may be anywhere, got %q", small)
	}
	if n := strings.Count(small, "\r\n"); n != 9 {
		t.Errorf("a frame never scrolls, got %d lines on 10", n)
	}
	if again := f.next(s); !strings.HasPrefix(again, holdBack+"\r\x1b[9A") {
		t.Errorf("goes up as many lines as there were, got %q", again)
	}
	f.width, f.height = 0, 0 // Where a terminal does not say.
	f.next(s)
}

func TestTheCursorComesBack(t *testing.T) {
	f := newFrames(80, 24)
	f.next(scenes()["end"])
	for _, c := range []struct{ word, want string }{
		{"", "\r" + clearToRight + showCursor},
		{"interrupted", "\r" + clearToRight + "interrupted\n" + showCursor},
	} {
		f.out.Reset()
		if f.end(c.word); f.out.String() != c.want {
			t.Errorf("got %q, want %q", f.out.String(), c.want)
		}
	}
}

func TestLinesComeOnceASecondAndAtEachEnd(t *testing.T) {
	var out bytes.Buffer
	p := printer{out: &out}
	s := scenes()["proxy"]
	s.proxy.state, s.plain.state = ahead, underWay
	for tenths := range 25 {
		s.plain.elapsed = time.Duration(tenths) * time.Second / 10
		p.update(s)
	}
	s.plain.state = hung
	p.update(s)
	p.update(s)
	p.end("")
	p.end("interrupted")
	const want = "8 workers, 200 jobs. A job takes an advisory lock in a transaction on one\n" +
		"connection and, while it holds that lock, inserts a row on another connection.\n" +
		"\n" +
		"\n" +
		"1  one plain pool: 4 slots (connections to PostgreSQL)\n" +
		"   Deadlock: 0 of 200, every slot holds a lock and waits for another. (4.0 s)\n" +
		"   1.0 s  0 of 200, 0 errors, 4 workers without a slot; slots: lock 4, lock 1, lock 6, lock 3\n" +
		"   2.0 s  0 of 200, 0 errors, 4 workers without a slot; slots: lock 4, lock 1, lock 6, lock 3\n" +
		"   2.4 s  0 of 200, 0 errors, 4 workers without a slot; slots: lock 4, lock 1, lock 6, lock 3\n" +
		"   Deadlock: 0 of 200, every slot holds a lock and waits for another. (4.0 s)\n" +
		"interrupted\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestLinesNameTheSlotsOfBothPools(t *testing.T) {
	s := scenes()["proxy"]
	const want = "90 of 200, 0 errors, 4 workers without a slot; lock pool: lock 4, lock 1, lock 6, lock 3; " +
		"admin pool: insert 1, idle, insert 3"
	if got := s.proxyLine(); got != want {
		t.Errorf("got %q", got)
	}
	s.proxy.slots = nil
	if got := s.proxyLine(); !strings.HasSuffix(got, "lock pool: none open; admin pool: none open") {
		t.Errorf("got %q", got)
	}
}
