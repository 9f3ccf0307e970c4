# frozen_string_literal: true

# Without a transaction: a new value of an enum that is used at once, and an index that is built concurrently.
class FreezeSome < ActiveRecord::Migration[6.1]
  disable_ddl_transaction!

  def up
    execute "ALTER TYPE account_state ADD VALUE 'frozen' BEFORE 'closed'"
    execute "UPDATE accounts SET state = 'frozen' WHERE id % 11 = 0"
    add_index :accounts, %i[domain id], algorithm: :concurrently
    execute "INSERT INTO applied VALUES ('freeze some')"
  end
end
