package main

import "context"

// migrationSuites are the migration tools. Those that take no advisory lock of their own take one as their users make
// them: see tools.
func migrationSuites() []suite {
	var all []suite
	for _, m := range []migrator{
		golangMigrate("pgx5"), golangMigrate("postgres"), goose, nodePGMigrate("wait"), nodePGMigrate("fail"), knex, django, alembic, rails,
	} {
		all = append(all, m.suite())
	}
	return all
}

// golangMigrate waits for a session-level lock on the connection that migrates. Its two drivers are pgx and lib/pq.
func golangMigrate(driver string) migrator {
	return migrator{
		name: "golang-migrate " + driver, own: "schema_migrations", names: "version",
		make: func(ctx context.Context, s *stage) (program, error) {
			return s.goTool(ctx, "migrate", "-source", "file://migrations", "-driver", driver)
		},
	}
}

// goose tries for a session-level lock every second, on the connection that migrates.
var goose = migrator{
	name: "goose", own: "goose_db_version", names: "version_id",
	make: func(ctx context.Context, s *stage) (program, error) { return s.goTool(ctx, "goose", "migrations") },
}

// nodePGMigrate waits for a session-level lock, or tries for it and fails, on the connection that migrates; its end
// releases it.
func nodePGMigrate(mode string) migrator {
	return migrator{
		name: "node-pg-migrate " + mode, needs: []string{"node"}, own: "pgmigrations", names: "name",
		busy: "Another migration is already running",
		make: func(ctx context.Context, s *stage) (program, error) {
			return s.nodeTool(ctx, "", "ADVISORY_LOCK_MODE="+mode, "node-pg-migrate", "up",
				"--migrations-dir=node-pg-migrate", "--no-single-transaction", "--advisory-lock-mode="+mode)
		},
	}
}

// knex holds a transaction-level lock on one connection while it migrates on another.
var knex = migrator{
	name: "Knex", needs: []string{"node"}, own: "knex_migrations", names: "name",
	make: func(ctx context.Context, s *stage) (program, error) {
		return s.nodeTool(ctx, "knex", "node", "migrate.js")
	},
}

// django tries for a session-level lock, on the connection that migrates.
var django = migrator{
	name: "Django", needs: []string{"django"}, own: "django_migrations", names: "app, name",
	make: func(_ context.Context, s *stage) (program, error) {
		dir, err := s.sources("python/django")
		return program{dir: dir, args: []string{"/usr/bin/python3", "manage.py", "migrate_alone"}}, err
	},
}

// alembic waits for a transaction-level lock, in the transaction that migrates.
var alembic = migrator{
	name: "Alembic", needs: []string{"alembic"}, own: "alembic_version", names: "version_num",
	make: func(_ context.Context, s *stage) (program, error) {
		dir, err := s.sources("python/alembic")
		return program{dir: dir, args: []string{"/usr/bin/python3", "-m", "alembic", "upgrade", "head"}}, err
	},
}

// rails holds a session-level lock on one connection while Active Record migrates on another, or tries for it and fails.
var rails = migrator{
	name: "Rails", needs: []string{"active-record"}, own: "schema_migrations", names: "version",
	busy: "ActiveRecord::ConcurrentMigrationError",
	make: func(_ context.Context, s *stage) (program, error) {
		dir, err := s.sources("ruby/active_record")
		return program{dir: dir, args: []string{"ruby", "migrate.rb"}}, err
	},
}
