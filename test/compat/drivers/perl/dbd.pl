#!/usr/bin/perl
# Perl's DBD::Pg: client-side and server-side preparing, AutoCommit, asynchronous queries, COPY, large objects by function
# calls, notifications, savepoints, last_insert_id. Each check prints "ok NAME" or "not ok NAME: why"; the last line is the
# plan, "1..N".
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:pg_types :async);

$| = 1;
my $count = 0;

# connection opens one; what is given wins over the usual attributes.
sub connection {
    my (%more) = @_;
    my $options = delete $more{options} // '';
    my $source = "dbi:Pg:dbname=$ENV{PGDATABASE};host=$ENV{PGHOST};port=$ENV{PGPORT};sslmode=disable";
    $source .= ";options='$options'" if $options;
    return DBI->connect($source, $ENV{PGUSER}, '', { RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, %more });
}

sub check {
    my ($name, $work) = @_;
    $count++;
    eval {
        local $SIG{ALRM} = sub { die "took more than 20 s\n" };
        alarm 20;
        $work->();
        alarm 0;
        1;
    } and return print "ok $name\n";
    alarm 0;
    my $why = $@;
    $why =~ s/\s+/ /g;
    print "not ok $name: $why\n";
}

sub equal {
    my ($got, $wanted) = map { ref $_ ? join(',', map { $_ // 'undef' } @$_) : $_ // 'undef' } @_;
    my (undef, undef, $line) = caller;
    die "got $got, not $wanted, at line $line\n" if $got ne $wanted;
}

# fails wants this SQLSTATE.
sub fails {
    my ($handle, $state, $work) = @_;
    die "no error $state\n" if eval { $work->(); 1 };
    equal($handle->state, $state);
}

sub one {
    my ($dbh, $sql, @values) = @_;
    return $dbh->selectrow_array($sql, undef, @values);
}

check 'statements are prepared on the server, at once or late' => sub {
    for my $attributes ({}, { pg_prepare_now => 1 }, { pg_server_prepare => 0 }, { pg_switch_prepared => 1 }, { pg_switch_prepared => 0 }) {
        my ($dbh, $other) = (connection(), connection());
        my @statements = map { $_->prepare('SELECT ?::int + 1', $attributes) } $dbh, $other;
        for my $n (1 .. 10) {
            for my $statement (@statements) {
                $statement->execute($n);
                equal($statement->fetchrow_array, $n + 1);
            }
        }
    }
};

check 'a prepared statement outlives transactions and errors' => sub {
    my $dbh = connection(AutoCommit => 0);
    my $statement = $dbh->prepare('SELECT 10 / ?::int', { pg_prepare_now => 1 });
    for my $n (0, 1, 2, 0, 5) {
        if ($n) {
            $statement->execute($n);
            equal($statement->fetchrow_array, 10 / $n);
            $dbh->commit;
        } else {
            fails($dbh, '22012', sub { $statement->execute($n) });
            fails($dbh, '25P02', sub { $dbh->do('SELECT 1') });
            $dbh->rollback;
        }
    }
};

check 'a prepared statement whose columns changed is refused' => sub {
    my ($dbh, $other) = (connection(), connection());
    $dbh->do('CREATE TABLE dp_changed (a int)');
    my $statement = $dbh->prepare('SELECT * FROM dp_changed WHERE ?::int = 1', { pg_switch_prepared => 1, pg_prepare_now => 1 });
    $statement->execute(1) for 1 .. 5;
    $other->do('ALTER TABLE dp_changed ADD b int');
    for (1 .. 5) {
        fails($dbh, '0A000', sub { $statement->execute(1) });
    }
    my $fresh = $dbh->prepare('SELECT * FROM dp_changed');
    $fresh->execute;
    equal($fresh->{NUM_OF_FIELDS}, 2);
};

check 'statements with many kinds of placeholders' => sub {
    my $dbh = connection();
    for (1 .. 4) {
        equal(one($dbh, 'SELECT $1::int - $2::int', 7, 5), 2);
        my $statement = $dbh->prepare('SELECT :a::text || :b::text || :a::text');
        $statement->bind_param(':a', 'x');
        $statement->bind_param(':b', 'y');
        $statement->execute;
        equal($statement->fetchrow_array, 'xyx');
        equal(one($dbh, q{SELECT ?::jsonb \? 'a'}, '{"a": 1}'), 1);
    }
};

check 'arrays, bytea and booleans' => sub {
    my $dbh = connection();
    equal(one($dbh, 'SELECT ?::int[]', [1, 2, 3]), [1, 2, 3]);
    my $statement = $dbh->prepare('SELECT $1::bytea, length($1), true');
    $statement->bind_param(1, "\0\1\xff", { pg_type => PG_BYTEA });
    $statement->execute;
    equal([$statement->fetchrow_array], ["\0\1\xff", 3, 1]);
};

check 'AutoCommit on and off, begin_work' => sub {
    my ($dbh, $other) = (connection(), connection());
    $dbh->do('CREATE TABLE dp_auto (n int)');
    $dbh->begin_work;
    $dbh->do('INSERT INTO dp_auto VALUES (1)');
    equal(one($other, 'SELECT count(*) FROM dp_auto'), 0);
    equal($dbh->ping, 3);
    $dbh->commit;
    equal($dbh->ping, 1);
    $dbh->{AutoCommit} = 0;
    $dbh->do('INSERT INTO dp_auto VALUES (2)');
    $dbh->rollback;
    $dbh->{AutoCommit} = 1;
    equal(one($other, 'SELECT count(*) FROM dp_auto'), 1);
};

check 'read-only connections' => sub {
    my $dbh = connection(AutoCommit => 0, ReadOnly => 1);
    for (1 .. 3) {
        fails($dbh, '25006', sub { $dbh->do('CREATE TABLE dp_never ()') });
        $dbh->rollback;
    }
};

check 'savepoints' => sub {
    my $dbh = connection(AutoCommit => 0);
    $dbh->do('CREATE TABLE dp_save (n int)');
    $dbh->pg_savepoint('one');
    $dbh->do('INSERT INTO dp_save VALUES (1)');
    $dbh->pg_savepoint('two');
    fails($dbh, '22012', sub { $dbh->do('SELECT 1/0') });
    $dbh->pg_rollback_to('two');
    $dbh->pg_release('two');
    equal(one($dbh, 'SELECT count(*) FROM dp_save'), 1);
    $dbh->pg_rollback_to('one');
    $dbh->commit;
    equal(one($dbh, 'SELECT count(*) FROM dp_save'), 0);
};

check 'last_insert_id is that of the own session' => sub {
    my $dbh = connection();
    $dbh->do('CREATE TABLE dp_serial (id serial PRIMARY KEY, n int)');
    for my $n (1 .. 8) {
        my ($first, $second) = (connection(), connection());
        $first->do('INSERT INTO dp_serial (n) VALUES (0)');
        $second->do('INSERT INTO dp_serial (n) VALUES (0)');
        equal($first->last_insert_id(undef, undef, 'dp_serial', undef), 2 * $n - 1);
        equal($second->last_insert_id(undef, undef, undef, undef, { sequence => 'dp_serial_id_seq' }), 2 * $n);
    }
};

check 'COPY in and out, also ended early' => sub {
    my $dbh = connection();
    $dbh->do('CREATE TABLE dp_copy (n int, t text)');
    $dbh->do('COPY dp_copy FROM STDIN');
    $dbh->pg_putcopydata("$_\trow $_\n") for 1 .. 5000;
    $dbh->pg_putcopyend;
    $dbh->do('COPY (SELECT n FROM dp_copy ORDER BY n) TO STDOUT');
    my ($line, $n) = ('', 0);
    $n += $line while $dbh->pg_getcopydata($line) >= 0;
    equal($n, 5000 * 5001 / 2);
    $dbh->do('COPY dp_copy FROM STDIN');
    $dbh->pg_putcopydata("x\ty\n");
    fails($dbh, '22P02', sub { $dbh->pg_putcopyend });
    equal(one($dbh, 'SELECT count(*) FROM dp_copy'), 5000);
};

check 'large objects by function calls' => sub {
    my $dbh = connection(AutoCommit => 0);
    my $oid = $dbh->pg_lo_creat($dbh->{pg_INV_WRITE} | $dbh->{pg_INV_READ});
    my $object = $dbh->pg_lo_open($oid, $dbh->{pg_INV_WRITE} | $dbh->{pg_INV_READ});
    equal($dbh->pg_lo_write($object, '0123456789' x 1000, 10000), 10000);
    equal($dbh->pg_lo_lseek($object, 9995, 0), 9995);
    my $buffer = '';
    $dbh->pg_lo_read($object, $buffer, 100);
    equal($buffer, '56789');
    equal($dbh->pg_lo_truncate($object, 4), 0);
    $dbh->pg_lo_close($object);
    $dbh->commit;
    $object = $dbh->pg_lo_open($oid, $dbh->{pg_INV_READ});
    equal($dbh->pg_lo_read($object, $buffer, 100), 4);
    $dbh->pg_lo_unlink($oid);
    $dbh->commit;
};

check 'asynchronous queries: ready, result, cancelled' => sub {
    my $dbh = connection();
    $dbh->do('SELECT pg_sleep(0.2)', { pg_async => PG_ASYNC });
    select undef, undef, undef, 0.01 until $dbh->pg_ready;
    equal($dbh->pg_result, 1);
    my $statement = $dbh->prepare('SELECT ?::int + pg_backend_pid() * 0', { pg_async => PG_ASYNC });
    for my $n (1 .. 5) {
        $statement->execute($n);
        $dbh->pg_result;
        equal($statement->fetchrow_array, $n);
    }
    for (1 .. 5) {
        $dbh->do('SELECT pg_sleep(20)', { pg_async => PG_ASYNC });
        select undef, undef, undef, 0.1;
        equal($dbh->pg_cancel, 1);
        equal(one($dbh, 'SELECT 7'), 7);
    }
    $dbh->do('SELECT pg_sleep(0.1)', { pg_async => PG_ASYNC });
    $dbh->do('SELECT 1', { pg_async => PG_OLDQUERY_WAIT | PG_ASYNC });
    $dbh->pg_result;
};

check 'notifications while idle' => sub {
    my ($dbh, $other, $sender) = (connection(), connection(), connection());
    $_->do('LISTEN dp_news') for $dbh, $other;
    $sender->do("NOTIFY dp_news, 'payload'");
    for my $listener ($dbh, $other) {
        my $bits = '';
        vec($bits, $listener->{pg_socket}, 1) = 1;
        select $bits, undef, undef, 10;
        my ($channel, $pid, $payload) = @{ $listener->pg_notifies };
        equal("$channel $payload", 'dp_news payload');
    }
    $dbh->do('UNLISTEN *');
    $sender->do('NOTIFY dp_news');
    $dbh->do('SELECT 1');
    equal($dbh->pg_notifies, undef);
};

check 'notices are warnings of perl' => sub {
    my @got;
    local $SIG{__WARN__} = sub { push @got, @_ };
    my $dbh = connection(PrintWarn => 1);
    $dbh->do(q{DO $$ BEGIN RAISE NOTICE 'a'; RAISE WARNING 'b'; END $$});
    equal(join('', @got), "NOTICE:  a\nWARNING:  b\n");
};

check 'settings, encodings and the server\'s parameters' => sub {
    my ($dbh, $other) = (connection(options => '-c work_mem=3MB'), connection());
    $dbh->do(q{SET application_name = 'dp'; SET timezone = 'Asia/Tokyo'});
    for (1 .. 4) {
        equal(one($dbh, q{SELECT current_setting('work_mem') || current_setting('timezone')}), '3MBAsia/Tokyo');
        equal(one($other, 'SHOW work_mem'), '4MB');
    }
    $dbh->do(q{SET client_encoding = 'LATIN1'});
    equal(one($dbh, 'SELECT pg_client_encoding()'), 'LATIN1') for 1 .. 3;
    $dbh->do('RESET ALL');
    equal(one($dbh, 'SHOW work_mem') . one($dbh, 'SHOW client_encoding'), '3MBUTF8');
};

check 'cursors declared in SQL, with hold' => sub {
    my $dbh = connection();
    $dbh->do('DECLARE dp_held CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 100) n');
    for my $n (1 .. 5) {
        equal(one($dbh, 'FETCH dp_held'), $n);
    }
    $dbh->do('CLOSE dp_held');
    fails($dbh, '34000', sub { $dbh->do('FETCH dp_held') });
};

check 'temporary tables' => sub {
    my ($dbh, $other) = (connection(), connection());
    $dbh->do('CREATE TEMP TABLE dp_temp AS SELECT 1 AS n');
    equal(one($dbh, 'SELECT n FROM dp_temp'), 1);
    fails($other, '42P01', sub { $other->do('SELECT n FROM dp_temp') });
    $dbh->disconnect;
};

check 'the catalog is described' => sub {
    my $dbh = connection();
    $dbh->do('CREATE TABLE dp_meta (id int PRIMARY KEY, t text NOT NULL)');
    equal([$dbh->primary_key(undef, 'public', 'dp_meta')], ['id']);
    equal(scalar @{ $dbh->column_info(undef, 'public', 'dp_meta', '%')->fetchall_arrayref }, 2);
};

check 'locks of sessions and transactions' => sub {
    my ($dbh, $other) = (connection(), connection());
    $dbh->do('SELECT pg_advisory_lock(?)', undef, 9001) for 1 .. 2;
    equal(one($other, 'SELECT pg_try_advisory_lock(?)', 9001), 0);
    equal(one($dbh, 'SELECT pg_advisory_unlock(?)', 9001), 1) for 1 .. 2;
    equal(one($other, 'SELECT pg_try_advisory_lock(?)', 9001), 1);
    $other->disconnect;
    $dbh->begin_work;
    $dbh->do('SELECT pg_advisory_xact_lock(?)', undef, 9001);
    $dbh->rollback;
    equal(one($dbh, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 9001}), 0);
};

check 'a handle that goes out of scope in a transaction' => sub {
    my $other = connection();
    for (1 .. 5) {
        my $dbh = connection(AutoCommit => 0, Warn => 0);
        $dbh->do('SELECT pg_advisory_lock(9002)');
        undef $dbh;
        $other->do('SELECT pg_advisory_lock(9002)');
        $other->do('SELECT pg_advisory_unlock(9002)');
    }
};

check 'forty connections, each with its own name' => sub {
    my @all = map { my $dbh = connection(); $dbh->do("SET application_name = 'dp$_'"); $dbh } 1 .. 40;
    for (1 .. 3) {
        equal(one($all[$_ - 1], 'SHOW application_name'), "dp$_") for 1 .. 40;
    }
    $_->disconnect for @all;
};

print "1..$count\n";
