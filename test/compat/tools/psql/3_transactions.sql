-- Transactions as psql makes them: savepoints behind one's back, and BEGIN that nobody wrote.
CREATE TABLE accounts (id int PRIMARY KEY, balance int CHECK (balance >= 0));
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO accounts VALUES (1, 10), (2, 20);
INSERT INTO accounts VALUES (1, 30);
UPDATE accounts SET balance = -1;
SELECT nonsense;
SAVEPOINT mine;
UPDATE accounts SET balance = 0;
ROLLBACK TO mine;
COMMIT;
TABLE accounts;
\set ON_ERROR_ROLLBACK off
\set AUTOCOMMIT off
INSERT INTO accounts VALUES (3, 30);
SELECT pg_advisory_xact_lock(1), count(*) FROM accounts;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
ROLLBACK;
TABLE accounts;
COMMIT;
\set AUTOCOMMIT on
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SHOW transaction_isolation;
DELETE FROM accounts;
SELECT 1;
COMMIT AND CHAIN;
SHOW transaction_read_only;
ROLLBACK;
COMMIT;
BEGIN;
BEGIN;
SET LOCAL work_mem = '123kB';
SHOW work_mem;
COMMIT;
SHOW work_mem;
BEGIN; UPDATE accounts SET balance = 99; SELECT 1 / 0; COMMIT;
TABLE accounts;
BEGIN \; UPDATE accounts SET balance = balance + 1 \; COMMIT \; SELECT sum(balance) FROM accounts;
UPDATE accounts SET balance = 7 \; SELECT 1 / 0;
TABLE accounts;
CREATE PROCEDURE batches() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 10..13 LOOP
		INSERT INTO accounts VALUES (i, i);
		IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
	END LOOP;
END $$;
CALL batches();
SELECT array_agg(id ORDER BY id) FROM accounts;
