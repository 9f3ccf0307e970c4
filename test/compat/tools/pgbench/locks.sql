-- A transaction-level lock, waited for, around a change that would be lost without it.
\set key random(1, 5)
BEGIN;
SELECT pg_advisory_xact_lock(42, :key);
SELECT n AS before FROM counters WHERE key = :key \gset
UPDATE counters SET n = :before + 1 WHERE key = :key;
COMMIT;
