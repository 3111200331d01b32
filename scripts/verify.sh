#!/usr/bin/env bash
# Fails when making the generated files anew changes any of them, and names those. What is changed stays changed: commit
# it. It works in a checkout with uncommitted work, too, for it compares with what was there and not with git.
set -euo pipefail
cd "$(dirname "$0")/.."

# Every file that may have been generated, with its checksum. Generated Go files say so in a comment.
state() {
	{
		find . \( -name node_modules -o -name .git -o -path ./bin -o -path ./data -o -path ./tmp \) -prune -o -type f \
			-name '*.go' -exec grep -l -E '^// Code generated .* DO NOT EDIT\.$' {} +
		find static -maxdepth 1 -type f \( -name '*.css' -o -name '*.js' -o -name '*.svg' \)
	} | LC_ALL=C sort | xargs cksum
}

before=$(state)
scripts/generate.sh
after=$(state)
if [ "$before" != "$after" ]; then
	echo "These generated files were not up to date, and are now:" >&2
	diff <(echo "$before") <(echo "$after") | sed -n 's/^[<>] [0-9]* [0-9]* /  /p' | sort -u >&2
	exit 1
fi
echo "All generated files are up to date."
