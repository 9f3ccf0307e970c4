package sql

import (
	"slices"
	"testing"
)

func study(t testing.TB, routines ...Routine) []Function {
	t.Helper()
	found, err := Study([]string{"app.acquire"}, routines)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestABodyTellsWhatACallLeaves(t *testing.T) {
	for _, c := range []struct {
		body     string
		touches  Touch
		settings []string
	}{
		{"begin return 1; end", 0, nil},
		{"begin perform set_config('app.a', x, false); end", 0, []string{"app.a"}},
		{"begin perform set_config('app.a', x, true); end", 0, nil},
		{"begin perform set_config('app.a', x, is_local); end", 0, []string{"app.a"}},
		{"begin perform set_config('app.' || n, x, false); end", 0, []string{""}},
		{"begin x := pg_catalog.set_config('B', x, false) || set_config('a', x, false); end", 0, []string{"a", "b"}},
		{"begin set work_mem = '1MB'; end", 0, []string{"work_mem"}},
		{"begin set local work_mem = '1MB'; end", 0, nil},
		{"<<a>> set role to x; end", 0, []string{"role"}},
		{"begin if a then set session a.b to 1; else reset c; end if; end", 0, []string{"a.b", "c"}},
		{"begin reset all; end", 0, []string{""}},
		{"set a = 1; select 2", 0, []string{"a"}},
		{"update t set a = 1", 0, nil},
		{"begin update t set a = 1 where b; insert into t values (1); end", TouchAdvance, nil},
		{"begin update t set a = default; end", TouchAdvance, nil},
		{"begin delete from t; update t set a = 1 where b; end", 0, nil},
		{"begin execute 'set a.b = ' || quote_literal(x); end", TouchDynamic, []string{"a.b"}},
		{"begin execute 'set a.b = 1'; end", 0, []string{"a.b"}},
		{"begin execute 'set a.' || x; end", TouchDynamic, []string{""}},
		{"begin execute 'set a.b' || x; end", TouchDynamic, []string{""}},
		{"begin execute 'set ' || x; end", TouchDynamic, []string{""}},
		{"begin execute format('set %I = 1', x); end", TouchDynamic, []string{""}},
		{"begin execute format('set app.%I = 1', x); end", TouchDynamic, []string{""}},
		{"begin execute format('set role %I', x); end", TouchDynamic, []string{"role"}},
		{"begin execute x; end", TouchDynamic, nil},
		{"begin return query execute x using y; end", TouchDynamic, nil},
		{"begin for r in execute 'select 1' loop end loop; end", 0, nil},
		{"begin execute 'select ' || x; end", TouchDynamic, nil},
		{"begin execute format('insert into %I values ($1)', x) using y; end", TouchAdvance, nil},
		{"begin execute format('create table %I (a int)', x); end", TouchCreates, nil},
		{"begin execute format('create %s', x); end", TouchDynamic | TouchCreates, nil},
		{"begin execute $a$select set_config('a', 'b', false)$a$; end", 0, []string{"a"}},
		{"begin execute 'begin execute ''set a = 1''; end'; end", 0, []string{"a"}},
		{"begin create temp table x (a int); end", TouchTemp, nil},
		{"begin execute 'create local temporary table x (a int)'; end", TouchTemp, nil},
		{"begin create table x (a int); end", TouchCreates, nil},
		{"begin perform set_config('search_path', 'pg_temp', true); create table x (a int); end", TouchCreates | TouchTemp | TouchDefinition, nil},
		{"begin set local search_path = pg_temp_3, a; execute 'create view x as select 1'; end", TouchCreates | TouchTemp | TouchDefinition, nil},
		{"begin select 1 into x; end", 0, nil},
		{"begin x := query_to_xml('select set_config(''a'', ''b'', false)', true, false, ''); end", 0, []string{"a"}},
		{"begin x := query_to_xml(y, true, false, ''); end", TouchDynamic, []string{""}},
		{"begin x := query_to_xml(format('select count(*) from %I.%I', s, t), true, false, ''); end", 0, nil},
		{"begin select 1 into temp x; end", TouchTemp, nil},
		{"begin execute 'listen a'; end", TouchListen, nil},
		{"begin drop table x; unlisten a; close b; end", TouchDrop | TouchUnlisten | TouchClose, nil},
		{"begin execute 'drop table if exists ' || x; execute 'discard temp'; end", TouchDrop | TouchDiscardOther, nil},
		{"begin execute 'load ''a'''; end", TouchLoad, nil},
		{"begin execute 'declare a cursor with hold for select 1'; end", TouchHold, nil},
		{"begin execute 'prepare a as select 1'; end", TouchDynamic, nil},
		{"begin execute 'deallocate all'; end", TouchDynamic, nil},
		{"begin perform setseed(0); end", TouchSeed, nil},
		{"begin perform a.dblink_connect('x'); end", TouchLinks, nil},
		{"begin execute 'create function a() returns int language sql as '''''; end", TouchDefinition | TouchCreates, nil},
		{"begin perform nextval('a'); return currval('a'); end", TouchAdvance | TouchSequence, nil},
		{"-- set a = 1\nbegin /* perform set_config('a', 'b', false) */ raise notice 'we set it up'; end", 0, nil},
	} {
		f := study(t, Routine{Schema: "app", Name: "f", Language: "plpgsql", Body: c.body})[0]
		if f.Touches != c.touches || !slices.Equal(f.Settings, c.settings) || f.Locks {
			t.Errorf("%s: touches %b, settings %q, locks %t", c.body, f.Touches, f.Settings, f.Locks)
		}
	}
}

// A text that a view or a trigger puts together is asked about, as one of EXECUTE is: to pin all who use the table would make a
// session pool of it.
func TestATextThatIsRunUnseenPinsNobody(t *testing.T) {
	for _, c := range []struct {
		unseen   Unseen
		settings []string
	}{{UnseenNever, []string{""}}, {UnseenWrites, nil}, {UnseenAlways, nil}} {
		f := study(t, Routine{Language: "sql", Body: "SELECT query_to_xml('select '::text || t.a, true, false, ''::text) FROM t", Unseen: c.unseen})[0]
		if f.Touches != TouchDynamic || !slices.Equal(f.Settings, c.settings) {
			t.Errorf("%d: touches %b, settings %q", c.unseen, f.Touches, f.Settings)
		}
	}
}

func TestFunctionsThatCreateThingsInTheTemporarySchemaAreKnown(t *testing.T) {
	for _, c := range []struct {
		routine Routine
		want    Touch
	}{
		{Routine{Language: "sql", Body: "CREATE TABLE x (a int)"}, TouchCreates},
		{Routine{Language: "sql", Body: "SELECT 1 AS a INTO x"}, TouchCreates},
		{Routine{Language: "sql", Body: "CREATE TABLE x (a int)", Temporary: true}, TouchCreates | TouchTemp | TouchDefinition},
		{Routine{Language: "plpgsql", Body: "begin perform app.creates(); end", Temporary: true}, TouchCreates | TouchTemp | TouchDefinition},
		{Routine{Language: "plpgsql", Body: "begin perform 1; end", Temporary: true}, 0},
	} {
		c.routine.Name = "f"
		creates := Routine{Schema: "app", Name: "creates", Language: "plpgsql", Body: "begin create table x (a int); end"}
		if f := study(t, c.routine, creates)[0]; f.Touches != c.want || f.Leaves() != c.want.Has(TouchTemp) {
			t.Errorf("%+v: touches %b, want %b", c.routine, f.Touches, c.want)
		}
	}
}

func TestLanguagesThatNobodyReadsAreTakenForTheWorst(t *testing.T) {
	for _, c := range []struct {
		routine Routine
		touches Touch
	}{
		{Routine{Language: "c"}, TouchFunction},
		{Routine{Language: "c", Extension: true}, 0}, {Routine{Name: "hypopg_create_index", Language: "c", Extension: true}, TouchFunction},
		{Routine{Name: "set_user", Language: "sql", Body: "select 1"}, 0},
		{Routine{Language: "internal", Body: "setseed"}, TouchSeed},
		{Routine{Language: "internal", Body: "upper"}, 0},
		{Routine{Language: "plpython3u", Body: "return 1"}, TouchDynamic},
		{Routine{Language: "plpython3u", Body: "GD['a'] = 1"}, TouchDynamic | TouchFunction},
		{Routine{Language: "plperl", Body: "return $_SHARED{a};"}, TouchDynamic | TouchFunction}, {Routine{Language: "plpgsql", Body: "begin x := gd; end"}, 0},
		{Routine{Language: "plv8", Extension: true}, 0},
		{Routine{Language: ""}, TouchDynamic},
	} {
		if c.routine.Name == "" {
			c.routine.Name = "f"
		}
		if f := study(t, c.routine)[0]; f.Touches != c.touches {
			t.Errorf("%+v: %b", c.routine, f.Touches)
		}
	}
}

func TestABodyThatCallsAnotherDoesWhatThatOneDoes(t *testing.T) {
	body := func(name, text string) Routine {
		return Routine{Schema: "app", Name: name, Language: "sql", Body: text}
	}
	found := study(t, body("a", "select b()"), body("b", "select app.c()"), body("c", "select set_config('x', 'y', false), a()"),
		body("d", "select other.c()"), body("e", "select app.acquire(1)"), body("g", "select e(); select a()"))
	for i, want := range []Function{
		{Settings: []string{"x"}}, {Settings: []string{"x"}}, {Settings: []string{"x"}}, {}, {Locks: true}, {Locks: true, Settings: []string{"x"}},
	} {
		if f := &found[i]; !f.equal(&want) {
			t.Errorf("%s: %+v", f.Name, *f)
		}
	}
	r, err := NewReader(nil, found...)
	if err != nil {
		t.Fatal(err)
	}
	u := r.Read([]byte("SELECT app.g(1)"), Dialect{})
	if u.Lock != Unknown || !slices.Equal(u.Settings, []Setting{{Name: "x"}}) {
		t.Errorf("a call: %+v", u)
	}
	if u := r.Read([]byte("SELECT other.g(1)"), Dialect{}); u.Lock != 0 || u.Settings != nil {
		t.Errorf("a call of another: %+v", u)
	}
}

func TestWhatNoTextNamesIsCalledByWhatMayCallIt(t *testing.T) {
	trigger := Routine{Name: "t", Language: "plpgsql", Body: "begin perform set_config('t', '', false); end", Unseen: UnseenWrites}
	view := Routine{Name: "v", Language: "sql", Body: "select set_config('v', '', false)", Unseen: UnseenAlways}
	rule := Routine{Language: "sql", Body: "ALSO SELECT set_config('r'::text, ''::text, false) AS set_config", Unseen: UnseenWrites}
	writer := Routine{Name: "w", Language: "sql", Body: "select 1; delete from x"}
	r, err := NewReader(nil, study(t, trigger, view, writer, rule)...)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]string{
		"SELECT 1": {"v"}, "INSERT INTO x VALUES (1)": {"r", "t", "v"}, "TRUNCATE x": {"r", "t", "v"}, "BEGIN": nil, "SHOW a": nil,
		"SELECT w()": {"r", "t", "v"}, "DO ''": {"r", "t", "v"}, "PREPARE a AS SELECT 1": nil, "EXECUTE a": {"r", "t", "v"}, "COMMIT": nil,
	} {
		u := r.Read([]byte(text), Dialect{})
		if got := u.lastingSettings(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// What types and operators call is called by every statement: it must not pin every session (PostgreSQL's regression suite).
func TestWhatAnyStatementMayCallIsNotTakenForTheWorst(t *testing.T) {
	inC := Routine{Name: "c", Language: "c", Unseen: UnseenAlways}
	inserts := Routine{Name: "i", Language: "sql", Body: "insert into x values (1)", Unseen: UnseenAlways}
	r, err := NewReader(nil, study(t, inC, inserts)...)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]Touch{"SELECT 1": 0, "SELECT c()": TouchFunction, "SELECT i()": TouchAdvance} {
		if u := r.Read([]byte(text), Dialect{}); u.Touches != want {
			t.Errorf("%s: %b", text, u.Touches)
		}
	}
}

// A trigger's session-level lock is asked for when the transaction is over; the transaction's own goes with it.
func TestWhoCallsWhatHoldsLocksIsTold(t *testing.T) {
	holds := Routine{Name: "h", Language: "sql", Body: "select pg_try_advisory_lock(1)"}
	for body, want := range map[string]Touch{
		"begin perform pg_advisory_lock_shared(1); end": TouchHolds, "begin execute 'select pg_try_' || 'x; select PG_ADVISORY_LOCK(1)'; end": TouchHolds | TouchDynamic, "begin perform h(); end": TouchHolds,
		"begin perform pg_advisory_xact_lock(1); end": 0, "begin perform pg_advisory_unlock(1); end": 0,
	} {
		r, err := NewReader(nil, study(t, holds, Routine{Name: "t", Language: "plpgsql", Body: body, Unseen: UnseenWrites})...)
		if err != nil {
			t.Fatal(err)
		}
		if u := r.Read([]byte("DELETE FROM x"), Dialect{}); u.Touches != want || u.Lock != 0 {
			t.Errorf("%s: touches %b, locks %b", body, u.Touches, u.Lock)
		}
		if u := r.Read([]byte("SELECT 1"), Dialect{}); u.Touches != 0 {
			t.Errorf("%s: a SELECT touches %b", body, u.Touches)
		}
	}
}

// What a function with its owner's rights sets, its caller need not be allowed to.
func TestWhoseCallersSetWhatTheyMayNotIsTold(t *testing.T) {
	owners := Routine{Name: "o", Language: "sql", Body: "select set_config('log_statement', 'all', false)", Definer: true}
	caller, harmless := Routine{Name: "c", Language: "sql", Body: "select o()"}, Routine{Name: "h", Language: "sql", Body: "select 1", Definer: true}
	local := Routine{Name: "l", Language: "sql", Body: "select set_config('log_statement', 'all', true)", Definer: true}
	for i, want := range []Touch{TouchElevates, TouchElevates, 0, 0} {
		if f := study(t, owners, caller, harmless, local)[i]; f.Touches != want {
			t.Errorf("%s: %b", f.Name, f.Touches)
		}
	}
}

func TestFunctionsThatReadSequencesAreTold(t *testing.T) {
	for body, want := range map[string]bool{
		"select lastval()": true, `select pg_catalog."currval" ('a')`: true, "execute 'select CURRVAL(''a'')'": true,
		"select nextval('a')": false, "select currval from a": false, "select my_currvals(1)": false,
	} {
		if f := study(t, Routine{Name: "f", Language: "plpgsql", Body: body})[0]; f.Sequences != want {
			t.Errorf("%s: %t", body, f.Sequences)
		}
	}
}

func TestNewCallersAreDefinitionsWhereFunctionsLeaveAnything(t *testing.T) {
	r, err := NewReader(nil, study(t, Routine{Name: "f", Language: "sql", Body: "select set_config('x', 'y', false)"})...)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"CREATE TRIGGER a BEFORE INSERT ON b EXECUTE FUNCTION f()": true, "CREATE VIEW a AS SELECT f()": true,
		"ALTER TABLE a ALTER b SET DEFAULT f()": true, "CREATE POLICY a ON b USING (f())": true, "CREATE TABLE a (b int)": true,
		"CREATE TEMP TABLE a (b int)": false, "DROP TABLE a": false, "CREATE SEQUENCE a": false,
	} {
		if got := r.Read([]byte(text), Dialect{}).Touches.Has(TouchDefinition); got != want {
			t.Errorf("%s: %t", text, got)
		}
		if read(t, text).Touches.Has(TouchDefinition) {
			t.Errorf("%s where no function leaves anything", text)
		}
	}
}

// What a body compares with, or says, is no statement.
func TestAWordInABodyIsNoStatement(t *testing.T) {
	for body, want := range map[string]Touch{
		"begin if new.what in ('set', 'listen', 'load', 'DISCARD') then raise notice 'reset'; end if; return new; end": 0,
		"begin perform x('listen ch'); end":                    TouchListen,
		"begin execute 'listen ' || new.what; return new; end": TouchListen,
	} {
		f := study(t, Routine{Name: "f", Language: "plpgsql", Body: body})[0]
		if f.Touches&TouchListen != want || want == 0 && f.Matters() {
			t.Errorf("%s: touches %b, settings %q", body, f.Touches, f.Settings)
		}
	}
}
