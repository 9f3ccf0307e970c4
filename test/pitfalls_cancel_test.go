package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// B#38, B#245, B#717, C#297, D#1505, O#1216: a cancel request that came late hit whoever had the backend then. Here
// requests race the ends of statements on two backends that everybody shares; CANCELS sets how many.
func TestCancelHitsItsOwnStatementAndNobodyElses(t *testing.T) {
	const parallel = 4
	cancels := 2000
	if n, err := strconv.Atoi(os.Getenv("CANCELS")); err == nil {
		cancels = n
	}
	r := startProxy(t, sized(2, 1))
	noise(t, r.url, 4) // Each would report an error that it did not make.
	var hit, missed atomic.Int32
	inParallel(parallel, parallel, func(client int) {
		s := logIn(t, r.url)
		for i := range cancels / parallel {
			s.send(packed(t, text("SELECT pg_sleep(0.003)")))
			time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond) // The race is the point.
			if err := s.cancel(); err != nil {
				t.Error(err)
				return
			}
			switch got := s.until("Z"); got {
			case "T D() C(SELECT 1) Z(I)":
				missed.Add(1)
			case "T E(57014) Z(I)", "E(57014) Z(I)", "T D() E(57014) Z(I)": // the last: between its row and its end
				hit.Add(1)
			default:
				t.Errorf("a cancelled statement is answered by %s", got)
				return
			}
			mark := fmt.Sprint(client*1_000_000 + i)
			if got := s.asks("Z", text("SELECT "+mark)); got != "T D("+mark+") C(SELECT 1) Z(I)" {
				t.Errorf("the statement behind a cancelled one is answered by %s", got)
				return
			}
		}
	})
	if hit.Load() < int32(cancels/20) || missed.Load() < int32(cancels/20) {
		t.Errorf("%d were hit and %d missed: that was no race", hit.Load(), missed.Load())
	}
}

// B#6: a cancel ends the wait for a backend. D#1362, B#542: it reaches a statement although all backends are taken.
func TestCancelReachesWhoWaitsAndWhoRunsThoughThePoolIsFull(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	runner, waiter, other := logIn(t, r.url), logIn(t, r.url), logIn(t, r.url)
	runner.runs(r, "SELECT pg_sleep(64)")
	waiter.send(packed(t, text("SELECT 1")))
	other.asks("Z", text("BEGIN"))
	other.send(packed(t, text("SELECT 2")))
	cancelled := func(s *socket, want string) {
		t.Helper()
		start := time.Now()
		if err := s.cancel(); err != nil {
			t.Fatal(err)
		}
		if got := s.until("Z"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
	}
	cancelled(waiter, "E(57014) Z(I)")
	cancelled(other, "E(57014) Z(E)")
	cancelled(runner, "T E(57014) Z(I)")
	waiter.wants("the sessions live on", "T D(1) C(SELECT 1) Z(I)", "Z", text("SELECT 1"))
	other.wants("in their failed transactions", "E(25P02) Z(E) C(ROLLBACK) Z(I)", "ZZ", text("SELECT 1"), text("ROLLBACK"))
	runner.wants("none is one answer behind (B#141)", "T D(3) C(SELECT 1) Z(I)", "Z", text("SELECT 3"))
	if err := runner.cancel(); err != nil { // Nothing runs.
		t.Fatal(err)
	}
	runner.wants("a cancel of nothing is nothing", "T D(4) C(SELECT 1) Z(I)", "Z", text("SELECT 4"))
}

// A wait for a lock in the server ends, and so does one for a lock slot.
func TestCancelEndsWaitsForLocks(t *testing.T) {
	r := startProxy(t, sized(2, 2))
	holder, waiter := logIn(t, r.url), logIn(t, r.url)
	holder.asks("Z", text("SELECT pg_advisory_lock(1)"))
	waiter.send(packed(t, text("SELECT pg_advisory_lock(1)")))
	r.awaitWaiter(t)
	if err := waiter.cancel(); err != nil {
		t.Fatal(err)
	}
	if got := waiter.until("Z"); got != "T E(57014) Z(I)" {
		t.Errorf("a wait in the server is answered by %s", got)
	}
	waiter.asks("ZZ", text("BEGIN"), text("SELECT pg_advisory_xact_lock(2)")) // Both lock slots are taken.
	late := logIn(t, r.url)
	late.asks("ZZ", text("BEGIN"), text("SELECT 1"))
	late.send(packed(t, text("SELECT pg_advisory_xact_lock(3)")))
	time.AfterFunc(100*time.Millisecond, func() {
		if err := late.cancel(); err != nil {
			t.Error(err)
		}
	})
	if got := late.until("Z"); got != "E(57014) Z(E)" {
		t.Errorf("a wait for a slot is answered by %s", got)
	}
	late.wants("rolled back", "C(ROLLBACK) Z(I)", "Z", text("ROLLBACK"))
}

// B#846, B#849, B#927, B#1383: whoever cancels may be gone in the middle of it, and may be anybody.
func TestCancelRequestsOfStrangersDoNothing(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	s := logIn(t, r.url)
	s.runs(r, "SELECT pg_sleep(0.6)")
	whole := []byte("\x00\x00\x00\x10\x04\xd2\x16\x2e")
	for i := range 20 {
		for n := range whole {
			half := openSocket(t, r.url)
			half.send(whole[:n+1])
			half.conn.Close()
		}
		wrong := slices.Clone(s.key)
		wrong[i%len(wrong)] ^= byte(i + 1)
		stranger := &socket{t: t, conn: s.conn, pid: s.pid, key: wrong}
		if err := stranger.cancel(); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.until("Z"); got != "T D() C(SELECT 1) Z(I)" {
		t.Errorf("the statement is answered by %s", got)
	}
}

// O#477: after a change of a table's columns a statement prepared before fails as on the server itself, and is well once
// it is prepared again.
func TestAStatementWhoseResultChangedCanBePreparedAgain(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	var told [2][]string
	for i, address := range []string{r.direct, r.url} {
		r.query(t, "DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT 1 AS a")
		s := logIn(t, address)
		told[i] = append(told[i], s.asks("Z", prepare("p", "SELECT * FROM t"), bindTo("", "p"), executing(""), syncNow))
		r.query(t, "ALTER TABLE t ADD b int DEFAULT 2")
		told[i] = append(told[i], s.asks("Z", bindTo("", "p"), executing(""), syncNow),
			s.asks("Z", forgetting('S', "p"), prepare("p", "SELECT * FROM t"), bindTo("", "p"), executing(""), syncNow),
			s.asks("Z", bindTo("", "p"), executing(""), syncNow))
	}
	for i, want := range told[0] {
		if got := told[1][i]; got != want {
			t.Errorf("step %d:\nlockproxy  %s\nPostgreSQL %s", i, got, want)
		}
	}
}

// D#1362, M 3.5.3: one backend, more statements than it keeps, used in every order by clients that share it.
func TestStatementsBeyondTheBoundComeBackWhenTheyAreUsed(t *testing.T) {
	const statements = 450 // The bound is 200.
	r := startProxy(t, sized(1, 1))
	clients := []*socket{logIn(t, r.url), logIn(t, r.url)}
	for i := range statements {
		for _, s := range clients {
			s.asks("Z", prepare(fmt.Sprint("s", i), fmt.Sprint("SELECT ", i)), syncNow)
		}
	}
	for range 600 {
		i := rand.IntN(statements)
		want := fmt.Sprintf("2 D(%d) C(SELECT 1) Z(I)", i)
		if got := clients[rand.IntN(2)].asks("Z", bindTo("", fmt.Sprint("s", i)), executing(""), syncNow); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	if got, want := clients[0].value("SELECT count(*) FROM pg_prepared_statements"), strconv.Itoa(statements); got != want {
		t.Errorf("the client sees %s statements, it has %s", got, want)
	}
	for i := range statements { // those shared by clients have gone, and are made again
		clients[0].asks("Z", bindTo("", fmt.Sprint("s", i)), executing(""), syncNow)
	}
	// Nobody sees the view in a text that is put together: it shows what the backend has.
	kept := clients[0].value("SELECT (xpath('count(//name)', query_to_xml('SELECT name FROM pg_prep' || 'ared_statements " +
		"WHERE name LIKE ''lockproxy%''', true, false, '')))[1]::text")
	if n, err := strconv.Atoi(kept); err != nil || n > 200 || n < 150 {
		t.Errorf("%s statements are kept", kept)
	}
	if strings.Contains(clients[0].asks("Z", forgetting('S', "s1"), syncNow), "E(") {
		t.Error("Close fails")
	}
}
