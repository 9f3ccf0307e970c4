#!/usr/bin/env bash
# Installs what is missing of the system packages named as arguments: postgres (server programs), compiler (for
# go test -race), node (for tests with node's client). Whatever is there is left alone. Debian and Ubuntu; elsewhere it
# says what to install.
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

for need in "$@"; do
	case $need in
	postgres) has_postgres || install_postgres ;;
	compiler) command -v cc >/dev/null || apt gcc libc6-dev ;;
	node) { command -v node && command -v npm; } >/dev/null || apt nodejs npm ;;
	*)
		echo "unknown need: $need" >&2
		exit 2
		;;
	esac
done
