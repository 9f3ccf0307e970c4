#!/usr/bin/env bash
# Prints the path of a PgBouncer that knows prepared statements in transaction mode, which came with 1.21: $PGBOUNCER, the one
# in PATH, or else 1.24 from Debian 13's packages, unpacked into the project's cache together with the libraries that it needs.
# Nothing is installed, and the sources of the machine's apt stay as they are.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ -n "${PGBOUNCER:-}" ]; then
	echo "$PGBOUNCER"
	exit
fi
if found=$(command -v pgbouncer); then
	version=$("$found" --version | awk 'NR == 1 { print $2 }')
	if [ "$(printf '%s\n' 1.21 "$version" | sort -V | head -n 1)" = 1.21 ]; then
		echo "$found"
		exit
	fi
fi

folder=$("$here/../versions.sh" cache)/pgbouncer
launcher=$folder/pgbouncer
if [ -x "$launcher" ]; then
	echo "$launcher"
	exit
fi
if ! command -v apt-get >/dev/null; then
	echo "Please install PgBouncer 1.21 or newer, or name one by PGBOUNCER" >&2
	exit 1
fi
echo "fetching PgBouncer from Debian 13" >&2
mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | sort -u | head -n 1 | tr -d ' ' || true)
apt=$folder/apt
rm -rf "$folder"
mkdir -p "$apt"/state/lists/partial "$apt"/cache/archives/partial "$folder/root"
: >"$apt/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} trixie main" >"$apt/list"
options=(-qq -o Dir::Etc::sourcelist="$apt/list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State="$apt/state"
	-o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1)
cd "$apt"
{
	apt-get "${options[@]}" update
	apt-get "${options[@]}" download pgbouncer libc6 libevent-2.1-7t64 libssl3t64 libcares2 libpam0g libsystemd0 libaudit1 \
		libcap-ng0 libcap2 zlib1g libzstd1
} >&2
for package in *.deb; do dpkg-deb -x "$package" "$folder/root"; done
cd "$folder"
rm -rf "$apt"

libraries=$(compgen -G "$folder/root/usr/lib/*-linux-gnu" | head -n 1)
loader=$(compgen -G "$libraries/ld-linux-*.so.*" | head -n 1)
cat >"$launcher.new" <<LAUNCHER
#!/bin/sh
exec $loader --library-path $libraries $folder/root/usr/sbin/pgbouncer "\$@"
LAUNCHER
chmod 755 "$launcher.new"
"$launcher.new" --version >&2
mv "$launcher.new" "$launcher"
echo "$launcher"
