package differential

// Roles are made once a cluster, functions once a database, tables before each conversation: a conversation may do with
// its tables what it likes.
const (
	makeRoles = `CREATE ROLE app LOGIN; ALTER ROLE app SET work_mem = '7MB'; CREATE ROLE writer; GRANT writer TO app`

	makeFunctions = `
		ALTER DATABASE %[1]s SET app.tenant = 'none'; GRANT CREATE, TEMP ON DATABASE %[1]s TO app; GRANT ALL ON SCHEMA public TO app, writer;
		CREATE FUNCTION has_setting() RETURNS text LANGUAGE plpgsql SET work_mem = '9MB' SET datestyle = 'German' AS
			$$ BEGIN RETURN current_setting('work_mem') || ' ' || '2024-02-03'::date; END $$;
		CREATE FUNCTION sets() RETURNS text LANGUAGE plpgsql AS
			$$ BEGIN PERFORM set_config('work_mem', '10MB', false), set_config('app.user_id', 'f', false); RETURN 'set'; END $$;
		CREATE FUNCTION sets_local() RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.user_id', 'l', true) $$;
		CREATE FUNCTION sets_and_catches() RETURNS text LANGUAGE plpgsql AS
			$$ BEGIN PERFORM set_config('work_mem', '11MB', false); PERFORM 1/0; RETURN 'no'; EXCEPTION WHEN OTHERS THEN RETURN current_setting('work_mem'); END $$;
		CREATE FUNCTION locks(k bigint) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN pg_try_advisory_lock(k); END $$;
		CREATE FUNCTION notifies() RETURNS void LANGUAGE plpgsql AS $$ BEGIN NOTIFY ch, 'from a function'; END $$;
		CREATE FUNCTION fails() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'failed' USING ERRCODE = 'P0042', HINT = 'no'; END $$;
		CREATE FUNCTION makes_temp() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE tmp (a int); END $$`

	// What a text does not show: nested calls, settings of functions, what commits, what a trigger, rule, view, policy or default calls.
	makeRoutines = `
		CREATE PROCEDURE commits(mem text) LANGUAGE plpgsql AS $$ BEGIN SET app.user_id = 'committed'; COMMIT; PERFORM set_config('work_mem', mem, false); SET datestyle = 'German'; COMMIT; SET app.user_id = 'lost'; ROLLBACK; END $$;
		CREATE PROCEDURE locks_and_commits(k bigint) LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_try_advisory_xact_lock(k + 1); COMMIT; PERFORM pg_try_advisory_lock(k); ROLLBACK; END $$;
		CREATE PROCEDURE rolls_back() LANGUAGE plpgsql AS $$ BEGIN SET work_mem = '35MB'; NOTIFY ch, 'never'; CREATE TEMP TABLE tmp (a int); ROLLBACK; END $$;
		CREATE FUNCTION elevates(mem text) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT set_config('work_mem', mem, false) || ' ' || current_user $$;
		CREATE FUNCTION opens() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE c refcursor := 'rc'; BEGIN OPEN c SCROLL FOR SELECT id FROM t ORDER BY id; RETURN c; END $$;
		CREATE FUNCTION holds() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DECLARE h CURSOR WITH HOLD FOR SELECT 1'; END $$;
		CREATE FUNCTION prepares() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'PREPARE inside AS SELECT ''inside'''; END $$;
		CREATE FUNCTION listens() RETURNS void LANGUAGE plpgsql AS $$ BEGIN LISTEN ch; END $$;
		CREATE FUNCTION unlistens() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'UNLISTEN ' || quote_ident('ch'); END $$;
		CREATE FUNCTION makes_dropped() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE dropped ON COMMIT DROP AS SELECT 1 AS a; RETURN (SELECT count(*) FROM dropped); END $$;
		CREATE FUNCTION acts() RETURNS text LANGUAGE plpgsql AS $$ BEGIN SET ROLE writer; RETURN current_user; END $$;
		CREATE FUNCTION acts_as() RETURNS text LANGUAGE plpgsql SET role = 'writer' AS $$ BEGIN RETURN current_user; END $$;
		CREATE FUNCTION acts_local() RETURNS text LANGUAGE plpgsql AS $$ BEGIN SET LOCAL ROLE writer; RETURN current_user; END $$;
		CREATE FUNCTION locks_by_name(k text) RETURNS bool LANGUAGE sql AS $$ SELECT pg_try_advisory_lock(k::bigint) $$;
		CREATE FUNCTION locks_within(k bigint) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN locks_by_name(k::text); END $$;
		CREATE FUNCTION locks_for_now(k bigint) RETURNS bool LANGUAGE sql AS $$ SELECT pg_try_advisory_xact_lock(k) $$;
		CREATE FUNCTION unlocks(k bigint) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN pg_advisory_unlock(k); END $$;
		CREATE FUNCTION locks_and_fails(k bigint) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_try_advisory_lock(k); RETURN 1/0; END $$;
		CREATE FUNCTION locks_and_catches(k bigint) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_try_advisory_xact_lock(k), pg_try_advisory_lock(k + 1); RETURN 1/0; EXCEPTION WHEN OTHERS THEN RETURN 0; END $$;
		CREATE FUNCTION tells_path() RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN current_setting('search_path'); END $$;
		CREATE FUNCTION tells_timeout() RETURNS text LANGUAGE plpgsql SET lock_timeout = '9s' SET statement_timeout FROM CURRENT AS $$ BEGIN PERFORM set_config('work_mem', '36MB', true); RETURN current_setting('lock_timeout'); END $$;
		CREATE VIEW setting_view AS SELECT set_config('app.user_id', 'view', false);
		CREATE TABLE logged (id serial PRIMARY KEY, what text, who text DEFAULT nullif(current_setting('app.user_id', true), ''));
		CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			CASE NEW.what WHEN 'config' THEN PERFORM set_config('app.user_id', 'trigger', false); WHEN 'notify' THEN PERFORM pg_notify('ch', 'from a trigger'); WHEN 'lock' THEN PERFORM pg_try_advisory_lock(1);
			WHEN 'fail' THEN RAISE 'log'; ELSE END CASE;
			RETURN NEW; END $$;
		CREATE TRIGGER log BEFORE INSERT ON logged FOR EACH ROW EXECUTE FUNCTION log();
		CREATE FUNCTION log_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			PERFORM set_config('work_mem', '37MB', false); IF NEW.what = 'late fail' THEN RAISE 'too late'; ELSIF NEW.what = 'late lock' THEN PERFORM pg_try_advisory_lock(2); END IF; RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER log_late AFTER INSERT ON logged DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.what ~ '^late') EXECUTE FUNCTION log_late();
		CREATE TABLE ruled (a int); CREATE RULE tell AS ON INSERT TO ruled DO ALSO NOTIFY ch, 'from a rule'; CREATE RULE keep AS ON UPDATE TO ruled DO INSTEAD SELECT set_config('app.user_id', 'rule', false);
		CREATE TABLE owned (id int, owner text); ALTER TABLE owned ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON owned USING (owner = nullif(current_setting('app.user_id', true), ''));
		GRANT ALL ON logged, logged_id_seq, ruled, owned, setting_view TO app, writer`

	resetTables = `
		SET client_min_messages = error;
		DROP TABLE IF EXISTS t, u, x, kid, tmp CASCADE; DROP SEQUENCE IF EXISTS sq; DROP SCHEMA IF EXISTS other CASCADE; DROP FUNCTION IF EXISTS made;
		TRUNCATE logged, ruled, owned RESTART IDENTITY; INSERT INTO owned SELECT i, (ARRAY['7', '42', 'start'])[1 + i % 3] FROM generate_series(1, 9) i;
		CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 20) i;
		CREATE TABLE u (id serial PRIMARY KEY, n int DEFAULT 1, at date DEFAULT '2024-02-03'); CREATE SEQUENCE sq;
		CREATE TABLE kid (parent int CONSTRAINT kid_of REFERENCES t DEFERRABLE INITIALLY DEFERRED);
		CREATE SCHEMA other; CREATE TABLE other.t (id int, w bool); INSERT INTO other.t VALUES (1, true);
		GRANT ALL ON t, u, kid, sq, u_id_seq, other.t TO app, writer; GRANT ALL ON SCHEMA other TO app, writer;
		SELECT lo_unlink(oid) FROM pg_largeobject_metadata`
)
