import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Base64;
import java.util.Properties;
import java.util.StringJoiner;

/**
 * PostgreSQL's JDBC driver, asked by a test: each line has a URL, a mode and statements, with tabs in between. It connects, runs
 * them and leaves, and answers by a line: "ok" with what each gave, or "error" with SQLSTATE and message. See ../ask_test.go.
 */
public final class Ask {
    private Ask() {}

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            String answer;
            try {
                answer = "ok" + run(line.split("\t"));
            } catch (SQLException e) {
                answer = "error\t" + e.getSQLState() + "\t" + e.getMessage().replaceAll("\\s+", " ");
            }
            System.out.println(answer);
        }
    }

    private static String run(String[] words) throws Exception {
        StringBuilder all = new StringBuilder();
        boolean transaction = words[1].endsWith(" in a transaction");
        String mode = words[1].replace(" in a transaction", "");
        try (Connection c = connect(words[0], mode)) {
            c.setAutoCommit(!transaction);
            for (int i = 2; i < words.length; i++) {
                all.append('\t').append(mode.equals("prepared") ? prepared(c, words[i]) : simple(c, words[i]));
            }
            if (transaction) {
                c.commit();
            }
            if (!c.isValid(5)) {
                throw new SQLException("the connection is not valid any more");
            }
        }
        return all.toString();
    }

    private static Connection connect(String address, String mode) throws Exception {
        URI uri = URI.create(address);
        Properties properties = new Properties();
        String[] who = uri.getUserInfo().split(":", 2);
        properties.setProperty("user", who[0]);
        if (who.length > 1) {
            properties.setProperty("password", who[1]);
        }
        for (String one : (uri.getRawQuery() == null ? "" : uri.getRawQuery()).split("&")) {
            String[] pair = one.split("=", 2);
            if (pair.length == 2) {
                properties.setProperty(pair[0], URLDecoder.decode(pair[1], StandardCharsets.UTF_8));
            }
        }
        if (properties.containsKey("sslkey")) {
            properties.setProperty("sslkey", binary(properties.getProperty("sslkey")));
        }
        if (mode.equals("prepared")) {
            properties.setProperty("prepareThreshold", "1");
        } else {
            properties.setProperty("preferQueryMode", mode);
        }
        properties.setProperty("loggerLevel", "OFF"); // it has never heard of the console's version
        properties.setProperty("connectTimeout", "20");
        properties.setProperty("socketTimeout", "20");
        return DriverManager.getConnection("jdbc:postgresql://" + uri.getHost() + ":" + uri.getPort() + uri.getPath(), properties);
    }

    /** The driver reads keys in binary form alone. */
    private static String binary(String pem) throws Exception {
        String text = Files.readString(Path.of(pem)).replaceAll("-----.*?-----|\\s", "");
        Path file = Path.of(pem.replaceFirst("key$", "pk8"));
        Files.write(file, Base64.getDecoder().decode(text));
        return file.toString();
    }

    private static String simple(Connection c, String sql) throws SQLException {
        try (Statement statement = c.createStatement()) {
            return statement.execute(sql) ? rows(statement.getResultSet()) : "";
        }
    }

    private static String prepared(Connection c, String sql) throws SQLException {
        String last = "";
        try (PreparedStatement statement = c.prepareStatement(sql)) {
            for (int i = 0; i < 3; i++) {
                last = statement.execute() ? rows(statement.getResultSet()) : "";
            }
        }
        return last;
    }

    private static String rows(ResultSet found) throws SQLException {
        StringJoiner lines = new StringJoiner(";");
        while (found.next()) {
            StringJoiner line = new StringJoiner("|");
            for (int i = 1; i <= found.getMetaData().getColumnCount(); i++) {
                line.add(String.valueOf(found.getString(i)));
            }
            lines.add(line.toString().replaceAll("\\s+", " "));
        }
        return lines.toString();
    }
}
