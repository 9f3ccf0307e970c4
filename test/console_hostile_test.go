package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockproxy/lockproxy/proxy"
	"github.com/lockproxy/lockproxy/test/postgres"
)

// Hostile input to the console ends like any other: in a FATAL 08P01 for that client, or in PostgreSQL's own words.

func TestRubbishInAConsoleIsRefusedAndNothingElse(t *testing.T) {
	r := startProxy(t, watched)
	for i, c := range afterLogin {
		if strings.HasPrefix(c.name, "FunctionCall") {
			continue // of which the console has none, however it is written
		}
		s := logIn(t, r.consoleURL(t, []string{postgres.Superuser, "watcher"}[i%2]))
		s.send(c.bytes)
		if got := s.until("~"); !strings.HasSuffix(got, "E(FATAL 08P01) (end)") {
			t.Errorf("%s: got %s", c.name, got)
		}
	}
	logIn(t, r.url).wants("an ordinary client is served", one, "Z", text("SELECT 1"))
}

// What comes out of turn is answered as PostgreSQL answers it, and the console is in step afterwards.
func TestAConsoleStaysInStep(t *testing.T) {
	r := startProxy(t, watched)
	const state = "T D(active,yes) D(paused,no) D(suspended,no) C(SHOW) Z(I)"
	for _, c := range []struct {
		name, kinds, answer string
		sent                []pgproto3.FrontendMessage
	}{
		{"Bind without its Parse", "Z", "E(26000) Z(I)", []pgproto3.FrontendMessage{bindTo("", "none"), executing(""), text("SHOW STATE"), syncNow}},
		{"Execute without its Bind", "Z", "1 E(34000) Z(I)", []pgproto3.FrontendMessage{prepare("a", "SHOW STATE"), executing("a"), executing(""), syncNow}},
		{"Describe of what is not there", "Z", "E(26000) Z(I)", []pgproto3.FrontendMessage{describing('S', "none"), describing('P', "none"), syncNow}},
		{"Close of what is not there", "Z", "3 3 Z(I)", []pgproto3.FrontendMessage{forgetting('S', "none"), forgetting('P', ""), syncNow}},
		{"a name twice", "Z", "1 E(42P05) Z(I)", []pgproto3.FrontendMessage{prepare("a", "SHOW STATE"), prepare("a", "SHOW STATE"), syncNow}},
		{"several commands in one statement", "Z", "E(42601) Z(I)", []pgproto3.FrontendMessage{prepare("", "SHOW STATE; SHOW STATE"), bindTo("", ""), syncNow}},
		{"values where there are no parameters", "Z", "1 E(0A000) Z(I)", []pgproto3.FrontendMessage{prepare("", "SHOW STATE"), bindTo("", "", "x"), executing(""), syncNow}},
		{"a portal that a Sync has ended", "ZZ", "1 2 Z(I) E(34000) Z(I)", []pgproto3.FrontendMessage{prepare("", "SHOW STATE"), bindTo("p", ""), syncNow, executing("p"), syncNow}},
		{"a portal that a query has ended", "ZZ", "1 2 " + state + " E(34000) Z(I)", []pgproto3.FrontendMessage{prepare("", "SHOW STATE"), bindTo("p", ""), text("SHOW STATE"), executing("p"), syncNow}},
		{"a query within a batch that has failed", "Z", "E(26000) Z(I)", []pgproto3.FrontendMessage{bindTo("", "none"), text("SHOW STATE"), syncNow}},
		{"COPY where none is under way", "Z", state, []pgproto3.FrontendMessage{copied("x"), copyOver, &pgproto3.CopyFail{Message: "x"}, flushNow, text("SHOW STATE")}},
		{"a function", "Z", "E(0A000) Z(I)", []pgproto3.FrontendMessage{call(advisoryUnlock, int8(5))}},
		{"nothing but Syncs", "ZZZ", "Z(I) Z(I) Z(I)", []pgproto3.FrontendMessage{syncNow, syncNow, syncNow}},
		{"nothing at all", "ZZ", "I Z(I) I Z(I)", []pgproto3.FrontendMessage{text(""), text(";; -- ;")}},
		{"a string of which one fails", "Z", strings.TrimSuffix(state, "Z(I)") + "E(08P01) Z(I)", []pgproto3.FrontendMessage{text("SHOW STATE; DROP TABLE x; SHOW STATE")}},
		{"quotes without an end", "Z", "E(42601) Z(I)", []pgproto3.FrontendMessage{text(`SHOW "state`)}},
		{"bytes that are no text", "Z", "E(08P01) Z(I)", []pgproto3.FrontendMessage{text("SHOW \xff\xfe")}},
	} {
		s := logIn(t, r.consoleURL(t, "watcher"))
		s.wants(c.name, c.answer, c.kinds, c.sent...)
		s.wants(c.name+": it goes on", state, "Z", text("SHOW STATE"))
	}
	s := logIn(t, r.consoleURL(t, "watcher"))
	for i := range 100 {
		s.send(packed(t, prepare(fmt.Sprint("s", i), "SHOW STATE"), syncNow))
	}
	if got := s.until(strings.Repeat("Z", 100)); strings.Count(got, "1 Z") != 64 || strings.Count(got, "E(54000) Z") != 36 {
		t.Errorf("of 100 statements some are one too many: %s", got)
	}
}

// Every message cut off at every byte, its length made to fit.
func TestEveryTruncationOfAMessageToTheConsoleIsRefusedOrAnswered(t *testing.T) {
	r := startProxy(t, watched)
	for _, m := range []pgproto3.FrontendMessage{
		&pgproto3.Parse{Name: "a", Query: "SHOW STATE", ParameterOIDs: []uint32{23}},
		&pgproto3.Bind{PreparedStatement: "known", ParameterFormatCodes: []int16{1}, ResultFormatCodes: []int16{1}},
		executing("p"), describing('S', "known"), forgetting('P', "p"), call(advisoryUnlock, int8(5)), text("SHOW STATE"),
	} {
		whole := packed(t, m)
		for n := 5; n < len(whole); n++ {
			s := logIn(t, r.consoleURL(t, "watcher"))
			binary.BigEndian.PutUint32(whole[1:], uint32(n-1))
			s.send(append(packed(t, prepare("known", "SHOW STATE"), syncNow), append(bytes.Clone(whole[:n]), packed(t, syncNow, text("SELECT 4711"))...)...))
			got := s.until("ZCZ")
			if strings.Contains(got, "4711") == strings.Contains(got, "(end)") || strings.Contains(got, "silence") {
				t.Errorf("%T cut to %d bytes: %s", m, n, got)
			}
			s.conn.Close()
		}
	}
}

// A megabyte of anything at all: the console ends or waits for the end of a message that is within its bounds. Nothing is kept.
func TestAMegabyteOfJunkInAConsole(t *testing.T) {
	r := startProxy(t, watched)
	logIn(t, r.consoleURL(t, "watcher")).conn.Close()
	before := measure(t)
	for seed := range uint64(20) {
		dice := rand.New(rand.NewPCG(seed, 1))
		junk := make([]byte, 1<<20)
		for i := range junk {
			junk[i] = byte(dice.Uint32())
		}
		switch seed % 4 {
		case 1: // a good head
			copy(junk, framed('Q', 16<<10, ""))
		case 2: // one that is too long
			copy(junk, framed('Q', 1<<20, ""))
		case 3: // nothing but short messages of kinds that there are
			kinds := "QPBDECSHFdcf"
			for i := 0; i+9 <= len(junk); i += 9 {
				copy(junk[i:], framed(kinds[dice.IntN(len(kinds))], 8, ""))
			}
		}
		s := logIn(t, r.consoleURL(t, "watcher"))
		_, _ = s.conn.Write(junk) // it may be told to go before all is read
		_ = s.conn.(*net.TCPConn).CloseWrite()
		_ = s.conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, s.conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("seed %d: the console hangs", seed)
		}
		s.conn.Close()
	}
	await(t, "nothing is left of it", func() bool {
		after := measure(t)
		return after.goroutines <= before.goroutines && after.heap < before.heap+2<<20
	})
}

// A string of commands of a client that does not read the answers: the console waits for it, and keeps nothing.
func TestAConsoleWhoseClientDoesNotReadKeepsNothing(t *testing.T) {
	const commands, most = 1000, 8 << 20 // of 40 MB; the system takes some
	r := startProxy(t, watched)
	inParallel(8, 150, func(int) { logIn(t, r.url, "application_name", strings.Repeat("x", 60)) })
	s := logIn(t, r.consoleURL(t, "watcher"))
	before := measure(t).heap
	s.send(packed(t, text(strings.Repeat("SHOW CLIENTS;", commands))))
	s.until("C")
	var last int64
	await(t, "the console waits", func() bool {
		heap := measure(t).heap
		still := max(heap-last, last-heap) < 64<<10
		last = heap
		return still
	})
	if last > before+most {
		t.Errorf("%d kB are kept", (last-before)>>10)
	}
	s.conn.Close()
}

// Who has no right to the console gets no answer, whatever is sent ahead of the login's end; who may look has nothing done.
func TestAConsoleAnswersNobodyWithoutTheRight(t *testing.T) {
	file := written(t, "userlist.txt", fmt.Sprintf("%q \"secret-1\"\n\"watcher\" \"secret-1\"\n\"stranger\" \"secret-1\"\n", postgres.Superuser))
	for _, auth := range []proxy.Auth{{Type: proxy.SCRAM, File: file}, {Type: proxy.MD5, File: file}, {Type: proxy.Trust}} {
		r := startProxy(t, watched, authenticated(auth))
		told := map[string]string{"stranger": "E(FATAL 08P01) (end)", "nobody": "E(FATAL 08P01) (end)", "watcher": "E(FATAL 08P01) (end)", postgres.Superuser: "E(FATAL 08P01) (end)"}
		if auth.Type == proxy.Trust {
			told = map[string]string{"stranger": "E(FATAL 42501) (end)", "nobody": "E(FATAL 42501) (end)", "watcher": "Z(I) E(42501) Z(I) 1 2 E(42501) Z(I) (end)"}
		}
		for user, want := range told {
			for _, command := range []string{"SHUTDOWN", "KILL", "SET server.max_clients = 1", "PAUSE", "RELOAD"} {
				s := openSocket(t, r.consoleURL(t, user))
				s.send(append(startup(r.consoleURL(t, user)),
					packed(t, text(command), prepare("", command), bindTo("", ""), executing(""), syncNow, leaving)...))
				if got := s.until("~"); got != want {
					t.Errorf("%s, %s: %s is answered by %s", auth.Type, user, command, got)
				}
			}
		}
		if auth.Type == proxy.Trust {
			continue
		}
		for who, want := range map[[2]string]string{{"stranger", "secret-1"}: "42501", {"stranger", "wrong"}: "28P01", {"nobody", "secret-1"}: "28P01",
			{postgres.Superuser, "wrong"}: "28P01", {postgres.Superuser, "secret-1"}: "", {"watcher", "secret-1"}: ""} {
			conn, err := pgx.Connect(t.Context(), as(t, r.consoleURL(t, "x"), who[0], who[1]))
			if sqlState(err) != want {
				t.Errorf("%s, %s with %s: %v", auth.Type, who[0], who[1], err)
			}
			if err == nil {
				closeConn(conn.Close)
			}
		}
	}
}

// What clients call themselves breaks neither an operator's screen nor a scrape.
func TestNamesInAnyBytesAreShown(t *testing.T) {
	r := startProxy(t, watched, measured)
	for _, name := range []string{"\xff", "\xfe", "\uFFFD", "a\x1b[2J", `"; DROP`, "' OR ''='"} {
		logIn(t, as(t, r.url, name, ""), "application_name", name).asks("Z", text("SELECT 1"))
	}
	c := r.console(t, "watcher")
	for command := range consoleColumns {
		for _, mode := range execModes {
			rows(t, c, "SHOW "+command, mode)
		}
	}
	if out, err := psql(t, r.consoleURL(t, "watcher"), "SHOW CLIENTS").CombinedOutput(); err != nil {
		t.Errorf("psql: %v, %s", err, out)
	}
	status, body := r.get(t, "/metrics")
	if status != 200 || !strings.Contains(body, "\"\uFFFDff\"") || !strings.Contains(body, "\"\uFFFDfe\"") {
		t.Errorf("/metrics: %d, %.2000s", status, body)
	}
}
