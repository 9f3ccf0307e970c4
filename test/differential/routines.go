package differential

import "fmt"

// routine calls what leaves something in the session where no text shows it: functions, procedures, views, triggers, rules,
// policies and defaults.
func (w *writer) routine() string {
	if w.one(3) {
		return w.block()
	}
	k := w.key + w.Intn(3)
	return w.pick("CALL commits('24MB')", "CALL commits('nonsense')", fmt.Sprintf("CALL locks_and_commits(%d)", k), "CALL rolls_back()", "SELECT elevates('25MB')", "SELECT opens()", "SELECT opens(); FETCH 2 FROM rc", "FETCH ALL FROM rc",
		"SELECT holds()", "FETCH 1 FROM h", "SELECT prepares()", "EXECUTE inside", "DEALLOCATE inside", "SELECT listens()", "SELECT unlistens()", "SELECT makes_dropped()", "SELECT acts()", "SELECT acts_as()", "SELECT acts_local()",
		fmt.Sprintf("SELECT locks_by_name('%d')", k), fmt.Sprintf("SELECT locks_within(%d)", k), fmt.Sprintf("SELECT locks_for_now(%d)", k), fmt.Sprintf("SELECT unlocks(%d)", k), fmt.Sprintf("SELECT locks_and_fails(%d)", k),
		fmt.Sprintf("SELECT locks_and_catches(%d)", k), "SELECT tells_path()", "SELECT tells_timeout()", "SELECT * FROM setting_view", "SELECT count(*) FROM setting_view WHERE false", "INSERT INTO logged (what) VALUES ('a') RETURNING who",
		"INSERT INTO logged (what) VALUES ('config') RETURNING id, what", "INSERT INTO logged (what) VALUES ('notify')", "INSERT INTO logged (what) VALUES ('lock'); SELECT pg_advisory_unlock_all()", "INSERT INTO logged (what) SELECT 'config' FROM generate_series(1, 3)", "INSERT INTO logged (what) VALUES ('fail')",
		"INSERT INTO logged (what) VALUES ('late')", "INSERT INTO logged (what) VALUES ('late'), ('late fail')", "SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS kid_of DEFERRED", "INSERT INTO kid VALUES (1)", "INSERT INTO kid VALUES (999)", "DELETE FROM kid",
		"INSERT INTO ruled VALUES (1)", "UPDATE ruled SET a = 2", "SELECT id, owner FROM owned ORDER BY id", "INSERT INTO owned VALUES (9, '42')", "UPDATE owned SET id = id + 10 RETURNING id", "SELECT count(*) FROM owned", "SELECT what, who FROM logged ORDER BY id LIMIT 3")
}

// block is a DO block, with what PL/pgSQL can do about errors and transactions.
func (w *writer) block() string {
	k := fmt.Sprint(w.key + w.Intn(3))
	quote := w.pick("$$", "$body$")
	return "DO " + w.pick("", "LANGUAGE plpgsql ") + quote + w.pick(" BEGIN ", " DECLARE n int; BEGIN ", " <<outside>> BEGIN ") + w.pick("SET LOCAL app.user_id = 'block'; PERFORM set_config('work_mem', '26MB', true);", "PERFORM set_config('app.user_id', 'block', false); PERFORM 1/0;",
		"BEGIN SET work_mem = '27MB'; PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END;", "BEGIN SET work_mem = '28MB'; EXCEPTION WHEN OTHERS THEN NULL; END; PERFORM 1;", "SET work_mem = '29MB'; COMMIT; SET work_mem = '30MB'; ROLLBACK;",
		"SET LOCAL work_mem = '31MB'; COMMIT; PERFORM set_config('app.user_id', current_setting('work_mem'), false);", "PERFORM pg_advisory_lock("+k+"); COMMIT;", "PERFORM pg_try_advisory_xact_lock("+k+"); COMMIT;", "BEGIN PERFORM pg_try_advisory_lock("+k+"); PERFORM 1/0; EXCEPTION WHEN OTHERS THEN NULL; END;",
		"IF false THEN PERFORM pg_advisory_lock("+k+"); END IF;", "FOR i IN 1..3 LOOP PERFORM pg_advisory_unlock("+k+"); END LOOP;", "EXECUTE 'SELECT pg_try_advisory_lock(' || "+k+" || ')';", "PERFORM * FROM pg_listening_channels() LIMIT 1; IF FOUND THEN UNLISTEN *; END IF;",
		"EXECUTE 'LISTEN ' || 'ch';", "NOTIFY ch, 'from a block';", "PERFORM pg_notify('ch', 'block'); ROLLBACK;", "CREATE TEMP TABLE IF NOT EXISTS tmp (a int); INSERT INTO tmp VALUES (1);", "CREATE TEMP TABLE tmp ON COMMIT DROP AS SELECT 2 AS a;", "BEGIN CREATE TEMP TABLE tmp (a int); PERFORM 1/0; EXCEPTION WHEN OTHERS THEN NULL; END;",
		"EXECUTE 'SET ROLE ' || quote_ident('writer');", "SET LOCAL ROLE writer; RAISE NOTICE '%', current_user;", "EXECUTE 'DISCARD PLANS';", "EXECUTE format('SET %s = %L', 'datestyle', 'German');", "EXECUTE 'PREPARE inblock AS SELECT 9';", "EXECUTE 'DEALLOCATE nosuch';",
		"CALL commits('32MB');", "PERFORM sets();", "RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'again';", "DECLARE c CURSOR FOR SELECT 1; BEGIN OPEN c; MOVE c; END;", "SET TRANSACTION READ ONLY;", "COMMIT AND CHAIN;", "SET CONSTRAINTS ALL IMMEDIATE;", "EXECUTE 'SAVEPOINT a';", "PERFORM lo_create("+fmt.Sprint(w.key+1000)+");",
		"INSERT INTO logged (what) VALUES ('config'); ROLLBACK;", "UPDATE pg_settings SET setting = '33MB' WHERE name = 'work_mem';", "RESET work_mem;", "SET app.user_id TO DEFAULT;") + " END " + quote
}

// policies are what row-level security lets a client see, by a setting that is for its transaction or its session.
func (w *writer) policies() [][]message {
	who := w.pick("7", "42", "")
	steps := w.say(w.pick("SET ROLE app", "SET ROLE app", "SET SESSION AUTHORIZATION app", "SELECT 1"))
	switch w.Intn(4) {
	case 0:
		steps = append(steps, w.say("BEGIN", "SET LOCAL app.user_id = '"+who+"'", "SELECT id, owner FROM owned ORDER BY id", w.pick("COMMIT", "ROLLBACK"))...)
	case 1:
		steps = append(steps, w.say("SET app.user_id = '"+who+"'", "SELECT id, owner FROM owned ORDER BY id", "BEGIN; SET LOCAL app.user_id TO DEFAULT; SELECT count(*) FROM owned; ROLLBACK", "SELECT count(*) FROM owned")...)
	case 2:
		set := parse("", "SELECT set_config('search_path', $1, true), set_config('role', $2, true), set_config('app.user_id', $3, true), set_config('request.method', 'GET', true)")
		steps = append(steps, extended("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"), []message{set, bind("", "", w.pick("public", "other, public"), w.pick("app", "writer"), who), execute("", 0), sync},
			[]message{parse("1", "SELECT count(*), current_user FROM owned"), bind("", "1"), execute("", 0), sync}, extended("COMMIT"), []message{bind("", "1"), execute("", 0), sync}, []message{closing("S", "1"), sync})
	default:
		steps = append(steps, []message{parse("", "SELECT set_config('app.user_id', $1, false)"), bind("", "", who), execute("", 0), parse("", "SELECT id FROM owned ORDER BY id"), bind("", ""), execute("", 0), sync}, []message{query("SELECT count(*) FROM owned")})
	}
	return append(steps, w.say(w.pick("RESET ROLE", "RESET SESSION AUTHORIZATION", "RESET ALL", "DISCARD ALL"), "SELECT count(*) FROM owned")...)
}

// deferred has something done by the COMMIT itself, which may fail with it.
func (w *writer) deferred() [][]message {
	return w.say(w.pick("BEGIN", "BEGIN", "SELECT 1"), w.pick("INSERT INTO kid VALUES (999)", "INSERT INTO kid VALUES (1)", "INSERT INTO logged (what) VALUES ('late')", "INSERT INTO logged (what) VALUES ('late fail')", "INSERT INTO logged (what) VALUES ('late lock')",
		"DECLARE h CURSOR WITH HOLD FOR SELECT set_config('work_mem', '34MB', false), 1 / (id - 3) FROM t WHERE id <> 3", "DECLARE h CURSOR WITH HOLD FOR SELECT set_config('app.user_id', 'held', false)", fmt.Sprintf("DECLARE h CURSOR WITH HOLD FOR SELECT pg_try_advisory_lock(%d)", w.key), "DECLARE h CURSOR WITH HOLD FOR SELECT 1 / (id - 3) FROM t ORDER BY id"),
		w.pick(w.setting(), "SELECT 1", "SET CONSTRAINTS ALL IMMEDIATE"), w.pick("COMMIT", "COMMIT", "COMMIT; SELECT 1", "COMMIT AND CHAIN", "END; BEGIN; SELECT 1", fmt.Sprintf("PREPARE TRANSACTION 'g%d'", w.key)),
		"SELECT current_setting('work_mem'), nullif(current_setting('app.user_id', true), '')", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()", w.pick("FETCH ALL FROM h", "ROLLBACK", "SELECT pg_advisory_unlock_all()"), w.pick("COMMIT", "DISCARD ALL", "SELECT pg_advisory_unlock_all()"))
}
