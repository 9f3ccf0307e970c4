'use strict'
// Data in batches, each in a savepoint, and a column that is filled before it is required.

exports.up = async knex => {
  const accounts = Array.from({ length: 500 }, (_, n) => ({ email: `user${n}@example.com`, balance: n }))
  await knex.batchInsert('accounts', accounts, 50)
  await knex('accounts').increment('balance', 1)
  await knex.schema.alterTable('accounts', t => { t.text('domain') })
  await knex('accounts').update({ domain: knex.raw("split_part(email, '@', 2)") })
  await knex.schema.alterTable('accounts', t => { t.text('domain').notNullable().alter() })
  await knex('applied').insert({ name: 'data' })
}

exports.down = async () => {}
