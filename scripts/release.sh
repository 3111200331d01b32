#!/usr/bin/env bash
# Makes a release of the last commit in dist/: archives, packages for Debian and RPM, a formula for Homebrew, a bill of
# materials (CycloneDX) for each binary, notes from CHANGELOG.md, checksums.
#
#   release.sh
#
# All is made twice, the second time from another path and with an empty build cache, and must be the same to the byte:
# so anybody can make it again and compare. It needs Go, git, GNU tar and nothing else.
#
#   VERSION      v1.2.3; by default the tag of the commit. Without one it is a snapshot, v0.0.0-dev.<commits>.g<commit>
#   PLATFORMS    some of them: "linux/amd64"
#   DIST         another directory than dist
#   RELEASE_URL  where the archives will be downloaded from, for the formula
#   ONCE=1       skips the second time
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
say() { printf '%s\n' "$*" >&2; }
die() {
	say "release: $*"
	exit 1
}

git() { command git -c "safe.directory=$root" "$@"; }
commit=$(git rev-parse HEAD) || die "this is not a git checkout"
tag=$(git describe --tags --exact-match --match 'v*' 2>/dev/null || true)
VERSION=${VERSION:-${tag:-v0.0.0-dev.$(git rev-list --count HEAD).g$(git rev-parse --short=9 HEAD)}}
[[ $VERSION =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || die "VERSION: $VERSION is not a version like v1.2.3 or v1.2.3-rc.1"
number=${VERSION#v}
PLATFORMS=${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64}
RELEASE_URL=${RELEASE_URL:-https://github.com/waybill-dev/waybill/releases/download/$VERSION}
dist=${DIST:-dist}
if [ -n "$(git status --porcelain)" ]; then
	say "Changes that are not committed are not in the release."
fi
tar --version 2>/dev/null | grep -q 'GNU tar' || die "needs GNU tar"

work=$(mktemp -d)
cleanup() {
	chmod -R u+w "$work" # the cache's files are read-only
	rm -rf "$work"
}
trap cleanup EXIT
SOURCE_DATE_EPOCH=$(git show -s --format=%ct HEAD)
export VERSION SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C CGO_ENABLED=0 GOFLAGS='' GOAMD64=v1 GOARM64=v8.0
umask 022

# The tools' own versions are in deploy/release/go.mod, with checksums.
GOBIN=$work/tools
mkdir "$GOBIN"
(cd deploy/release && go build -o "$GOBIN/" tool)

# notes prints the section of CHANGELOG.md for this version, or what is not released yet.
notes() {
	local section=$number
	grep -qF "## [$number]" CHANGELOG.md || section=Unreleased
	awk -v want="## [$section]" 'index($0, "## [") == 1 { on = index($0, want) == 1; next } on' CHANGELOG.md
}

# make_all SOURCE OUT makes everything from a copy of the sources.
make_all() (
	local source=$1 out=$2 platform os arch name dir pack
	mkdir -p "$source" "$out"
	git archive --format=tar "$commit" | tar -x -C "$source"
	cd "$source"
	notes >"$out/NOTES.md"
	[ -s "$out/NOTES.md" ] || die "CHANGELOG.md says nothing about $number"
	for platform in $PLATFORMS; do
		os=${platform%/*} arch=${platform#*/}
		name=waybill_${number}_${os}_${arch}
		dir=$source/release/$name
		mkdir -p "$dir"
		GOOS=$os GOARCH=$arch go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o "$dir/waybill" .
		"$GOBIN/cyclonedx-gomod" bin -json -std -noserial -notimestamp -version "$VERSION" -output "$out/$name.cdx.json" "$dir/waybill" >"$work/log" 2>&1 ||
			die "no bill of materials for $platform: $(cat "$work/log")"
		if [ "$os" = linux ]; then
			cp "$dir/waybill" waybill
			for pack in deb rpm; do
				ARCH=$arch VERSION=$number "$GOBIN/nfpm" package --config deploy/package/nfpm.yaml --packager "$pack" --target "$out/$name.$pack" >"$work/log" 2>&1 ||
					die "no $pack for $platform: $(cat "$work/log")"
			done
			rm waybill
		fi
		cp -r LICENSE THIRD-PARTY-NOTICES.txt README.md CHANGELOG.md .env.example docs deploy/prometheus-rules.yml deploy/grafana-dashboard.json "$dir"
		find "$dir" -name '*.go' -delete
		tar --sort=name --format=gnu --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$source/release" -c "$name" | gzip -n9 >"$out/$name.tar.gz"
	done
	if [ "$(find "$out" -name '*.tar.gz' | wc -l)" = 4 ]; then
		local formula
		formula=$(sed -e "s|@VERSION@|$number|g" -e "s|@URL@|$RELEASE_URL|g" deploy/package/waybill.rb.in)
		for platform in darwin_arm64 darwin_amd64 linux_arm64 linux_amd64; do
			formula=${formula/@$platform@/$(sha256sum <"$out/waybill_${number}_$platform.tar.gz" | cut -d' ' -f1)}
		done
		printf '%s\n' "$formula" >"$out/waybill.rb"
	fi
	cd "$out"
	sha256sum -- * >../SHA256SUMS && mv ../SHA256SUMS .
)

make_all "$work/first/waybill" "$work/out/first"
if [ "${ONCE:-}" != 1 ]; then
	say "Making it a second time, to compare."
	GOCACHE=$work/cache make_all "$work/elsewhere/for/the/second" "$work/out/second"
	diff -rq "$work/out/first" "$work/out/second" >&2 || die "the second time made other bytes"
fi
rm -rf "$dist"
mkdir -p "$(dirname "$dist")"
mv "$work/out/first" "$dist"
say "$VERSION is in $dist$([ "${ONCE:-}" = 1 ] || echo ', the same to the byte both times')."
