-- One of everything that a dump has: what depends on what, what has an order, what is large, what is quoted.
CREATE SCHEMA "Odd ""name""";
CREATE EXTENSION IF NOT EXISTS plpgsql;
CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE SEQUENCE "Odd ""name""".numbers START 100 INCREMENT 10;
CREATE TABLE people (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text COLLATE "C" NOT NULL,
	mood mood DEFAULT 'happy',
	number int DEFAULT nextval('"Odd ""name""".numbers'),
	pair pair,
	photo bytea,
	tags text[],
	extra jsonb,
	upper_name text GENERATED ALWAYS AS (upper(name)) STORED,
	EXCLUDE USING gist (int4range(number, number, '[]') WITH &&)
);
INSERT INTO people (name, mood, pair, photo, tags, extra)
SELECT 'name ' || n, (enum_range(NULL::mood))[1 + n % 3], ROW(n, E'tab\tnew\nline\\')::pair, decode(md5(n::text), 'hex'),
	ARRAY['a', NULL, 'with "quotes"', n::text], jsonb_build_object('n', n, 'deep', jsonb_build_array(n, null))
FROM generate_series(1, 500) n;
CREATE TABLE events (at timestamptz NOT NULL, person bigint REFERENCES people ON DELETE CASCADE, what text) PARTITION BY RANGE (at);
CREATE TABLE events_2020 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
INSERT INTO events SELECT timestamptz '2020-06-01Z' + n * interval '1 hour', n % 500 + 1, repeat('x', n % 50) FROM generate_series(1, 4000) n;
CREATE INDEX ON events (at) INCLUDE (person);
CREATE UNIQUE INDEX people_lower ON people (lower(name)) WHERE mood <> 'sad';
CREATE STATISTICS people_stats (dependencies) ON name, number FROM people;
CREATE VIEW happy AS SELECT id, name FROM people WHERE mood = 'happy' WITH CHECK OPTION;
CREATE MATERIALIZED VIEW counts AS SELECT mood, count(*) FROM people GROUP BY mood;
CREATE FUNCTION "Odd ""name""".twice(n int) RETURNS int LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT AS $f$ SELECT n * 2 $f$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.extra = '{}'; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON people FOR EACH ROW WHEN (OLD.extra IS NOT NULL) EXECUTE FUNCTION touch();
CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int, initcond = '0');
ALTER TABLE people ENABLE ROW LEVEL SECURITY;
CREATE POLICY only_own ON people USING (name = current_user);
CREATE PUBLICATION changes FOR TABLE people (id, name);
COMMENT ON TABLE people IS 'it''s a "comment"';
GRANT SELECT (name) ON people TO PUBLIC;
SELECT lo_from_bytea(4711, decode(repeat('00ff', 50000), 'hex'));
COMMENT ON LARGE OBJECT 4711 IS 'large';
SELECT format('CREATE TABLE %I AS SELECT n, md5(n::text) AS h FROM generate_series(1, 500) n', 'table ' || i) FROM generate_series(1, 12) i \gexec
SELECT format('CREATE INDEX ON %I (h)', 'table ' || i) FROM generate_series(1, 12) i \gexec
