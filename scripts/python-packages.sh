#!/usr/bin/env bash
# Installs the Python packages that tests/sdk/python needs into an environment of their own, unless they are there, and
# prints its interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=tests/sdk/python/requirements.txt
dir=$PWD/node_modules/.cache/python-sdk # what a clean checkout lacks and nobody commits
if ! cmp -s "$wanted" "$dir/installed.txt" || ! "$dir/bin/python" -c 'import outpost_sdk' 2>/dev/null; then
	log=$(mktemp)
	rm -rf "$dir"
	# An older Python has no such versions of some packages.
	if ! { python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' && python3 -m venv "$dir" &&
		"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$wanted"; } >"$log" 2>&1; then
		tail -n 5 "$log" >&2
		rm -f "$log"
		exit 1
	fi
	rm -f "$log"
	cp "$wanted" "$dir/installed.txt"
fi
echo "$dir/bin/python"
