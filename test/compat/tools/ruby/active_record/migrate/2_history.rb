# frozen_string_literal: true

# A function in dollar quotes, and a trigger.
class History < ActiveRecord::Migration[6.1]
  def up
    execute <<~SQL
      CREATE FUNCTION keep_history() RETURNS trigger LANGUAGE plpgsql AS $body$
      BEGIN
          INSERT INTO changes (account_id, change) VALUES (NEW.id, NEW.balance - OLD.balance);
          RETURN NEW;
      END $body$;
      CREATE TRIGGER keep_history AFTER UPDATE OF balance ON accounts FOR EACH ROW EXECUTE FUNCTION keep_history()
    SQL
    execute "INSERT INTO applied VALUES ('history')"
  end
end
