package main

// renamed are PgBouncer's settings for all databases that people try here by hand, and what they are called. (Import knows all
// of them.)
var renamed = map[string]string{
	"listen_addr": "server.listen", "listen_port": "server.listen", "unix_socket_dir": "server.listen",
	"max_client_conn": "server.max_clients", "client_login_timeout": "server.login_timeout", "so_reuseport": "server.reuse_port",
	"default_pool_size": "pools.admin.max", "min_pool_size": "pools.admin.min_idle", "server_lifetime": "pools.admin.max_lifetime",
	"server_idle_timeout": "pools.admin.idle_timeout", "query_wait_timeout": "pools.admin.checkout_timeout",
	"idle_transaction_timeout": "server.idle_in_transaction_timeout", "max_prepared_statements": "server.max_prepared",
	"pool_mode": "databases.NAME.pool_mode", "verbose": "server.log_level", "auth_type": "auth.type", "auth_file": "auth.file", "auth_query": "auth.query",
	"auth_hba_file": "auth.hba_file", "client_tls_sslmode": "tls.mode", "client_tls_cert_file": "tls.cert",
	"client_tls_key_file": "tls.key", "client_tls_ca_file": "tls.ca",
}

// alsoOfLocks are those of them that count for the lock pools as well, which PgBouncer does not have.
var alsoOfLocks = map[string]string{
	"server_lifetime": "pools.lock.max_lifetime", "server_idle_timeout": "pools.lock.idle_timeout", "query_wait_timeout": "pools.lock.checkout_timeout",
}

// ofDatabases says what stands in the place of PgBouncer's settings of a database, whose names are like none of ours.
var ofDatabases = map[string]string{
	"host": inURL, "port": inURL, "dbname": inURL, "user": inURL, "password": inURL, "auth_user": "auth.query_url names it",
	"pool_size": "admin_pool.max and lock_pool.max are its", "min_pool_size": "admin_pool.min_idle is its",
	"max_db_connections": "server.max_backends bounds all pools of a server", "connect_query": "options in the url set what it set",
}

const inURL = "the url has it, as in postgres://user:password@host:5432/database"
