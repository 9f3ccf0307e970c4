-- A session-level lock across transactions, around a change that would be lost without it; and one that is tried for.
\set key random(1, 5)
SELECT pg_advisory_lock(42, :key);
SELECT n AS before FROM counters WHERE key = :key \gset
UPDATE counters SET n = :before + 1 WHERE key = :key;
SELECT pg_advisory_unlock(42, :key);
SELECT pg_try_advisory_lock_shared(43, :key)::int AS got \gset
\if :got
SELECT pg_advisory_unlock_shared(43, :key);
\endif
