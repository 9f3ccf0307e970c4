-- Several statements in one simple query: golang-migrate sends a file as it is.
CREATE TABLE applied (name text NOT NULL);
CREATE TYPE account_state AS ENUM ('open', 'closed');
CREATE TABLE accounts (
	id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	email   text NOT NULL,
	state   account_state NOT NULL DEFAULT 'open',
	balance numeric(12, 2) NOT NULL DEFAULT 0 CHECK (balance >= 0)
);
CREATE UNIQUE INDEX accounts_email ON accounts (lower(email));
INSERT INTO applied VALUES ('accounts');
