import java.io.StringReader;
import java.io.StringWriter;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.Arrays;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;

/** Checks of statements, results, batches, transactions and COPY. */
final class Statements {
    private Statements() {}

    private static void check(String name, Main.Check check) {
        Main.CHECKS.put(name, check);
    }

    static void register() {
        prepared();
        results();
        transactions();
        copies();
    }

    private static void prepared() {
        check("a statement passes the threshold and is used in later transactions", () -> {
            try (Connection c = Main.transactional(); Connection other = Main.transactional();
                PreparedStatement a = c.prepareStatement("SELECT ?::int + 1");
                PreparedStatement b = other.prepareStatement("SELECT ?::int + 2")) {
                for (int n = 0; n < 15; n++) {
                    for (PreparedStatement s : Arrays.asList(a, b)) {
                        s.setInt(1, n);
                        try (ResultSet rows = s.executeQuery()) {
                            rows.next();
                            Main.equal(rows.getInt(1), s == a ? n + 1 : n + 2);
                        }
                        s.getConnection().commit();
                    }
                }
            }
        });
        check("a statement whose columns changed heals outside of a transaction", () -> {
            try (Connection c = Main.connect(); Connection other = Main.connect()) {
                Main.run(c, "CREATE TABLE jd_heal (a int)");
                Main.run(c, "INSERT INTO jd_heal VALUES (1)");
                try (PreparedStatement s = c.prepareStatement("SELECT * FROM jd_heal")) {
                    for (int n = 0; n < 10; n++) {
                        if (n > 5) {
                            Main.run(other, "ALTER TABLE jd_heal ADD b" + n + " text DEFAULT 'x'");
                        }
                        try (ResultSet rows = s.executeQuery()) {
                            rows.next();
                            Main.equal(rows.getMetaData().getColumnCount(), Math.max(1, n - 4));
                            Main.equal(rows.getString(n > 5 ? 2 : 1), n > 5 ? "x" : "1");
                        }
                    }
                }
            }
        });
        check("a new connection reads the changed table", () -> {
            try (Connection other = Main.connect()) {
                Main.run(other, "CREATE TABLE jd_fresh (a int)");
                for (int n = 1; n < 4; n++) {
                    for (int i = 0; i < 6; i++) {
                        try (Connection c = Main.transactional(); PreparedStatement s = c.prepareStatement("SELECT * FROM jd_fresh")) {
                            for (int again = 0; again < 3; again++) {
                                Main.equal(s.executeQuery().getMetaData().getColumnCount(), n);
                            }
                            c.commit();
                        }
                    }
                    Main.run(other, "ALTER TABLE jd_fresh ADD b" + n + " int");
                }
            }
        });
        check("autosave keeps a transaction alive over errors", () -> {
            try (Connection c = Main.transactional("autosave", "always")) {
                for (int n = 0; n < 8; n++) {
                    Main.fails("22012", () -> Main.one(c, "SELECT 1 / ?::int", 0));
                    Main.equal(Main.one(c, "SELECT ?::int", n), n);
                }
                c.commit();
            }
        });
        check("DISCARD ALL and DEALLOCATE ALL are noticed", () -> {
            try (Connection c = Main.connect(); PreparedStatement s = c.prepareStatement("SELECT ?::int")) {
                for (int n = 0; n < 30; n++) {
                    if (n % 10 == 9) {
                        Main.run(c, n % 20 == 9 ? "DISCARD ALL" : "DEALLOCATE ALL");
                    }
                    s.setInt(1, n);
                    try (ResultSet rows = s.executeQuery()) {
                        rows.next();
                        Main.equal(rows.getInt(1), n);
                    }
                }
            }
        });
        check("more statements than the driver keeps", () -> {
            try (Connection c = Main.connect("preparedStatementCacheQueries", "4", "prepareThreshold", "1")) {
                for (int n = 0; n < 60; n++) {
                    Main.equal(Main.one(c, "SELECT ?::int + " + n % 9, n), n + n % 9);
                }
            }
        });
    }

    private static void results() {
        check("rows in parts, with other statements between", () -> {
            try (Connection c = Main.transactional(); PreparedStatement s = c.prepareStatement("SELECT n FROM generate_series(1, ?) n")) {
                s.setFetchSize(7);
                s.setInt(1, 100);
                for (int again = 0; again < 6; again++) {
                    try (ResultSet rows = s.executeQuery()) {
                        for (int n = 1; rows.next(); n++) {
                            Main.equal(rows.getInt(1), n);
                            if (n % 20 == 0) {
                                Main.equal(Main.one(c, "SELECT ?::int", n), n);
                            }
                        }
                    }
                    if (again % 2 == 0) {
                        c.commit();
                    }
                }
            }
        });
        check("two results at once, one closed early, one that fails", () -> {
            try (Connection c = Main.transactional(); Statement a = c.createStatement(); Statement b = c.createStatement()) {
                a.setFetchSize(5);
                b.setFetchSize(5);
                ResultSet left = a.executeQuery("SELECT n FROM generate_series(1, 1000) n");
                left.next();
                Main.fails("22012", () -> {
                    ResultSet right = b.executeQuery("SELECT 100 / (30 - n) FROM generate_series(1, 1000) n");
                    for (int n = 0; right.next(); n++) {
                        if (n < 10) {
                            left.next();
                        }
                    }
                });
                left.close();
                c.rollback();
            }
        });
        check("scrollable and updatable results", () -> {
            try (Connection c = Main.transactional(); Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
                Main.run(c, "CREATE TABLE jd_update (id int PRIMARY KEY, t text)");
                Main.run(c, "INSERT INTO jd_update SELECT n, 'old' FROM generate_series(1, 20) n");
                ResultSet rows = s.executeQuery("SELECT id, t FROM jd_update ORDER BY id");
                rows.absolute(5);
                rows.updateString("t", "new");
                rows.updateRow();
                rows.previous();
                rows.deleteRow();
                Main.equal(Main.one(c, "SELECT string_agg(id::text, ',') FROM jd_update WHERE t = 'new' OR id = 4"), "5");
                c.commit();
            }
        });
        check("results that are held over the commit", () -> {
            try (Connection c = Main.transactional(); Statement s = c.createStatement(ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY, ResultSet.HOLD_CURSORS_OVER_COMMIT)) {
                s.setFetchSize(3);
                ResultSet rows = s.executeQuery("SELECT n FROM generate_series(1, 20) n");
                rows.next();
                c.commit();
                int n = 1;
                while (rows.next()) {
                    n++;
                }
                Main.equal(n, 20);
            }
        });
        check("a function that gives a cursor", () -> {
            try (Connection c = Main.transactional()) {
                Main.run(c, "CREATE FUNCTION jd_ref() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE r refcursor; BEGIN OPEN r FOR SELECT n FROM generate_series(1, 50) n; RETURN r; END $$");
                try (Statement s = c.createStatement(); ResultSet call = s.executeQuery("SELECT jd_ref()")) {
                    call.next();
                    ResultSet rows = (ResultSet) call.getObject(1);
                    int n = 0;
                    while (rows.next()) {
                        n++;
                    }
                    Main.equal(n, 50);
                }
                c.commit();
            }
        });
        check("generated keys", () -> {
            try (Connection c = Main.connect()) {
                Main.run(c, "CREATE TABLE jd_keys (id serial, t text)");
                try (PreparedStatement s = c.prepareStatement("INSERT INTO jd_keys (t) VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
                    for (int n = 1; n < 10; n++) {
                        s.setString(1, "x");
                        s.executeUpdate();
                        ResultSet keys = s.getGeneratedKeys();
                        keys.next();
                        Main.equal(keys.getInt("id"), n);
                    }
                    for (int n = 0; n < 200; n++) {
                        s.setString(1, "y");
                        s.addBatch();
                    }
                    s.executeBatch();
                    ResultSet keys = s.getGeneratedKeys();
                    int n = 0;
                    while (keys.next()) {
                        Main.equal(keys.getInt(1), 10 + n++);
                    }
                    Main.equal(n, 200);
                }
            }
        });
        check("batches, rewritten ones, and one that fails", () -> {
            for (String rewrite : new String[] {"false", "true"}) {
                try (Connection c = Main.transactional("reWriteBatchedInserts", rewrite)) {
                    Main.run(c, "CREATE TEMP TABLE jd_batch (n int UNIQUE) ON COMMIT DELETE ROWS");
                    try (PreparedStatement s = c.prepareStatement("INSERT INTO jd_batch VALUES (?)")) {
                        for (int round = 0; round < 3; round++) {
                            for (int n = 0; n < 300; n++) {
                                s.setInt(1, n);
                                s.addBatch();
                            }
                            Main.equal(s.executeBatch().length, 300);
                            Main.equal(Main.one(c, "SELECT count(*) FROM jd_batch"), 300);
                            c.commit();
                        }
                        for (int n : new int[] {1, 2, 1, 3}) {
                            s.setInt(1, n);
                            s.addBatch();
                        }
                        Main.equal(Main.fails("23505", s::executeBatch) instanceof BatchUpdateException, true);
                    }
                    c.rollback();
                    Main.equal(Main.one(c, "SELECT count(*) FROM jd_batch"), 0);
                }
            }
        });
        check("types of many kinds, in text and in binary", () -> {
            try (Connection c = Main.connect()) {
                UUID uuid = UUID.randomUUID();
                Timestamp moment = Timestamp.valueOf("2020-02-29 12:30:00.123");
                for (int n = 0; n < 8; n++) {
                    try (PreparedStatement s = c.prepareStatement("SELECT ?::uuid, ?::timestamp, ?::numeric, ?::int[], ?::bool, ?::text")) {
                        s.setObject(1, uuid);
                        s.setTimestamp(2, moment);
                        s.setBigDecimal(3, new java.math.BigDecimal("1.50"));
                        s.setArray(4, c.createArrayOf("int4", new Integer[] {1, null, 3}));
                        s.setBoolean(5, true);
                        s.setNull(6, Types.VARCHAR);
                        ResultSet rows = s.executeQuery();
                        rows.next();
                        Main.equal(rows.getObject(1), uuid);
                        Main.equal(rows.getTimestamp(2), moment);
                        Main.equal(rows.getBigDecimal(3), "1.50");
                        Main.equal(Arrays.toString((Object[]) rows.getArray(4).getArray()), "[1, null, 3]");
                        Main.equal(rows.getBoolean(5), true);
                        Main.equal(rows.getString(6), null);
                    }
                }
            }
        });
        check("several statements of one string", () -> {
            try (Connection c = Main.connect(); Statement s = c.createStatement()) {
                s.execute("SELECT 1; CREATE TEMP TABLE jd_multi (n int); INSERT INTO jd_multi VALUES (1), (2); SELECT count(*) FROM jd_multi");
                s.getMoreResults();
                s.getMoreResults();
                Main.equal(s.getUpdateCount(), 2);
                Main.equal(s.getMoreResults(), true);
                s.getResultSet().next();
                Main.fails("22012", () -> Main.run(c, "INSERT INTO jd_multi VALUES (3); SELECT 1/0"));
                Main.equal(Main.one(c, "SELECT count(*) FROM jd_multi"), 2);
            }
        });
        check("the catalog is described", () -> {
            try (Connection c = Main.connect()) {
                Main.run(c, "CREATE TABLE jd_meta (id int PRIMARY KEY, t text NOT NULL)");
                ResultSet columns = c.getMetaData().getColumns(null, "public", "jd_meta", null);
                columns.next();
                columns.next();
                Main.equal(columns.getString("COLUMN_NAME"), "t");
                ResultSet keys = c.getMetaData().getPrimaryKeys(null, "public", "jd_meta");
                keys.next();
                Main.equal(keys.getString("COLUMN_NAME"), "id");
            }
        });
    }

    private static void transactions() {
        check("isolation, read-only and autocommit", () -> {
            try (Connection c = Main.transactional()) {
                c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
                c.setReadOnly(true);
                for (int n = 0; n < 4; n++) {
                    Main.equal(Main.one(c, "SHOW transaction_isolation") + Main.one(c, "SHOW transaction_read_only"), "serializableon");
                    Main.fails("25006", () -> Main.run(c, "CREATE TABLE jd_never ()"));
                    c.rollback();
                }
                c.setReadOnly(false);
                c.setAutoCommit(true);
                Main.run(c, "CREATE TEMP TABLE jd_auto (n int)");
                Main.equal(c.getTransactionIsolation(), Connection.TRANSACTION_SERIALIZABLE);
            }
        });
        check("readOnlyMode=always", () -> {
            try (Connection c = Main.connect("readOnlyMode", "always")) {
                c.setReadOnly(true);
                for (int n = 0; n < 4; n++) {
                    Main.equal(Main.one(c, "SHOW default_transaction_read_only"), "on");
                    Main.fails("25006", () -> Main.run(c, "CREATE TABLE jd_never ()"));
                }
                c.setReadOnly(false);
                Main.run(c, "CREATE TABLE jd_always ()");
            }
        });
        check("savepoints", () -> {
            try (Connection c = Main.transactional()) {
                Main.run(c, "CREATE TABLE jd_save (n int)");
                Savepoint outer = c.setSavepoint("Outer");
                Main.run(c, "INSERT INTO jd_save VALUES (1)");
                Savepoint inner = c.setSavepoint();
                Main.fails("22012", () -> Main.run(c, "SELECT 1/0"));
                Main.fails("25P02", () -> Main.run(c, "SELECT 1"));
                c.rollback(inner);
                Main.equal(Main.one(c, "SELECT count(*) FROM jd_save"), 1);
                c.rollback(outer);
                c.releaseSavepoint(outer);
                c.commit();
                Main.equal(Main.one(c, "SELECT count(*) FROM jd_save"), 0);
            }
        });
        check("a procedure that commits", () -> {
            try (Connection c = Main.connect("escapeSyntaxCallMode", "callIfNoReturn")) {
                Main.run(c, "CREATE TABLE jd_proc (n int)");
                Main.run(c, "CREATE PROCEDURE jd_call(n int) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO jd_proc VALUES (n); COMMIT; INSERT INTO jd_proc VALUES (-n); ROLLBACK; END $$");
                for (int n = 1; n < 8; n++) {
                    try (CallableStatement call = c.prepareCall("{call jd_call(?)}")) {
                        call.setInt(1, n);
                        call.execute();
                    }
                }
                Main.equal(Main.one(c, "SELECT sum(n) FROM jd_proc"), 28);
            }
        });
        check("the server's message has all its fields", () -> {
            try (Connection c = Main.connect()) {
                Main.run(c, "CREATE TABLE jd_err (n int CONSTRAINT jd_one UNIQUE)");
                Main.one(c, "INSERT INTO jd_err VALUES (?) RETURNING n", 1);
                var e = ((org.postgresql.util.PSQLException) Main.fails("23505", () -> Main.one(c, "INSERT INTO jd_err VALUES (?) RETURNING n", 1))).getServerErrorMessage();
                Main.equal(e.getTable() + " " + e.getConstraint() + " " + e.getDetail(), "jd_err jd_one Key (n)=(1) already exists.");
            }
        });
    }

    private static void copies() {
        check("COPY by the copy manager", () -> {
            try (Connection c = Main.connect()) {
                Main.run(c, "CREATE TABLE jd_copy (n int)");
                CopyManager copies = c.unwrap(PGConnection.class).getCopyAPI();
                Main.equal(copies.copyIn("COPY jd_copy FROM STDIN", new StringReader("1\n2\n".repeat(20000))), 40000);
                StringWriter out = new StringWriter();
                Main.equal(copies.copyOut("COPY jd_copy TO STDOUT", out), 40000);
                Main.equal(out.toString().length(), 80000);
                CopyIn broken = copies.copyIn("COPY jd_copy FROM STDIN");
                broken.writeToCopy("3\n".getBytes(), 0, 2);
                broken.cancelCopy();
                Main.fails("22P02", () -> {
                    CopyIn bad = copies.copyIn("COPY jd_copy FROM STDIN");
                    bad.writeToCopy("x\n".getBytes(), 0, 2);
                    bad.endCopy();
                });
                Main.equal(Main.one(c, "SELECT count(*) FROM jd_copy"), 40000);
            }
        });
    }
}
