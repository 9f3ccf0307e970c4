'use strict'
// Without a transaction: a new value cannot be used by the transaction that adds it. An index is built concurrently only
// where the others do not wait for the advisory lock inside of PostgreSQL: it would wait for their snapshots, and they for it.

exports.up = pgm => {
  pgm.noTransaction()
  pgm.addTypeValue('account_state', 'frozen', { before: 'closed' })
  pgm.sql("UPDATE accounts SET state = 'frozen' WHERE id % 11 = 0")
  pgm.createIndex('accounts', ['domain', 'id'], { concurrently: process.env.ADVISORY_LOCK_MODE !== 'wait' })
  pgm.sql("INSERT INTO applied VALUES ('frozen')")
}

exports.down = false
