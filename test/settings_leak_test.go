package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Fifty clients share a few backends and set everything that can be set, each otherwise, in every way that there is. Each
// has a twin that is connected directly and does the same: both must see the same settings, all of them, after each step.
func TestFiftyClientsThatSetEverythingSeeOnlyTheirOwn(t *testing.T) {
	const clients, steps = 50, 12
	r := startProxy(t, sized(4, 2))
	r.query(t, "CREATE ROLE leak_one; CREATE ROLE leak_two SUPERUSER")
	t.Cleanup(func() { r.query(t, "DROP ROLE leak_one; DROP ROLE leak_two") })
	known := settables(t, r)
	if len(known) < 100 {
		t.Fatalf("only %d settings can be set", len(known))
	}
	seed := time.Now().UnixNano() % 1_000_000
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			s := &setter{Rand: rand.New(rand.NewSource(seed + int64(i))), known: known, number: i}
			if err := s.play(r, steps); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	all.Wait()
}

// settable is one setting, as pg_settings has it.
type settable struct {
	name, kind string
	low, high  float64
	words      []string
}

// settables lists what a superuser may set in a session without doing the test harm: no log full of plans, no timeout
// that strikes, no error that ends the session.
func settables(t *testing.T, r *rig) (list []settable) {
	rows := r.query(t, `SELECT name, vartype, coalesce(min_val, '0'), coalesce(max_val, '0'), coalesce(array_to_string(enumvals, ','), '')
		FROM pg_settings WHERE context IN ('user', 'superuser') AND vartype <> 'string' AND name !~ '^(log|debug|trace|transaction)_'
		AND name !~ '[.]|timeout|exit_on_error|ignore_|allow_|zero_damaged|max_stack_depth|client_min_messages|row_security|check_interval|tcp_|jit'
		ORDER BY name`)
	for _, row := range rows {
		low, _ := strconv.ParseFloat(row[2], 64)
		high, _ := strconv.ParseFloat(row[3], 64)
		list = append(list, settable{row[0], row[1], low, high, strings.Split(row[4], ",")})
	}
	for name, words := range map[string]string{
		"application_name": "a,b's,c\\d", "search_path": "pg_catalog,public,nowhere", "timezone": "UTC,Asia/Tokyo,America/New_York", "datestyle": "ISO,German,SQL",
		"client_encoding": "UTF8,LATIN1", "statement_timeout": "1h,2h,0", "lock_timeout": "1h,2h", "idle_in_transaction_session_timeout": "1h,2h",
		"client_min_messages": "warning,error", "row_security": "on,off", "lc_messages": "C,POSIX", "app.tenant": "1,2,3", "app.user_id": "7,8",
		"role": "leak_one,leak_two,none", "session_authorization": "leak_two,postgres", "default_tablespace": "pg_default,",
	} {
		list = append(list, settable{name: name, kind: "enum", words: strings.Split(words, ",")})
	}
	return list
}

// setter is one client and its twin.
type setter struct {
	*rand.Rand
	known   []settable
	number  int
	through *pgconn.PgConn
	direct  *pgconn.PgConn
}

func (s *setter) play(r *rig, steps int) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	options := "-c work_mem=" + strconv.Itoa(64+s.Intn(1000)) + "kB -c app.tenant=" + strconv.Itoa(s.number)
	for _, side := range []struct {
		conn **pgconn.PgConn
		url  string
	}{{&s.through, r.url}, {&s.direct, r.direct}} {
		config, err := pgconn.ParseConfig(side.url)
		if err != nil {
			return err
		}
		config.RuntimeParams["options"] = options
		config.RuntimeParams["application_name"] = "client " + strconv.Itoa(s.number)
		if *side.conn, err = pgconn.ConnectConfig(ctx, config); err != nil {
			return err
		}
		defer (*side.conn).Close(context.Background())
	}
	var told []string
	for range steps {
		text := s.change()
		told = append(told, text)
		if err := s.same(ctx, text); err != nil {
			return fmt.Errorf("%s\nafter\n%s", err, strings.Join(told, "\n"))
		}
	}
	return nil
}

// change makes up a text that changes settings.
func (s *setter) change() string {
	name, value := s.pair()
	quoted := "'" + strings.ReplaceAll(value, "'", "''") + "'"
	set := "SET " + name + " = " + quoted
	if name == "role" && value == "none" {
		set = "SET ROLE NONE"
	}
	switch s.Intn(12) {
	case 0:
		return "RESET ALL"
	case 1:
		return "RESET " + name
	case 2:
		return "BEGIN; " + set + "; ROLLBACK"
	case 3:
		return "BEGIN; SET LOCAL " + strings.TrimPrefix(set, "SET ") + "; COMMIT"
	case 4:
		return "BEGIN; SAVEPOINT s; " + set + "; ROLLBACK TO s; COMMIT"
	case 5:
		return "DO $$ BEGIN PERFORM set_config('" + name + "', " + quoted + ", false); END $$"
	case 6, 7:
		return "SELECT set_config('" + name + "', " + quoted + ", false)"
	case 8:
		return "DISCARD ALL"
	}
	return set
}

func (s *setter) pair() (name, value string) {
	one := s.known[s.Intn(len(s.known))]
	switch one.kind {
	case "bool":
		return one.name, []string{"on", "off"}[s.Intn(2)]
	case "enum":
		return one.name, one.words[s.Intn(len(one.words))]
	case "integer":
		return one.name, strconv.FormatInt(int64(one.low+s.Float64()*min(one.high-one.low, 10000)), 10)
	}
	return one.name, strconv.FormatFloat(one.low+s.Float64()*min(one.high-one.low, 100), 'f', 3, 64)
}

// look shows every setting. Those of no view are named.
const look = `SELECT name, setting FROM pg_settings WHERE name !~ '^transaction|[.]' UNION ALL SELECT n, coalesce(current_setting(n, true), '')
	FROM unnest(ARRAY['app.tenant', 'app.user_id', 'role', 'session_authorization']) n UNION ALL SELECT 'user', current_user || ' ' || session_user ORDER BY 1`

// same runs the text on both sides and compares what came of it.
func (s *setter) same(ctx context.Context, text string) error {
	for _, one := range []string{text, look} {
		got, want := said(s.through.Exec(ctx, one)), said(s.direct.Exec(ctx, one))
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				return fmt.Errorf("%.40s: lockproxy says %q, PostgreSQL %q", one, got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
			}
		}
	}
	for _, name := range []string{"application_name", "DateStyle", "TimeZone", "client_encoding", "IntervalStyle", "is_superuser", "session_authorization", "standard_conforming_strings"} {
		if got, want := s.through.ParameterStatus(name), s.direct.ParameterStatus(name); got != want {
			return fmt.Errorf("the client was told that %s is %q, directly %q", name, got, want)
		}
	}
	return nil
}

// said lists the rows, the tags and the error of a simple query.
func said(r *pgconn.MultiResultReader) (list []string) {
	results, err := r.ReadAll()
	for _, one := range results {
		for _, row := range one.Rows {
			list = append(list, fmt.Sprintf("%s", row))
		}
		list = append(list, one.CommandTag.String())
	}
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e):
		list = append(list, e.Code+" "+e.Message)
	case err != nil:
		list = append(list, err.Error())
	}
	return list
}

// What a text sets that a function puts together, or is given, shows in no view: it is nobody else's all the same.
func TestSettingsOfTextsThatNobodyReadsAreNobodyElses(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	r.query(t, `CREATE FUNCTION run(q text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE q; END'`)
	r.query(t, `CREATE TABLE texts (q text); CREATE FUNCTION runs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN EXECUTE NEW.q; RETURN NEW; END';
		CREATE TRIGGER runs BEFORE INSERT ON texts FOR EACH ROW EXECUTE FUNCTION runs()`)
	const set = `select set_config(''app.hidden'',''mine'',false)`
	for _, how := range []string{"SELECT run('" + set + "')", "INSERT INTO texts VALUES ('" + set + "')", "DO $$ DECLARE q text := '" + set[:20] + "'; BEGIN EXECUTE q || '" + set[20:] + "'; END $$"} {
		a, b := logIn(t, r.url), logIn(t, r.url)
		a.asks("ZZ", text("SET work_mem = '3MB'"), text(how))
		b.wants("after "+how, "T D() C(SELECT 1) Z(I)", "Z", text("SELECT coalesce(current_setting('app.hidden', true), '')"))
		b.asks("Z", text("SET work_mem = '5MB'"))
		a.wants("what it has set itself is its own", "T D(3MB) C(SHOW) Z(I)", "Z", text("SHOW work_mem"))
		b.wants("also the other's", "T D(5MB) C(SHOW) Z(I)", "Z", text("SHOW work_mem"))
	}
}

// Where the database comes with timeouts of its own, the lock pool adds none; what one client made of them is still gone for the next.
func TestTimeoutsOnALockBackendAreEachClientsOwn(t *testing.T) {
	r := startProxy(t, sized(1, 1))
	r.query(t, fmt.Sprintf("ALTER DATABASE %s SET lock_timeout = '7s'; ALTER DATABASE %[1]s SET idle_in_transaction_session_timeout = '8s'", r.database))
	a, b := logIn(t, r.url), logIn(t, r.url)
	a.asks("ZZ", text("SET lock_timeout = '1s'"), text("SET idle_in_transaction_session_timeout = '2s'"))
	const lock, unlock = "SELECT pg_advisory_lock(1)", "SELECT pg_advisory_unlock(1)"
	for _, c := range []struct {
		*socket
		lock, idle string
	}{{a, "1s", "2s"}, {b, "7s", "8s"}, {a, "1s", "2s"}} {
		c.asks("Z", text(lock))
		if lock, idle := c.value("SHOW lock_timeout"), c.value("SHOW idle_in_transaction_session_timeout"); lock != c.lock || idle != c.idle {
			t.Errorf("a client has %s and %s, not %s and %s", lock, idle, c.lock, c.idle)
		}
		c.asks("Z", text(unlock))
	}
}
