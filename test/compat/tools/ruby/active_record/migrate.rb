# frozen_string_literal: true

# What `rails db:migrate` does: all migrations, under Active Record's advisory lock, which it holds on a connection of its own.
require 'active_record'

ActiveRecord::Base.establish_connection(adapter: 'postgresql', host: ENV.fetch('PGHOST'), port: ENV.fetch('PGPORT'),
                                        username: ENV.fetch('PGUSER'), database: ENV.fetch('PGDATABASE'))
ActiveRecord::Base.internal_metadata_table_name = 'schema_migrations_metadata' # it has times in it
ActiveRecord::Migration.verbose = false
[ActiveRecord::SchemaMigration, ActiveRecord::InternalMetadata].each do |own|
  own.create_table # which it does before it has the lock
rescue ActiveRecord::StatementInvalid
  retry # another process has
end
ActiveRecord::MigrationContext.new(File.join(__dir__, 'migrate'), ActiveRecord::SchemaMigration).migrate
