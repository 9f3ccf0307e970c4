-- Results that make statements, variables, conditions, descriptions without execution.
CREATE TABLE items (id int PRIMARY KEY, name text, price numeric(8, 2) DEFAULT 1.5);
SELECT format('INSERT INTO items VALUES (%s, %L)', n, 'it''s ' || n) FROM generate_series(1, 3) n \gexec
SELECT format('CREATE INDEX items_%s ON items (%I)', c, c) FROM unnest('{name,price}'::text[]) c \gexec
SELECT count(*) AS total, max(name) AS last FROM items \gset found_
\echo :found_total :'found_last' :"found_last"
SELECT * FROM items WHERE name = :'found_last' \gx
SELECT id, name, price, now() - now() AS "none" FROM items \gdesc
SELECT 'one' \; SELECT 'two' AS second \; UPDATE items SET price = price + 1;
\echo :ROW_COUNT :ERROR :SQLSTATE
TABLE items \g (format=unaligned fieldsep=|)
\if :{?found_total}
SELECT 'there' AS variable;
\else
SELECT 'missing' AS variable;
\endif
SELECT 1 / 0;
\echo :ERROR :SQLSTATE :LAST_ERROR_MESSAGE
\errverbose
SELECT no_such_column
FROM items;
INSERT INTO items VALUES (1, 'twice');
DO $$ BEGIN RAISE NOTICE 'a notice with %', 'words'; RAISE WARNING USING MESSAGE = 'a warning', HINT = 'none', ERRCODE = '01000'; END $$;
\d items
\di
\dt+ items
\df pg_advisory_xact_lock
\sv pg_stat_database_conflicts
\l template?
\encoding LATIN1
SELECT 'caf' || chr(233) AS coffee;
\encoding UTF8
SHOW client_encoding;
EXPLAIN (COSTS off) SELECT * FROM items WHERE id = 1;
