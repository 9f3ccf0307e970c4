"""psycopg 3: server-side binding, automatic and explicit prepared statements, pipeline mode, server cursors, COPY,
notifications, two-phase commit and psycopg_pool."""

import datetime
import decimal
import os
import threading

import psycopg
from harness import check, equal, raises, run
from psycopg import errors, pq
from psycopg.rows import dict_row
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.json import Jsonb
from psycopg.types.range import Range
from psycopg_pool import ConnectionPool

URL = os.environ["DATABASE_URL"]


def connect(autocommit=True, **more):
    return psycopg.connect(URL, autocommit=autocommit, **more)


def one(connection, text, values=None, **more):
    return connection.execute(text, values, **more).fetchone()[0]


def message(result):
    """The primary message of a libpq result that failed, or none."""
    return (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode()


@check
def statements_are_prepared_after_the_threshold_and_live_on():
    with connect() as c, connect() as other:
        c.prepare_threshold = other.prepare_threshold = 2
        for n in range(30):
            equal(one(c, "SELECT %s::int + 1", (n,)), n + 1)
            equal(one(other, "SELECT %s::int + 2", (n,)), n + 2)


@check
def the_statements_of_the_session_are_in_the_catalog():
    with connect() as c:
        c.prepare_threshold = 0
        one(c, "SELECT %s::int + 3", (1,))
        c.prepare_threshold = None
        rows = c.execute("SELECT name, statement, parameter_types::text, from_sql FROM pg_prepared_statements").fetchall()
        equal(rows, [("_pg3_0", "SELECT $1::int + 3", "{smallint}", False)])


@check
def more_statements_than_are_kept():
    with connect() as c:
        c.prepare_threshold, c.prepared_max = 0, 4
        for n in range(60):
            equal(one(c, f"SELECT %s::int + {n % 9}", (n,)), n + n % 9)


@check
def deallocate_all_and_discard_all_forget_what_was_prepared():
    with connect() as c:
        for text in b"DEALLOCATE ALL", b"DISCARD ALL":
            c.pgconn.prepare(b"p3_gone", b"SELECT 1")
            c.pgconn.exec_(text)
            equal(message(c.pgconn.exec_prepared(b"p3_gone", [])), 'prepared statement "p3_gone" does not exist')


@check
def a_text_is_analysed_when_it_is_parsed():
    with connect() as c:
        c.execute("CREATE TABLE p3_old (a int)")
        sessions = [connect() for _ in range(8)]
        for session in sessions:
            session.pgconn.prepare(b"s", b"SELECT * FROM p3_old")
            equal(session.pgconn.exec_prepared(b"s", []).nfields, 1)
        c.execute("ALTER TABLE p3_old ADD b int")
        for session in sessions:
            session.pgconn.prepare(b"fresh", b"SELECT * FROM p3_old")
            equal(message(session.pgconn.describe_prepared(b"fresh")), "")
            equal(session.pgconn.exec_prepared(b"fresh", []).nfields, 2)
        c.execute("DROP TABLE p3_old")
        for session in sessions:
            equal(message(session.pgconn.prepare(b"late", b"SELECT * FROM p3_old")), 'relation "p3_old" does not exist')
            session.close()


@check
def a_prepared_statement_does_not_change_its_columns():
    with connect() as c:
        c.execute("CREATE TABLE p3_fixed (a int)")
        sessions = [connect() for _ in range(8)]
        for session in sessions:
            session.pgconn.prepare(b"s", b"SELECT * FROM p3_fixed")
        c.execute("ALTER TABLE p3_fixed ALTER a TYPE text")
        for _ in range(2):
            for session in sessions:
                equal(message(session.pgconn.exec_prepared(b"s", [])), "cached plan must not change result type")
        c.execute("ALTER TABLE p3_fixed ALTER a TYPE int USING a::int")
        for session in sessions:
            equal(message(session.pgconn.exec_prepared(b"s", [])), "")
            session.close()


@check
def the_same_text_means_what_the_search_path_says():
    with connect() as c:
        c.execute("CREATE SCHEMA p3_a; CREATE SCHEMA p3_b; CREATE TABLE p3_a.t (id int, x int); CREATE TABLE p3_b.t (id text, y text)")
        sessions = [(name, connect(options=f"-c search_path=p3_{name}")) for name in "abababab"]
        for name, session in sessions:
            session.pgconn.prepare(b"s", b"SELECT * FROM t WHERE id = $1")
            got = session.pgconn.describe_prepared(b"s")
            equal((got.fname(1), got.param_type(0)), (b"x", 23) if name == "a" else (b"y", 25))
            session.close()


@check
def a_statement_follows_the_search_path_of_its_session():
    with connect() as c:
        c.execute("CREATE SCHEMA p3_c; CREATE SCHEMA p3_d; CREATE TABLE p3_c.v (x) AS SELECT 1; CREATE TABLE p3_d.v (x) AS SELECT 2")
        c.prepare_threshold = 0
        for n in range(10):
            name, wanted = ("p3_c", 1) if n % 2 else ("p3_d", 2)
            c.execute(f"SET search_path = {name}", prepare=False)
            equal(one(c, "SELECT x FROM v"), wanted)


@check
def transactions_nest_and_roll_back():
    with connect() as c:
        c.execute("CREATE TABLE p3_nest (n int)")
        with c.transaction():
            c.execute("INSERT INTO p3_nest VALUES (1)")
            for n in range(2, 5):
                with c.transaction(force_rollback=n % 2 == 0):
                    c.execute("INSERT INTO p3_nest VALUES (%s)", (n,))
            try:
                with c.transaction("named"):
                    c.execute("SELECT 1/0")
            except errors.DivisionByZero:
                pass
        equal(one(c, "SELECT array_agg(n) FROM p3_nest"), [1, 3])


@check
def isolation_read_only_and_deferrable_are_the_connections():
    with connect(autocommit=False) as c:
        c.isolation_level, c.read_only, c.deferrable = psycopg.IsolationLevel.SERIALIZABLE, True, True
        for _ in range(3):
            equal(one(c, "SHOW transaction_isolation") + one(c, "SHOW transaction_read_only"), "serializableon")
            raises(errors.ReadOnlySqlTransaction, c.execute, "CREATE TABLE p3_never ()")
            c.rollback()


@check
def errors_tell_all_they_tell_directly():
    with connect() as c:
        diag = raises(errors.UndefinedColumn, c.execute, "SELECT a, nothing FROM (SELECT %s::int AS a) s", (1,)).diag
        equal((diag.statement_position, diag.source_function), ("11", "errorMissingColumn"))
        error = raises(errors.InvalidTextRepresentation, c.execute, "SELECT %s::int", ("x",))
        equal(error.diag.context, "unnamed portal parameter $1 = '...'" if error.diag.context else None)
        raises(errors.IndeterminateDatatype, c.execute, "SELECT %s IS NULL", (None,))
        raises(errors.SyntaxError, c.execute, "SELECT 1; SELECT %s", (1,))
        equal(c.info.transaction_status, pq.TransactionStatus.IDLE)


@check
def a_pipeline_runs_without_waiting():
    with connect() as c:
        c.execute("CREATE TABLE p3_pipe (n int UNIQUE)")
        with c.pipeline(), c.cursor() as cursor:
            cursor.executemany("INSERT INTO p3_pipe VALUES (%s) RETURNING n", [(n,) for n in range(100)], returning=True)
            got = [cursor.fetchone()[0]]
            while cursor.nextset():
                got.append(cursor.fetchone()[0])
        equal(got, list(range(100)))
        equal(one(c, "SELECT count(*) FROM p3_pipe"), 100)


@check
def an_error_in_a_pipeline_aborts_up_to_the_next_sync():
    with connect() as c:
        c.execute("CREATE TABLE p3_broken (n int UNIQUE)")
        with c.pipeline() as p:
            c.execute("INSERT INTO p3_broken VALUES (1)")
            p.sync()
            bad = c.execute("INSERT INTO p3_broken VALUES (1)")
            after = c.execute("INSERT INTO p3_broken VALUES (2)")
            raises(errors.UniqueViolation, p.sync)
            raises(psycopg.ProgrammingError, after.fetchone)
            raises(psycopg.ProgrammingError, bad.fetchone)
            c.execute("INSERT INTO p3_broken VALUES (3)")
        equal(one(c, "SELECT array_agg(n ORDER BY n) FROM p3_broken"), [1, 3])


@check
def transactions_in_a_pipeline_each_commit_or_not():
    with connect() as c:
        c.execute("CREATE TABLE p3_txs (n int)")
        with c.pipeline():
            for n in range(20):
                with c.transaction(force_rollback=n % 2 == 1):
                    c.execute("SELECT pg_advisory_xact_lock(4001)")
                    c.execute("INSERT INTO p3_txs VALUES (%s)", (n,))
        equal(one(c, "SELECT array_agg(n ORDER BY n) FROM p3_txs"), list(range(0, 20, 2)))


@check
def a_pipeline_that_also_sets_prepares_and_locks():
    with connect() as c:
        c.prepare_threshold = 0
        with c.pipeline():
            got = []
            for n in range(20):
                c.execute("SELECT set_config('app.n', %s, false)", (str(n),))
                c.execute("SELECT pg_advisory_lock(4002)")
                got.append(c.execute("SELECT current_setting('app.n') || count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"))
                c.execute("SELECT pg_advisory_unlock(4002)")
            equal([cursor.fetchone()[0] for cursor in got], [f"{n}1" for n in range(20)])


@check
def results_are_read_row_by_row():
    with connect() as c, c.cursor() as cursor:
        n = 0
        for (value,) in cursor.stream("SELECT n FROM generate_series(1, %s) n", (20000,)):
            n += value
        equal(n, 20000 * 20001 // 2)
        stream = cursor.stream("SELECT 1 / (500 - n) FROM generate_series(1, 1000) n")
        raises(errors.DivisionByZero, list, stream)
        equal(one(c, "SELECT 1"), 1)


@check
def a_server_cursor_scrolls_and_holds():
    with connect(autocommit=False) as c, c.cursor("p3 cursor", scrollable=True, withhold=True) as cursor:
        cursor.itersize = 7
        cursor.execute("SELECT n FROM generate_series(1, %s) n", (50,))
        equal(len(cursor.fetchmany(20)), 20)
        cursor.scroll(-5)
        equal(cursor.fetchone(), (16,))
        c.commit()
        cursor.scroll(0, mode="absolute")
        equal([n for (n,) in cursor], list(range(1, 51)))
        raises(errors.InvalidCursorName, connect().execute, 'FETCH "p3 cursor"')


@check
def binary_results_of_many_types():
    values = [7, 2**40, decimal.Decimal("1.50"), "ä", b"\0\1", True, datetime.date(2020, 2, 29), [1, None], 1.5]
    with connect() as c:
        for binary in True, False:
            for value in values:
                equal(one(c, "SELECT %s", (value,), binary=binary), value)
            equal(one(c, "SELECT %s::int4range", (Range(1, 5),), binary=binary), Range(1, 5, "[)"))
            equal(one(c, "SELECT %s", (Jsonb({"a": [1]}),), binary=binary), {"a": [1]})
        moment = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
        equal(one(c, "SELECT %s", (moment,)), moment)
        equal(c.cursor(row_factory=dict_row).execute("SELECT 1 AS a").fetchall(), [{"a": 1}])


@check
def the_timezone_of_the_session_is_that_of_its_values():
    with connect() as c:
        c.execute("SET timezone = 'Asia/Tokyo'")
        for _ in range(3):
            equal(str(c.info.timezone), "Asia/Tokyo")
            equal(one(c, "SELECT '2020-01-01 00:00Z'::timestamptz").isoformat(), "2020-01-01T09:00:00+09:00")


@check
def types_made_by_the_user_are_looked_up():
    with connect() as c:
        c.execute("CREATE TYPE p3_mood AS ENUM ('sad', 'glad'); CREATE TYPE p3_pair AS (a int, m p3_mood)")
        register_enum(EnumInfo.fetch(c, "p3_mood"), c)
        register_composite(CompositeInfo.fetch(c, "p3_pair"), c)
        pair = one(c, "SELECT (1, 'glad')::p3_pair")
        equal((pair.a, pair.m.name), (1, "glad"))


@check
def copy_by_rows_by_blocks_and_in_binary():
    with connect() as c, c.cursor() as cursor:
        cursor.execute("CREATE TABLE p3_copy (n int, t text)")
        for form in "", "(FORMAT binary)":
            with cursor.copy(f"COPY p3_copy FROM STDIN {form}") as copy:
                copy.set_types(["int4", "text"])
                for n in range(5000):
                    copy.write_row((n, f"row {n}"))
        with cursor.copy("COPY (SELECT n FROM p3_copy ORDER BY n) TO STDOUT") as copy:
            equal(sum(1 for _ in copy.rows()), 10000)


@check
def copy_is_aborted_from_either_side():
    with connect() as c, c.cursor() as cursor:
        cursor.execute("CREATE TABLE p3_abort (n int)")

        def fail():
            with cursor.copy("COPY p3_abort FROM STDIN") as copy:
                copy.write("1\n" * 10000)
                raise KeyError("mine")

        def bad():
            with cursor.copy("COPY p3_abort FROM STDIN") as copy:
                for _ in range(2000):
                    copy.write("x\n" * 100)

        def leave():
            with cursor.copy("COPY (SELECT repeat('x', 100) FROM generate_series(1, 100000)) TO STDOUT") as copy:
                next(iter(copy))
                raise KeyError("enough")

        raises(errors.QueryCanceled, fail)
        raises(errors.InvalidTextRepresentation, bad)
        raises(KeyError, leave)
        equal(one(c, "SELECT count(*) FROM p3_abort"), 0)


@check
def notifications_are_generated_while_idle():
    with connect() as c, connect() as other, connect() as sender:
        for listener in c, other:
            listener.execute("LISTEN p3_news")
        timer = threading.Timer(0.3, lambda: sender.execute("NOTIFY p3_news, 'a'; NOTIFY p3_news, 'b'; NOTIFY p3_news, 'a'"))
        timer.start()
        for listener in c, other:
            notes = listener.notifies()
            equal([next(notes).payload, next(notes).payload], ["a", "b"])
            notes.close()
        timer.join()
        c.execute("UNLISTEN *")
        sender.execute("NOTIFY p3_news, 'c'")
        equal(next(other.notifies()).payload, "c")


@check
def a_statement_is_cancelled_in_time_and_only_it():
    with connect() as c, connect() as other:
        timer = threading.Timer(0.2, c.cancel)
        timer.start()
        raises(errors.QueryCanceled, c.execute, "SELECT pg_sleep(20)")
        timer.join()
        for _ in range(30):
            c.cancel()
            equal(one(other, "SELECT 1"), 1)


@check
def notices_reach_their_handler():
    with connect() as c:
        got = []
        c.add_notice_handler(lambda diag: got.append((diag.severity, diag.sqlstate, diag.message_primary)))
        c.execute("DO $$ BEGIN RAISE WARNING USING MESSAGE = 'w', ERRCODE = '01ABC'; END $$")
        c.execute("BEGIN")
        c.execute("BEGIN")
        c.execute("ROLLBACK")
        equal(got, [("WARNING", "01ABC", "w"), ("WARNING", "25001", "there is already a transaction in progress")])


@check
def two_phase_commit_by_another_connection():
    c = connect(autocommit=False)
    c.tpc_begin("p3 phase")
    c.execute("CREATE TABLE p3_phase ()")
    c.tpc_prepare()
    c.close()
    with connect(autocommit=False) as other:
        found = [xid for xid in other.tpc_recover() if xid.gtrid == "p3 phase"]
        other.tpc_rollback(found[0])
        equal(one(other, "SELECT to_regclass('p3_phase')"), None)


@check
def the_pool_lends_clean_connections():
    with ConnectionPool(URL, min_size=2, max_size=10, reset=lambda c: c.execute("RESET ALL") and c.commit()) as pool:
        wrong = []

        def work(i):
            for _ in range(10):
                with pool.connection() as c:
                    if one(c, "SHOW work_mem") != "4MB":
                        wrong.append("left behind")
                    c.execute(f"SET work_mem = '{i + 1}MB'")
                    c.commit()
                    if one(c, "SHOW work_mem") != f"{i + 1}MB":
                        wrong.append(i)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4, 14)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(wrong, [])


@check
def what_a_function_made_just_now_sets_is_the_sessions_own():
    with connect() as c, connect() as other:
        for n in range(5):
            c.execute(f"""CREATE FUNCTION p3_sets_{n}() RETURNS void LANGUAGE plpgsql AS
                $$ BEGIN PERFORM set_config('work_mem', '{n + 7}MB', false); END $$""")
            c.execute(f"SELECT p3_sets_{n}()")
            equal(one(c, "SHOW work_mem"), f"{n + 7}MB")
            equal(one(other, "SHOW work_mem"), "4MB")


@check
def currval_and_lastval_are_the_sessions_own():
    with connect() as c:
        c.execute("CREATE TABLE p3_serial (id serial, n int)")
        for n in range(10):
            with connect() as first, connect() as second:
                for session in first, second:
                    session.execute("INSERT INTO p3_serial (n) VALUES (1)")
                equal((one(first, "SELECT lastval()"), one(second, "SELECT currval('p3_serial_id_seq')")), (2 * n + 1, 2 * n + 2))


@check
def setseed_and_random_belong_to_the_session():
    with connect() as c, connect() as other:
        c.execute("SELECT setseed(0.5)")
        first = [one(c, "SELECT random()") for _ in range(5)]
        for session in c, other:
            session.execute("SELECT setseed(0.5)")
        got = [(one(c, "SELECT random()"), one(other, "SELECT random()")) for _ in range(5)]
        equal(got, [(value, value) for value in first])


run()
