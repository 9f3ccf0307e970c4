-- COPY in both directions, from and to the script, files and programs; what fails in the middle of it.
CREATE TABLE lines (n int, word text, at date);
COPY lines FROM STDIN;
1	one	2020-01-01
2	\N	2020-01-02
3	three\tfour	\N
\.
COPY lines TO STDOUT WITH (FORMAT csv, HEADER, NULL 'nothing');
\copy (SELECT * FROM lines ORDER BY n DESC) TO 'lines.csv' WITH (FORMAT csv)
\copy lines FROM 'lines.csv' WITH (FORMAT csv)
\copy lines (n, word) FROM PROGRAM 'seq 10 12 | sed "s/$/,word/"' WITH (FORMAT csv)
\copy lines TO PROGRAM 'sort -r | head -n 3' WITH (DELIMITER '|')
\copy lines FROM 'no_such_file'
SELECT n, count(*) FROM lines GROUP BY n ORDER BY n;
COPY lines FROM STDIN;
20	good	2020-01-01
bad	line	2020-01-01
21	never	2020-01-01
\.
SELECT count(*) FROM lines WHERE n = 20;
BEGIN;
COPY lines FROM STDIN WITH (FORMAT csv);
30,in a transaction,2020-01-01
\.
SAVEPOINT before;
COPY lines FROM STDIN WITH (FORMAT csv);
31,too,many,columns
\.
ROLLBACK TO before;
COPY (SELECT * FROM lines WHERE n >= 30) TO STDOUT;
COMMIT;
COPY (SELECT repeat('x', 10000) FROM generate_series(1, 500)) TO STDOUT \g /dev/null
\copy (SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 20000) n) TO 'many' WITH (FORMAT binary)
CREATE TABLE many (n int, words text);
\copy many FROM 'many' WITH (FORMAT binary)
SELECT count(*), sum(length(words)), md5(string_agg(words, '' ORDER BY n)) FROM many;
SELECT 'before' \; COPY (VALUES (1), (2)) TO STDOUT \; SELECT 'after';
\lo_import lines.csv 'a comment'
SELECT :LASTOID > 0 AS imported;
\lo_export :LASTOID exported
\copy lines FROM 'exported' WITH (FORMAT csv)
\lo_unlink :LASTOID
SELECT count(*) FROM lines;
SELECT count(*) FROM pg_largeobject_metadata;
