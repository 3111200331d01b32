#!/usr/bin/env bash
# Fails when gofmt or templ would write a source file differently. templ knows no way to look without writing.
set -euo pipefail
cd "$(dirname "$0")/.."

bad=$(find . \( -name node_modules -o -name .git -o -path ./bin -o -path ./data -o -path ./tmp \) -prune -o \
	-type f -name '*.go' -print0 | xargs -0 gofmt -l)
if [ -n "$bad" ]; then
	printf 'Not formatted (gofmt -w helps):\n%s\n' "$bad" >&2
	exit 1
fi
if ! go tool templ fmt -fail ./views >/dev/null 2>&1; then
	echo "Templates were not formatted, and are now: commit them." >&2
	exit 1
fi
