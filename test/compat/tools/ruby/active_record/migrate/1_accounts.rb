# frozen_string_literal: true

# Tables, an enum, constraints and indexes.
class Accounts < ActiveRecord::Migration[6.1]
  def up
    create_table(:applied, id: false) { |t| t.text :name, null: false }
    execute "CREATE TYPE account_state AS ENUM ('open', 'closed')"
    create_table :accounts, comment: "it's the customers' accounts" do |t|
      t.string :email, null: false, index: { unique: true }
      t.column :state, :account_state, null: false, default: 'open'
      t.decimal :balance, precision: 12, scale: 2, null: false, default: 0
    end
    add_check_constraint :accounts, 'balance >= 0', name: 'balance_is_not_negative'
    create_table :changes do |t|
      t.references :account, null: false, foreign_key: true
      t.decimal :change, precision: 12, scale: 2, null: false
    end
    execute "INSERT INTO applied VALUES ('accounts')"
  end
end
