package test

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// say is one step of a conversation: messages sent at once, and the kinds of messages to wait for then.
type say struct {
	until    string
	messages []pgproto3.FrontendMessage
}

func and(until string, messages ...pgproto3.FrontendMessage) say { return say{until, messages} }

// call is a FunctionCall with its arguments in binary; the result is binary as well.
func call(oid uint32, arguments ...[]byte) *pgproto3.FunctionCall {
	return &pgproto3.FunctionCall{Function: oid, ArgFormatCodes: []uint16{1}, Arguments: arguments, ResultFormatCode: 1}
}

func int4(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func int8(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// The oids of functions that pgjdbc's large objects and others call by FunctionCall (pg_proc.dat).
const (
	loOpen, loClose, loRead, loWrite, loCreate, loUnlink = 952, 953, 954, 955, 715, 964
	advisoryLock, advisoryUnlock                         = 2880, 2885
)

// sameAnswers are conversations that must be answered as by PostgreSQL itself. Table t (a int) is empty when each
// begins. References: see ../proxy/session/pitfalls_test.go for the letters.
var sameAnswers = []struct {
	rule  string
	steps []say
}{
	{"B#1023: a Sync in the middle of a COPY is no unit", []say{
		and("G", text("COPY t FROM STDIN")), and("Z", copied("1\n"), syncNow, copied("2\n"), copyOver),
		and("Z", text("SELECT count(*) FROM t"))}},
	{"B#1025: nor is one sent before the COPY began", []say{
		and("G", prepare("", "COPY t FROM STDIN"), bindTo("", ""), executing(""), syncNow),
		and("Z", copied("1\n"), copyOver, syncNow), and("Z", text("SELECT count(*) FROM t"))}},
	{"B#1470: CopyData behind the COPY's error", []say{
		and("GEZ", text("COPY t FROM STDIN"), copied("nonsense\n")),
		and("Z", copied("1\n"), copied("2\n"), copyOver, text("SELECT count(*) FROM t"))}},
	{"B#1471: the same in a batch", []say{
		and("GE", prepare("", "COPY t FROM STDIN"), bindTo("", ""), executing(""), flushNow, copied("nonsense\n"), flushNow),
		and("Z", copied("1\n"), copyOver, syncNow), and("Z", text("SELECT count(*) FROM t"))}},
	{"B#1470: all of it in one packet", []say{
		and("GEZZ", text("COPY t FROM STDIN"), copied("nonsense\n"), copied("2\n"), copyOver, text("SELECT count(*) FROM t"))}},
	{"B#1023: a Sync behind a row that fails is a unit of its own", []say{
		and("GEZZ", text("COPY t FROM STDIN"), copied("nonsense\n"), syncNow), and("Z", text("SELECT count(*) FROM t"))}},
	{"B#1023: some of several are", []say{
		and("GEZZZ", text("COPY t FROM STDIN"), syncNow, syncNow, copied("nonsense\n"), syncNow, copied("1\n"), syncNow), and("Z", copyOver, text("SELECT 1"))}},
	{"B#1023: the same in a batch", []say{
		and("GEZZ", prepare("", "COPY t FROM STDIN"), bindTo("", ""), executing(""), syncNow, copied("nonsense\n"), syncNow, copyOver, syncNow),
		and("Z", text("SELECT count(*) FROM t"))}},
	{"B#1025: a batch that none of them has ended goes on", []say{
		and("GE", prepare("", "COPY t FROM STDIN"), bindTo("", ""), executing(""), syncNow, copied("nonsense\n")),
		and("Z", prepare("skipped", "SELECT 1"), syncNow), and("Z", bindTo("", "skipped"), executing(""), syncNow)}},
	{"B#1470: what stands behind such a Sync is another batch", []say{
		and("GEZZZ", prepare("", "COPY t FROM STDIN"), bindTo("", ""), executing(""), copied("nonsense\n"), syncNow, prepare("", "SELECT 1"), bindTo("", ""),
			executing(""), syncNow, prepare("a", "SELECT 2"), syncNow), and("Z", bindTo("", "a"), executing(""), syncNow)}},
	{"B#1470: or a query", []say{
		and("GEZZZ", text("COPY t FROM STDIN"), copied("nonsense\n"), syncNow, text("SELECT 7")), and("Z", text("SELECT 8"))}},
	{"a row that fails at the end of the COPY, behind a Sync", []say{
		and("Z", text("CREATE TEMP TABLE k (a int PRIMARY KEY)")),
		and("GEZ", text("COPY k FROM STDIN"), copied("1\n1\n"), syncNow, copyOver), and("Z", text("SELECT count(*) FROM k")),
		and("GEZ", prepare("", "COPY k FROM STDIN"), bindTo("", ""), executing(""), copied("1\n1\n"), syncNow, copyOver, syncNow), and("Z", text("SELECT count(*) FROM k"))}},
	{"a COPY that fails twice in a transaction, with Syncs everywhere", []say{
		and("ZGEZZ", text("BEGIN"), text("COPY t FROM STDIN"), syncNow, copied("nonsense\n"), syncNow),
		and("ZZ", text("ROLLBACK"), text("SELECT 1"))}},
	{"a message that no COPY takes ends the connection", []say{
		and("G", prepare("", "COPY t FROM STDIN"), bindTo("", ""), executing(""), syncNow), and("Z", copied("1\n"), syncNow, prepare("", "SELECT 1"), syncNow)}},
	{"CopyFail ends a COPY with the client's error", []say{
		and("G", text("COPY t FROM STDIN")), and("Z", copied("1\n"), &pgproto3.CopyFail{Message: "changed my mind"}),
		and("Z", text("SELECT count(*) FROM t"))}},
	{"COPY TO STDOUT", []say{and("Z", text("COPY (SELECT generate_series(1, 3)) TO STDOUT"))}},
	{"B#1555: Parse and Close mixed without Sync", []say{
		and("Z", prepare("a", "SELECT 1"), forgetting('S', "a"), prepare("a", "SELECT 2"), forgetting('S', "none"), bindTo("", "a"),
			executing(""), forgetting('P', ""), prepare("b", "SELECT 3"), syncNow),
		and("Z", prepare("b", "SELECT 3"), syncNow), and("Z", bindTo("", "b"), executing(""), syncNow)}},
	{"M 3.2.4: a client that sends Flush and hardly ever Sync", []say{
		and("tT", prepare("a", "SELECT $1::int"), describing('S', "a"), flushNow), and("C", bindTo("", "a", "1"), executing(""), flushNow),
		and("C", bindTo("", "a", "2"), executing(""), flushNow), and("E", bindTo("", "a", "x"), executing(""), flushNow),
		and("Z", bindTo("", "a", "3"), executing(""), syncNow), and("Z", bindTo("", "a", "4"), executing(""), syncNow)}},
	{"S#1061: a pipe across transactions", []say{
		and("ZZZZZZZ", text("BEGIN"), text("INSERT INTO t VALUES (1)"), text("COMMIT"), text("BEGIN"), text("INSERT INTO t VALUES (2)"),
			text("ROLLBACK"), text("SELECT sum(a) FROM t"))}},
	{"S#1176: the same in the extended protocol", []say{
		and("ZZZZ", prepare("b", "BEGIN"), prepare("i", "INSERT INTO t VALUES ($1)"), prepare("c", "COMMIT"), bindTo("", "b"), executing(""),
			syncNow, bindTo("", "i", "1"), executing(""), bindTo("", "i", "2"), executing(""), bindTo("", "c"), executing(""),
			bindTo("", "b"), executing(""), syncNow, bindTo("", "c"), executing(""), syncNow, text("SELECT sum(a) FROM t"))}},
	{"S#1079: the first message is a Sync", []say{and("ZZZ", syncNow, syncNow, text("SELECT 1"))}},
	{"S#1176: a Bind without its Parse", []say{and("Z", bindTo("", "none"), executing(""), syncNow), and("Z", text("SELECT 1"))}},
	{"an error in the middle of a pipe rolls its batch back and no other", []say{
		and("ZZ", prepare("", "INSERT INTO t VALUES (1)"), bindTo("", ""), executing(""), prepare("", "SELECT 1/0"), bindTo("", ""),
			executing(""), prepare("", "INSERT INTO t VALUES (2)"), bindTo("", ""), executing(""), syncNow,
			prepare("", "INSERT INTO t VALUES (4)"), bindTo("", ""), executing(""), syncNow),
		and("Z", text("SELECT sum(a) FROM t"))}},
	{"an error in a transaction's pipe fails the rest of it", []say{
		and("ZZZZZ", text("BEGIN"), text("SELECT 1/0"), prepare("a", "SELECT 1"), syncNow, text("COMMIT"), text("SELECT 2")),
		and("Z", prepare("a", "SELECT 1"), syncNow)}},
	{"C#734: the unnamed statement lives on across batches", []say{
		and("Z", prepare("", "SELECT $1::int"), describing('S', ""), syncNow), and("Z", bindTo("", "", "1"), executing(""), syncNow),
		and("Z", bindTo("", "", "2"), executing(""), syncNow), and("Z", text("SELECT 3")), and("Z", bindTo("", "", "4"), executing(""), syncNow)}},
	{"C#611: a name is prepared once", []say{
		and("Z", prepare("a", "SELECT 1"), syncNow), and("Z", prepare("a", "SELECT 2"), syncNow), and("Z", bindTo("", "a"), executing(""), syncNow)}},
	{"C#647: a failed Parse prepares nothing", []say{
		and("Z", prepare("a", "SELECT FROM none"), syncNow), and("Z", bindTo("", "a"), syncNow), and("Z", prepare("a", "SELECT 1"), syncNow)}},
	{"M 3.1.7, B#972: DEALLOCATE ALL forgets names, and they can be used again", []say{
		and("Z", prepare("a", "SELECT 1"), prepare("b", "SELECT 2"), syncNow), and("Z", text("DEALLOCATE ALL")),
		and("Z", bindTo("", "a"), executing(""), syncNow), and("Z", prepare("a", "SELECT 3"), bindTo("", "a"), executing(""), syncNow)}},
	{"M 3.10.0: so does DISCARD ALL", []say{
		and("Z", prepare("a", "SELECT 1"), syncNow), and("Z", text("SET work_mem = '1MB'")), and("Z", text("DISCARD ALL")),
		and("ZZ", bindTo("", "a"), syncNow, text("SHOW work_mem")), and("Z", prepare("a", "SELECT 3"), bindTo("", "a"), executing(""), syncNow)}},
	{"B#972: DEALLOCATE and EXECUTE know what Parse made", []say{
		and("Z", prepare("a", "SELECT 1"), prepare("b", "SELECT 2"), syncNow), and("Z", text("EXECUTE a")), and("Z", text("DEALLOCATE a")),
		and("Z", bindTo("", "a"), executing(""), syncNow), and("Z", bindTo("", "b"), executing(""), syncNow)}},
	{"PREPARE, then Bind to its name", []say{
		and("Z", text("PREPARE a AS SELECT 1")), and("Z", bindTo("", "a"), executing(""), syncNow), and("Z", forgetting('S', "a"), syncNow),
		and("Z", bindTo("", "a"), executing(""), syncNow)}},
	{"D#1338: closing a portal keeps the statement", []say{
		and("Z", prepare("a", "SELECT 1"), bindTo("a", "a"), forgetting('P', "a"), executing("a"), syncNow), and("Z", bindTo("", "a"), executing(""), syncNow)}},
	{"rows by portions", []say{
		and("Z", text("BEGIN")), and("s", prepare("", "SELECT generate_series(1, 5)"), bindTo("p", ""), &pgproto3.Execute{Portal: "p", MaxRows: 2}, flushNow),
		and("Z", &pgproto3.Execute{Portal: "p", MaxRows: 2}, syncNow), and("Z", executing("p"), syncNow), and("Z", text("COMMIT")),
		and("Z", executing("p"), syncNow)}},
	{"B#52: SET and a batch in one packet", []say{
		and("ZZ", text("SET application_name = 'x'"), prepare("", "SHOW application_name"), bindTo("", ""), executing(""), syncNow)}},
	{"O#564: BEGIN in the extended protocol, with rows behind it", []say{
		and("Z", prepare("", "BEGIN"), describing('S', ""), bindTo("", ""), describing('P', ""), executing(""), syncNow),
		and("Z", prepare("a", "SELECT 1"), bindTo("", "a"), describing('P', ""), executing(""), syncNow), and("Z", text("ROLLBACK"))}},
	{"a name that PREPARE took", []say{and("Z", text("PREPARE a AS SELECT 1")), and("Z", prepare("a", "SELECT 2"), syncNow),
		and("Z", bindTo("", "a"), executing(""), syncNow)}},
	{"D#654: SQL as deep as it gets", []say{and("Z", text("SELECT "+strings.Repeat("(", 100_000)+"1"+strings.Repeat(")", 100_000))),
		and("Z", text(strings.Repeat("/* ", 20_000)+strings.Repeat("*/ ", 20_000)+" SELECT 1"))}},
	{"D#1557: a pipe in which notifications arrive", []say{
		and("ZZAZZ", text("LISTEN ch"), prepare("", "SELECT 1"), bindTo("", ""), executing(""), syncNow, text("NOTIFY ch, 'x'"), prepare("", "SELECT 2"), bindTo("", ""),
			executing(""), syncNow), and("Z", text("UNLISTEN *"))}},
	{"nothing at all", []say{and("ZZZ", text(""), text(" -- nothing"), prepare("", ""), bindTo("", ""), describing('P', ""), executing(""), syncNow)}},
	{"M 3.10.7: large objects by FunctionCall", []say{
		and("Z", text("BEGIN")), and("Z", call(loCreate, int4(4711))), and("Z", call(loOpen, int4(4711), int4(0x60000))),
		and("Z", call(loWrite, int4(0), []byte("hello"))), and("Z", call(loClose, int4(0))), and("Z", call(loOpen, int4(4711), int4(0x40000))),
		and("Z", call(loRead, int4(0), int4(100))), and("Z", call(loUnlink, int4(4711))), and("Z", text("COMMIT"))}},
	{"a FunctionCall that fails", []say{and("Z", call(1)), and("ZZZ", text("BEGIN"), call(loOpen, int4(4711), int4(0)), text("ROLLBACK"))}},
	{"advisory locks by FunctionCall", []say{
		and("Z", call(advisoryLock, int8(7001))), and("Z", call(advisoryLock, int8(7001))), and("Z", call(advisoryUnlock, int8(7001))),
		and("Z", text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")),
		and("Z", call(advisoryUnlock, int8(7001))), and("Z", call(advisoryUnlock, int8(7001)))}},
}

func TestConversationsAreAnsweredAsByTheServerItself(t *testing.T) {
	r := startProxy(t, sized(3, 2))
	r.query(t, "CREATE TABLE t (a int)")
	noise(t, r.url, 3)
	for _, c := range append(sameAnswers, sameState...) {
		t.Run(c.rule, func(t *testing.T) {
			var told [2][]string
			for i, address := range []string{r.direct, r.url} {
				r.query(t, "TRUNCATE t")
				s := logIn(t, address)
				for _, step := range append(c.steps, and("Z", text("SELECT 'in step'"))) {
					got := s.asks(step.until, step.messages...)
					told[i] = append(told[i], got)
					if strings.Contains(got, "FATAL") {
						break
					}
				}
				s.conn.Close()
			}
			if len(told[0]) != len(told[1]) {
				t.Fatalf("\nlockproxy  %v\nPostgreSQL %v", told[1], told[0])
			}
			for i, want := range told[0] {
				if got := told[1][i]; got != want {
					t.Errorf("step %d:\nlockproxy  %s\nPostgreSQL %s", i, got, want)
				}
			}
			if last := told[0][len(told[0])-1]; !strings.Contains(last, "in step") && !strings.Contains(last, "FATAL") {
				t.Errorf("PostgreSQL itself is not in step: the conversation waits for too little: %v", told[0])
			}
		})
	}
	r.awaitNoLocks(t)
}

// S#993, O#1475: both sides wrote, neither read, and nothing moved any more. This client sends megabytes ahead of what it
// reads, and every answer is large.
func TestBothSidesMayWriteMuchAtOnce(t *testing.T) {
	const queries = 1000
	r := startProxy(t, sized(1, 1))
	s := logIn(t, r.url)
	one := packed(t, text("SELECT repeat('x', 20000) /* "+strings.Repeat("y", 20000)+" */"))
	sent := make(chan error, 1)
	go func() {
		for range queries {
			if _, err := s.conn.Write(one); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	time.Sleep(300 * time.Millisecond) // Until then nothing is read, so that both directions fill up.
	for i := range queries {
		if got := s.until("Z"); len(got) < 20000 || !strings.HasSuffix(got, ") C(SELECT 1) Z(I)") {
			t.Fatalf("answer %d has %d bytes", i, len(got))
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// M 3.6.3: after one big INSERT each connection kept megabytes.
func TestBigStatementsLeaveNoBuffers(t *testing.T) {
	const clients, size = 30, 4 << 20
	r := startProxy(t)
	r.query(t, "CREATE TABLE big (a text)")
	var all []*socket
	for range clients {
		all = append(all, logIn(t, r.url))
	}
	before := measure(t)
	value := strings.Repeat("x", size)
	for _, s := range all {
		s.asks("Z", prepare("", "INSERT INTO big VALUES ($1)"), bindTo("", "", value), executing(""), syncNow)
		s.asks("Z", text("INSERT INTO big VALUES ('"+value+"')"))
	}
	if after := measure(t); after.heap > before.heap+clients*64<<10 {
		t.Errorf("%d kB are kept for %d idle clients", (after.heap-before.heap)>>10, clients)
	}
}

// B#1555: PostgreSQL 18 says behind a batch with a query in its midst that no transaction is open, and fails the next statement because there
// is one: nobody else's.
func TestBatchesWithAQueryInThemLeaveNothingToOthers(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	call := &pgproto3.FunctionCall{Function: 177, Arguments: [][]byte{[]byte("1"), []byte("2")}} // int4pl
	for i, amidst := range []pgproto3.FrontendMessage{text("SELECT 2"), call, text("SELECT 2")} {
		s := logIn(t, r.url)
		s.asks("1", prepare("", "SELECT 1"), &pgproto3.Flush{})
		s.asks("2C", bindTo("", ""), executing(""), &pgproto3.Flush{})
		s.asks("Z", amidst)
		if i < 2 {
			s.wants("B#1555", "Z(I)", "Z", syncNow)
		} else {
			s.conn.Close()
		}
		other := logIn(t, r.url)
		other.wants("B#1555", "T D(3) C(SELECT 1) Z(I)", "Z", text("SELECT 3"))
		other.asks("", leaving)
	}
}
