# An OpenTelemetry collector, built from its Go modules: takes OTLP and writes what it got in words. Exports
#
#   WAYBILL_TEST_OTELCOL_HTTP   host:port for OTLP over HTTP
#   WAYBILL_TEST_OTELCOL_GRPC   host:port for OTLP over gRPC, with TLS
#   WAYBILL_TEST_OTELCOL_CA     file with the authority of its certificate, PEM
#   WAYBILL_TEST_OTELCOL_LOG    file that it writes to

# shellcheck shell=bash disable=SC2034
packages_otelcol="./internal/traces"

otelcol_version=0.165.0
otelcol=$PWD/bin/otelcol-$otelcol_version

install_otelcol() {
	need openssl || return 1
	[ -x "$otelcol" ] && return
	say "Building OpenTelemetry's collector $otelcol_version (once, a minute or two)."
	local dir=$work/otelcol.build
	mkdir -p "$dir"
	cat >"$dir/builder.yaml" <<-YAML
		dist: {name: otelcol, output_path: $dir/out}
		exporters: [{gomod: go.opentelemetry.io/collector/exporter/debugexporter v$otelcol_version}]
		receivers: [{gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v$otelcol_version}]
	YAML
	if ! (cd "$dir" && timeout 900 go run "go.opentelemetry.io/collector/cmd/builder@v$otelcol_version" --config=builder.yaml) >"$dir/log" 2>&1; then
		tail -n 5 "$dir/log" >&2
		echo "the collector $otelcol_version could not be built" >&2
		return 1
	fi
	# Complete, or not at all: the directory may be of another file system.
	mkdir -p bin && mv "$dir/out/otelcol" "$otelcol.new" && mv "$otelcol.new" "$otelcol"
}

start_otelcol() {
	local dir=$1 http grpc
	free_ports http grpc || return 1
	certificates "$dir" || {
		echo "openssl made no certificates" >&2
		return 1
	}
	cat >"$dir/config.yaml" <<-YAML
		receivers:
		  otlp:
		    protocols:
		      http: {endpoint: "127.0.0.1:$http"}
		      grpc: {endpoint: "127.0.0.1:$grpc", tls: {cert_file: "$dir/server.pem", key_file: "$dir/server.key"}}
		exporters:
		  debug: {verbosity: detailed, use_internal_logger: false}
		service:
		  telemetry: {metrics: {level: none}}
		  pipelines:
		    traces: {receivers: [otlp], exporters: [debug]}
	YAML
	background "$dir/log" "$otelcol" --config "$dir/config.yaml"
	if ! await listens "$http" || ! await listens "$grpc"; then
		tail -n 5 "$dir/log" >&2
		echo "the collector did not start" >&2
		return 1
	fi
	export WAYBILL_TEST_OTELCOL_HTTP=127.0.0.1:$http WAYBILL_TEST_OTELCOL_GRPC=localhost:$grpc
	export WAYBILL_TEST_OTELCOL_CA=$dir/ca.pem WAYBILL_TEST_OTELCOL_LOG=$dir/log
}
