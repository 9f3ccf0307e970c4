'use strict'
// `postgres` (porsager): everything prepared and pipelined by itself, transactions on reserved connections, cursors, COPY
// streams, listening on a connection of its own, cancelling.

const { pipeline } = require('stream/promises')
const { Readable } = require('stream')
const postgres = require('postgres')
const { run, fails, each, equal } = require('./harness')

// using gives work a pool with these options, and ends it.
async function using (options, work) {
  const sql = postgres(process.env.DATABASE_URL, { onnotice () {}, ...options })
  try {
    await work(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

const checks = {
  'queries are prepared and pipelined by themselves': () => using({ max: 3 }, async sql => {
    const rows = await each(200, i => sql`SELECT ${i}::int + ${i % 5}::int AS sum, ${'x' + i % 5} AS t`)
    equal(rows.map(([r]) => r.sum), Array.from({ length: 200 }, (_, i) => i + i % 5))
  }),

  'an error in a pipeline is its own query\'s': () => using({ max: 1 }, async sql => {
    const answers = await Promise.allSettled(Array.from({ length: 40 }, (_, i) => sql`SELECT 10 / ${i % 2}::int AS q`))
    equal(answers.map(a => a.status === 'rejected' ? a.reason.code : a.value[0].q), Array.from({ length: 40 }, (_, i) => i % 2 ? 10 : '22012'))
  }),

  'without preparing': () => using({ prepare: false, max: 2 }, async sql => {
    const rows = await each(50, i => sql`SELECT ${i}::int AS n`)
    equal(rows.map(([r]) => r.n), Array.from({ length: 50 }, (_, i) => i))
    equal(await sql`SELECT count(*)::int AS n FROM pg_prepared_statements WHERE name !~ '^lockproxy'`.then(([r]) => r.n), 0)
  }),

  'a changed table: refused or read anew, never misread': () => using({ max: 1, debug: false }, sql => using({ max: 1 }, async other => {
    await sql`CREATE TABLE po_changed (a int)`
    await sql`INSERT INTO po_changed VALUES (1)`
    const read = () => sql`SELECT * FROM po_changed`.then(rows => Object.keys(rows[0]).join(), e => e.code)
    equal(await read(), 'a')
    await other`ALTER TABLE po_changed ADD b text DEFAULT 'x'`
    const said = await read()
    equal(['a,b', '0A000'].includes(said), true)
    equal(await other`SELECT * FROM po_changed`.then(rows => ({ ...rows[0] })), { a: 1, b: 'x' })
  })),

  'types are fetched from the catalog': () => using({ max: 1 }, async sql => {
    await sql`CREATE TYPE po_mood AS ENUM ('sad', 'glad')`
    await using({ max: 1 }, async sql => equal((await sql`SELECT ${['sad']}::po_mood[] AS m`)[0].m, ['sad']))
    equal((await sql`SELECT ${sql.array([1, 2])}::int[] AS a, ${sql.json({ a: 1 })} AS j`)[0].j, { a: 1 })
    equal((await sql`SELECT ARRAY[1, 2] AS a, '{a,b}'::text[] AS t`)[0], { a: [1, 2], t: ['a', 'b'] })
    const when = new Date(Date.UTC(2020, 1, 29))
    equal((await sql`SELECT ${when}::timestamptz AS t`)[0].t, when)
  }),

  'statements are described': () => using({ max: 1 }, async sql => {
    const { types, columns } = await sql`SELECT ${1}::int AS a, ${'x'}::text AS b`.describe()
    equal([types, columns.map(c => c.name)], [[23, 25], ['a', 'b']])
  }),

  'helpers insert and update many rows': () => using({ max: 2 }, async sql => {
    await sql`CREATE TABLE po_rows (id serial, n int, t text)`
    const rows = Array.from({ length: 500 }, (_, n) => ({ n, t: `t${n}` }))
    equal((await sql`INSERT INTO po_rows ${sql(rows, 'n', 't')} RETURNING id`).length, 500)
    equal((await sql`UPDATE po_rows SET ${sql({ t: 'new' })} WHERE n = ANY(${[1, 2, 3]}) RETURNING n`).count, 3)
  }),

  'transactions and savepoints': () => using({ max: 3 }, async sql => {
    await sql`CREATE TABLE po_tx (n int)`
    await each(12, i => sql.begin('isolation level repeatable read', async sql => {
      await sql`INSERT INTO po_tx VALUES (${i})`
      await sql.savepoint(async sql => {
        await sql`INSERT INTO po_tx VALUES (${100 + i})`
        throw new Error('undo')
      }).catch(() => {})
      equal((await sql`SHOW transaction_isolation`)[0].transaction_isolation, 'repeatable read')
      if (i % 3 === 0) throw new Error('undo all')
    }).catch(e => { if (e.message !== 'undo all') throw e }))
    equal((await sql`SELECT count(*)::int AS n, max(n) AS m FROM po_tx`)[0], { n: 8, m: 11 })
  }),

  'statements of a transaction are pipelined': () => using({ max: 2 }, async sql => {
    const answers = await sql.begin(sql => Array.from({ length: 20 }, (_, i) => sql`SELECT ${i}::int AS n, pg_backend_pid() AS pid`))
    equal(answers.map(([r]) => r.n), Array.from({ length: 20 }, (_, i) => i))
    equal(new Set(answers.map(([r]) => r.pid)).size, 1)
  }),

  'locks within pipelined transactions': () => using({ max: 6 }, async sql => {
    let inside = 0
    await each(20, i => sql.begin(async tx => {
      await tx`SELECT pg_advisory_xact_lock(6001)`
      equal(++inside, 1)
      if (i % 4 === 0) await tx`SELECT pg_sleep(0.005)`
      inside--
    }))
  }),

  'a reserved connection keeps its session': () => using({ max: 3 }, async sql => {
    const mine = await sql.reserve()
    const other = await sql.reserve()
    await mine`CREATE TEMP TABLE po_temp (n int)`
    await mine`SELECT pg_advisory_lock(6002)`
    await mine`SET work_mem = '5MB'`
    for (let i = 0; i < 5; i++) {
      await mine`INSERT INTO po_temp VALUES (${i})`
      equal((await mine`SELECT current_setting('work_mem') AS w, count(*)::int AS n FROM po_temp`)[0], { w: '5MB', n: i + 1 })
      equal((await other`SELECT current_setting('work_mem') AS w, pg_try_advisory_lock(6002) AS l, to_regclass('po_temp') AS t`)[0], { w: '4MB', l: false, t: null })
    }
    equal((await mine`SELECT pg_advisory_unlock(6002) AS u`)[0].u, true)
    mine.release()
    other.release()
  }),

  'a cursor gives batches and ends early': () => using({ max: 1 }, async sql => {
    let n = 0
    for await (const rows of sql`SELECT n FROM generate_series(1, 1000) n`.cursor(64)) n += rows.length
    equal(n, 1000)
    let batches = 0
    await sql`SELECT n FROM generate_series(1, 1000) n`.cursor(10, () => ++batches === 3 ? sql.CLOSE : undefined)
    equal(batches, 3)
    equal((await sql`SELECT 1 AS a`)[0].a, 1)
  }),

  'rows one by one': () => using({ max: 1 }, async sql => {
    let n = 0
    await sql`SELECT n FROM generate_series(1, 5000) n`.forEach(row => { n += row.n })
    equal(n, 5000 * 5001 / 2)
  }),

  'several simple statements, their results in order': () => using({ max: 1 }, async sql => {
    const results = await sql`SELECT 1 AS a; SELECT 2 AS b`.simple()
    equal(results.map(r => Object.values(r[0])[0]), [1, 2])
    await fails(sql.unsafe('SELECT 1; SELECT 1/0'), '22012')
  }),

  'COPY streams both ways': () => using({ max: 1 }, async sql => {
    await sql`CREATE TABLE po_copy (n int)`
    await pipeline(Readable.from(Array.from({ length: 5000 }, (_, n) => `${n}\n`)), await sql`COPY po_copy FROM STDIN`.writable())
    let text = ''
    for await (const chunk of await sql`COPY po_copy TO STDOUT`.readable()) text += chunk
    equal(text.split('\n').length, 5001)
  }),

  'large objects': () => using({ max: 1 }, async sql => {
    const object = await sql.largeObject()
    await object.write(Buffer.from('0123456789'))
    await object.seek(4)
    equal(String((await object.read(3))[0].data), '456')
    equal((await object.size())[0].size, '10')
    await object.truncate(2)
    await object.close()
  }),

  'listening while idle, and no more': () => using({ max: 2 }, sql => using({ max: 1 }, async sender => {
    const queue = []
    let wake
    const next = async () => {
      while (queue.length === 0) await new Promise(resolve => { wake = resolve })
      return queue.shift()
    }
    const listeners = await each(2, i => sql.listen('po_news', payload => { queue.push(payload); wake && wake() }))
    await sender.notify('po_news', 'one')
    equal([await next(), await next()], ['one', 'one'])
    await listeners[0].unlisten()
    await sender`SELECT pg_notify('po_news', ${'two'})`
    equal(await next(), 'two')
    await listeners[1].unlisten()
    equal(queue, [])
  })),

  'a query is cancelled, and only it': () => using({ max: 2 }, async sql => {
    for (let i = 0; i < 5; i++) {
      const asleep = sql`SELECT pg_sleep(${4})`
      const over = fails(asleep, '57014')
      await new Promise(resolve => setTimeout(resolve, 200))
      asleep.cancel()
      await over
      equal((await sql`SELECT 1 AS a`)[0].a, 1)
    }
  }),

  'settings of the connection, and its parameters': () => using({ max: 2, connection: { application_name: 'po', search_path: 'pg_catalog', work_mem: '6MB' } }, async sql => {
    for (let i = 0; i < 6; i++) {
      equal((await sql`SELECT current_setting('application_name') AS a, current_setting('search_path') AS s, current_setting('work_mem') AS w`)[0], { a: 'po', s: 'pg_catalog', w: '6MB' })
    }
    equal(sql.parameters.application_name, 'po')
    await sql`SET timezone = 'Asia/Tokyo'`.then(() => equal(sql.parameters.TimeZone, 'Asia/Tokyo'))
  }),

  'thirty connections at once': () => using({ max: 30 }, async sql => {
    const rows = await each(300, i => sql`SELECT ${i}::int AS n, pg_sleep(0.001)`)
    equal(rows.every(([r], i) => r.n === i), true)
  }),

  'connections of a short life': async () => {
    for (let i = 0; i < 10; i++) {
      await using({ max: 4, idle_timeout: 1 }, sql => each(8, n => sql`SELECT ${n}::int AS n`))
    }
  }
}

run(checks)
