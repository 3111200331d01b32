#!/usr/bin/env bash
# Runs every fuzz target (go test -fuzz) for FUZZTIME each, several at a time. A target that fails prints what it was given,
# which Go keeps as a test case under the package's testdata/fuzz: commit it with the fix.
#
#   fuzz.sh              all of them
#   fuzz.sh Cursor URL   those with one of these words in their names
#
#   FUZZTIME   how long each target runs: 60s (the default), 5m
#   FUZZPART   2/6: the second of six parts, of which each has every sixth target
#   FUZZJOBS   how many run at a time; by default as many as there are processors
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/memory.sh
. scripts/memory.sh
FUZZTIME=${FUZZTIME:-60s}
jobs=${FUZZJOBS:-$(getconf _NPROCESSORS_ONLN)}

# Targets that ask a server need PostgreSQL; it is started once, as in test.sh.
if [ -z "${TEST_DATABASE_URL:-}" ]; then
	env -u DATABASE_URL scripts/ensure-postgres.sh /nonexistent
	export FUZZTIME
	exec bin/withpostgres "$0" "$@"
fi
unset DATABASE_URL DATA_DIR

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Each package's tests are built once. What guides the fuzzer is built into this project's code only: all that it uses besides
# would have to be compiled again, which takes minutes.
targets=()
while IFS=: read -r file target; do
	[ $# = 0 ] || grep -qE "$(IFS='|' && echo "$*")" <<<"$target" || continue
	targets+=("$(dirname "$file") $target")
done < <(grep -rhoHE --include='*_test.go' --exclude-dir=node_modules --exclude-dir=data '^func Fuzz[A-Za-z0-9]+' . | sed 's/func //' | sort)
part=${FUZZPART:-1/1}
if ! [[ $part =~ ^[0-9]+/[0-9]+$ ]] || ((${part%/*} < 1 || ${part%/*} > ${part#*/})); then
	echo "FUZZPART: $part is no part like 2/6" >&2
	exit 2
fi
mine=()
for ((i = ${part%/*} - 1; i < ${#targets[@]}; i += ${part#*/})); do mine+=("${targets[i]}"); done
targets=("${mine[@]}")
if [ ${#targets[@]} = 0 ]; then
	echo "No fuzz target has such a name." >&2
	exit 2
fi
for dir in $(printf '%s\n' "${targets[@]}" | cut -d' ' -f1 | sort -u); do
	go test -c -gcflags="$(go list -m)/...=-d=libfuzzer" -o "$out/$(tr / _ <<<"$dir").test" "$dir"
done
cache=$(go env GOCACHE)/fuzz
export out FUZZTIME cache

# one DIR TARGET runs a target; its output is shown when it fails.
one() {
	local dir=$1 target=$2 log=$out/$(tr / _ <<<"$1").$2.log
	if (cd "$dir" && "$out/$(tr / _ <<<"$dir").test" -test.run='^$' -test.fuzz="^$target\$" -test.fuzztime="$FUZZTIME" -test.fuzzminimizetime=10s \
		-test.fuzzcachedir="$cache/${dir#./}" -test.parallel=1) >"$log" 2>&1; then
		printf 'ok    %-24s %s\n' "$target" "$(grep -oE 'execs: [0-9]+' "$log" | tail -1)"
	else
		grep -v '^fuzz: elapsed' "$log" | cut -c1-2000
		printf 'FAIL  %s in %s\n' "$target" "$dir"
		return 1
	fi
}
export -f one
echo "Fuzzing ${#targets[@]} targets (part $part) for $FUZZTIME each, $jobs at a time."
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -L 1 bash -c 'one "$0" "$1"'
