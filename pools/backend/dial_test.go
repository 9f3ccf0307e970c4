package backend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockproxy/lockproxy/test/postgres"
)

func TestDialHandsOverAnIdleConnectionAndItsFacts(t *testing.T) {
	c := dial(t, server(t).URL("postgres"))
	rows, _ := query(t, c, "select pg_backend_pid()::text union all select current_setting('server_version_num')")
	if want := []string{fmt.Sprint(c.Pid), fmt.Sprint(c.Version)}; !slices.Equal(rows, want) {
		t.Errorf("the server says %v, the facts are %v", rows, want)
	}
	if len(c.Key) != 4 {
		t.Errorf("the key has %d bytes", len(c.Key))
	}
	byName := func(a, b Parameter) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) }
	if c.Version < 160000 && !slices.IsSortedFunc(c.Parameters, byName) {
		t.Errorf("parameters out of order: %v", c.Parameters)
	}
	for _, p := range []Parameter{{"client_encoding", "UTF8"}, {"application_name", ""}, {"integer_datetimes", "on"}} {
		if !slices.Contains(c.Parameters, p) {
			t.Errorf("%v is missing in %v", p, c.Parameters)
		}
	}
}

func TestDialOverAUnixSocket(t *testing.T) {
	s := server(t)
	c := dial(t, fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres", s.SocketDir, s.Port))
	if c.Net.RemoteAddr().Network() != "unix" {
		t.Errorf("the connection is of network %s", c.Net.RemoteAddr().Network())
	}
	wantCancelWorks(t, c)
}

func TestDialByEveryMethodOfAuthentication(t *testing.T) {
	s := server(t)
	for _, method := range []postgres.Method{postgres.SCRAM, postgres.MD5, postgres.Cleartext} {
		name := "dial_" + strings.ReplaceAll(string(method), "-", "_")
		if err := s.CreateUser(name, "hunter2", method); err != nil {
			t.Fatal(err)
		}
		t.Run(string(method), func(t *testing.T) {
			plain := fmt.Sprintf("host=127.0.0.1 port=%d dbname=postgres", s.Port)
			c, err := Dial(context.Background(), target(t, plain).With(name, "").Proving(name, Proof{Password: "hunter2"}))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if rows, _ := query(t, c, "select current_user"); !slices.Equal(rows, []string{name}) {
				t.Errorf("logged in as %v", rows)
			}
			wrong := dialTargetFails(t, target(t, plain).With(name, "").Proving(name, Proof{Password: "hunter2hunter2"}))
			if wrong.Server == nil || wrong.Server.Code != "28P01" || !wrong.Permanent() {
				t.Errorf("a wrong password: %v", wrong)
			}
			if want := fmt.Sprintf("FATAL: password authentication failed for user %q (SQLSTATE 28P01)", name); wrong.Error() != want {
				t.Errorf("got %q, want %q", wrong, want)
			}
		})
	}
}

func TestRefusalsOfTheServerArePassedOnWhole(t *testing.T) {
	s := server(t)
	for _, c := range []struct {
		change, code, message string
		permanent             bool
	}{
		{"dbname=none", "3D000", `database "none" does not exist`, true},
		{"dbname=template0", "55000", `database "template0" is not currently accepting connections`, true},
		{"user=nobody_here", "28000", `role "nobody_here" does not exist`, true},
		{"no_such_setting=1", "42704", `unrecognized configuration parameter "no_such_setting"`, true},
		{"work_mem=much", "22023", `invalid value for parameter "work_mem": "much"`, true},
	} {
		text := fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=postgres %s", s.Port, c.change)
		e := dialFails(t, text)
		if e.Server == nil || e.Server.Code != c.code || e.Server.Message != c.message || e.Server.Severity != "FATAL" {
			t.Errorf("%s: %v", c.change, e)
		}
		if e.Permanent() != c.permanent {
			t.Errorf("%s: Permanent is %v", c.change, e.Permanent())
		}
	}
}

func TestAFullServerIsNoPermanentRefusal(t *testing.T) {
	s := server(t)
	if _, err := s.Query("postgres", "create role one_only login connection limit 1"); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("host=127.0.0.1 port=%d user=one_only dbname=postgres", s.Port)
	dial(t, text)
	e := dialFails(t, text)
	if e.Server == nil || e.Server.Code != "53300" || e.Permanent() {
		t.Errorf("got %v, permanent %v", e, e.Permanent())
	}
}

func TestNobodyThereIsANetworkErrorInOneLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	e := dialFails(t, "postgres://u:hunter2@"+address+"/d")
	if e.Server != nil || e.Permanent() || strings.Count(e.Error(), "connection refused") != 1 || strings.Contains(e.Error(), "\n") {
		t.Errorf("got %q", e)
	}
}

func TestAServerThatClosesAtOnceIsANetworkError(t *testing.T) {
	e := dialFails(t, "postgres://u:hunter2@"+listen(t, func(net.Conn) {})+"/d?sslmode=disable")
	if e.Server != nil || e.Permanent() {
		t.Errorf("got %v", e)
	}
}

// S#970, S#962: an upstream that was silent in mid-login hung its clients for ever.
func TestASilentServerIsBoundedByConnectTimeout(t *testing.T) {
	for name, says := range map[string][]byte{
		"nothing at all":       nil,
		"in mid-login":         {'R', 0, 0, 0, 8, 0, 0, 0, 0},
		"in mid-message":       {'R', 0, 0, 0},
		"before the facts":     []byte("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I"),
		"after half an answer": []byte("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05IT"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := listen(t, func(conn net.Conn) {
				_, _ = conn.Write(says)
				drain(conn)
			})
			start := time.Now()
			e := dialFails(t, "postgres://u:hunter2@"+address+"/d?sslmode=disable&connect_timeout=2")
			if took := time.Since(start); took < time.Second || took > soon {
				t.Errorf("it takes %v", took)
			}
			if e.Server != nil || !strings.Contains(e.Error(), "timeout") {
				t.Errorf("got %v", e)
			}
		})
	}
}

func drain(conn net.Conn) {
	var b [512]byte
	for {
		if _, err := conn.Read(b[:]); err != nil {
			return
		}
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	address := listen(t, func(conn net.Conn) {
		cancel() // it is connected and waits for an answer
		drain(conn)
	})
	_, err := Dial(ctx, target(t, "postgres://u@"+address+"/d?sslmode=disable"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAHugeMessageOfTheServerIsNotRead(t *testing.T) {
	address := listen(t, func(conn net.Conn) {
		_, _ = conn.Write([]byte{'R', 0x3f, 0xff, 0xff, 0xff})
		drain(conn)
	})
	e := dialFails(t, "postgres://u@"+address+"/d?sslmode=disable")
	if !strings.Contains(e.Error(), "exceeds maximum") && !strings.Contains(e.Error(), "body") {
		t.Errorf("got %v", e)
	}
}

func TestOfSeveralHostsTheOneThatSuitsIsTaken(t *testing.T) {
	clearEnvironment(t)
	s := server(t)
	closed := listen(t, func(net.Conn) {})
	text := "postgres://postgres@" + closed + ",127.0.0.1:" + fmt.Sprint(s.Port) + "/postgres?sslmode=disable&target_session_attrs="
	for _, attrs := range []string{"any", "read-write", "primary"} {
		c := dial(t, text+attrs)
		wantCancelWorks(t, c)
	}
	e := dialFails(t, text+"standby")
	if e.Server != nil || e.Permanent() {
		t.Errorf("no host suits: %v", e)
	}
}

// A role whose statements may take no time at all can connect directly.
func TestQuestionsAreNotBoundedByARolesStatementTimeout(t *testing.T) {
	s := server(t)
	const bound = "100ms"
	for _, statement := range []string{"create role hasty login", "alter role hasty set statement_timeout = '" + bound + "'"} {
		if _, err := s.Query("postgres", statement); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Query("postgres", "alter role hasty set transaction_timeout = '"+bound+"'"); err != nil && !strings.Contains(err.Error(), "unrecognized") {
		t.Fatal(err) // servers before 17 do not have it
	}
	hasty, slow := target(t, s.UserURL("hasty", "", "postgres")), Probe{Name: "nothing", SQL: "select pg_sleep(0.4)"}
	c, err := Dial(context.Background(), hasty, &slow)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !c.BoundsStatements || !strings.Contains(c.Defaults.text.Value(), `"statement_timeout" : "100"`) {
		t.Errorf("the bound is not known: %v, %s", c.BoundsStatements, c.Defaults.text.Value())
	}
	if rows, _ := query(t, c, "select setting || unit || source from pg_settings where name = 'statement_timeout'"); !slices.Equal(rows, []string{bound + "user"}) {
		t.Errorf("the session begins with %v", rows)
	}
	line, err := Open(context.Background(), hasty)
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	if err := line.Ask(context.Background(), &slow); err != nil {
		t.Error(err)
	}
}

func TestTimeoutsThatTheApplicationChoseAreKnown(t *testing.T) {
	s := server(t)
	database := s.NewDatabase(t)
	statements := []string{
		"create role chose_both login", "alter role chose_both set lock_timeout = 0",
		"alter role chose_both set idle_in_transaction_session_timeout = '1h'",
		"create role chose_here login", "alter role chose_here in database " + database + " set lock_timeout = 0",
		"create role chose_none login",
		// Facts must not follow the user's own functions, operators and views of these names.
		"create role hostile login", "alter role hostile set search_path = public, pg_catalog",
	}
	for _, statement := range statements {
		if _, err := s.Query("postgres", statement); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Query(database, "create view public.pg_settings as select 'lock_timeout' as name, '1' as reset_val, 'user' as source"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who, options string
		lock, idle   bool
	}{
		{"chose_none", "", false, false},
		{"chose_both", "", true, true},
		{"chose_here", "", true, false},
		{"chose_none", "-c lock_timeout=5s", true, false},
		{"chose_none", "-c idle_in_transaction_session_timeout=0", false, true},
		{"hostile", "", false, false},
	} {
		u := url.URL{Scheme: "postgres", User: url.User(c.who), Host: fmt.Sprint("127.0.0.1:", s.Port), Path: database}
		if c.options != "" {
			u.RawQuery = "options=" + strings.ReplaceAll(url.QueryEscape(c.options), "+", "%20")
		}
		got := dial(t, u.String())
		if got.OwnLockTimeout != c.lock || got.OwnIdleTimeout != c.idle {
			t.Errorf("%s %q: lock_timeout %v, idle_in_transaction_session_timeout %v", c.who, c.options, got.OwnLockTimeout, got.OwnIdleTimeout)
		}
		if path := map[string]string{"hostile": "public, pg_catalog"}[c.who]; path != "" && got.SearchPath != path {
			t.Errorf("%s: search_path %q", c.who, got.SearchPath)
		}
		got.Close()
	}
}

// What the server sends behind its last answer is a part of the session's future, such as the ParameterStatus of a
// configuration reload.
func TestNothingIsLostBehindTheLastAnswer(t *testing.T) {
	s := server(t)
	status, err := (&pgproto3.ParameterStatus{Name: "lockproxy.test", Value: "late"}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	address := listen(t, func(client net.Conn) { relay(client, s, status) })
	c := dial(t, "postgres://postgres@"+address+"/postgres?sslmode=disable")
	if !slices.Contains(c.Parameters, Parameter{"lockproxy.test", "late"}) {
		t.Errorf("the late parameter is missing in %v", c.Parameters)
	}
	if rows, _ := query(t, c, "select 'in step'"); !slices.Equal(rows, []string{"in step"}) {
		t.Errorf("the next query's answer is %v", rows)
	}
}

// relay forwards between a client and the server, and adds bytes behind the second ReadyForQuery, in the same write.
func relay(client net.Conn, s *postgres.Server, added []byte) {
	real, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", s.Port))
	if err != nil {
		return
	}
	defer real.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer client.Close()
		from := pgproto3.NewFrontend(real, real)
		var out []byte
		for ready := 0; ; {
			m, err := from.Receive()
			if err != nil {
				return
			}
			if out, err = m.Encode(out); err != nil {
				return
			}
			if _, ok := m.(*pgproto3.ReadyForQuery); !ok {
				continue
			}
			if ready++; ready == 2 {
				out = append(out, added...)
			}
			if _, err := client.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
	}()
	var b [4096]byte
	for {
		n, err := client.Read(b[:])
		if err != nil {
			break
		}
		_, _ = real.Write(b[:n])
	}
	real.Close()
	<-done
}

func TestTheSocketIsBareAndHasNoDeadlineLeft(t *testing.T) {
	s := server(t)
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	c, err := Dial(ctx, target(t, s.URL("postgres")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if _, ok := c.Net.(*net.TCPConn); !ok {
		t.Errorf("links want the bare socket, not a %T", c.Net)
	}
	if rows, _ := query(t, c, "select 'alive'"); !slices.Equal(rows, []string{"alive"}) {
		t.Errorf("got %v", rows)
	}
}
