import java.net.URI;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/**
 * What PostgreSQL's JDBC driver is known for, in the mode that is the argument: simple queries, the extended protocol,
 * statements prepared at their first execution, and rows fetched by a portal in parts.
 */
public final class Main {
    private static final int LIMIT = 30; // seconds that a check may take

    static final Map<String, Check> CHECKS = new LinkedHashMap<>();
    static String mode;

    interface Check {
        void run() throws Exception;
    }

    private Main() {}

    public static void main(String[] args) {
        mode = args[0];
        Statements.register();
        Sessions.register();
        ExecutorService runner = Executors.newCachedThreadPool(task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        CHECKS.forEach((name, check) -> {
            try {
                runner.submit(() -> {
                    check.run();
                    return null;
                }).get(LIMIT, TimeUnit.SECONDS);
                System.out.println("ok " + name);
            } catch (Exception e) {
                Throwable cause = e.getCause() == null ? e : e.getCause();
                System.out.println("not ok " + name + ": " + cause.toString().replaceAll("\\s+", " ") + at(cause));
            }
        });
        System.out.println("1.." + CHECKS.size());
        System.exit(0);
    }

    /** The line of these files at which something failed. */
    private static String at(Throwable cause) {
        for (StackTraceElement frame : cause.getStackTrace()) {
            if (frame.getFileName() != null && frame.getFileName().matches("(Statements|Sessions).java")) {
                return " (" + frame.getFileName() + ":" + frame.getLineNumber() + ")";
            }
        }
        return "";
    }

    /** Connects in the mode, with more properties ("name", "value", ...). */
    static Connection connect(String... more) throws SQLException {
        URI address = URI.create(System.getenv("DATABASE_URL"));
        Properties properties = new Properties();
        properties.setProperty("user", address.getUserInfo());
        properties.setProperty("sslmode", System.getenv("PGSSLMODE"));
        if (System.getenv("PGSSLROOTCERT") != null) {
            properties.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
        }
        switch (mode) {
            case "simple" -> properties.setProperty("preferQueryMode", "simple");
            case "extended" -> properties.setProperty("preferQueryMode", "extended");
            case "prepared" -> properties.setProperty("prepareThreshold", "1");
            case "cursor" -> properties.setProperty("defaultRowFetchSize", "10");
            default -> throw new IllegalArgumentException("simple, extended, prepared or cursor");
        }
        for (int i = 0; i < more.length; i += 2) {
            properties.setProperty(more[i], more[i + 1]);
        }
        return DriverManager.getConnection(
            "jdbc:postgresql://" + address.getHost() + ":" + address.getPort() + address.getPath(), properties);
    }

    /** One without autocommit, the usual in Java. */
    static Connection transactional(String... more) throws SQLException {
        Connection c = connect(more);
        c.setAutoCommit(false);
        return c;
    }

    static boolean run(Connection c, String sql) throws SQLException {
        try (Statement statement = c.createStatement()) {
            return statement.execute(sql);
        }
    }

    /** The first column of the first row, by a prepared statement. */
    static String one(Connection c, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                statement.setObject(i + 1, values[i]);
            }
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return rows.getString(1);
            }
        }
    }

    static void equal(Object got, Object wanted) {
        if (!Objects.equals(String.valueOf(got), String.valueOf(wanted))) {
            throw new AssertionError("got " + got + ", not " + wanted);
        }
    }

    interface Fails {
        void run() throws SQLException;
    }

    static SQLException fails(String state, Fails work) {
        try {
            work.run();
        } catch (SQLException e) {
            if (!state.equals(e.getSQLState())) {
                throw new AssertionError("got " + e.getSQLState() + " " + e.getMessage() + ", not " + state, e);
            }
            return e;
        }
        throw new AssertionError("no error " + state);
    }

    /** Runs work(0) to work(n-1) at once. */
    static void together(int n, Numbered work) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(n);
        try {
            var all = new java.util.ArrayList<java.util.concurrent.Future<?>>();
            for (int i = 0; i < n; i++) {
                int number = i;
                all.add(threads.submit(() -> {
                    work.run(number);
                    return null;
                }));
            }
            for (var one : all) {
                one.get();
            }
        } finally {
            threads.shutdownNow();
        }
    }

    interface Numbered {
        void run(int i) throws Exception;
    }
}
