-- Statements that are sent without waiting for answers: two transactions, the second with a lock, and one by itself.
\set key random(1, 5)
\startpipeline
BEGIN;
SELECT count(*) FROM counters;
COMMIT;
BEGIN;
SELECT pg_advisory_xact_lock(42, :key);
UPDATE counters SET n = n + 1 WHERE key = :key;
COMMIT;
SELECT :key;
\endpipeline
