# Prometheus and Alertmanager, of Debian's packages. Prometheus loads deploy/prometheus-rules.yml, with short waits so that
# a rule fires within seconds. Exports
#
#   WAYBILL_TEST_PROMETHEUS           URL of Prometheus
#   WAYBILL_TEST_PROMETHEUS_TARGETS   file for the test to write: what to scrape (file_sd)
#   WAYBILL_TEST_ALERT_RECEIVER       host:port where the test listens, to which Alertmanager posts what fires

# shellcheck shell=bash disable=SC2034
after_prometheus="./app"

install_prometheus() {
	local missing=()
	have prometheus || missing+=(prometheus)
	have prometheus-alertmanager || missing+=(prometheus-alertmanager)
	[ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
}

start_prometheus() {
	local dir=$1 port alerts receiver
	free_ports port alerts receiver || return 1
	sed -E 's/^( *for:) .*/\1 1s/' deploy/prometheus-rules.yml >"$dir/rules.yml"
	echo '[]' >"$dir/targets.json"
	cat >"$dir/prometheus.yml" <<-YAML
		global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}
		rule_files: [$dir/rules.yml]
		alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:$alerts"]}]}]}
		scrape_configs:
		  - job_name: waybill
		    file_sd_configs: [{files: [$dir/targets.json], refresh_interval: 1s}]
	YAML
	cat >"$dir/alertmanager.yml" <<-YAML
		route: {receiver: test, group_by: [alertname, instance], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}
		receivers: [{name: test, webhook_configs: [{url: "http://127.0.0.1:$receiver/", send_resolved: true}]}]
	YAML
	background "$dir/alertmanager.log" prometheus-alertmanager --config.file="$dir/alertmanager.yml" --storage.path="$dir/alerts" \
		--web.listen-address="127.0.0.1:$alerts" --cluster.listen-address=
	background "$dir/prometheus.log" prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/data" --web.listen-address="127.0.0.1:$port"
	if ! await listens "$alerts" || ! await listens "$port"; then
		tail -q -n 5 "$dir/alertmanager.log" "$dir/prometheus.log" >&2
		echo "Prometheus did not start" >&2
		return 1
	fi
	export WAYBILL_TEST_PROMETHEUS=http://127.0.0.1:$port WAYBILL_TEST_PROMETHEUS_TARGETS=$dir/targets.json
	export WAYBILL_TEST_ALERT_RECEIVER=127.0.0.1:$receiver
}
