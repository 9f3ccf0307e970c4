-- Without a transaction: a new value cannot be used by the transaction that adds it, and indexes are built concurrently.
-- The others try for the lock and do not wait for it inside of PostgreSQL, so the index need not wait for their snapshots.
-- +goose NO TRANSACTION
-- +goose Up
ALTER TYPE account_state ADD VALUE 'frozen' BEFORE 'closed';
UPDATE accounts SET state = 'frozen' WHERE id % 11 = 0;
CREATE INDEX CONCURRENTLY accounts_state ON accounts (state) WHERE state <> 'open';
CREATE INDEX CONCURRENTLY accounts_domain ON accounts (domain, id);
INSERT INTO applied VALUES ('frozen');

-- +goose Down
DROP INDEX CONCURRENTLY accounts_state;
DROP INDEX CONCURRENTLY accounts_domain;
