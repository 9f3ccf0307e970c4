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

	resetTables = `
		SET client_min_messages = error;
		DROP TABLE IF EXISTS t, u, x CASCADE; DROP SEQUENCE IF EXISTS sq; DROP SCHEMA IF EXISTS other CASCADE; DROP FUNCTION IF EXISTS made;
		CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 20) i;
		CREATE TABLE u (id serial PRIMARY KEY, n int DEFAULT 1, at date DEFAULT '2024-02-03'); CREATE SEQUENCE sq;
		CREATE SCHEMA other; CREATE TABLE other.t (id int, w bool); INSERT INTO other.t VALUES (1, true);
		GRANT ALL ON t, u, sq, u_id_seq, other.t TO app, writer; GRANT ALL ON SCHEMA other TO app, writer;
		SELECT lo_unlink(oid) FROM pg_largeobject_metadata`
)
