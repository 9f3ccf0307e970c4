BEGIN;
SET LOCAL statement_timeout = '20s';
INSERT INTO accounts (email, balance) SELECT 'User' || n || '@example.com', n FROM generate_series(1, 500) n;
UPDATE accounts SET balance = balance + 1, state = CASE WHEN id % 7 = 0 THEN 'closed' ELSE 'open' END::account_state;
ALTER TABLE accounts ADD COLUMN domain text;
UPDATE accounts SET domain = split_part(email, '@', 2);
ALTER TABLE accounts ALTER COLUMN domain SET NOT NULL;
INSERT INTO applied VALUES ('data');
COMMIT;
