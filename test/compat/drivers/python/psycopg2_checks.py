"""psycopg2: client-side binding over the simple protocol, implicit transactions, named cursors, COPY, NOTIFY, large
objects, asynchronous connections and the driver's own pool."""

import datetime
import io
import os
import select
import threading
import uuid
from contextlib import closing

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.extras
import psycopg2.pool
from harness import check, equal, raises, run

URL = os.environ["DATABASE_URL"]
STATUS = psycopg2.extensions


def connect(autocommit=False, **more):
    connection = psycopg2.connect(URL, **more)
    connection.autocommit = autocommit
    return closing(connection)


def one(connection, text, values=None):
    with connection.cursor() as cursor:
        cursor.execute(text, values)
        return cursor.fetchone()[0]


def do(connection, text, values=None):
    with connection.cursor() as cursor:
        cursor.execute(text, values)
        return cursor.statusmessage


def wait(connection):
    """Waits for an asynchronous connection, as the documentation of psycopg2 says."""
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        if state == psycopg2.extensions.POLL_WRITE:
            select.select([], [connection.fileno()], [], 15)
        else:
            select.select([connection.fileno()], [], [], 15)


def notified(connection):
    """The next notification, awaited on an idle connection."""
    while not connection.notifies:
        assert select.select([connection], [], [], 10)[0], "no notification"
        connection.poll()
    return connection.notifies.pop(0)


@check
def a_transaction_begins_with_the_first_statement_and_ends_with_commit():
    with connect() as c, connect(autocommit=True) as other:
        equal(c.get_transaction_status(), STATUS.TRANSACTION_STATUS_IDLE)
        do(c, "CREATE TABLE p2_tx (n int)")
        equal(c.get_transaction_status(), STATUS.TRANSACTION_STATUS_INTRANS)
        equal(one(other, "SELECT to_regclass('p2_tx')"), None)
        c.commit()
        equal(c.get_transaction_status(), STATUS.TRANSACTION_STATUS_IDLE)
        do(c, "INSERT INTO p2_tx VALUES (1)")
        c.rollback()
        equal(one(c, "SELECT count(*) FROM p2_tx"), 0)


@check
def one_transaction_is_one_backend_and_one_moment():
    with connect() as c:
        first = one(c, "SELECT (pg_backend_pid(), now(), pg_current_xact_id())::text")
        for _ in range(20):
            equal(one(c, "SELECT (pg_backend_pid(), now(), pg_current_xact_id())::text"), first)


@check
def an_error_fails_the_transaction_until_rollback():
    with connect() as c:
        error = raises(psycopg2.errors.DivisionByZero, do, c, "SELECT 1/0")
        equal((error.pgcode, error.diag.severity, error.diag.message_primary), ("22012", "ERROR", "division by zero"))
        equal(c.get_transaction_status(), STATUS.TRANSACTION_STATUS_INERROR)
        raises(psycopg2.errors.InFailedSqlTransaction, do, c, "SELECT 1")
        equal(c.closed, 0)
        c.rollback()
        equal(one(c, "SELECT 1"), 1)


@check
def commit_of_a_failed_transaction_is_a_rollback():
    with connect(autocommit=True) as c:
        do(c, "BEGIN")
        raises(psycopg2.Error, do, c, "SELECT 1/0")
        equal(do(c, "COMMIT"), "ROLLBACK")


@check
def errors_name_their_constraint_table_column_and_position():
    with connect(autocommit=True) as c:
        do(c, "CREATE TABLE p2_err (n int CONSTRAINT p2_one UNIQUE, m int NOT NULL)")
        do(c, "INSERT INTO p2_err VALUES (1, 1)")
        diag = raises(psycopg2.errors.UniqueViolation, do, c, "INSERT INTO p2_err VALUES (1, 1)").diag
        equal((diag.schema_name, diag.table_name, diag.constraint_name), ("public", "p2_err", "p2_one"))
        equal(diag.message_detail, "Key (n)=(1) already exists.")
        equal(raises(psycopg2.errors.NotNullViolation, do, c, "INSERT INTO p2_err VALUES (2)").diag.column_name, "m")
        equal(raises(psycopg2.errors.SyntaxError, do, c, "SELECT 1 FRM x y").diag.statement_position, "14")
        error = raises(psycopg2.Error, do, c, "DO $$ BEGIN RAISE 'mine' USING ERRCODE = 'ZZ123', HINT = 'try'; END $$")
        equal((error.pgcode, error.diag.message_hint), ("ZZ123", "try"))
        assert "inline_code_block line 1" in error.diag.context


@check
def savepoints_are_rolled_back_to_and_released():
    with connect() as c:
        do(c, "CREATE TEMP TABLE p2_save (n int)")
        for text in ["INSERT INTO p2_save VALUES (1)", "SAVEPOINT a", "INSERT INTO p2_save VALUES (2)", "SAVEPOINT b"]:
            do(c, text)
        raises(psycopg2.Error, do, c, "SELECT 1/0")
        do(c, "ROLLBACK TO b")
        do(c, "RELEASE b")
        do(c, "ROLLBACK TO a")
        equal(one(c, "SELECT array_agg(n) FROM p2_save"), [1])
        raises(psycopg2.errors.InvalidSavepointSpecification, do, c, "RELEASE b")


@check
def set_session_decides_on_isolation_read_only_and_deferrable():
    with connect() as c:
        c.set_session("SERIALIZABLE", readonly=True, deferrable=True)
        for name, wanted in [("isolation", "serializable"), ("read_only", "on"), ("deferrable", "on")]:
            equal(one(c, f"SHOW transaction_{name}"), wanted)
        raises(psycopg2.errors.ReadOnlySqlTransaction, do, c, "CREATE TABLE p2_never ()")
        c.rollback()
        c.set_session("READ COMMITTED", readonly=False, deferrable=False)
        equal(one(c, "SHOW transaction_isolation"), "read committed")


@check
def set_session_under_autocommit_sets_the_defaults():
    with connect(autocommit=True) as c:
        c.set_session("REPEATABLE READ", readonly=True)
        for _ in range(5):
            equal(one(c, "SHOW transaction_isolation"), "repeatable read")
            equal(one(c, "SHOW default_transaction_read_only"), "on")
        raises(psycopg2.errors.ReadOnlySqlTransaction, do, c, "CREATE TABLE p2_never ()")
        c.set_session("DEFAULT", readonly="DEFAULT")
        equal(one(c, "SHOW transaction_isolation"), "read committed")


@check
def serialization_failures_come_as_they_do_directly():
    with connect() as a, connect() as b:
        do(a, "CREATE TABLE p2_serial (n int)")
        a.commit()
        for c in a, b:
            c.set_session("SERIALIZABLE")
            one(c, "SELECT count(*) FROM p2_serial")
        for c in a, b:
            do(c, "INSERT INTO p2_serial VALUES (1)")
        a.commit()
        raises(psycopg2.errors.SerializationFailure, b.commit)
        equal(b.get_transaction_status(), STATUS.TRANSACTION_STATUS_IDLE)


@check
def reported_parameters_follow_the_session():
    with connect(autocommit=True) as c:
        do(c, "SET timezone = 'Asia/Tokyo'")
        do(c, "SET datestyle = 'German, DMY'")
        do(c, "SET intervalstyle = 'iso_8601'")
        status = c.info.parameter_status
        equal((status("TimeZone"), status("DateStyle"), status("IntervalStyle")), ("Asia/Tokyo", "German, DMY", "iso_8601"))
        for _ in range(5):
            equal(one(c, "SELECT '2020-02-01 00:00+00'::timestamptz::text"), "01.02.2020 09:00:00 JST")
        do(c, "RESET timezone; RESET datestyle")
        equal(status("TimeZone"), one(c, "SHOW timezone"))
        equal(status("DateStyle"), one(c, "SHOW datestyle"))


@check
def a_rolled_back_set_is_undone_for_the_driver_too():
    with connect() as c:
        before = c.info.parameter_status("TimeZone")
        do(c, "SET timezone = 'Asia/Tokyo'")
        equal(c.info.parameter_status("TimeZone"), "Asia/Tokyo")
        c.rollback()
        equal(c.info.parameter_status("TimeZone"), before)
        equal(one(c, "SHOW timezone"), before)
        do(c, "SAVEPOINT s")
        do(c, "SET timezone = 'Asia/Tokyo'")
        do(c, "ROLLBACK TO s")
        equal((c.info.parameter_status("TimeZone"), one(c, "SHOW timezone")), (before, before))


@check
def client_encoding_follows_the_session():
    with connect(autocommit=True) as c:
        c.set_client_encoding("LATIN1")
        for _ in range(5):
            equal(one(c, "SELECT %s || chr(228)", ("é",)), "éä")
        equal(one(c, "SELECT octet_length('é')"), 2)
        equal(raises(psycopg2.Error, do, c, "SELECT chr(8364)").pgcode, "22P05")
        equal(c.encoding, "LATIN1")
        c.reset()
        equal((c.encoding, one(c, "SELECT chr(8364)")), ("UTF8", "€"))


@check
def reset_brings_back_what_the_connection_began_with():
    with connect(autocommit=True, options="-c statement_timeout=7s -c search_path=pg_catalog") as c:
        do(c, "SET statement_timeout = '9s'; SET search_path = public; SET work_mem = '1MB'; SET SESSION AUTHORIZATION pg_monitor")
        equal(one(c, "SELECT current_user"), "pg_monitor")
        c.reset()
        equal(one(c, "SHOW statement_timeout"), "7s")
        equal(one(c, "SHOW search_path"), "pg_catalog")
        equal(one(c, "SHOW work_mem"), "4MB")
        equal(one(c, "SELECT session_user"), "postgres")


@check
def settings_of_many_connections_do_not_mix():
    connections = [psycopg2.connect(URL, application_name=f"p2 {i}") for i in range(30)]
    for i, c in enumerate(connections):
        c.autocommit = True
        do(c, "SET work_mem = %s", (f"{100 + i}kB",))
        do(c, "SELECT set_config('app.user', %s, false)", (f"user {i}",))
    for _ in range(3):
        for i, c in enumerate(connections):
            equal(one(c, "SHOW work_mem"), f"{100 + i}kB")
            equal(one(c, "SELECT current_setting('app.user')"), f"user {i}")
            equal(one(c, "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"), f"p2 {i}")
    for c in connections:
        c.close()


@check
def row_security_reads_the_setting_of_its_own_session():
    with connect(autocommit=True) as c, connect(autocommit=True) as other:
        do(c, """CREATE TABLE p2_rows (owner text); CREATE ROLE p2_reader; GRANT SELECT ON p2_rows TO p2_reader;
            ALTER TABLE p2_rows ENABLE ROW LEVEL SECURITY; INSERT INTO p2_rows VALUES ('ann'), ('bob');
            CREATE POLICY own ON p2_rows USING (owner = current_setting('app.owner', true))""")
        for name, session in ("ann", c), ("bob", other):
            do(session, f"SET app.owner = '{name}'; SET ROLE p2_reader")
        for _ in range(5):
            for name, session in ("ann", c), ("bob", other):
                equal(one(session, "SELECT array_agg(owner) FROM p2_rows"), [name])
        do(c, "RESET ROLE")
        equal(one(c, "SELECT count(*) FROM p2_rows"), 2)
        equal(one(other, "SELECT current_user"), "p2_reader")


@check
def set_local_ends_with_the_transaction():
    with connect() as c:
        do(c, "SET work_mem = '1MB'")
        c.commit()
        do(c, "SET LOCAL work_mem = '2MB'")
        do(c, "SET LOCAL search_path = pg_catalog")
        equal(one(c, "SHOW work_mem"), "2MB")
        c.commit()
        equal((one(c, "SHOW work_mem"), one(c, "SHOW search_path")), ("1MB", '"$user", public'))


@check
def role_defaults_apply_to_new_connections():
    with connect(autocommit=True) as c:
        do(c, "CREATE ROLE p2_role LOGIN; ALTER ROLE p2_role SET work_mem = '3MB'; ALTER ROLE p2_role SET app.x = 'y'")
    with connect(autocommit=True, user="p2_role") as c:
        equal((one(c, "SHOW work_mem"), one(c, "SHOW app.x"), one(c, "SELECT current_user")), ("3MB", "y", "p2_role"))
        do(c, "SET work_mem = '5MB'; RESET work_mem")
        equal(one(c, "SHOW work_mem"), "3MB")


@check
def a_named_cursor_is_fetched_in_parts():
    with connect() as c, c.cursor("p2 cursor") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT n FROM generate_series(1, %s) n", (1050,))
        equal([n for (n,) in cursor], list(range(1, 1051)))
        equal(cursor.description[0].name, "n")


@check
def a_scrollable_cursor_goes_back():
    with connect() as c, c.cursor("p2_scroll", scrollable=True) as cursor:
        cursor.execute("SELECT n FROM generate_series(1, 10) n")
        cursor.fetchmany(6)
        cursor.scroll(-3)
        equal(cursor.fetchone(), (4,))
        cursor.scroll(9, mode="absolute")
        equal(cursor.fetchall(), [(10,)])
        cursor.scroll(0, mode="absolute")
        equal(cursor.fetchone(), (1,))


@check
def a_cursor_with_hold_outlives_its_transaction():
    with connect() as c, connect(autocommit=True) as other:
        cursor = c.cursor("p2_hold", withhold=True)
        cursor.execute("SELECT n FROM generate_series(1, 500) n")
        equal(cursor.fetchmany(2), [(1,), (2,)])
        c.commit()
        equal(one(other, "SELECT count(*) FROM pg_cursors WHERE name = 'p2_hold'"), 0)
        equal(cursor.fetchmany(2), [(3,), (4,)])
        equal(len(cursor.fetchall()), 496)
        cursor.close()
        c.commit()
        equal(one(c, "SELECT count(*) FROM pg_cursors"), 0)


@check
def a_cursor_without_hold_ends_with_its_transaction():
    with connect() as c:
        cursor = c.cursor("p2_gone")
        cursor.execute("SELECT 1")
        c.commit()
        raises(psycopg2.ProgrammingError, cursor.fetchone)
        c.rollback()
        raises(psycopg2.errors.InvalidCursorName, do, c, 'FETCH 1 FROM "p2_gone"')


@check
def where_current_of_updates_the_row_of_the_cursor():
    with connect() as c:
        do(c, "CREATE TEMP TABLE p2_current AS SELECT n FROM generate_series(1, 3) n")
        cursor = c.cursor("p2_pos")
        cursor.execute("SELECT n FROM p2_current FOR UPDATE")
        cursor.fetchone()
        cursor.fetchone()
        do(c, "UPDATE p2_current SET n = 20 WHERE CURRENT OF p2_pos")
        equal(one(c, "SELECT array_agg(n ORDER BY n) FROM p2_current"), [1, 3, 20])


@check
def copy_goes_in_and_out():
    with connect() as c, c.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE p2_copy (n int, t text)")
        lines = "".join(f"{n}\trow {n}\n" for n in range(20000))
        cursor.copy_from(io.StringIO(lines), "p2_copy")
        equal(cursor.rowcount, 20000)
        out = io.StringIO()
        cursor.copy_to(out, "p2_copy")
        equal(out.getvalue(), lines)
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT n FROM p2_copy WHERE n < 2 ORDER BY n) TO STDOUT WITH CSV HEADER", out)
        equal(out.getvalue(), "n\n0\n1\n")


@check
def copy_in_fails_at_bad_data_and_the_session_goes_on():
    with connect(autocommit=True) as c, c.cursor() as cursor:
        cursor.execute("CREATE TABLE p2_bad (n int)")
        bad = io.StringIO("1\n" * 50000 + "x\n" + "2\n" * 50000)
        error = raises(psycopg2.errors.InvalidTextRepresentation, cursor.copy_from, bad, "p2_bad")
        assert "COPY p2_bad, line 50001" in error.diag.context
        equal(one(c, "SELECT count(*) FROM p2_bad"), 0)


class Broken:
    """A file that fails after its first lines."""

    def __init__(self):
        self.reads = 0

    def read(self, size=-1):
        self.reads += 1
        if self.reads > 2:
            raise OSError("disk on fire")
        return "1\n" * 1000

    readline = read


@check
def copy_in_is_aborted_by_the_client():
    with connect(autocommit=True) as c, c.cursor() as cursor:
        cursor.execute("CREATE TABLE p2_abort (n int)")
        error = raises(psycopg2.errors.QueryCanceled, cursor.copy_from, Broken(), "p2_abort")
        assert "disk on fire" in str(error), error
        equal(one(c, "SELECT count(*) FROM p2_abort"), 0)


@check
def a_notification_reaches_an_idle_listener():
    with connect(autocommit=True) as listener, connect(autocommit=True) as sender:
        do(listener, "LISTEN p2_news")
        do(sender, "NOTIFY p2_news, 'first'")
        notify = notified(listener)
        equal((notify.channel, notify.payload), ("p2_news", "first"))
        do(sender, "SELECT pg_notify('p2_news', 'second')")
        equal(notified(listener).payload, "second")


@check
def a_notification_of_ones_own_has_the_pid_of_the_connection():
    with connect(autocommit=True) as c, connect(autocommit=True) as sender:
        do(c, "LISTEN p2_self; NOTIFY p2_self")
        equal(notified(c).pid, c.get_backend_pid())
        do(sender, "NOTIFY p2_self")
        equal(notified(c).pid, sender.get_backend_pid())


@check
def notifications_reach_all_listeners_at_commit_and_none_that_left():
    with connect(autocommit=True) as a, connect(autocommit=True) as b, connect() as sender:
        for c in a, b:
            do(c, "LISTEN p2_all")
        do(sender, "NOTIFY p2_all, 'rolled back'")
        sender.rollback()
        do(sender, "NOTIFY p2_all, 'one'")
        equal(one(a, "SELECT 1"), 1)
        equal(a.notifies, [])
        sender.commit()
        equal([notified(a).payload, notified(b).payload], ["one", "one"])
        do(a, "UNLISTEN p2_all")
        do(sender, "NOTIFY p2_all, 'two'")
        sender.commit()
        equal(notified(b).payload, "two")
        do(a, "SELECT 1")
        equal(a.notifies, [])
        do(b, "UNLISTEN *")
        equal(one(b, "SELECT count(*) FROM pg_listening_channels()"), 0)


@check
def listen_holds_from_commit_on():
    with connect() as c, connect(autocommit=True) as sender:
        do(c, "LISTEN p2_late")
        c.rollback()
        equal(one(c, "SELECT count(*) FROM pg_listening_channels()"), 0)
        do(c, "LISTEN p2_late")
        do(sender, "NOTIFY p2_late, 'too early'")
        c.commit()
        do(sender, "NOTIFY p2_late, 'in time'")
        equal(notified(c).payload, "in time")


@check
def large_objects_are_written_read_and_truncated():
    with connect() as c:
        big = c.lobject(0, "wb")
        big.write(b"0123456789" * 50000)
        equal(big.tell(), 500000)
        c.commit()
        back = c.lobject(big.oid, "rwb")
        back.seek(499995)
        equal(back.read(), b"56789")
        back.seek(-3, os.SEEK_END)
        equal(back.read(2), b"78")
        back.truncate(4)
        back.seek(0)
        equal(back.read(), b"0123")
        back.close()
        c.rollback()
        equal(len(c.lobject(big.oid, "rb").read()), 500000)
        c.lobject(big.oid).unlink()
        c.commit()
        raises(psycopg2.OperationalError, c.lobject, big.oid, "rb")


@check
def a_statement_is_cancelled_from_another_thread():
    with connect() as c:
        timer = threading.Timer(0.3, c.cancel)
        timer.start()
        raises(psycopg2.errors.QueryCanceled, do, c, "SELECT pg_sleep(30)")
        timer.join()
        equal(c.get_transaction_status(), STATUS.TRANSACTION_STATUS_INERROR)
        c.rollback()
        equal(one(c, "SELECT 1"), 1)


@check
def a_cancel_of_an_idle_connection_does_nothing():
    with connect(autocommit=True) as c, connect(autocommit=True) as other:
        for _ in range(20):
            c.cancel()
            equal(one(other, "SELECT 1"), 1)
        equal(one(c, "SELECT 1"), 1)


@check
def notices_are_kept_in_order():
    with connect(autocommit=True) as c:
        do(c, "DO $$ BEGIN FOR i IN 1..5 LOOP RAISE NOTICE 'n%', i; END LOOP; RAISE WARNING 'w'; END $$")
        equal([n.strip() for n in c.notices], [f"NOTICE:  n{i}" for i in range(1, 6)] + ["WARNING:  w"])
        do(c, "SET client_min_messages = error")
        do(c, "DO $$ BEGIN RAISE WARNING 'not told'; END $$")
        equal(len(c.notices), 6)


@check
def warnings_about_transactions_come_as_they_do_directly():
    with connect(autocommit=True) as c:
        for text, warning in [
            ("COMMIT", "there is no transaction in progress"),
            ("ROLLBACK", "there is no transaction in progress"),
            ("SET LOCAL work_mem = '1MB'", "SET LOCAL can only be used in transaction blocks"),
            ("SET TRANSACTION READ ONLY", "SET TRANSACTION can only be used in transaction blocks"),
            ("BEGIN; BEGIN; ROLLBACK", "there is already a transaction in progress"),
        ]:
            del c.notices[:]
            do(c, text)
            equal([n.strip() for n in c.notices], [f"WARNING:  {warning}"])


@check
def several_statements_in_one_string_are_one_transaction():
    with connect(autocommit=True) as c:
        do(c, "CREATE TABLE p2_multi (n int UNIQUE)")
        raises(psycopg2.errors.UniqueViolation, do, c, "INSERT INTO p2_multi VALUES (1); INSERT INTO p2_multi VALUES (1)")
        equal(one(c, "SELECT count(*) FROM p2_multi"), 0)
        with c.cursor() as cursor:
            cursor.execute("SELECT 1; SELECT 2")
            equal(cursor.fetchall(), [(2,)])
        raises(psycopg2.Error, do, c, "INSERT INTO p2_multi VALUES (1); COMMIT; SELECT 1/0")
        equal(one(c, "SELECT count(*) FROM p2_multi"), 1)


@check
def prepared_in_sql_it_is_there_in_later_transactions():
    with connect() as c, connect() as other:
        do(c, "PREPARE p2_plan (int) AS SELECT $1 * 2")
        c.commit()
        for n in range(10):
            equal(one(c, "EXECUTE p2_plan (%s)", (n,)), 2 * n)
            c.commit()
        raises(psycopg2.errors.InvalidSqlStatementName, do, other, "EXECUTE p2_plan (1)")
        equal(one(c, "SELECT statement FROM pg_prepared_statements"), "PREPARE p2_plan (int) AS SELECT $1 * 2")
        raises(psycopg2.errors.DuplicatePreparedStatement, do, c, "PREPARE p2_plan AS SELECT 1")
        c.rollback()
        do(c, "DEALLOCATE p2_plan")
        raises(psycopg2.errors.InvalidSqlStatementName, do, c, "EXECUTE p2_plan (1)")


@check
def a_prepared_statement_whose_result_changed_is_refused():
    with connect(autocommit=True) as c, connect(autocommit=True) as other:
        do(c, "CREATE TABLE p2_ddl (a int)")
        do(c, "PREPARE p2_star AS SELECT * FROM p2_ddl")
        do(c, "EXECUTE p2_star")
        do(other, "ALTER TABLE p2_ddl ADD b int")
        error = raises(psycopg2.errors.FeatureNotSupported, do, c, "EXECUTE p2_star")
        equal(error.diag.message_primary, "cached plan must not change result type")
        do(c, "DEALLOCATE ALL")
        do(c, "PREPARE p2_star AS SELECT * FROM p2_ddl")
        do(c, "EXECUTE p2_star")


@check
def temporary_tables_belong_to_their_session():
    with connect() as c, connect() as other:
        do(c, "CREATE TEMP TABLE p2_temp (n) AS SELECT 1")
        do(c, "CREATE TEMP TABLE p2_brief (n int) ON COMMIT DROP")
        c.commit()
        for session in c, other:
            equal(one(session, "SELECT to_regclass('p2_brief') IS NULL"), True)
        equal(one(c, "SELECT n FROM p2_temp"), 1)
        raises(psycopg2.errors.UndefinedTable, do, other, "SELECT n FROM p2_temp")
        other.rollback()
        do(other, "CREATE TEMP TABLE p2_temp (n) AS SELECT 2")
        other.commit()
        equal((one(c, "SELECT n FROM p2_temp"), one(other, "SELECT n FROM p2_temp")), (1, 2))
    with connect() as c:
        equal(one(c, "SELECT to_regclass('p2_temp') IS NULL"), True)


@check
def discard_all_leaves_a_session_as_new():
    with connect(autocommit=True) as c:
        do(c, "CREATE TEMP TABLE p2_discard (); LISTEN p2_discard; SET work_mem = '9MB'; PREPARE p2_d AS SELECT 1")
        do(c, "SELECT pg_advisory_lock(2001); DECLARE p2_d CURSOR WITH HOLD FOR SELECT 1; CREATE TEMP SEQUENCE p2_s")
        equal(do(c, "DISCARD ALL"), "DISCARD ALL")
        for left in ["pg_prepared_statements", "pg_cursors", "pg_listening_channels()"]:
            equal(one(c, f"SELECT count(*) FROM {left}"), 0)
        equal(one(c, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 2001"), 0)
        equal((one(c, "SHOW work_mem"), one(c, "SELECT to_regclass('p2_discard')")), ("4MB", None))
        raises(psycopg2.errors.ActiveSqlTransaction, do, c, "BEGIN; DISCARD ALL")


@check
def currval_and_lastval_know_the_insert_before():
    with connect(autocommit=True) as c, connect(autocommit=True) as other:
        do(c, "CREATE TABLE p2_serials (id serial, n int)")
        raises(psycopg2.errors.ObjectNotInPrerequisiteState, do, other, "SELECT lastval()")
        for n in range(1, 6):
            do(c, "INSERT INTO p2_serials (n) VALUES (0)")
            do(other, "INSERT INTO p2_serials (n) VALUES (0)")
            equal(one(c, "SELECT lastval()"), 2 * n - 1)
            equal(one(other, "SELECT currval('p2_serials_id_seq')"), 2 * n)
        do(c, "DISCARD SEQUENCES")
        raises(psycopg2.errors.ObjectNotInPrerequisiteState, do, c, "SELECT lastval()")


@check
def session_locks_are_reentrant_and_outlive_transactions():
    with connect(autocommit=True) as c, connect(autocommit=True) as other:
        do(c, "SELECT pg_advisory_lock(2002)")
        do(c, "SELECT pg_advisory_lock(2002)")
        do(c, "BEGIN; SELECT pg_advisory_lock(2002); ROLLBACK")
        for left in 2, 1, 0:
            equal(one(other, "SELECT pg_try_advisory_lock(2002)"), False)
            equal(one(c, "SELECT pg_advisory_unlock(2002)"), True)
        equal(one(c, "SELECT pg_advisory_unlock(2002)"), False)
        assert "you don't own a lock" in c.notices[-1], c.notices
        equal(one(other, "SELECT pg_try_advisory_lock(2002)"), True)


@check
def transaction_locks_end_with_the_transaction_or_the_savepoint():
    with connect() as c, connect() as other:
        do(c, "SAVEPOINT s")
        equal(one(c, "SELECT pg_try_advisory_xact_lock(2003, -1)"), True)
        equal(one(other, "SELECT pg_try_advisory_xact_lock(2003, -1)"), False)
        do(c, "ROLLBACK TO s")
        equal(one(other, "SELECT pg_try_advisory_xact_lock(2003, -1)"), True)
        other.rollback()
        do(c, "SELECT pg_advisory_xact_lock_shared(2004)")
        equal(one(other, "SELECT pg_try_advisory_xact_lock_shared(2004)"), True)
        equal(one(other, "SELECT pg_try_advisory_xact_lock(2004)"), False)


@check
def a_blocked_lock_is_granted_when_the_holder_leaves():
    got = []
    with connect(autocommit=True) as watch:
        with connect(autocommit=True) as holder, connect(autocommit=True) as waiter:
            do(holder, "SELECT pg_advisory_lock(2005)")
            thread = threading.Thread(target=lambda: got.append(do(waiter, "SELECT pg_advisory_lock(2005)")))
            thread.start()
            while not one(watch, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 2005"):
                pass
            equal(got, [])
            holder.close()
            thread.join()
            equal(got, ["SELECT 1"])


@check
def timeouts_of_statements_and_locks_are_the_sessions_own():
    with connect(autocommit=True, options="-c statement_timeout=200") as c, connect() as other:
        raises(psycopg2.errors.QueryCanceled, do, c, "SELECT pg_sleep(5)")
        do(c, "SET statement_timeout = 0; SET lock_timeout = 100")
        do(other, "SELECT pg_advisory_xact_lock(2006)")
        raises(psycopg2.errors.LockNotAvailable, do, c, "SELECT pg_advisory_lock(2006)")
        equal((one(c, "SHOW lock_timeout"), one(other, "SHOW lock_timeout")), ("100ms", "0"))


@check
def types_are_found_in_the_catalog():
    with connect(autocommit=True) as c:
        do(c, "CREATE EXTENSION IF NOT EXISTS hstore; CREATE TYPE p2_pair AS (a int, b text)")
        psycopg2.extras.register_hstore(c)
        psycopg2.extras.register_composite("p2_pair", c)
        psycopg2.extras.register_uuid()
        equal(one(c, "SELECT 'a=>1, b=>NULL'::hstore"), {"a": "1", "b": None})
        equal(tuple(one(c, "SELECT (1, 'x')::p2_pair")), (1, "x"))
        for value in [uuid.UUID(int=7), datetime.date(2020, 2, 29), [1, None, 3], 10**30, datetime.timedelta(1, 5)]:
            equal(one(c, "SELECT %s", (value,)), value)
        equal(one(c, "SELECT %s::jsonb", (psycopg2.extras.Json({"a": [1]}),)), {"a": [1]})
        equal(bytes(one(c, "SELECT %s", (psycopg2.Binary(bytes(range(256))),))), bytes(range(256)))


@check
def an_asynchronous_connection_is_polled():
    c = psycopg2.connect(URL, async_=True)
    wait(c)
    cursor = c.cursor()
    cursor.execute("SELECT pg_sleep(0.1), %s", (42,))
    assert c.isexecuting()
    wait(c)
    equal(cursor.fetchone()[1], 42)
    cursor.execute("BEGIN; SELECT 1/0")
    raises(psycopg2.errors.DivisionByZero, wait, c)
    cursor.execute("ROLLBACK; LISTEN p2_async; NOTIFY p2_async, 'x'; SELECT repeat('x', 3000000)")
    wait(c)
    equal(len(cursor.fetchone()[0]), 3000000)
    equal([n.payload for n in c.notifies], ["x"])
    cursor.execute("SELECT pg_sleep(20) -- p2 async")
    with connect(autocommit=True) as watch:
        while not one(watch, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%-- p2 async' AND state = 'active'"):
            continue
    c.cancel()
    raises(psycopg2.errors.QueryCanceled, wait, c)
    c.close()


@check
def the_pool_serves_more_threads_than_there_are_backends():
    pool = psycopg2.pool.ThreadedConnectionPool(1, 12, URL)
    wrong = []

    def work(i):
        for n in range(15):
            c = pool.getconn(i)
            do(c, "SET LOCAL app.worker = %s", (str(i),))
            if one(c, "SELECT current_setting('app.worker')") != str(i):
                wrong.append(i)
            if n % 2:
                c.commit()
            pool.putconn(c, i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.closeall()
    equal(wrong, [])


@check
def thousands_of_rows_in_one_statement():
    with connect() as c, c.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE p2_many (n int, t text)")
        rows = [(n, "text " * 20) for n in range(5000)]
        back = psycopg2.extras.execute_values(cursor, "INSERT INTO p2_many VALUES %s RETURNING n", rows, page_size=1000, fetch=True)
        equal(len(back), 5000)
        psycopg2.extras.execute_batch(cursor, "UPDATE p2_many SET t = %s WHERE n = %s", [("x", n) for n in range(200)])
        equal(one(c, "SELECT count(*) FROM p2_many WHERE t = 'x'"), 200)


@check
def functions_procedures_and_chained_transactions():
    with connect(autocommit=True) as c:
        do(c, "CREATE TABLE p2_proc (n int)")
        do(c, """CREATE PROCEDURE p2_two() LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO p2_proc VALUES (1); COMMIT; INSERT INTO p2_proc VALUES (2); ROLLBACK; END $$""")
        do(c, "CALL p2_two()")
        equal(one(c, "SELECT array_agg(n) FROM p2_proc"), [1])
        with c.cursor() as cursor:
            cursor.callproc("generate_series", (1, 3))
            equal(cursor.fetchall(), [(1,), (2,), (3,)])
        do(c, "BEGIN ISOLATION LEVEL SERIALIZABLE")
        do(c, "COMMIT AND CHAIN")
        equal(one(c, "SHOW transaction_isolation"), "serializable")
        do(c, "ROLLBACK")


@check
def two_phase_transactions_are_committed_by_another_connection():
    with connect() as c, connect() as other:
        c.tpc_begin(c.xid(1, "p2", "x"))
        do(c, "CREATE TABLE p2_phase ()")
        c.tpc_prepare()
        equal([x.gtrid for x in other.tpc_recover()], ["p2"])
        other.tpc_commit(other.tpc_recover()[0])
        equal(one(other, "SELECT to_regclass('p2_phase')::text"), "p2_phase")


run()
