#!/usr/bin/env bash
# Runs the tests of the destination types against real brokers, and those of notices, traces and metrics against real
# counterparts, called brokers here too: installs those that can be had on this machine, starts them under a temporary
# directory on 127.0.0.1, runs the tests with the build tag "brokers", and stops everything. What could not be installed
# or started is named at the end.
#
#   test-brokers.sh                 all
#   test-brokers.sh rabbitmq moto   these
#   test-brokers.sh rabbitmq -- COMMAND …   runs the command with these brokers instead of the tests
#
# ARGS is passed to go test (ARGS='-v'), PKG replaces the packages. With START_ONLY=1 no tests are run: the addresses
# are printed, and the brokers stay until Enter or Ctrl-C.
#
# To add a backend, add a file scripts/brokers/NAME.sh (letters, digits and _); nothing here needs an edit. It defines
#
#   packages_NAME="./adapters/…"  the packages whose tests need it
#   after_NAME="./app"            packages that are tested when those are through, one after the other, because they
#                                 disturb a backend too. Either of both may be missing
#   install_NAME                  brings the programs; silent and quick when they are there
#   start_NAME                    starts it in the directory "$1", waits until it answers, and exports its address
#                                 as WAYBILL_TEST_…. It is called again, with an empty directory, when it fails
#
# A function that fails prints one line that says why to standard error. The file uses what is between the marks below,
# and whatever it starts with `background` is stopped at the end. Tests are named TestBroker… in files *_broker_test.go
# with "//go:build brokers"; without their address they fail, for the packages of a backend that is not there are not
# run. A package that several backends share has files for each, with "//go:build brokers && NAME".
set -uo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }
# shellcheck source=scripts/memory.sh
. scripts/memory.sh

work=$(mktemp -d "${TMPDIR:-/tmp}/waybill-brokers.XXXXXX")
# Whatever is started here inherits this. So what left its process group is found too.
export WAYBILL_BROKERS=$work
pids=()

# escaped prints the processes with our mark that are in no group of ours, such as daemons.
escaped() {
	local f
	for f in /proc/[0-9]*/environ; do
		if grep -qsz "^WAYBILL_BROKERS=$work\$" "$f"; then
			f=${f#/proc/}
			[ "${f%/environ}" = $$ ] || echo "${f%/environ}"
		fi
	done
}

# end_from N ends the processes that were started with `background` from the Nth on.
end_from() {
	local pid
	# The group of each, for brokers have children of their own.
	for pid in ${pids[@]+"${pids[@]:$1}"}; do kill -TERM -- "-$pid" 2>/dev/null; done
	for pid in ${pids[@]+"${pids[@]:$1}"}; do
		for _ in $(seq 100); do
			kill -0 -- "-$pid" 2>/dev/null || break
			sleep 0.1
		done
		kill -KILL -- "-$pid" 2>/dev/null
	done
	pids=(${pids[@]+"${pids[@]:0:$1}"})
}

stop() {
	local pid
	trap - EXIT INT TERM
	end_from 0
	while read -r pid; do kill -KILL "$pid" 2>/dev/null; done < <(escaped)
	rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

# --- What backends may use ---------------------------------------------------------------------------------------------

have() { command -v "$1" >/dev/null; }

# apt_install brings packages of Debian or Ubuntu when this is root.
apt_install() {
	if [ "$(id -u)" != 0 ] || ! have apt-get; then
		say "the packages $* are missing, and only root can install them with apt-get"
		return 1
	fi
	say "Installing $* (once)."
	scripts/apt-install.sh "$@"
}

# need PROGRAM [PACKAGE] brings the package of a program that is missing; most are called like it.
need() { have "$1" || apt_install "${2:-$1}"; }

# python_env DIR PROGRAM PACKAGE … makes an environment of Python in DIR with these packages of pip, of which the program
# is one's.
python_env() {
	local dir=$1 program=$2
	shift 2
	[ -x "$dir/bin/$program" ] && return
	python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv || return 1
	say "Bringing $* with pip (once)."
	rm -rf "$dir"
	if ! { python3 -m venv "$dir" && timeout 900 "$dir/bin/pip" install -q --disable-pip-version-check "$@"; } >&2; then
		rm -rf "$dir"
		echo "pip could not bring $*" >&2
		return 1
	fi
}

# free_ports NAME … sets the variables to ports of their own.
. scripts/ports.sh

# background LOG COMMAND … starts a program in a process group of its own, with its output in the file LOG.
background() {
	local log=$1
	shift
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	set +m
	pids+=("$!")
}

# await COMMAND … waits until the command succeeds; it fails when that takes longer than on any busy machine, and as soon
# as a program that was started for this backend has ended: another one may have got its port.
await() {
	local end=$((SECONDS + 300))
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] && running || return 1
		sleep 0.2
	done
	running
}
before=0
running() {
	local pid
	for pid in ${pids[@]+"${pids[@]:$before}"}; do kill -0 "$pid" 2>/dev/null || return 1; done
}

# listens PORT succeeds when something accepts connections there.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# certificates DIR makes an authority of its own (ca.pem), a certificate that it signed for a server on this machine
# (server.pem, server.key), and one for a client (client.pem, client.key).
certificates() (
	cd "$1" || return
	sign() {
		openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout "$1.key" -out "$1.csr" &&
			openssl x509 -req -days 2 -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out "$1.pem"
	}
	{
		printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >names &&
			openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=Test authority' -keyout ca.key -out ca.pem &&
			sign server localhost && sign client client
	} >openssl.log 2>&1
)

# --- End of what backends may use ----------------------------------------------------------------------------------------

names=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	names+=("$1")
	shift
done
if [ ${#names[@]} = 0 ]; then
	for f in scripts/brokers/*.sh; do
		f=${f##*/}
		names+=("${f%.sh}")
	done
fi

# start NAME starts a backend, anew when somebody else was faster at one of its ports.
start() {
	before=${#pids[@]}
	for _ in 1 2 3; do
		mkdir -p "$work/$1"
		"start_$1" "$work/$1" && return
		end_from "$before"
		rm -rf "${work:?}/$1"
	done
	return 1
}

packages=()
after=()
tags=brokers
missing=()
for name in "${names[@]}"; do
	if ! [ -f "scripts/brokers/$name.sh" ]; then
		say "scripts/brokers/$name.sh does not exist"
		exit 2
	fi
	# shellcheck source=/dev/null
	. "scripts/brokers/$name.sh"
	# Not in a subshell: what is exported and started must be known here. The reason goes through a file.
	if "install_$name" 2>"$work/$name.why" && start "$name" 2>>"$work/$name.why"; then
		list=packages_$name
		read -ra more <<<"${!list:-}"
		packages+=(${more[@]+"${more[@]}"})
		list=after_$name
		read -ra more <<<"${!list:-}"
		after+=(${more[@]+"${more[@]}"})
		tags+=",$name"
		say "$name is ready."
	else
		missing+=("$name: $(tail -n 1 "$work/$name.why")")
		tail -n 10 "$work/$name.why" >&2
	fi
done

if [ "${START_ONLY:-}" = 1 ]; then
	env | grep '^WAYBILL_TEST_' | sort
	read -r -p "Enter stops the brokers. " _
	exit 0
fi

# told names what could not be had.
told() {
	if [ ${#missing[@]} -gt 0 ]; then
		say
		say "$1, for it could not be had on this machine:"
		printf '  %s\n' "${missing[@]}" >&2
	fi
}

if [ "${1:-}" = -- ]; then
	shift
	told "Without a broker"
	"$@"
	exit
fi

# Those of ./app need PostgreSQL's programs. What a developer's shell says about their own Waybill is none of their business.
unset DATABASE_URL DATA_DIR
database=()
if [ -z "${TEST_DATABASE_URL:-}" ]; then
	scripts/ensure-postgres.sh /nonexistent || exit
	database=(bin/withpostgres)
fi

# tests runs those of these packages. Options of go test come first.
race=(-race)
cc=$(go env CC)
have "${cc%% *}" || race=()
failed=0
tests() {
	# shellcheck disable=SC2086
	${database[@]+"${database[@]}"} go test ${race[@]+"${race[@]}"} -tags "$tags" -count=1 -timeout 15m -run '^TestBroker' ${ARGS:-} "$@" || failed=1
}

if [ -n "${PKG:-}" ]; then
	read -ra packages <<<"$PKG"
	after=()
fi
if [ $((${#packages[@]} + ${#after[@]})) = 0 ]; then
	say "No broker could be started."
	failed=1
fi
if [ ${#packages[@]} -gt 0 ]; then
	read -ra packages <<<"$(printf '%s\n' "${packages[@]}" | sort -u | tr '\n' ' ')"
	tests "${packages[@]}"
fi
if [ ${#after[@]} -gt 0 ]; then
	read -ra after <<<"$(printf '%s\n' "${after[@]}" | sort -u | tr '\n' ' ')"
	tests -p 1 "${after[@]}"
fi
told "Not tested"
exit $failed
