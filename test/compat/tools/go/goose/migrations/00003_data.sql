-- +goose Up
INSERT INTO accounts (email, balance) SELECT 'user' || n || '@example.com', n FROM generate_series(1, 500) n;
UPDATE accounts SET balance = balance + 1;
ALTER TABLE accounts ADD COLUMN domain text;
UPDATE accounts SET domain = split_part(email, '@', 2);
ALTER TABLE accounts ALTER COLUMN domain SET NOT NULL;
INSERT INTO applied VALUES ('data');

-- +goose Down
ALTER TABLE accounts DROP COLUMN domain;
TRUNCATE accounts, history;
