'use strict'
// Without a transaction: a new value cannot be used by the transaction that adds it.

exports.up = async knex => {
  await knex.raw("ALTER TYPE account_state ADD VALUE 'frozen' BEFORE 'closed'")
  await knex('accounts').whereRaw('id % 11 = 0').update({ state: 'frozen' })
  await knex('applied').insert({ name: 'frozen' })
}

exports.down = async () => {}

exports.config = { transaction: false }
