-- +goose Up
CREATE TABLE applied (name text NOT NULL);
CREATE TYPE account_state AS ENUM ('open', 'closed');
CREATE TABLE accounts (
	id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	email   text NOT NULL UNIQUE,
	state   account_state NOT NULL DEFAULT 'open',
	balance numeric(12, 2) NOT NULL DEFAULT 0
);
INSERT INTO applied VALUES ('accounts');

-- +goose Down
DROP TABLE accounts, applied;
DROP TYPE account_state;
