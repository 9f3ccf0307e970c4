<?php
// PHP's PDO (and the functions of ext/pgsql below it): emulated and real prepared statements, lastInsertId, COPY, large
// objects, scrollable cursors, persistent connections; pg_* with asynchronous queries. Each check prints "ok NAME" or
// "not ok NAME: why"; the last line is the plan, "1..N".
declare(strict_types=1);

error_reporting(E_ALL & ~E_DEPRECATED);
set_error_handler(function (int $level, string $message): bool {
    throw new ErrorException($message);
}, E_WARNING);

$count = 0;

function connect(array $attributes = [], string $more = ''): PDO
{
    $source = sprintf('pgsql:host=%s;port=%s;dbname=%s;sslmode=disable%s', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'), $more);
    return new PDO($source, getenv('PGUSER'), '', $attributes + [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

// native gives a connection of ext/pgsql.
function native(): PgSql\Connection
{
    return pg_connect(sprintf('host=%s port=%s dbname=%s user=%s sslmode=disable', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'), getenv('PGUSER')), PGSQL_CONNECT_FORCE_NEW);
}

function check(string $name, callable $work): void
{
    $GLOBALS['count']++;
    try {
        $work();
        echo "ok $name\n";
    } catch (Throwable $e) {
        echo "not ok $name: ", preg_replace('/\s+/', ' ', $e->getMessage()), ' at line ', $e->getLine(), "\n";
    }
}

function equal(mixed $got, mixed $wanted): void
{
    if ($got !== $wanted) {
        $line = debug_backtrace()[0]['line'];
        throw new Exception('got ' . var_export($got, true) . ', not ' . var_export($wanted, true) . " (line $line)");
    }
}

function fails(string $state, callable $work): PDOException
{
    try {
        $work();
    } catch (PDOException $e) {
        equal($e->errorInfo[0] ?? $e->getCode(), $state);
        return $e;
    }
    throw new Exception("no error $state");
}

function one(PDO $db, string $text, array $values = []): mixed
{
    $statement = $db->prepare($text);
    $statement->execute($values);
    return $statement->fetchColumn();
}

// The ways in which PDO sends a statement.
$ways = [
    'prepared' => [],
    'emulated' => [PDO::ATTR_EMULATE_PREPARES => true],
    'unnamed' => [PDO::PGSQL_ATTR_DISABLE_PREPARES => true],
];

foreach ($ways as $way => $attributes) {
    check("$way statements, re-used in later transactions", function () use ($attributes) {
        $all = [connect($attributes), connect($attributes)];
        $statements = array_map(fn ($db) => $db->prepare('SELECT CAST(:n AS int) + 1'), $all);
        for ($n = 0; $n < 10; $n++) {
            foreach ($statements as $i => $statement) {
                $all[$i]->beginTransaction();
                $statement->execute(['n' => $n]);
                equal((int) $statement->fetchColumn(), $n + 1);
                $all[$i]->commit();
            }
        }
    });

    check("$way statements: errors and recovery", function () use ($attributes) {
        $db = connect($attributes);
        for ($n = 0; $n < 3; $n++) {
            fails('22012', fn () => one($db, 'SELECT 1 / CAST(? AS int)', [0]));
            equal(one($db, 'SELECT CAST(? AS int)', [7]), 7);
            $db->beginTransaction();
            fails('42P01', fn () => one($db, 'SELECT * FROM ph_nowhere WHERE a = ?', [1]));
            fails('25P02', fn () => one($db, 'SELECT 1'));
            $db->rollBack();
        }
    });

    check("$way statements: the id of the last insert", function () use ($attributes, $way) {
        connect()->exec("CREATE TABLE ph_serial_$way (id serial, n int)");
        for ($n = 1; $n < 8; $n++) {
            [$first, $second] = [connect($attributes), connect($attributes)];
            foreach ([$first, $second] as $db) {
                $db->prepare("INSERT INTO ph_serial_$way (n) VALUES (?)")->execute([$n]);
            }
            equal($first->lastInsertId(), (string) (2 * $n - 1));
            equal($second->lastInsertId("ph_serial_{$way}_id_seq"), (string) (2 * $n));
        }
    });

    check("$way statements: locks of sessions and transactions", function () use ($attributes) {
        [$db, $other] = [connect($attributes), connect($attributes)];
        one($db, 'SELECT pg_advisory_lock(?)', [10001]);
        one($db, 'SELECT pg_advisory_lock(?)', [10001]);
        foreach ([false, false, true] as $free) {
            equal(one($other, 'SELECT pg_try_advisory_lock(?)', [10001]), $free);
            equal(one($db, 'SELECT pg_advisory_unlock(?)', [10001]), !$free);
        }
        $db->beginTransaction();
        one($db, 'SELECT pg_advisory_xact_lock(?)', [10002]);
        equal(one($other, 'SELECT pg_try_advisory_xact_lock(?)', [10002]), false);
        $db->commit();
        equal(one($other, 'SELECT pg_try_advisory_xact_lock(?)', [10002]), true);
    });
}

check('a prepared statement whose columns changed is refused', function () {
    [$db, $other] = [connect(), connect()];
    $db->exec('CREATE TABLE ph_changed (a int)');
    $statement = $db->prepare('SELECT * FROM ph_changed');
    for ($n = 0; $n < 5; $n++) {
        $statement->execute();
    }
    $other->exec('ALTER TABLE ph_changed ADD b int');
    for ($n = 0; $n < 5; $n++) {
        fails('0A000', fn () => $statement->execute());
    }
    equal($other->query('SELECT * FROM ph_changed')->columnCount(), 2);
});

check('a scrollable cursor', function () {
    $db = connect();
    $db->beginTransaction();
    $statement = $db->prepare('SELECT n FROM generate_series(1, 10) n', [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
    $statement->execute();
    equal($statement->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_ABS, 4), [4]);
    equal($statement->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_PRIOR), [3]);
    equal($statement->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_LAST), [10]);
    $db->commit();
});

check('COPY from and to arrays', function () {
    $db = connect();
    $db->exec('CREATE TABLE ph_copy (n int, t text)');
    $db->pgsqlCopyFromArray('ph_copy', array_map(fn ($n) => "$n\trow $n\n", range(1, 5000)));
    equal(count($db->pgsqlCopyToArray('ph_copy')), 5000);
    try {
        $db->pgsqlCopyFromArray('ph_copy', ["x\ty\n"]);
        throw new Exception('no error');
    } catch (PDOException $e) {
        equal(one($db, 'SELECT count(*) FROM ph_copy'), 5000);
    }
});

check('large objects are streams', function () {
    $db = connect();
    $db->beginTransaction();
    $oid = $db->pgsqlLOBCreate();
    $stream = $db->pgsqlLOBOpen($oid, 'w');
    fwrite($stream, str_repeat('0123456789', 5000));
    fclose($stream);
    $stream = $db->pgsqlLOBOpen($oid, 'r');
    fseek($stream, 49995);
    equal(stream_get_contents($stream), '56789');
    fclose($stream);
    equal($db->pgsqlLOBUnlink($oid), true);
    $db->commit();
});

check('notifications', function () {
    [$db, $other, $sender] = [connect(), connect(), connect()];
    foreach ([$db, $other] as $listener) {
        $listener->exec('LISTEN ph_news');
    }
    $sender->exec("NOTIFY ph_news, 'payload'");
    foreach ([$db, $other] as $listener) {
        $got = $listener->pgsqlGetNotify(PDO::FETCH_ASSOC, 10000);
        equal([$got['message'], $got['payload']], ['ph_news', 'payload']);
    }
    $db->exec('UNLISTEN *');
    $sender->exec('NOTIFY ph_news');
    equal($db->pgsqlGetNotify(PDO::FETCH_ASSOC, 0), false);
});

check('persistent connections keep their session', function () {
    $db = connect([PDO::ATTR_PERSISTENT => true]);
    $db->exec("SET application_name = 'ph'; CREATE TEMP TABLE ph_persistent (n int)");
    $db = null;
    $db = connect([PDO::ATTR_PERSISTENT => true]);
    equal($db->query('SHOW application_name')->fetchColumn(), 'ph');
    equal($db->query('SELECT count(*) FROM ph_persistent')->fetchColumn(), 0);
    $db->exec('DISCARD ALL');
});

check('settings of the connection and of the session', function () {
    [$db, $other] = [connect(more: ";application_name=ph;options='-c work_mem=3MB'"), connect()];
    $db->exec("SET search_path = pg_catalog; SELECT set_config('app.tenant', 'seven', false)");
    for ($n = 0; $n < 5; $n++) {
        equal($db->query("SELECT concat_ws('|', current_setting('application_name'), current_setting('work_mem'), current_setting('search_path'), current_setting('app.tenant'))")->fetchColumn(), 'ph|3MB|pg_catalog|seven');
        equal($other->query('SHOW work_mem')->fetchColumn(), '4MB');
    }
});

check('attributes of the connection', function () {
    $db = connect();
    equal(str_starts_with($db->getAttribute(PDO::ATTR_SERVER_VERSION), '1'), true);
    equal($db->inTransaction(), false);
    $db->exec('BEGIN');
    equal($db->inTransaction(), true);
    $db->exec('ROLLBACK');
    equal(str_contains($db->getAttribute(PDO::ATTR_SERVER_INFO), 'Session Authorization: postgres'), true);
});

check('the state of the last error', function () {
    $db = connect([PDO::ATTR_ERRMODE => PDO::ERRMODE_SILENT]);
    equal($db->exec('SELECT nothing'), false);
    equal($db->errorInfo()[0], '42703');
    equal($db->exec('CREATE TABLE ph_state (n int); INSERT INTO ph_state VALUES (1), (2)'), 2);
});

check('pg_query_params and pg_prepare', function () {
    [$db, $other] = [native(), native()];
    foreach ([$db, $other] as $i => $c) {
        pg_prepare($c, 'named', "SELECT $1::int + $i");
    }
    for ($n = 0; $n < 10; $n++) {
        foreach ([$db, $other] as $i => $c) {
            equal(pg_fetch_result(pg_execute($c, 'named', [$n]), 0), (string) ($n + $i));
            equal(pg_fetch_result(pg_query_params($c, 'SELECT $1::text', ["a'$n"]), 0), "a'$n");
        }
    }
});

check('pg_send_query, several results, and cancelling', function () {
    $db = native();
    pg_send_query($db, "SELECT 1; SELECT 2, 'x'; SELECT 1/0");
    equal(pg_num_fields(pg_get_result($db)) . pg_num_fields(pg_get_result($db)), '12');
    equal(pg_result_error_field(pg_get_result($db), PGSQL_DIAG_SQLSTATE), '22012');
    equal(pg_get_result($db), false);
    for ($n = 0; $n < 5; $n++) {
        pg_send_query_params($db, 'SELECT pg_sleep($1)', [8]);
        usleep(100000);
        equal(pg_connection_busy($db), true);
        $began = microtime(true);
        pg_cancel_query($db);
        equal(microtime(true) - $began < 4, true);
        equal(pg_fetch_result(pg_query($db, 'SELECT 7'), 0), '7');
    }
});

check('pg_copy_from, pg_put_line and pg_end_copy', function () {
    $db = native();
    pg_query($db, 'CREATE TABLE ph_lines (n int)');
    pg_query($db, 'COPY ph_lines FROM STDIN');
    for ($n = 0; $n < 1000; $n++) {
        pg_put_line($db, "$n\n");
    }
    pg_put_line($db, "\\.\n");
    pg_end_copy($db);
    equal(count(pg_copy_to($db, 'ph_lines')), 1000);
});

check('pg_transaction_status, pg_parameter_status and pg_last_notice', function () {
    $db = native();
    equal(pg_transaction_status($db), PGSQL_TRANSACTION_IDLE);
    pg_query($db, 'BEGIN');
    equal(pg_transaction_status($db), PGSQL_TRANSACTION_INTRANS);
    @pg_send_query($db, 'SELECT 1/0');
    pg_get_result($db);
    pg_get_result($db);
    equal(pg_transaction_status($db), PGSQL_TRANSACTION_INERROR);
    pg_query($db, 'ROLLBACK');
    pg_query($db, "SET timezone = 'Asia/Tokyo'");
    equal(pg_parameter_status($db, 'TimeZone'), 'Asia/Tokyo');
    pg_query($db, "DO $$ BEGIN RAISE NOTICE 'told'; END $$");
    equal(trim(pg_last_notice($db)), 'NOTICE:  told');
});

check('pg_connection_reset begins a new session', function () {
    $db = native();
    pg_query($db, "SET work_mem = '9MB'; SELECT pg_advisory_lock(10003)");
    equal(pg_connection_reset($db), true);
    equal(pg_fetch_result(pg_query($db, 'SHOW work_mem'), 0), '4MB');
    pg_query($db, 'SELECT pg_advisory_lock(10003)');
});

check('thirty connections, each with its own statement', function () {
    $all = array_map(fn ($i) => connect(more: ";application_name=ph$i"), range(1, 30));
    $statements = array_map(fn ($db) => $db->prepare("SELECT current_setting('application_name') || CAST(? AS text)"), $all);
    for ($n = 0; $n < 4; $n++) {
        foreach ($statements as $i => $statement) {
            $statement->execute([$n]);
            equal($statement->fetchColumn(), 'ph' . ($i + 1) . $n);
        }
    }
});

echo "1..$count\n";
