"""asyncpg: the binary protocol with Flush, introspection of types, its statement cache, cursors, COPY, listeners and a
pool that resets its connections."""

import asyncio
import datetime
import decimal
import io
import json
import os
import uuid

import asyncpg
from harness import check, equal, run

URL = os.environ["DATABASE_URL"].partition("?")[0]  # asyncpg knows sslmode, but would try TLS by itself as well


class connect:
    """A connection for a check."""

    def __init__(self, **more):
        self.more = more

    async def __aenter__(self):
        self.connection = await asyncpg.connect(URL, ssl=False, **self.more)
        return self.connection

    async def __aexit__(self, *error):
        await self.connection.close(timeout=5)


async def fails(kind, awaitable):
    try:
        await awaitable
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


@check
async def values_of_many_types():
    values = {
        "bigint": 2**40, "numeric": decimal.Decimal("1.50"), "text": "ä", "bytea": b"\0\1", "bool": True, "uuid": uuid.UUID(int=5),
        "date": datetime.date(2020, 2, 29), "timestamp": datetime.datetime(2020, 1, 1), "interval": datetime.timedelta(1, 5),
        "int[]": [1, None, 3], "point": asyncpg.Point(1, 2), "int4range": asyncpg.Range(1, 5), "jsonb": '{"a": 1}', "float8": 1.5,
    }
    async with connect() as c:
        for _ in range(2):
            for kind, value in values.items():
                equal(await c.fetchval(f"SELECT $1::{kind}", value), value)


@check
async def types_of_the_user_are_introspected():
    async with connect() as c, connect() as other:
        await c.execute("""CREATE TYPE ap_mood AS ENUM ('sad', 'glad'); CREATE TYPE ap_pair AS (a int, m ap_mood[]);
            CREATE DOMAIN ap_even AS int CHECK (VALUE % 2 = 0); CREATE EXTENSION IF NOT EXISTS hstore""")
        for session in c, other:
            got = await session.fetchval("SELECT array_agg((n, ARRAY['glad']::ap_mood[])::ap_pair) FROM generate_series(1, 2) n")
            equal([tuple(row) for row in got], [(1, ["glad"]), (2, ["glad"])])
            equal(await session.fetchval("SELECT $1::ap_even", 4), 4)
            await session.set_builtin_type_codec("hstore", codec_name="pg_contrib.hstore")
            equal(await session.fetchval("SELECT 'a=>1'::hstore"), {"a": "1"})
        await fails(asyncpg.CheckViolationError, c.fetchval("SELECT $1::ap_even", 3))


@check
async def codecs_of_the_application():
    async with connect() as c:
        await c.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        equal(await c.fetchval("SELECT $1::jsonb", {"a": [1, 2]}), {"a": [1, 2]})


@check
async def introspection_leaves_the_settings_alone():
    async with connect() as c:
        await c.execute("SET jit = on; CREATE TYPE ap_jit AS (a int)")
        await c.fetchval("SELECT NULL::ap_jit")
        equal(await c.fetchval("SHOW jit"), "on")


@check
async def the_statement_cache_is_used_over_transactions():
    async with connect(statement_cache_size=5) as c, connect(statement_cache_size=0) as other:
        for n in range(40):
            for session in c, other:
                equal(await session.fetchval(f"SELECT $1::int + {n % 8}", n), n + n % 8)


@check
async def a_prepared_statement_tells_its_types():
    async with connect() as c:
        statement = await c.prepare("SELECT $1::int AS a, $2::text AS b")
        equal([p.name for p in statement.get_parameters()], ["int4", "text"])
        equal([a.name for a in statement.get_attributes()], ["a", "b"])
        for n in range(10):
            equal(tuple(await statement.fetchrow(n, "x")), (n, "x"))
            await c.execute("SELECT 1")
        await fails(asyncpg.UndefinedTableError, c.prepare("SELECT * FROM ap_nowhere"))
        equal((await statement.explain(1, "x"))[0]["Plan"]["Node Type"], "Result")


@check
async def a_cached_statement_of_a_changed_table_heals():
    async with connect() as c, connect() as other:
        await c.execute("CREATE TABLE ap_heal (a int); INSERT INTO ap_heal VALUES (1)")
        for n in range(6):
            equal(len(await c.fetchrow("SELECT * FROM ap_heal")), n + 1)
            await other.execute(f"ALTER TABLE ap_heal ADD b{n} int")
        equal(len(await c.fetchrow("SELECT * FROM ap_heal")), 7)


@check
async def a_cached_statement_of_a_changed_table_fails_in_a_transaction():
    async with connect() as c, connect() as other:
        await c.execute("CREATE TABLE ap_cached (a int)")
        for _ in range(5):
            await c.fetch("SELECT * FROM ap_cached")
        await other.execute("ALTER TABLE ap_cached ALTER a TYPE text")
        transaction = c.transaction()
        await transaction.start()
        await fails(asyncpg.InvalidCachedStatementError, c.fetch("SELECT * FROM ap_cached"))
        await transaction.rollback()
        equal(await c.fetch("SELECT * FROM ap_cached"), [])


@check
async def a_new_connection_sees_the_changed_table():
    async with connect() as other:
        await other.execute("CREATE TABLE ap_fresh (a int)")
        for n in range(3):
            for _ in range(6):
                async with connect() as c, c.transaction():
                    equal(len((await c.prepare("SELECT * FROM ap_fresh")).get_attributes()), n + 1)
            await other.execute(f"ALTER TABLE ap_fresh ADD b{n} int")


@check
async def nested_transactions():
    async with connect() as c:
        await c.execute("CREATE TABLE ap_nest (n int)")
        async with c.transaction(isolation="serializable"):
            for n in range(4):
                inner = c.transaction()
                await inner.start()
                await c.execute("INSERT INTO ap_nest VALUES ($1)", n)
                await (inner.commit() if n % 2 else inner.rollback())
            equal(await c.fetchval("SHOW transaction_isolation"), "serializable")
        equal(await c.fetchval("SELECT array_agg(n) FROM ap_nest"), [1, 3])
        assert not c.is_in_transaction()


@check
async def read_only_and_deferrable_transactions():
    async with connect() as c:
        transaction = c.transaction(isolation="serializable", readonly=True, deferrable=True)
        await transaction.start()
        await fails(asyncpg.ReadOnlySQLTransactionError, c.execute("CREATE TABLE ap_never ()"))
        await fails(asyncpg.InFailedSQLTransactionError, c.execute("SELECT 1"))
        await transaction.rollback()
        equal(await c.fetchval("SELECT 1"), 1)


@check
async def a_cursor_is_fetched_in_parts_with_other_statements_between():
    async with connect() as c, c.transaction():
        cursor = await c.cursor("SELECT n FROM generate_series(1, $1::int) n", 100)
        equal([row[0] for row in await cursor.fetch(3)], [1, 2, 3])
        equal(await c.fetchval("SELECT 7"), 7)
        equal(await cursor.forward(10), 10)
        equal((await cursor.fetchrow())[0], 14)
        total = 0
        async for row in c.cursor("SELECT n FROM generate_series(1, 500) n", prefetch=7):
            total += row[0]
        equal(total, 500 * 501 // 2)


@check
async def executemany_is_one_transaction():
    async with connect() as c:
        await c.execute("CREATE TABLE ap_many (n int UNIQUE)")
        await c.executemany("INSERT INTO ap_many VALUES ($1)", [(n,) for n in range(2000)])
        await fails(asyncpg.UniqueViolationError, c.executemany("INSERT INTO ap_many VALUES ($1)", [(n,) for n in range(3000, 1000, -1)]))
        equal(await c.fetchval("SELECT count(*) FROM ap_many"), 2000)


@check
async def copy_of_records_files_and_queries():
    async with connect() as c:
        await c.execute("CREATE TABLE ap_copy (n int, t text)")
        equal(await c.copy_records_to_table("ap_copy", records=[(n, f"row {n}") for n in range(5000)]), "COPY 5000")
        out = io.BytesIO()
        equal(await c.copy_from_query("SELECT n FROM ap_copy WHERE n < $1 ORDER BY n", 3, output=out), "COPY 3")
        equal(out.getvalue(), b"0\n1\n2\n")
        out = io.BytesIO()
        await c.copy_from_table("ap_copy", output=out, format="csv", header=True)
        out.seek(0)
        equal(await c.copy_to_table("ap_copy", source=out, format="csv", header=True), "COPY 5000")


@check
async def copy_fails_from_either_side():
    async def source():
        for n in range(100):
            yield b"1\n" * 1000
        raise KeyError("mine")

    async with connect() as c:
        await c.execute("CREATE TABLE ap_abort (n int)")
        await fails(KeyError, c.copy_to_table("ap_abort", source=source()))
        await fails(asyncpg.DataError, c.copy_to_table("ap_abort", source=io.BytesIO(b"x\n" * 100000)))
        equal(await c.fetchval("SELECT count(*) FROM ap_abort"), 0)


@check
async def listeners_are_called_while_idle():
    async with connect() as c, connect() as other, connect() as sender:
        got = asyncio.Queue()
        for listener in c, other:
            await listener.add_listener("ap news", lambda _, pid, channel, payload: got.put_nowait((channel, payload)))
        await sender.execute("SELECT pg_notify('ap news', 'x')")
        equal([await got.get(), await got.get()], [("ap news", "x")] * 2)
        await c.reset()
        equal(await c.fetchval("SELECT count(*) FROM pg_listening_channels()"), 0)
        await sender.execute("SELECT pg_notify('ap news', 'y')")
        equal(await got.get(), ("ap news", "y"))
        await c.fetchval("SELECT 1")
        equal(got.qsize(), 0)


@check
async def notices_reach_the_log_listener():
    async with connect() as c:
        got = []
        c.add_log_listener(lambda _, message: got.append(message.message))
        await c.execute("DO $$ BEGIN RAISE NOTICE 'a'; RAISE WARNING 'b'; END $$")
        await asyncio.sleep(0)
        equal(got, ["a", "b"])


@check
async def a_timeout_cancels_the_statement_alone():
    async with connect() as c, connect() as other:
        for _ in range(5):
            await fails(asyncio.TimeoutError, c.fetch("SELECT pg_sleep(20)", timeout=0.1))
            equal(await c.fetchval("SELECT 1"), 1)
            equal(await other.fetchval("SELECT 2"), 2)


@check
async def a_cancelled_task_cancels_its_statement():
    async with connect() as c:
        task = asyncio.ensure_future(c.execute("SELECT pg_sleep(20)"))
        await asyncio.sleep(0.1)
        task.cancel()
        await fails(asyncio.CancelledError, task)
        equal(await c.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(20)' AND state = 'active'"), 0)


@check
async def settings_come_from_the_startup_and_from_reset():
    async with connect(server_settings={"application_name": "ap", "work_mem": "3MB", "search_path": "pg_catalog"}) as c:
        await c.execute("SET work_mem = '5MB'; SET timezone = 'Asia/Tokyo'")
        equal(c.get_settings().TimeZone, "Asia/Tokyo")
        for name, value in ("work_mem", "5MB"), ("search_path", "pg_catalog"), ("application_name", "ap"):
            equal(await c.fetchval(f"SHOW {name}"), value)
        await c.reset()
        equal(await c.fetchval("SHOW work_mem"), "3MB")
        assert c.get_settings().TimeZone != "Asia/Tokyo"


@check
async def the_pool_resets_what_its_users_leave():
    async with asyncpg.create_pool(URL, ssl=False, min_size=1, max_size=12) as pool:
        async def work(i):
            async with pool.acquire() as c:
                equal(await c.fetchval("SHOW work_mem"), "4MB")
                await c.execute(f"SET work_mem = '{100 + i}kB'")
                equal(await c.fetchval("SHOW work_mem"), f"{100 + i}kB")
                equal(await c.fetchval("SELECT $1::int", i), i)
                if i % 10 == 0:
                    await c.execute("DECLARE left_open CURSOR WITH HOLD FOR SELECT 1")

        for _ in range(3):
            await asyncio.gather(*(work(i) for i in range(40)))
        equal(await pool.fetchval("SELECT count(*) FROM pg_cursors WHERE name = 'left_open'"), 0)


@check
async def the_pool_unlocks_what_its_users_locked():
    async with asyncpg.create_pool(URL, ssl=False, min_size=1, max_size=8) as pool:
        inside = []

        async def work(i):
            async with pool.acquire() as c:
                await c.execute("SELECT pg_advisory_lock($1)", 4201)
                inside.append(i)
                equal(len(inside), 1)
                await pool.fetchval("SELECT 1") if i % 3 == 0 else await asyncio.sleep(0)
                inside.remove(i)

        await asyncio.gather(*(work(i) for i in range(7)))
        equal(await pool.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4201"), 0)


@check
async def fifty_connections_at_once():
    async def work(i):
        async with connect(server_settings={"application_name": f"ap{i}"}) as c:
            for n in range(5):
                async with c.transaction():
                    equal(await c.fetchval("SELECT current_setting('application_name') || $1::text", str(n)), f"ap{i}{n}")

    await asyncio.gather(*(work(i) for i in range(50)))


run()
