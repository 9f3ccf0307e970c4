'use strict'
// node-pg-migrate's own functions: types, tables, indexes, comments.

exports.up = pgm => {
  pgm.createTable('applied', { name: { type: 'text', notNull: true } })
  pgm.createType('account_state', ['open', 'closed'])
  pgm.createTable('accounts', {
    id: 'id',
    email: { type: 'text', notNull: true, unique: true },
    state: { type: 'account_state', notNull: true, default: 'open' },
    balance: { type: 'numeric(12, 2)', notNull: true, default: 0, check: 'balance >= 0' }
  }, { comment: "it's the customers' accounts" })
  pgm.createIndex('accounts', ['state', { name: 'balance', sort: 'DESC' }])
  pgm.sql("INSERT INTO applied VALUES ('accounts')")
}

exports.down = false
