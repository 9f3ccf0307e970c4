CREATE TABLE history (account bigint NOT NULL REFERENCES accounts, change numeric(12, 2) NOT NULL);

CREATE FUNCTION keep_history() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
	change numeric := NEW.balance - OLD.balance;
BEGIN
	IF change <> 0 THEN -- a semicolon; within a comment; ends nothing
		EXECUTE format($sql$INSERT INTO history VALUES (%s, %s)$sql$, NEW.id, change);
	END IF;
	RETURN NEW;
END;
$body$;

CREATE TRIGGER keep_history AFTER UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION keep_history();
INSERT INTO applied VALUES ('history');
