# frozen_string_literal: true

# ruby-pg: type maps, COPY with coders, asynchronous calls, pipeline mode, single rows, notifications, large objects, cancel
# and reset. Each check prints "ok NAME" or "not ok NAME: why"; the last line is the plan, "1..N".
require 'pg'
require_relative 'harness'

# connected gives connections to a block and closes them.
def connected(count = 1, **more)
  all = Array.new(count) { PG.connect(ENV.fetch('DATABASE_URL') + more.map { |name, value| "&#{name}=#{value}" }.join) }
  all.each { |c| c.set_notice_processor { |_| } }
  yield(*all)
ensure
  all&.each { |c| c.close unless c.finished? }
end

def one(conn, text, *values) = conn.exec_params(text, values).getvalue(0, 0)

check 'statements with parameters, prepared and described' do
  connected(2) do |a, b|
    [a, b].each_with_index { |c, i| c.prepare('named', "SELECT $1::int + #{i}") }
    10.times do |n|
      equal(a.exec_prepared('named', [n]).getvalue(0, 0), n.to_s)
      equal(b.exec_prepared('named', [n]).getvalue(0, 0), (n + 1).to_s)
      equal(one(a, 'SELECT $1::text', "x'#{n}"), "x'#{n}")
    end
    described = a.describe_prepared('named')
    equal([described.paramtype(0), described.ftype(0)], [23, 23])
    a.exec('DEALLOCATE named')
    fails(PG::InvalidSqlStatementName) { a.exec_prepared('named', [1]) }
    equal(b.exec_prepared('named', [1]).getvalue(0, 0), '2')
  end
end

check 'a prepared statement whose columns changed is refused' do
  connected(2) do |a, b|
    a.exec('CREATE TABLE rb_changed (a int)')
    a.prepare('star', 'SELECT * FROM rb_changed')
    5.times { a.exec_prepared('star') }
    b.exec('ALTER TABLE rb_changed ADD b int')
    5.times { fails(PG::FeatureNotSupported) { a.exec_prepared('star') } }
    equal(b.exec_params('SELECT * FROM rb_changed', []).nfields, 2)
  end
end

check 'type maps in text and in binary' do
  connected do |c|
    c.type_map_for_results = PG::BasicTypeMapForResults.new(c)
    c.type_map_for_queries = PG::BasicTypeMapForQueries.new(c)
    [0, 1].each do |format|
      row = c.exec_params('SELECT $1::int8, $2::float8, $3::bool, $4::text', [7, 1.5, true, 'ä'], format).values[0]
      equal(row, [7, 1.5, true, 'ä'])
    end
    equal(c.exec_params('SELECT $1::int[]', [[1, 2]]).getvalue(0, 0), [1, 2])
    equal(c.exec("SELECT '2020-02-29 12:00'::timestamp").getvalue(0, 0).year, 2020)
  end
end

check 'transactions by blocks, errors and recovery' do
  connected do |c|
    c.exec('CREATE TABLE rb_tx (n int)')
    3.times do |n|
      fails(PG::DivisionByZero) do
        c.transaction do
          c.exec_params('INSERT INTO rb_tx VALUES ($1)', [n])
          c.exec('SELECT 1/0')
        end
      end
      c.transaction { c.exec_params('INSERT INTO rb_tx VALUES ($1)', [n]) }
      equal(c.transaction_status, PG::PQTRANS_IDLE)
    end
    equal(one(c, 'SELECT count(*) FROM rb_tx'), '3')
    c.exec('BEGIN; SAVEPOINT s')
    fails(PG::UndefinedColumn) { c.exec('SELECT nothing') }
    fails(PG::InFailedSqlTransaction) { c.exec('SELECT 1') }
    c.exec('ROLLBACK TO s')
    equal(one(c, 'SELECT 1'), '1')
    c.exec('COMMIT')
  end
end

check 'an error has all its fields' do
  connected do |c|
    c.exec('CREATE TABLE rb_err (n int CONSTRAINT rb_one UNIQUE); INSERT INTO rb_err VALUES (1)')
    result = fails(PG::UniqueViolation) { c.exec_params('INSERT INTO rb_err VALUES ($1)', [1]) }.result
    equal(result.error_field(PG::PG_DIAG_CONSTRAINT_NAME), 'rb_one')
    equal(result.error_field(PG::PG_DIAG_MESSAGE_DETAIL), 'Key (n)=(1) already exists.')
    c.set_error_verbosity(PG::PQERRORS_VERBOSE)
    equal(fails(PG::UndefinedTable) { c.exec('SELECT 1 FROM rb_nowhere') }.message[/LOCATION: +(\w+)/, 1], 'parserOpenTable')
  end
end

check 'COPY with coders, given up, and bad' do
  connected do |c|
    c.exec('CREATE TABLE rb_copy (n int, t text)')
    c.copy_data('COPY rb_copy FROM STDIN', PG::TextEncoder::CopyRow.new) { 5000.times { |n| c.put_copy_data([n, "row\t#{n}"]) } }
    rows = 0
    c.copy_data('COPY rb_copy TO STDOUT', PG::TextDecoder::CopyRow.new) { rows += 1 while c.get_copy_data }
    equal(rows, 5000)
    fails(IOError) do
      c.copy_data('COPY rb_copy FROM STDIN') do
        c.put_copy_data("1\tx\n")
        raise IOError, 'given up'
      end
    end
    fails(PG::InvalidTextRepresentation) { c.copy_data('COPY rb_copy FROM STDIN') { c.put_copy_data("x\ty\n") } }
    fails(RuntimeError) { c.copy_data('COPY (SELECT * FROM generate_series(1, 100000)) TO STDOUT') { c.get_copy_data && raise('enough') } }
    equal(one(c, 'SELECT count(*) FROM rb_copy'), '5000')
  end
end

check 'rows one by one' do
  connected do |c|
    c.send_query_params('SELECT n FROM generate_series(1, $1::int) n', [10_000])
    c.set_single_row_mode
    sum = 0
    c.get_result.stream_each { |row| sum += row['n'].to_i }
    c.get_result
    equal(sum, 10_000 * 10_001 / 2)
    c.send_query('SELECT 1 / (100 - n) FROM generate_series(1, 1000) n')
    c.set_single_row_mode
    fails(PG::Error) { c.get_result.stream_each { |row| row } }
    c.discard_results
    equal(one(c, 'SELECT 1'), '1')
  end
end

check 'several results of one string' do
  connected do |c|
    c.send_query("SELECT 1; SELECT 2, 'x'; SELECT 1/0; SELECT 3")
    equal([c.get_result.nfields, c.get_result.nfields], [1, 2])
    fails(PG::DivisionByZero) { c.get_result.check }
    equal(c.get_result, nil)
  end
end

check 'pipeline mode, an error in the middle, and locks' do
  connected do |c|
    c.exec('CREATE TABLE rb_pipe (n int UNIQUE)')
    c.enter_pipeline_mode
    [1, 2].each do |round|
      5.times { |n| c.send_query_params('INSERT INTO rb_pipe VALUES ($1) RETURNING n', [n * round]) }
      c.send_query_params('SELECT pg_advisory_xact_lock(11001)', [])
      c.pipeline_sync
    end
    statuses = []
    until statuses.count(PG::PGRES_PIPELINE_SYNC) == 2
      result = c.get_result
      statuses << result.result_status if result
    end
    equal(statuses.count(PG::PGRES_TUPLES_OK), 6)
    equal(statuses.count(PG::PGRES_FATAL_ERROR), 1)
    equal(statuses.count(PG::PGRES_PIPELINE_ABORTED), 5)
    c.exit_pipeline_mode
    equal(one(c, 'SELECT count(*) FROM rb_pipe'), '5')
  end
end

check 'a flush request in a pipeline, without a sync' do
  connected do |c|
    c.enter_pipeline_mode
    3.times do |n|
      c.send_query_params('SELECT $1::int', [n])
      c.send_flush_request
      c.flush
      equal(c.get_result.getvalue(0, 0), n.to_s)
      equal(c.get_result, nil)
    end
    c.pipeline_sync
    equal(c.get_result.result_status, PG::PGRES_PIPELINE_SYNC)
    c.exit_pipeline_mode
  end
end

check 'notifications while idle' do
  connected(3) do |a, b, sender|
    [a, b].each { |c| c.exec('LISTEN rb_news') }
    sender.exec_params("SELECT pg_notify('rb_news', $1)", ['payload'])
    [a, b].each { |c| equal(c.wait_for_notify(10) { |_, _, payload| equal(payload, 'payload') }, 'rb_news') }
    a.exec('UNLISTEN *')
    sender.exec('NOTIFY rb_news')
    equal(b.wait_for_notify(10), 'rb_news')
    a.exec('SELECT 1')
    equal(a.notifies, nil)
  end
end

check 'notices reach their receiver' do
  connected do |c|
    got = []
    c.set_notice_receiver { |result| got << result.error_field(PG::PG_DIAG_MESSAGE_PRIMARY) }
    c.exec("DO $$ BEGIN RAISE NOTICE 'a'; RAISE WARNING 'b'; END $$; ROLLBACK")
    equal(got, ['a', 'b', 'there is no transaction in progress'])
  end
end

check 'large objects by function calls' do
  connected do |c|
    oid = c.transaction do
      oid = c.lo_creat
      fd = c.lo_open(oid, PG::INV_READ | PG::INV_WRITE)
      c.lo_write(fd, '0123456789' * 2000)
      c.lo_lseek(fd, -5, PG::SEEK_END)
      equal(c.lo_read(fd, 10), '56789')
      c.lo_truncate(fd, 3)
      c.lo_close(fd)
      oid
    end
    c.transaction { equal(c.lo_read(c.lo_open(oid), 10), '012') }
    c.lo_unlink(oid)
    fails(PG::Error) { c.transaction { c.lo_open(oid) } }
  end
end

check 'a statement is cancelled' do
  connected(2) do |c, other|
    5.times do
      c.send_query_params('SELECT pg_sleep($1)', [8])
      sleep 0.1
      equal(c.cancel, nil)
      fails(PG::QueryCanceled) { c.get_last_result }
      equal(one(other, 'SELECT 1'), '1')
    end
    c.exec('BEGIN')
    c.send_query('SELECT pg_sleep(8)')
    sleep 0.1
    c.cancel
    fails(PG::QueryCanceled) { c.get_last_result }
    equal(c.transaction_status, PG::PQTRANS_INERROR)
    c.exec('ROLLBACK')
  end
end

check 'a block that ends early cancels its statement' do
  connected do |c|
    fails(RuntimeError) do
      c.transaction do
        c.send_query('SELECT pg_sleep(8)')
        raise 'enough'
      end
    end
    equal(one(c, 'SELECT 1'), '1')
  end
end

check 'settings, encodings and a reset' do
  connected(1, application_name: 'rb', options: '-c%20work_mem%3D3MB') do |c|
    c.exec("SET search_path = pg_catalog; SET timezone = 'Asia/Tokyo'")
    4.times { equal(one(c, "SELECT concat_ws('|', current_setting('application_name'), current_setting('work_mem'), current_setting('search_path'))"), 'rb|3MB|pg_catalog') }
    equal(c.parameter_status('TimeZone'), 'Asia/Tokyo')
    c.set_client_encoding('ISO_8859_1')
    equal(one(c, 'SELECT chr(233)').bytes, [233])
    c.internal_encoding = 'UTF-8'
    equal(one(c, 'SELECT $1::text', 'é'), 'é')
    c.reset
    equal(one(c, 'SHOW work_mem') + one(c, 'SHOW timezone'), "3MB#{c.parameter_status('TimeZone')}")
    equal(one(c, 'SHOW search_path'), '"$user", public')
  end
end

check 'temporary tables, sequences, cursors' do
  connected(2) do |c, other|
    c.exec('CREATE TEMP TABLE rb_temp (id serial, n int)')
    c.exec_params('INSERT INTO rb_temp (n) VALUES ($1)', [5])
    equal(one(c, 'SELECT n FROM rb_temp WHERE id = lastval()'), '5')
    fails(PG::UndefinedTable) { other.exec('SELECT n FROM rb_temp') }
    c.exec('DECLARE rb_held CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 10) n')
    3.times { |n| equal(one(c, 'FETCH rb_held'), (n + 1).to_s) }
    c.exec('CLOSE rb_held; DISCARD TEMP')
    fails(PG::UndefinedTable) { c.exec('SELECT n FROM rb_temp') }
  end
end

check 'locks are counted and released' do
  connected(2) do |c, other|
    2.times { c.exec_params('SELECT pg_advisory_lock($1, $2)', [11, 2]) }
    [false, false, true].each do |free|
      equal(one(other, 'SELECT pg_try_advisory_lock($1, $2)', 11, 2), free ? 't' : 'f')
      equal(one(c, 'SELECT pg_advisory_unlock($1, $2)', 11, 2), free ? 'f' : 't')
    end
    other.close
    c.transaction { c.exec_params('SELECT pg_advisory_xact_lock($1, $2)', [11, 2]) }
  end
end

check 'threads, each with a connection' do
  inside = 0
  Array.new(12) do |i|
    Thread.new do
      connected(1, application_name: "rb#{i}") do |c|
        5.times do
          c.transaction do
            c.exec_params('SELECT pg_advisory_xact_lock($1)', [11_003])
            inside += 1
            equal(inside, 1)
            equal(one(c, 'SHOW application_name'), "rb#{i}")
            inside -= 1
          end
        end
      end
    end
  end.each(&:join)
end

run(20)
