#!/usr/bin/env bash
# Installs packages of Debian or Ubuntu, without questions and, when it goes well, without words.
#
#   apt-install.sh package ...
set -euo pipefail

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The lists of a fresh machine are empty or old, so they come first.
if ! { apt-get update && apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	exit 1
fi
