"""psycopg 3 under asyncio: many connections at once, pipelines, notifications, cancelling by the task, COPY and the
asynchronous pool."""

import asyncio
import os

import psycopg
from harness import check, equal, run
from psycopg import errors
from psycopg_pool import AsyncConnectionPool

URL = os.environ["DATABASE_URL"]


async def connect(**more):
    return await psycopg.AsyncConnection.connect(URL, autocommit=True, **more)


async def one(connection, text, values=None):
    return (await (await connection.execute(text, values)).fetchone())[0]


async def fails(kind, awaitable):
    try:
        await awaitable
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


@check
async def forty_connections_at_once_with_settings_of_their_own():
    async def work(i):
        async with await connect(application_name=f"a{i}") as c:
            await c.execute("SELECT set_config('app.i', %s, false)", (str(i),))
            for _ in range(5):
                equal(await one(c, "SELECT current_setting('application_name') || current_setting('app.i')"), f"a{i}{i}")

    await asyncio.gather(*(work(i) for i in range(40)))


@check
async def pipelines_at_once():
    async def work(i):
        async with await connect() as c:
            c.prepare_threshold = 1
            for _ in range(5):
                async with c.pipeline():
                    cursors = [await c.execute("SELECT %s::int * %s", (i, n)) for n in range(20)]
                    equal([(await cursor.fetchone())[0] for cursor in cursors], [i * n for n in range(20)])

    await asyncio.gather(*(work(i) for i in range(12)))


@check
async def a_pipeline_of_transactions_with_errors():
    async with await connect() as c:
        await c.execute("CREATE TABLE pa_pipe (n int UNIQUE)")
        for n in range(6):
            try:
                async with c.pipeline(), c.transaction():
                    await c.execute("INSERT INTO pa_pipe VALUES (%s)", (n,))
                    if n % 2:
                        await c.execute("INSERT INTO pa_pipe VALUES (%s)", (n,))
                    await c.execute("SELECT pg_advisory_xact_lock(4101)")
            except errors.UniqueViolation:
                equal(n % 2, 1)
        equal(await one(c, "SELECT array_agg(n ORDER BY n) FROM pa_pipe"), [0, 2, 4])


@check
async def notifications_among_several_listeners():
    listeners = [await connect() for _ in range(3)]
    for listener in listeners:
        await listener.execute("LISTEN pa_news")
    waits = [asyncio.ensure_future(anext(listener.notifies())) for listener in listeners]
    await asyncio.sleep(0)
    async with await connect() as sender:
        await sender.execute("SELECT pg_notify('pa_news', %s)", ("payload",))
    equal([(await wait).payload for wait in waits], ["payload"] * 3)
    for listener in listeners:
        await listener.close()


@check
async def a_statement_is_cancelled_by_another_task():
    async with await connect() as c:
        asleep = asyncio.ensure_future(c.execute("SELECT pg_sleep(20)"))
        await asyncio.sleep(0.2)
        c.cancel()
        await fails(errors.QueryCanceled, asleep)
        equal(await one(c, "SELECT 1"), 1)


@check
async def a_wait_for_a_lock_is_cancelled():
    async with await connect() as c, await connect() as other:
        await c.execute("SELECT pg_advisory_lock(4102)")
        waiting = asyncio.ensure_future(other.execute("SELECT pg_advisory_lock(4102)"))
        while not await one(c, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 4102"):
            continue
        other.cancel()
        await fails(errors.QueryCanceled, waiting)
        equal(await one(c, "SELECT pg_advisory_unlock(4102)"), True)
        equal(await one(other, "SELECT pg_try_advisory_lock(4102)"), True)


@check
async def locks_exclude_each_other_and_do_not_block_the_rest():
    inside = []

    async def work(i):
        async with await connect() as c, await connect() as second:
            await c.execute("SELECT pg_advisory_lock(4103)")
            inside.append(i)
            equal(len(inside), 1)
            await second.execute("SELECT pg_sleep(0.01)")
            inside.remove(i)
            await c.execute("SELECT pg_advisory_unlock(4103)")

    await asyncio.gather(*(work(i) for i in range(12)))


@check
async def rows_are_streamed_while_others_work():
    async def read(i):
        async with await connect() as c, c.cursor() as cursor:
            n = 0
            async for _ in cursor.stream("SELECT repeat('x', 200) FROM generate_series(1, 5000)"):
                n += 1
            equal(n, 5000)

    await asyncio.gather(*(read(i) for i in range(8)))


@check
async def copies_at_once():
    async with await connect() as c:
        await c.execute("CREATE TABLE pa_copy (i int, n int)")

    async def work(i):
        async with await connect() as c, c.cursor() as cursor:
            async with cursor.copy("COPY pa_copy FROM STDIN") as copy:
                for n in range(1000):
                    await copy.write_row((i, n))
            equal(await one(c, "SELECT count(*) FROM pa_copy WHERE i = %s", (i,)), 1000)

    await asyncio.gather(*(work(i) for i in range(8)))


@check
async def a_server_cursor_under_autocommit_and_in_a_transaction():
    async with await connect() as c:
        async with c.transaction(), c.cursor("pa") as cursor:
            await cursor.execute("SELECT n FROM generate_series(1, 300) n")
            equal(len(await cursor.fetchmany(10)), 10)
            equal(len(await cursor.fetchall()), 290)
        async with c.cursor("pa", withhold=True) as cursor:
            await cursor.execute("SELECT n FROM generate_series(1, 300) n")
            equal(len([row async for row in cursor]), 300)


@check
async def the_pool_under_load():
    async with AsyncConnectionPool(URL, min_size=1, max_size=15) as pool:
        async def work(i):
            async with pool.connection() as c:
                equal(await one(c, "SELECT %s::int", (i,)), i)
                if i % 5 == 0:
                    await fails(errors.DivisionByZero, c.execute("SELECT 1/0"))
                    await c.rollback()

        for _ in range(3):
            await asyncio.gather(*(work(i) for i in range(60)))


run()
