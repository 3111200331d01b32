# Services of notices, played by Prism from their descriptions, which refuses what those do not allow:
#
#   WAYBILL_TEST_TWILIO      URL of Twilio's, from the description that Twilio publishes in @twilio/cli-core
#   WAYBILL_TEST_PAGERDUTY   URL of PagerDuty's, from a description of our own (adapters/notify/testdata/pagerduty.openapi.json):
#                            PagerDuty publishes one, but in no package
#   WAYBILL_TEST_TYPES       directory whose node_modules has @slack/types and the TypeScript compiler. Slack publishes no
#                            description of its webhooks, but types of the blocks

# shellcheck shell=bash disable=SC2034
packages_openapi="./adapters/notify"

openapi_packages=(@stoplight/prism-cli@5.14.2 @twilio/cli-core@8.3.2 @slack/types@3.2.0 typescript@5.9.3)
openapi_dir=$PWD/bin/openapi-1

install_openapi() {
	[ -d "$openapi_dir" ] && return
	if ! have npm; then
		echo "it needs Node with npm" >&2
		return 1
	fi
	say "Bringing ${openapi_packages[*]} with npm (once, about 45 MB)."
	local dir=$openapi_dir.new
	rm -rf "$dir"
	mkdir -p "$dir"
	if ! timeout 900 npm install --prefix "$dir" --no-save --no-audit --no-fund --ignore-scripts "${openapi_packages[@]}" >"$dir.log" 2>&1; then
		tail -n 5 "$dir.log" >&2
		echo "npm could not bring ${openapi_packages[*]}" >&2
		return 1
	fi
	rm -f "$dir.log"
	mv "$dir" "$openapi_dir" # complete, or not at all
}

start_openapi() {
	local dir=$1 twilio pagerduty prism=$openapi_dir/node_modules/.bin/prism
	free_ports twilio pagerduty || return 1
	background "$dir/twilio.log" "$prism" mock -h 127.0.0.1 -p "$twilio" --errors \
		"$openapi_dir/node_modules/@twilio/cli-core/src/services/twilio-api/twilio_api_v2010.json"
	background "$dir/pagerduty.log" "$prism" mock -h 127.0.0.1 -p "$pagerduty" --errors adapters/notify/testdata/pagerduty.openapi.json
	if ! await listens "$twilio" || ! await listens "$pagerduty"; then
		tail -q -n 5 "$dir/twilio.log" "$dir/pagerduty.log" >&2
		echo "Prism did not start" >&2
		return 1
	fi
	export WAYBILL_TEST_TWILIO=http://127.0.0.1:$twilio WAYBILL_TEST_PAGERDUTY=http://127.0.0.1:$pagerduty WAYBILL_TEST_TYPES=$openapi_dir
}
