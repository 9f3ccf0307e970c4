'use strict'
// A worker of the queue pg-boss, and what makes its tables and its jobs: install, work NAME, enqueue. A job leaves its
// number in the transaction in which pg-boss completes it; notifications wake the workers.

const { PgBoss } = require('pg-boss')
const { Pool } = require('pg')

const jobs = 1000
const queue = 'effects'

// connected gives a pg-boss that is started; only workers look after what expires.
async function connected (options) {
  const boss = new PgBoss({ connectionString: process.env.DATABASE_URL, max: 4, ...options })
  boss.on('error', e => { console.error(e); process.exitCode = 1 })
  boss.on('warning', w => console.error('warning', w))
  await boss.start()
  return boss
}

const commands = {
  async install () {
    const boss = await connected({ supervise: false })
    await boss.createQueue(queue, { notify: true, expireInSeconds: 10, retryLimit: 5 })
    await boss.stop()
  },

  async work (name) {
    const boss = await connected({ useListenNotify: true, superviseIntervalSeconds: 2, monitorIntervalSeconds: 2, maintenanceIntervalSeconds: 5 })
    const options = { transactional: true, localConcurrency: 4, pollingIntervalSeconds: 1 }
    await boss.work(queue, options, async ([job], tx) => {
      await tx.executeSql('INSERT INTO effects VALUES ($1, $2)', [job.data.number, name])
    })
    const pool = new Pool({ connectionString: process.env.DATABASE_URL })
    await pool.query('INSERT INTO workers VALUES ($1)', [name])
    await pool.end()
    await new Promise(resolve => process.once('SIGTERM', resolve))
    await boss.stop({ graceful: true })
  },

  async enqueue () {
    const boss = await connected({ supervise: false })
    const half = Array.from({ length: jobs / 2 }, (_, number) => ({ data: { number } }))
    await boss.insert(queue, half)
    for (let number = jobs / 2; number < jobs; number++) await boss.send(queue, { number })
    await boss.stop()
  }
}

const [command, ...args] = process.argv.slice(2)
commands[command](...args).catch(e => { console.error(e); process.exit(1) })
