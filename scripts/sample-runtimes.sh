#!/usr/bin/env bash
# Installs, as far as it can, the languages that the samples in adapters/webhook/samples are run in. Prints a line for each that
# cannot be had; says nothing when all are here.
set -euo pipefail
cd "$(dirname "$0")/.."

have() { command -v "$1" >/dev/null; }
cryptography() { python3 -c 'import cryptography' 2>/dev/null; }

packages=()
have node || packages+=(nodejs)
have python3 || packages+=(python3)
cryptography || packages+=(python3-cryptography)
have ruby || packages+=(ruby)
have php || packages+=(php-cli)
have javac || packages+=(default-jdk-headless)
have mcs && have mono || packages+=(mono-mcs)
if [ ${#packages[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && have apt-get; then
	# One that there is not must not keep the others from being installed.
	scripts/apt-install.sh "${packages[@]}" 2>/dev/null || for p in "${packages[@]}"; do scripts/apt-install.sh "$p" 2>/dev/null || true; done
fi

have node || echo "the samples in Node: they need Node (apt-get install nodejs)"
have python3 || echo "the samples in Python: they need Python 3.9 or newer"
cryptography || echo "the sample in Python for v1a: it needs cryptography (apt-get install python3-cryptography)"
have ruby || echo "the samples in Ruby: they need Ruby 3 (apt-get install ruby)"
have php || echo "the samples in PHP: they need PHP 8 (apt-get install php-cli)"
have javac || echo "the samples in Java: they need a JDK of Java 17 or newer (apt-get install default-jdk-headless)"
have mcs && have mono || echo "the samples in C#: they need Mono (apt-get install mono-mcs)"
crates=$(mktemp -d)
trap 'rm -rf "$crates"' EXIT
mkdir "$crates/src"
cp adapters/webhook/testdata/samples/rust/* "$crates" && echo 'fn main() {}' >"$crates/src/main.rs"
if ! have cargo || ! cargo fetch --quiet --locked --manifest-path "$crates/Cargo.toml" >/dev/null 2>&1; then
	echo "the samples in Rust: they need cargo, 1.85 or newer, and the crates that they use"
fi
