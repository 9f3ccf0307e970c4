# frozen_string_literal: true

# Active Record, as a Rails application uses it: its pool and what it sets on each connection, statements that it prepares by
# itself, savepoints, locks of rows and advisory locks, schemas of tenants, and what it does when a statement or connection fails.
# Each check prints "ok NAME" or "not ok NAME: why"; the last line is the plan, "1..N".
require 'active_record'
require_relative 'harness'

SETTINGS = { adapter: 'postgresql', url: ENV.fetch('DATABASE_URL'), pool: 12, checkout_timeout: 15 }.freeze
ActiveRecord::Base.establish_connection(SETTINGS)
ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table(:ar_people, force: true) do |t|
    t.string :name, index: { unique: true }
    t.jsonb :more, null: false, default: {}
    t.string :tags, array: true
    t.datetime :born
    t.integer :lock_version, null: false, default: 0
    t.timestamps
  end
  create_table(:ar_things, force: true) do |t|
    t.references :person, foreign_key: { to_table: :ar_people }
    t.decimal :price, precision: 10, scale: 2
  end
end

class Person < ActiveRecord::Base
  self.table_name = 'ar_people'
  has_many :things, foreign_key: :person_id
end

class Thing < ActiveRecord::Base
  self.table_name = 'ar_things'
  belongs_to :person
end

def connection = ActiveRecord::Base.connection
def value(sql) = connection.select_value(sql)

# threads runs a block in many at once, each with a connection of the pool.
def threads(count)
  Array.new(count) do |i|
    Thread.new { ActiveRecord::Base.connection_pool.with_connection { yield i } }
  end.map(&:value)
end

check 'records, associations and types' do
  person = Person.create!(name: 'Ann', more: { 'a' => [1, nil] }, tags: %w[x y,z], born: Time.utc(2020, 2, 29, 12, 0, 0, 123_456))
  person.things.create!([{ price: '1.10' }, { price: '2.20' }])
  again = Person.includes(:things).find(person.id)
  equal([again.more, again.tags, again.born, again.things.sum(&:price)], [{ 'a' => [1, nil] }, ['x', 'y,z'], Time.utc(2020, 2, 29, 12, 0, 0, 123_456), 3.3.to_d])
  equal(Person.where("more @> ?", { a: [1] }.to_json).pluck(:name), ['Ann'])
  equal(Person.joins(:things).group(:name).sum(:price), { 'Ann' => 3.3.to_d })
end

check 'prepared statements in many threads' do
  threads(12) do |i|
    20.times do |n|
      Person.create!(name: "t#{i}-#{n}")
      equal(Person.find_by(name: "t#{i}-#{n}").name, "t#{i}-#{n}")
      equal(Person.where(name: ["t#{i}-#{n}", 'nobody']).limit(5).count, 1)
    end
  end
  equal(Person.where("name LIKE 't%'").count, 240)
end

check 'what it sets on a connection stays' do
  threads(8) do
    5.times do
      equal(value('SHOW client_min_messages'), 'warning')
      equal(value('SHOW timezone'), 'UTC')
      equal(value('SHOW standard_conforming_strings') + value('SHOW intervalstyle'), 'oniso_8601')
    end
  end
end

check 'savepoints, and an error within one' do
  Person.transaction do
    Person.create!(name: 'outside')
    fails(ActiveRecord::RecordNotUnique) { Person.transaction(requires_new: true) { Person.create!(name: 'outside') } }
    Person.transaction(requires_new: true) do
      Person.create!(name: 'inside')
      raise ActiveRecord::Rollback
    end
    equal(Person.where(name: %w[outside inside]).pluck(:name), ['outside'])
  end
  equal(Person.exists?(name: 'outside'), true)
end

check 'a failed transaction is over at its end' do
  ['SELECT nothing', 'SELECT 1/0'].each do |wrong|
    fails(ActiveRecord::StatementInvalid) do
      Person.transaction do
        Person.create!(name: 'lost')
        connection.execute(wrong)
      end
    end
  end
  equal(Person.exists?(name: 'lost'), false)
end

check 'isolation levels, read only' do
  Person.transaction(isolation: :serializable) { equal(value('SHOW transaction_isolation'), 'serializable') }
  Person.transaction(isolation: :repeatable_read) { equal(value('SHOW transaction_isolation'), 'repeatable read') }
  equal(value('SHOW transaction_isolation'), 'read committed')
end

check 'locks of rows, and optimistic ones' do
  counter = Person.create!(name: 'counter', more: { n: 0 })
  threads(8) { 5.times { Person.find(counter.id).with_lock { |_| Person.find(counter.id).then { |p| p.update!(more: { n: p.more['n'] + 1 }) } } } }
  equal(counter.reload.more, { 'n' => 40 })
  stale = Person.find(counter.id)
  counter.update!(tags: ['new'])
  fails(ActiveRecord::StaleObjectError) { stale.update!(tags: ['old']) }
end

check 'advisory locks gate what runs on another connection' do
  inside = 0
  threads(4) do |i|
    equal([connection.get_advisory_lock(4000 + i), connection.release_advisory_lock(4000 + i), connection.release_advisory_lock(4000 + i)], [true, true, false])
    3.times do
      connection.execute('SELECT pg_advisory_lock(4100)')
      begin
        inside += 1
        equal(inside, 1)
        Thread.new { ActiveRecord::Base.connection_pool.with_connection { Person.where(name: 'Ann').count } }.join
        inside -= 1
      ensure
        equal(value('SELECT pg_advisory_unlock(4100)'), true)
      end
    end
  end
  equal(value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"), 0)
end

check 'tenants by search_path' do
  %w[one two].each { |name| connection.execute("CREATE SCHEMA ar_#{name}; CREATE TABLE ar_#{name}.ar_notes (id serial PRIMARY KEY, t text)") }
  notes = Class.new(ActiveRecord::Base) { self.table_name = 'ar_notes' }
  threads(8) do |i|
    tenant = %w[one two][i % 2]
    connection.schema_search_path = "ar_#{tenant},public"
    10.times { |n| notes.create!(t: "#{tenant} #{i} #{n}") }
    equal(notes.where.not("t LIKE '#{tenant} %'").count, 0)
  ensure
    connection.schema_search_path = '"$user", public'
  end
  equal(%w[one two].map { |name| value("SELECT count(*) FROM ar_#{name}.ar_notes") }, [40, 40])
end

check 'a table that changes under prepared statements' do
  equal(Person.where(name: 'Ann').first.name, 'Ann')
  threads(1) { connection.add_column(:ar_people, :later, :integer) }
  equal(Person.where(name: 'Ann').first.name, 'Ann')
  Person.reset_column_information
  Person.where(name: 'Ann').update_all(later: 7)
  equal(Person.find_by(name: 'Ann').later, 7)
end

check 'timeouts and cancelled statements' do
  connection.execute("SET statement_timeout = '100ms'")
  fails(ActiveRecord::QueryCanceled) { connection.execute('SELECT pg_sleep(10)') }
  connection.execute('SET statement_timeout TO DEFAULT')
  equal(value('SELECT 1'), 1)
  Person.transaction do
    connection.execute("SET LOCAL lock_timeout = '100ms'; LOCK TABLE ar_things")
    threads(1) do
      fails(ActiveRecord::LockWaitTimeout) { Person.transaction { connection.execute("SET LOCAL lock_timeout = '100ms'"); Thing.lock.first } }
    end
  end
end

check 'a deadlock is one of its own errors' do
  both = %w[d1 d2].map { |name| Person.create!(name: name).id }
  arrived = Array.new(2) { Queue.new }
  failed = threads(2) do |i|
    Person.transaction do
      Person.lock.find(both[i])
      arrived[i] << true
      arrived[1 - i].pop
      Person.lock.find(both[1 - i])
    end
    nil
  rescue ActiveRecord::Deadlocked => e
    e.class
  end
  equal(failed.compact, [ActiveRecord::Deadlocked])
end

check 'in batches, in bulk, and exceptions of uniqueness' do
  Thing.insert_all!(Array.new(1000) { |n| { price: n } })
  equal(Thing.in_batches(of: 150).sum { |some| some.count }, Thing.count)
  equal(Thing.upsert_all([{ id: Thing.first.id, price: 5 }, { id: 999_999, price: 6 }]).length, 2)
end

check 'listen, and a notification' do
  raw = connection.raw_connection
  connection.execute('LISTEN ar_news')
  threads(1) { connection.execute("NOTIFY ar_news, 'hello'") }
  equal(raw.wait_for_notify(10) { |_, _, payload| equal(payload, 'hello') }, 'ar_news')
  connection.execute('UNLISTEN *')
end

check 'reset, reconnect and discard' do
  connection.execute('SET work_mem = 3333')
  connection.reset!
  equal(value('SHOW work_mem') == '3333kB', false)
  equal(value('SHOW intervalstyle'), 'iso_8601')
  connection.reconnect!
  equal(connection.active?, true)
  equal(Person.find_by(name: 'Ann').name, 'Ann')
  connection.clear_cache!
  equal(Person.find_by(name: 'Ann').name, 'Ann')
end

check 'the schema is told' do
  stream = StringIO.new
  ActiveRecord::SchemaDumper.dump(connection, stream)
  equal(stream.string.include?('create_table "ar_people"'), true)
  equal(connection.foreign_keys('ar_things').map(&:to_table), ['ar_people'])
  equal(connection.indexes('ar_people').map(&:columns), [['name']])
end

run(30)
