'use strict'
// Data, changed by statements with and without parameters, and a decision that depends on what is there.

exports.up = async pgm => {
  pgm.sql(`
    INSERT INTO accounts (email, balance) SELECT 'user' || n || '@example.com', n FROM generate_series(1, 500) n;
    UPDATE accounts SET balance = balance + 1`)
  pgm.addColumns('accounts', { domain: 'text' })
  const { rows } = await pgm.db.query('SELECT count(*)::int AS n FROM applied WHERE name = $1', ['history'])
  if (rows[0].n !== 1) throw new Error('the migrations before this one are not there exactly once')
  pgm.sql("UPDATE accounts SET domain = split_part(email, '@', 2)")
  pgm.alterColumn('accounts', 'domain', { notNull: true })
  pgm.sql("INSERT INTO applied VALUES ('data')")
}

exports.down = false
