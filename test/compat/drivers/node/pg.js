'use strict'
// node's `pg`: queued queries, named statements, its pool, cursors and streams, COPY streams, notifications.

const { once } = require('events')
const { pipeline } = require('stream/promises')
const { Readable, Writable } = require('stream')
const { Client, Pool, types } = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')
const { from: copyFrom, to: copyTo } = require('pg-copy-streams')
const { run, fails, each, equal } = require('./harness')

const connectionString = process.env.DATABASE_URL

// using gives work n clients, and ends them.
async function using (n, work, config = {}) {
  const clients = await each(n, async () => {
    const client = new Client({ connectionString, ...config })
    client.on('error', () => {})
    await client.connect()
    return client
  })
  try {
    await work(...clients)
  } finally {
    await Promise.all(clients.map(client => client.end()))
  }
}

const one = async (client, ...query) => Object.values((await client.query(...query)).rows[0])[0]

const checks = {
  'queries are queued without waiting': () => using(1, async client => {
    const answers = await each(50, i => one(client, 'SELECT $1::int * 2', [i]))
    equal(answers, Array.from({ length: 50 }, (_, i) => 2 * i))
  }),

  'an error in a queue hits its own query': () => using(1, async client => {
    const answers = await Promise.allSettled(Array.from({ length: 30 }, (_, i) => one(client, 'SELECT 10 / $1::int', [i % 3])))
    equal(answers.map(a => a.status === 'rejected' ? a.reason.code : a.value), Array.from({ length: 30 }, (_, i) => ['22012', 10, 5][i % 3]))
  }),

  'named statements keep to their client': () => using(2, async (a, b) => {
    for (let i = 0; i < 20; i++) {
      equal(await one(a, { name: 'n', text: 'SELECT $1::int + 1', values: [i] }), i + 1)
      equal(await one(b, { name: 'n', text: 'SELECT $1::int + 2', values: [i] }), i + 2)
    }
    equal((await a.query('SELECT name, statement FROM pg_prepared_statements')).rows, [{ name: 'n', statement: 'SELECT $1::int + 1' }])
  }),

  'a named statement whose columns changed is refused': () => using(2, async (a, b) => {
    await a.query('CREATE TABLE np_changed (a int)')
    const query = { name: 'star', text: 'SELECT * FROM np_changed' }
    for (let i = 0; i < 5; i++) await a.query(query)
    await b.query('ALTER TABLE np_changed ADD b int')
    for (let i = 0; i < 5; i++) equal((await fails(a.query(query), '0A000')).message, 'cached plan must not change result type')
    equal((await b.query(query)).fields.length, 2)
  }),

  'a named statement that was deallocated is not there': () => using(1, async client => {
    await client.query({ name: 'gone', text: 'SELECT 1' })
    await client.query('DEALLOCATE gone')
    await fails(client.query({ name: 'gone', text: 'SELECT 1' }), '26000')
  }),

  'several results of one string': () => using(1, async client => {
    const results = await client.query('SELECT 1 AS a; CREATE TEMP TABLE np_multi (n int); INSERT INTO np_multi VALUES (1), (2); SELECT * FROM np_multi')
    equal(results.map(r => [r.command, r.rowCount]), [['SELECT', 1], ['CREATE', null], ['INSERT', 2], ['SELECT', 2]])
    await fails(client.query('INSERT INTO np_multi VALUES (3); SELECT 1/0'), '22012')
    equal(await one(client, 'SELECT count(*)::int FROM np_multi'), 2)
  }),

  'transactions, savepoints and recovery': () => using(1, async client => {
    await client.query('CREATE TABLE np_tx (n int)')
    for (const text of ['BEGIN', 'INSERT INTO np_tx VALUES (1)', 'SAVEPOINT s', 'INSERT INTO np_tx VALUES (2)']) await client.query(text)
    await fails(client.query('SELECT nothing'), '42703')
    await fails(client.query('SELECT 1'), '25P02')
    await client.query('ROLLBACK TO s')
    await client.query('COMMIT')
    equal((await client.query('SELECT n FROM np_tx')).rows, [{ n: 1 }])
    await client.query('BEGIN')
    await fails(client.query('SELECT 1/0'), '22012')
    equal((await client.query('COMMIT')).command, 'ROLLBACK')
  }),

  'BEGIN, statements and COMMIT queued at once': () => using(2, async (a, b) => {
    await a.query('CREATE TABLE np_queued (who int, n int)')
    await Promise.all([a, b].flatMap((client, who) => Array.from({ length: 10 }, (_, n) => [
      client.query('BEGIN'),
      client.query('SELECT pg_advisory_xact_lock(5001)'),
      client.query('INSERT INTO np_queued VALUES ($1, $2)', [who, n]),
      client.query(n % 2 ? 'ROLLBACK' : 'COMMIT')
    ]).flat()))
    equal(await one(a, 'SELECT count(*)::int FROM np_queued WHERE n % 2 = 0'), 10)
    equal(await one(a, 'SELECT count(*)::int FROM np_queued'), 10)
  }),

  'the settings of the configuration reach the server': () => using(1, async client => {
    for (let i = 0; i < 3; i++) {
      equal(await one(client, 'SHOW application_name'), 'np')
      equal(await one(client, 'SHOW statement_timeout'), '900ms')
      equal(await one(client, 'SHOW lock_timeout'), '800ms')
      equal(await one(client, 'SHOW idle_in_transaction_session_timeout'), '1min')
      equal(await one(client, 'SHOW search_path'), 'pg_catalog,public')
    }
    await fails(client.query('SELECT pg_sleep(20)'), '57014')
    await client.query('SET statement_timeout = 0; RESET statement_timeout')
    equal(await one(client, 'SHOW statement_timeout'), '900ms')
  }, {
    application_name: 'np', statement_timeout: 900, lock_timeout: 800, idle_in_transaction_session_timeout: 60000, options: '-c search_path=pg_catalog,public'
  }),

  'types, JSON, dates and parsers': () => using(1, async client => {
    types.setTypeParser(20, Number)
    const when = new Date(Date.UTC(2020, 1, 29))
    const { rows } = await client.query({
      text: 'SELECT $1::timestamptz AS t, $2::jsonb AS j, $3::int[] AS a, $4::bytea AS b, 2^40::bigint AS n, NULL AS z',
      values: [when, { a: [1] }, [1, null, 3], Buffer.from([0, 255])],
      rowMode: 'array'
    })
    equal(rows[0], [when, { a: [1] }, [1, null, 3], Buffer.from([0, 255]), 2 ** 40, null])
    equal((await client.query({ text: 'SELECT $1::int4', values: [7], binary: true })).rows, [{ int4: 7 }])
  }),

  'a cursor reads in parts and is closed early': () => using(1, async client => {
    for (let i = 0; i < 3; i++) {
      const cursor = client.query(new Cursor('SELECT n FROM generate_series(1, $1::int) n', [1000]))
      equal((await cursor.read(10)).length, 10)
      equal((await cursor.read(20))[0].n, 11)
      await cursor.close()
      equal(await one(client, 'SELECT 1'), 1)
    }
  }),

  'a cursor that fails on its way': () => using(1, async client => {
    const cursor = client.query(new Cursor('SELECT 1 / (25 - n) AS q FROM generate_series(1, 100) n'))
    equal((await cursor.read(20)).length, 20)
    await fails(cursor.read(20), '22012')
    equal(await one(client, 'SELECT 1'), 1)
  }),

  'streams of rows from several clients': () => using(3, async (...clients) => {
    await Promise.all(clients.map(async client => {
      let n = 0
      for await (const row of client.query(new QueryStream('SELECT n, repeat($1, 50) FROM generate_series(1, 3000) n', ['x'], { batchSize: 100 }))) n += row.n
      equal(n, 3000 * 3001 / 2)
    }))
  }),

  'COPY streams both ways': () => using(1, async client => {
    await client.query('CREATE TABLE np_copy (n int, t text)')
    const lines = Array.from({ length: 20000 }, (_, n) => `${n}\trow ${n}\n`)
    await pipeline(Readable.from(lines), client.query(copyFrom('COPY np_copy FROM STDIN')))
    let size = 0
    const sink = new Writable({ write (chunk, _, done) { size += chunk.length; done() } })
    await pipeline(client.query(copyTo('COPY np_copy TO STDOUT')), sink)
    equal(size, lines.join('').length)
  }),

  'COPY that fails at either side': () => using(1, async client => {
    await client.query('CREATE TABLE np_abort (n int)')
    await fails(pipeline(Readable.from(Array(3000).fill('x\n'.repeat(100))), client.query(copyFrom('COPY np_abort FROM STDIN'))), '22P02')
    const stream = client.query(copyFrom('COPY np_abort FROM STDIN'))
    stream.on('error', () => {})
    stream.write('1\n2\n')
    stream.destroy(new Error('enough'))
    equal(await one(client, 'SELECT count(*)::int FROM np_abort'), 0)
  }),

  'notifications arrive while idle, at every listener': () => using(3, async (a, b, sender) => {
    await Promise.all([a, b].map(client => client.query('LISTEN "np News"')))
    for (const payload of ['x', 'y']) {
      const all = Promise.all([a, b].map(client => once(client, 'notification')))
      await sender.query("SELECT pg_notify('np News', $1)", [payload])
      equal((await all).map(([n]) => [n.channel, n.payload]), [['np News', payload], ['np News', payload]])
    }
    await a.query('UNLISTEN *')
    let got = 0
    a.on('notification', () => got++)
    const last = once(b, 'notification')
    await sender.query('NOTIFY "np News"')
    await last
    await a.query('SELECT 1')
    equal(got, 0)
  }),

  'notices are events': () => using(1, async client => {
    const got = []
    client.on('notice', n => got.push(n.message))
    await client.query("DO $$ BEGIN RAISE NOTICE 'a'; RAISE WARNING 'b'; END $$")
    await client.query('ROLLBACK')
    equal(got, ['a', 'b', 'there is no transaction in progress'])
  }),

  'temporary tables and sequences of the session': () => using(2, async (a, b) => {
    await a.query('CREATE TEMP TABLE np_temp (id serial, n int); INSERT INTO np_temp (n) VALUES (5)')
    equal(await one(a, 'SELECT n FROM np_temp'), 5)
    equal(await one(a, 'SELECT lastval()::int'), 1)
    await fails(b.query('SELECT n FROM np_temp'), '42P01')
    await a.query('DISCARD TEMP')
    await fails(a.query('SELECT n FROM np_temp'), '42P01')
  }),

  'locks of the session and of the transaction': () => using(2, async (a, b) => {
    await a.query('SELECT pg_advisory_lock($1)', [5002])
    await a.query('BEGIN')
    await a.query('SELECT pg_advisory_xact_lock($1), pg_advisory_lock($2)', [5003, 5002])
    equal(await one(b, 'SELECT pg_try_advisory_xact_lock(5003)'), false)
    await a.query('COMMIT')
    equal(await one(b, 'SELECT pg_try_advisory_xact_lock(5003)'), true)
    for (const left of [false, true]) {
      equal(await one(a, 'SELECT pg_advisory_unlock(5002)'), true)
      equal(await one(b, 'SELECT pg_try_advisory_lock(5002)'), left)
    }
  }),

  'a client that vanishes leaves no lock': () => using(1, async watch => {
    for (let i = 0; i < 5; i++) {
      const client = new Client({ connectionString })
      client.on('error', () => {})
      await client.connect()
      await client.query('BEGIN; SELECT pg_advisory_lock(5004)')
      client.connection.stream.destroy()
      await watch.query('SELECT pg_advisory_lock(5004)')
      await watch.query('SELECT pg_advisory_unlock(5004)')
    }
  }),

  'a query_timeout of the driver leaves the session in order': () => using(1, async client => {
    await client.query({ text: 'SELECT pg_sleep(0.5)', query_timeout: 50 }).then(() => equal('no timeout', ''), () => {})
    equal(await one(client, 'SELECT 7'), 7)
  }),

  'a pool shares its clients and their settings': async () => {
    const pool = new Pool({ connectionString, max: 15 })
    await each(100, async i => {
      const client = await pool.connect()
      try {
        await client.query("SELECT set_config('app.np', $1, false)", [String(i)])
        equal(await one(client, "SELECT current_setting('app.np')"), String(i))
      } finally {
        client.release()
      }
    })
    await each(100, async i => equal(await one(pool, { name: `s${i % 9}`, text: `SELECT $1::int + ${i % 9}`, values: [i] }), i + i % 9))
    await pool.end()
  },

  'a pool whose clients are destroyed': async () => {
    const pool = new Pool({ connectionString, max: 5 })
    await each(30, async i => {
      const client = await pool.connect()
      await client.query('BEGIN')
      await client.query('SELECT pg_advisory_xact_lock($1)', [5100 + i % 3])
      client.release(i % 2 === 0)
      if (i % 2) await client.query('ROLLBACK')
    })
    equal(await one(pool, "SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND objid BETWEEN 5100 AND 5102"), 0)
    await pool.end()
  },

  'sixty clients at once': () => each(60, i => using(1, async client => {
    for (let n = 0; n < 4; n++) equal(await one(client, "SELECT current_setting('application_name') || $1", [n]), `np${i}${n}`)
  }, { application_name: `np${i}` })),

  'a value of many megabytes both ways': () => using(1, async client => {
    const big = Buffer.alloc(12 << 20, 'x')
    equal((await one(client, 'SELECT $1::bytea', [big])).equals(big), true)
  })
}

run(checks)
