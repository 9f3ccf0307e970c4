'use strict'
// A worker of the queue graphile-worker, and what makes its tables and its jobs: install, work NAME, enqueue, unlock NAME.
// A job leaves its number in a transaction, unless it is there: a job whose worker was killed may run again.

const { makeWorkerUtils, run, Logger } = require('graphile-worker')
const { Pool } = require('pg')

const jobs = 1000
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 4 })
pool.on('error', e => console.error(e)) // an idle connection was lost: the pool makes another
const logger = new Logger(() => (level, message) => { if (level === 'error' || level === 'warning') console.error(message) })

// withUtils does something with what adds jobs and unlocks them.
async function withUtils (work) {
  const utils = await makeWorkerUtils({ pgPool: pool, logger })
  try {
    await work(utils)
  } finally {
    await utils.release()
  }
}

// leave gives the task that a worker runs for each job.
const leave = name => async ({ number }, { job, withPgClient }) => {
  await pool.query('INSERT INTO executions VALUES ($1, $2)', [name, job.locked_by])
  await withPgClient(async client => {
    await client.query('BEGIN')
    await client.query('INSERT INTO effects VALUES ($1, $2) ON CONFLICT (job) DO NOTHING', [number, name])
    await client.query('COMMIT')
  })
}

const commands = {
  async install () {
    await withUtils(utils => utils.migrate())
    await pool.query('CREATE UNIQUE INDEX ON effects (job); CREATE TABLE executions (worker text, id text)')
  },

  async work (name) {
    const runner = await run({ pgPool: pool, logger, concurrency: 4, pollInterval: 1000, noHandleSignals: true, taskList: { leave: leave(name) } })
    await pool.query('INSERT INTO workers VALUES ($1)', [name])
    await new Promise(resolve => process.once('SIGTERM', resolve))
    await runner.stop()
  },

  // enqueue adds the jobs through the library, and from SQL as triggers do.
  async enqueue () {
    await withUtils(async utils => {
      for (let number = 0; number < jobs / 2; number++) await utils.addJob('leave', { number })
    })
    await pool.query(
      "SELECT graphile_worker.add_job('leave', json_build_object('number', n)) FROM generate_series($1::int, $2::int) n", [jobs / 2, jobs - 1])
  },

  async unlock (name) {
    const { rows } = await pool.query('SELECT DISTINCT id FROM executions WHERE worker = $1', [name])
    await withUtils(utils => utils.forceUnlockWorkers(rows.map(r => r.id)))
  }
}

const [command, ...args] = process.argv.slice(2)
commands[command](...args).then(() => pool.end()).catch(e => { console.error(e); process.exit(1) })
