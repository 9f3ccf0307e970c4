'use strict'
// Knex's migrations as deployments of many processes run them: Knex's own lock is a row that makes the others fail, so all
// take turns by an advisory lock, held in a transaction on one connection of the pool while Knex migrates on another.

const knex = require('knex')({
  client: 'pg',
  connection: process.env.DATABASE_URL,
  pool: { min: 0, max: 2 },
  migrations: { directory: `${__dirname}/migrations` }
})

async function main () {
  await knex.transaction(async lock => {
    await lock.raw('SELECT pg_advisory_xact_lock(hashtextextended(?, 0))', ['knex migrations'])
    await knex.migrate.latest()
  })
}

main().finally(() => knex.destroy()).catch(e => { console.error(e); process.exitCode = 1 })
