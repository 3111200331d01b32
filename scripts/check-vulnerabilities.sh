#!/usr/bin/env bash
# Fails when the code calls something with a known vulnerability. The list of those is on the network: where it cannot be
# reached this says so, and that is no failure, for it says nothing about the code.
#
#   check-vulnerabilities.sh <version of govulncheck>
set -euo pipefail
cd "$(dirname "$0")/.."

tool=bin/govulncheck-$1
if ! [ -x "$tool" ]; then
	GOBIN=$PWD/bin go install "golang.org/x/vuln/cmd/govulncheck@$1"
	mv bin/govulncheck "$tool"
fi
if said=$("$tool" ./... 2>&1); then
	echo "No known vulnerabilities."
elif grep -q 'fetching vulnerabilities' <<<"$said"; then
	echo "NOT CHECKED: known vulnerabilities. Their database (${GOVULNDB:-https://vuln.go.dev}) cannot be reached from here."
else
	printf '%s\n' "$said" >&2
	exit 1
fi
