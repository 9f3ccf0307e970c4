-- +goose Up
CREATE TABLE history (account bigint NOT NULL REFERENCES accounts, change numeric(12, 2) NOT NULL);

-- +goose StatementBegin
CREATE FUNCTION keep_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO history VALUES (NEW.id, NEW.balance - OLD.balance);
	RETURN NEW;
END;
$$;
-- +goose StatementEnd

CREATE TRIGGER keep_history AFTER UPDATE OF balance ON accounts FOR EACH ROW EXECUTE FUNCTION keep_history();
INSERT INTO applied VALUES ('history');

-- +goose Down
DROP FUNCTION keep_history CASCADE;
DROP TABLE history;
