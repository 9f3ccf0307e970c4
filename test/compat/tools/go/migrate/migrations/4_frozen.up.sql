-- Alone, since a new value cannot be used by the transaction that adds it.
ALTER TYPE account_state ADD VALUE IF NOT EXISTS 'frozen' BEFORE 'closed';
