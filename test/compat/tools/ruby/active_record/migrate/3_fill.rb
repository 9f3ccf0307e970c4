# frozen_string_literal: true

# Data, by a model: in bulk, one by one in savepoints, and in batches.
class Fill < ActiveRecord::Migration[6.1]
  class Account < ActiveRecord::Base; end

  def up
    Account.insert_all!(Array.new(500) { |n| { email: "user#{n}@example.com", balance: n } })
    begin
      Account.transaction(requires_new: true) { Account.create!(email: 'user1@example.com') }
    rescue ActiveRecord::RecordNotUnique
      nil # Only the savepoint is lost.
    end
    Account.update_all('balance = balance + 1')
    add_column :accounts, :domain, :string
    Account.reset_column_information
    Account.find_each(batch_size: 100) { |one| one.update!(domain: one.email.partition('@').last) }
    change_column_null :accounts, :domain, false
    execute "INSERT INTO applied VALUES ('fill')"
  end
end
