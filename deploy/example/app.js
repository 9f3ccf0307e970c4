// Eight workers do 200 jobs. A job takes an advisory lock in a transaction on one connection and, while it holds the lock,
// inserts a row on another: nothing unusual, and a deadlock as soon as there are as many holders as connections.
'use strict'

const { Pool } = require('pg')

const workers = 8
const jobs = 200
const patience = Number(process.env.PATIENCE_MS || 5000) // How long nothing may happen.

// One pool, as most programs have it. A client that has no connection yet waits for one.
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: Number(process.env.CONNECTIONS || 8) })
pool.on('error', fail)

let next = 0
let done = 0

async function work() {
  while (next < jobs) {
    const job = next++
    const lock = await pool.connect()
    await lock.query('BEGIN')
    await lock.query('SELECT pg_advisory_xact_lock($1)', [job])
    await pool.query('INSERT INTO results VALUES ($1)', [job]) // Another connection of the pool.
    await lock.query('COMMIT')
    lock.release()
    done++
    watch.refresh()
  }
}

const watch = setTimeout(() => {
  console.log(`DEADLOCK: ${done} of ${jobs} jobs; each connection holds a lock and waits for another connection`)
  process.exit(1)
}, patience)

function fail(error) {
  console.log(`FAILED: ${error.message}`)
  process.exit(1)
}

async function main() {
  await pool.query('DROP TABLE IF EXISTS results')
  await pool.query('CREATE TABLE results (job int PRIMARY KEY)')
  await Promise.all(Array.from({ length: workers }, work))
  clearTimeout(watch)
  const { rows } = await pool.query('SELECT count(*)::int AS n FROM results')
  console.log(`${done} of ${jobs} jobs, ${rows[0].n} rows`)
  await pool.end()
}

main().catch(fail)
