'use strict'
// A function in dollar quotes, with a question mark that is no binding.

exports.up = async knex => {
  await knex.raw(`
    CREATE FUNCTION keep_history() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      -- did it change\\?
      INSERT INTO history VALUES (NEW.id, NEW.balance - OLD.balance);
      RETURN NEW;
    END $$;
    CREATE TRIGGER keep_history AFTER UPDATE OF balance ON accounts FOR EACH ROW EXECUTE FUNCTION keep_history();`)
  await knex('applied').insert({ name: 'history' })
}

exports.down = async () => {}
