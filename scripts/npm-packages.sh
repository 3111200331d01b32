#!/usr/bin/env bash
# Installs the npm packages that package-lock.json names, unless they are there.
#
#   npm-packages.sh optional   only PostgreSQL's programs, all that running Waybill can need
#   npm-packages.sh all        what building the stylesheet and testing need, too
set -euo pipefail
cd "$(dirname "$0")/.."

# (macOS's bash takes an empty array for an unset variable, hence the spelling of omit below.)
case ${1:-} in
optional) omit=(--omit=dev) ;;
all)
	omit=()
	# npm writes its own lock file at the end of an installation. One that omitted packages, or was interrupted, lacks
	# the package that we look for besides.
	if [ node_modules/.package-lock.json -nt package-lock.json ] && [ -e node_modules/tailwindcss/package.json ]; then
		exit 0
	fi
	;;
*)
	echo "usage: npm-packages.sh optional|all" >&2
	exit 2
	;;
esac

# Without words when it goes well. Of a failure npm tells the reason first and then a lot more.
quietly() {
	local log
	log=$(mktemp)
	if ! "$@" >"$log" 2>&1; then
		head -n 12 "$log" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}

# `npm ci` begins by removing node_modules, from which a running Waybill may have its PostgreSQL. So when the directory is
# there only what is missing is added, which follows the lock file as well.
if [ -d node_modules ]; then
	quietly npm install --no-save ${omit[@]+"${omit[@]}"} --no-progress
	if [ "$1" = all ]; then
		touch node_modules/.package-lock.json
	fi
else
	quietly npm ci ${omit[@]+"${omit[@]}"} --no-progress
fi
