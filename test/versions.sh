#!/usr/bin/env bash
# Runs a core of the tests (what statements do, drivers, settings, prepared statements, locks, cancel, replication) against
# the oldest and the newest PostgreSQL that install.sh has fetched into the cache. `versions.sh cache` says where that is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The server does not run as root, so every account must be able to read its programs.
if [ "$(id -u)" = 0 ]; then
	cache=/var/cache/lockproxy
else
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/lockproxy
fi
if [ "${1:-}" = cache ]; then
	echo "$cache"
	exit
fi

core='StatementTable|DriversSee|TransactionsOfAPool|ListenerHears|SettingsAreSeen|FeaturesOfNode|QueryModes|Batches'
core+='|CopyOfPgx|FunctionLeaves|Conversations|StartupSettings|SettingsAndRoles|SessionLocksBehave|OneKey|Cancel'
core+='|StatementWhoseResult|BeyondTheBoundComeBack|TransactionThatLocksLater|Vanishes|NoSessionHolds|DroppedDatabase'
core+='|RestartOfTheServer|DriverStreams|EitherEnd|TransactionIdles|InTheServersWords|Defaults|ForThemselves|AllocateNothing'

go test -c -o "${binary:=$(mktemp)}" .
said=$(mktemp -d)
trap 'rm -rf "$binary" "$said"' EXIT
for version in 13 18; do # beside each other: there are two processors at least
	folder=$cache/postgres-$version/native/bin
	if [ ! -x "$folder/postgres" ]; then
		echo "PostgreSQL $version is not in $cache: left out"
		continue
	fi
	(
		status=0
		CANCELS=${CANCELS:-400} POSTGRES_PROGRAMS=$folder "$binary" -test.run "$core" -test.timeout 8m >"$said/$version" 2>&1 || status=$?
		echo "$status" >"$said/$version.status"
	) &
done
wait
for version in 13 18; do
	if [ -f "$said/$version.status" ]; then
		echo "$("$cache/postgres-$version/native/bin/postgres" --version): a core of the tests"
		cat "$said/$version"
		[ "$(cat "$said/$version.status")" = 0 ] || failed=1
	fi
done
exit "${failed:-0}"
