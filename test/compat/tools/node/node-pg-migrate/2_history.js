'use strict'
// A trigger, whose function has a body in dollar quotes.

exports.up = pgm => {
  pgm.createTable('history', {
    account: { type: 'integer', notNull: true, references: 'accounts' },
    change: { type: 'numeric(12, 2)', notNull: true }
  })
  pgm.createTrigger('accounts', 'keep_history', {
    when: 'AFTER', operation: 'UPDATE', level: 'ROW', language: 'plpgsql'
  }, `
    BEGIN
      INSERT INTO history VALUES (NEW.id, NEW.balance - OLD.balance);
      RETURN NEW;
    END`)
  pgm.sql("INSERT INTO applied VALUES ('history')")
}

exports.down = false
