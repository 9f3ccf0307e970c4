'use strict'
// Knex's schema builder: an enum, indexes, a foreign key.

exports.up = async knex => {
  await knex.schema
    .createTable('applied', t => { t.text('name').notNullable() })
    .createTable('accounts', t => {
      t.bigIncrements('id')
      t.text('email').notNullable().unique()
      t.enu('state', ['open', 'closed'], { useNative: true, enumName: 'account_state' }).notNullable().defaultTo('open')
      t.decimal('balance', 12, 2).notNullable().defaultTo(0)
      t.index(['state', 'balance'])
      t.comment('the accounts of customers; all of them')
    })
    .createTable('history', t => {
      t.bigInteger('account').notNullable().references('accounts.id')
      t.decimal('change', 12, 2).notNullable()
    })
  await knex('applied').insert({ name: 'accounts' })
}

exports.down = async () => {}
