#!/usr/bin/env bash
# Runs the tests, bringing what they need.
#
#   test.sh go                the Go tests, with the race detector
#   test.sh faults            what takes minutes to break and to recover: processes, PostgreSQL, disk, clock, a deploy
#   test.sh random            random requests by openapi.json against a real server, for FUZZTIME (5m)
#   test.sh sdk               published clients, for Node and Python, against a real server
#   test.sh browser           the browser journeys
#   test.sh go sdk browser    all of them
#
# PKG and ARGS choose among the Go tests. With OUTPOST_GO, the folder sdks/outpost-go of a checkout of Outpost, the SDK tests
# try its Go client, too. All share one private PostgreSQL server, unless TEST_DATABASE_URL names one. What
# cannot be had on this machine is named at the end, and with CI=true is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }
case " $* " in
*' faults '*) ;; # they break PostgreSQL on a disk, as it is out there
*)
	# shellcheck source=scripts/memory.sh
	. scripts/memory.sh
	;;
esac

# Everything below runs inside of withpostgres, which starts the server, tells its address in TEST_DATABASE_URL, and ends
# it with this script.
if [ -z "${TEST_DATABASE_URL:-}" ]; then
	env -u DATABASE_URL scripts/ensure-postgres.sh /nonexistent
	exec bin/withpostgres "$0" "$@"
fi
# What a developer's shell says about their own Waybill is none of the tests' business.
unset DATABASE_URL DATA_DIR

failed=0
# shellcheck source=scripts/missing.sh
. scripts/missing.sh

go_tests() {
	local race=(-race)
	local cc
	cc=$(go env CC)
	if ! command -v "${cc%% *}" >/dev/null; then
		race=()
		missing+=("the race detector: it needs a C compiler (apt-get install gcc libc6-dev)")
	fi
	if ! command -v promtool >/dev/null; then
		missing+=("the alert rules in deploy/: they need promtool (apt-get install prometheus)")
	fi
	if ! command -v pgbouncer >/dev/null && [ ! -x /usr/sbin/pgbouncer ] && [ -z "${PGBOUNCER:-}" ]; then
		missing+=("web behind a connection pooler: it needs PgBouncer (apt-get install pgbouncer)")
	fi
	case ${PKG:-./...} in
	*...* | *adapters/webhook*) while IFS= read -r line; do missing+=("$line"); done < <(scripts/sample-runtimes.sh) ;;
	esac
	# macOS's bash takes an empty array for an unset variable, hence the spelling. ARGS and PKG are lists of words.
	# shellcheck disable=SC2086
	go test ${race[@]+"${race[@]}"} -timeout 40m ${ARGS:-} ${PKG:-./...} || failed=1
}

# Without the race detector: these tests run the server's processes under load, and count.
fault_tests() {
	local skip=()
	if ! compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null; then
		if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || ! scripts/apt-install.sh faketime; then
			missing+=("a database whose clock moves: it needs libfaketime (apt-get install faketime)")
			skip+=(FaultsClock)
		fi
	fi
	if ! compgen -G '/usr/lib/postgresql/*/bin/pg_basebackup' >/dev/null; then
		if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || ! scripts/apt-install.sh postgresql; then
			missing+=("a primary that dies, and cells of which one does: they need Debian's PostgreSQL (apt-get install postgresql)")
			skip+=('Faults(Failover|Standby|Silent|Cells)')
		fi
	fi
	# The test of a full disk mounts a small one, where nobody else sees it.
	local run=(env)
	if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
		run=(unshare --mount)
	else
		missing+=("a full disk: it needs root, to mount a small one")
		skip+=(FaultsDisk)
	fi
	local pattern
	pattern=$(IFS='|' && echo "${skip[*]-}")
	# shellcheck disable=SC2086
	"${run[@]}" go test -tags faults -timeout 40m -count 1 -run Faults -skip "${pattern:-^$}" -v ${ARGS:-} ./app ./jobs || failed=1
}

random_tests() {
	go test -count 1 -timeout 60m -run TestRandomRequests -v ./app -args -random-time "${FUZZTIME:-5m}" -random-seed "${SEED:-0}" |
		grep -v 'level=WARN' || failed=1 # of notices that cannot be sent
}

# with_node brings what the tests under tests/ need: Node, its packages and the program. Its argument names the tests.
with_node() {
	local node
	if ! node=$(node --version 2>/dev/null) || [ "$(expr "${node#v}" : '\([0-9]*\)')" -lt 20 ]; then
		missing+=("$1: they need Node 20 or newer")
		return 1
	fi
	if ! scripts/npm-packages.sh all; then
		missing+=("$1: npm cannot install what they need")
		return 1
	fi
	if ! make --no-print-directory build; then
		failed=1
		return 1
	fi
	export WAYBILL_BIN=$PWD/bin/waybill
}

sdk_tests() {
	local files=()
	with_node "the SDK tests" || return 0
	while IFS= read -r f; do files+=("$f"); done < <(find tests/sdk -name '*.test.mjs' ! -name 'python.*' ! -name 'go.*' | sort)
	if PYTHON_SDK=$(scripts/python-packages.sh); then
		export PYTHON_SDK
		files+=(tests/sdk/python.test.mjs)
	else
		missing+=("the tests of the Python client: they need Python 3.10 or newer with venv (apt-get install python3-venv) and pip")
	fi
	if [ -n "${OUTPOST_GO:-}" ]; then
		files+=(tests/sdk/go.test.mjs)
	fi
	node --test --test-reporter=spec "${files[@]}" || failed=1
}

browser_tests() {
	local files=()
	while IFS= read -r f; do files+=("$f"); done < <(find tests/browser -name '*.test.*js' | sort)
	if [ ${#files[@]} = 0 ]; then
		say "tests/browser holds no tests"
		failed=1
		return
	fi
	with_node "the browser journeys" || return 0
	if ! CHROMIUM=$(scripts/ensure-chromium.sh); then
		missing+=("the browser journeys: they need Chromium")
		return
	fi
	export CHROMIUM
	say "Browser journeys in $("$CHROMIUM" --version 2>/dev/null)"
	# Node would run one file fewer at a time than there are processors, and a page keeps little more than one busy.
	local at_once=()
	if node --help | grep -q -- --test-concurrency; then
		at_once=(--test-concurrency="$(getconf _NPROCESSORS_ONLN)")
	fi
	node --test ${at_once[@]+"${at_once[@]}"} --test-reporter=spec "${files[@]}" || failed=1
}

for what in "$@"; do
	case $what in
	go) go_tests ;;
	faults) fault_tests ;;
	random) random_tests ;;
	sdk) sdk_tests ;;
	browser) if [ -d tests/browser ]; then browser_tests; fi ;;
	*)
		say "usage: test.sh [go] [faults] [random] [sdk] [browser]"
		exit 2
		;;
	esac
done

report_missing
exit $failed
