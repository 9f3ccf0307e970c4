import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.concurrent.atomic.AtomicInteger;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

/** Checks of what lives in a session, of notifications, cancelling, locks and many connections. */
final class Sessions {
    private Sessions() {}

    private static void check(String name, Main.Check check) {
        Main.CHECKS.put(name, check);
    }

    static void register() {
        settings();
        messages();
        locks();
        crowds();
    }

    private static void settings() {
        check("properties of the connection and of the client", () -> {
            try (Connection c = Main.connect("ApplicationName", "jd", "currentSchema", "pg_catalog", "options", "-c work_mem=3MB -c statement_timeout=9s");
                Connection other = Main.connect()) {
                for (int n = 0; n < 6; n++) {
                    Main.equal(Main.one(c, "SHOW application_name"), "jd");
                    Main.equal(Main.one(c, "SHOW search_path"), "pg_catalog");
                    Main.equal(Main.one(c, "SHOW work_mem") + Main.one(c, "SHOW statement_timeout"), "3MB9s");
                    Main.equal(Main.one(other, "SHOW work_mem"), "4MB");
                }
                c.setClientInfo("ApplicationName", "renamed");
                c.setSchema("public");
                for (int n = 0; n < 4; n++) {
                    Main.equal(Main.one(c, "SHOW application_name") + Main.one(c, "SHOW search_path"), "renamedpublic");
                }
                Main.equal(c.unwrap(PGConnection.class).getParameterStatus("application_name"), "renamed");
            }
        });
        check("the driver's own settings are those of the session", () -> {
            try (Connection c = Main.connect()) {
                for (int n = 0; n < 4; n++) {
                    Main.equal(Main.one(c, "SHOW extra_float_digits"), 3);
                    Main.equal(Main.one(c, "SHOW datestyle"), "ISO, MDY");
                    Main.equal(Main.one(c, "SHOW client_encoding"), "UTF8");
                    Main.equal(Main.one(c, "SHOW timezone"), java.util.TimeZone.getDefault().getID());
                }
            }
        });
        check("a setting of a transaction that is rolled back", () -> {
            try (Connection c = Main.transactional()) {
                Main.run(c, "SET work_mem = '1MB'");
                c.commit();
                Main.run(c, "SET work_mem = '2MB'");
                Main.run(c, "SET LOCAL search_path = pg_catalog");
                Main.equal(Main.one(c, "SHOW work_mem"), "2MB");
                c.rollback();
                Main.equal(Main.one(c, "SHOW work_mem") + Main.one(c, "SHOW search_path"), "1MB\"$user\", public");
            }
        });
        check("temporary tables, sequences and roles", () -> {
            try (Connection c = Main.connect(); Connection other = Main.connect()) {
                Main.run(c, "CREATE TEMP TABLE jd_temp (id serial, n int)");
                Main.run(c, "INSERT INTO jd_temp (n) VALUES (5)");
                Main.equal(Main.one(c, "SELECT n FROM jd_temp WHERE id = lastval()"), 5);
                Main.fails("42P01", () -> Main.run(other, "SELECT n FROM jd_temp"));
                Main.run(c, "SET ROLE pg_monitor");
                Main.equal(Main.one(c, "SELECT current_user") + Main.one(other, "SELECT current_user"), "pg_monitorpostgres");
                Main.run(c, "DISCARD ALL");
                Main.equal(Main.one(c, "SELECT current_user"), "postgres");
                Main.fails("42P01", () -> Main.run(c, "SELECT n FROM jd_temp"));
            }
        });
    }

    private static void messages() {
        check("notifications are polled and awaited", () -> {
            try (Connection a = Main.connect(); Connection b = Main.connect(); Connection sender = Main.connect()) {
                Main.run(a, "LISTEN jd_news");
                Main.run(b, "LISTEN jd_news");
                Main.one(sender, "SELECT pg_notify('jd_news', ?)", "hello");
                for (Connection c : new Connection[] {a, b}) {
                    PGNotification[] got = c.unwrap(PGConnection.class).getNotifications(10000);
                    Main.equal(got.length + got[0].getName() + got[0].getParameter(), "1jd_newshello");
                }
                Main.run(a, "UNLISTEN *");
                Main.run(sender, "NOTIFY jd_news");
                Main.equal(b.unwrap(PGConnection.class).getNotifications(10000).length, 1);
                Main.run(a, "SELECT 1");
                PGNotification[] none = a.unwrap(PGConnection.class).getNotifications();
                Main.equal(none == null ? 0 : none.length, 0);
            }
        });
        check("warnings are kept with their statement", () -> {
            try (Connection c = Main.connect(); Statement s = c.createStatement()) {
                s.execute("DO $$ BEGIN RAISE WARNING 'first'; RAISE NOTICE 'second'; END $$");
                Main.equal(s.getWarnings().getMessage() + s.getWarnings().getNextWarning().getMessage(), "firstsecond");
            }
        });
        check("large objects by function calls", () -> {
            try (Connection c = Main.transactional()) {
                LargeObjectManager objects = c.unwrap(PGConnection.class).getLargeObjectAPI();
                long oid = objects.createLO();
                LargeObject object = objects.open(oid, LargeObjectManager.READWRITE);
                object.write("0123456789".repeat(20000).getBytes());
                object.seek(-5, LargeObject.SEEK_END);
                Main.equal(new String(object.read(3)), "567");
                object.truncate64(4);
                Main.equal(object.size64(), 4);
                object.close();
                c.commit();
                object = objects.open(oid);
                Main.equal(new String(object.read(100)), "0123");
                object.close();
                objects.delete(oid);
                c.commit();
                Main.fails("42704", () -> objects.open(oid));
                c.rollback();
            }
        });
        check("cancelling and timeouts of a statement", () -> {
            try (Connection c = Main.connect(); Connection other = Main.connect()) {
                for (int n = 0; n < 3; n++) {
                    try (PreparedStatement s = c.prepareStatement("SELECT pg_sleep(?)")) {
                        s.setInt(1, 8);
                        s.setQueryTimeout(1);
                        Main.fails("57014", s::executeQuery);
                        s.setQueryTimeout(0);
                        Thread canceller = new Thread(() -> {
                            try {
                                Thread.sleep(200);
                                s.cancel();
                            } catch (InterruptedException | SQLException e) {
                                throw new IllegalStateException(e);
                            }
                        });
                        canceller.start();
                        Main.fails("57014", s::executeQuery);
                        canceller.join();
                        Main.equal(Main.one(other, "SELECT ?::int", n), n);
                    }
                }
            }
        });
        check("isValid, and a connection that is aborted", () -> {
            try (Connection c = Main.connect(); Connection other = Main.connect()) {
                Main.equal(c.isValid(5), true);
                Main.run(c, "SELECT pg_advisory_lock(8001)");
                c.abort(Runnable::run);
                Main.run(other, "SELECT pg_advisory_lock(8001)");
                Main.equal(other.isValid(5), true);
                Main.equal(Main.one(other, "SELECT pg_advisory_unlock(8001)"), "t");
            }
        });
    }

    private static void locks() {
        check("session locks are counted", () -> {
            try (Connection c = Main.connect(); Connection other = Main.connect()) {
                for (int n = 0; n < 8; n++) {
                    Main.one(c, "SELECT pg_advisory_lock(?)", 8002L);
                }
                for (int n = 0; n < 8; n++) {
                    Main.equal(Main.one(other, "SELECT pg_try_advisory_lock(?)", 8002L), "f");
                    Main.equal(Main.one(c, "SELECT pg_advisory_unlock(?)", 8002L), "t");
                }
                Main.equal(Main.one(other, "SELECT pg_try_advisory_lock(?)", 8002L), "t");
                Main.equal(Main.one(c, "SELECT pg_advisory_unlock(?)", 8002L), "f");
            }
        });
        check("locks of transactions that wait for each other", () -> {
            AtomicInteger inside = new AtomicInteger();
            Main.together(10, i -> {
                try (Connection c = Main.transactional()) {
                    for (int n = 0; n < 5; n++) {
                        Main.one(c, "SELECT pg_advisory_xact_lock(?)", 8003L);
                        Main.equal(inside.incrementAndGet(), 1);
                        Main.equal(Main.one(c, "SELECT ?::int", i), i);
                        inside.decrementAndGet();
                        c.commit();
                    }
                }
            });
        });
    }

    private static void crowds() {
        check("forty connections, each with its schema", () -> {
            try (Connection c = Main.connect()) {
                for (int i = 0; i < 40; i++) {
                    Main.run(c, "CREATE SCHEMA jd_" + i + "; CREATE TABLE jd_" + i + ".own AS SELECT " + i + " AS n");
                }
            }
            Main.together(40, i -> {
                try (Connection c = Main.connect("currentSchema", "jd_" + i); PreparedStatement s = c.prepareStatement("SELECT n FROM own")) {
                    for (int n = 0; n < 8; n++) {
                        try (ResultSet rows = s.executeQuery()) {
                            rows.next();
                            Main.equal(rows.getInt(1), i);
                        }
                    }
                }
            });
        });
        check("one connection used by several threads", () -> {
            try (Connection c = Main.connect()) {
                Main.together(6, i -> {
                    for (int n = 0; n < 10; n++) {
                        Main.equal(Main.one(c, "SELECT ?::int + ?::int", i, n), i + n);
                    }
                });
            }
        });
    }
}
