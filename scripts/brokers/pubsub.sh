# Google's Pub/Sub emulator, of the Google Cloud SDK (Java). It is used where it is installed; it cannot be had from
# Debian's packages.
# shellcheck shell=bash
packages_pubsub="./adapters/gcppubsub"
after_pubsub="./app"

pubsub_emulator() {
	local dir
	for dir in "${CLOUDSDK_ROOT_DIR:-}" /usr/lib/google-cloud-sdk /usr/share/google-cloud-sdk /opt/google-cloud-sdk \
		"${HOME:-}/google-cloud-sdk"; do
		if [ -x "$dir/platform/pubsub-emulator/bin/cloud-pubsub-emulator" ]; then
			echo "$dir/platform/pubsub-emulator/bin/cloud-pubsub-emulator"
			return
		fi
	done
	return 1
}

install_pubsub() {
	if ! pubsub_emulator >/dev/null; then
		say "the Pub/Sub emulator of the Google Cloud SDK is not installed (gcloud components install pubsub-emulator)"
		return 1
	fi
	need java default-jre-headless
}

start_pubsub() {
	local port
	free_ports port || return
	background "$1/log" "$(pubsub_emulator)" --host=127.0.0.1 --port="$port"
	if ! await listens "$port"; then
		say "the Pub/Sub emulator did not start: $(tail -n 1 "$1/log")"
		return 1
	fi
	export WAYBILL_TEST_PUBSUB="http://127.0.0.1:$port"
}
