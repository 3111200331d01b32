# RabbitMQ, as a private node that shares nothing with one that the machine may run: its own epmd, cookie, database and
# ports. Exports
#
#   WAYBILL_TEST_RABBITMQ       host:port, user and password "guest"
#   WAYBILL_TEST_RABBITMQ_TLS   host:port for TLS
#   WAYBILL_TEST_RABBITMQ_CA    file with the authority of its certificate, PEM
#   WAYBILL_TEST_RABBITMQCTL    rabbitmqctl for this node. A node that crashes or is stopped comes back by itself.

# shellcheck shell=bash disable=SC2034
packages_rabbitmq="./adapters/rabbitmq"
after_rabbitmq="./app"

# The programs in PATH are wrappers of the package's that insist on the machine's own node.
rabbitmq_bin() {
	local dir
	for dir in /usr/lib/rabbitmq/bin /opt/homebrew/opt/rabbitmq/sbin /usr/local/opt/rabbitmq/sbin; do
		if [ -x "$dir/rabbitmq-server" ]; then
			echo "$dir"
			return
		fi
	done
	return 1
}

install_rabbitmq() {
	need openssl && { rabbitmq_bin >/dev/null || apt_install rabbitmq-server; } && rabbitmq_bin >/dev/null
}

start_rabbitmq() {
	local dir=$1 bin port tls epmd distribution first last
	bin=$(rabbitmq_bin)
	# Each rabbitmqctl listens too, by default on one of eleven ports among those of outgoing connections.
	free_ports port tls epmd distribution && read -r first last <<<"$(server_ports)" || return 1
	mkdir -p "$dir/home"
	certificates "$dir" || {
		echo "openssl made no certificates" >&2
		return 1
	}
	printf '[].\n' >"$dir/plugins"
	cat >"$dir/rabbitmq.conf" <<-CONF
		listeners.tcp.1 = 127.0.0.1:$port
		listeners.ssl.1 = 127.0.0.1:$tls
		ssl_options.cacertfile = $dir/ca.pem
		ssl_options.certfile = $dir/server.pem
		ssl_options.keyfile = $dir/server.key
		disk_free_limit.absolute = 10MB
		log.console.level = warning
	CONF
	cat >"$dir/env" <<-ENV
		export HOME='$dir/home' ERL_EPMD_PORT=$epmd ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_CONF_ENV_FILE=/dev/null
		export RABBITMQ_NODENAME=waybill@localhost RABBITMQ_DIST_PORT=$distribution
		export RABBITMQ_CONFIG_FILE='$dir/rabbitmq' RABBITMQ_ENABLED_PLUGINS_FILE='$dir/plugins'
		export RABBITMQ_MNESIA_BASE='$dir/mnesia' RABBITMQ_LOG_BASE='$dir/log' RABBITMQ_LOGS=-
		export RABBITMQ_CTL_DIST_PORT_MIN=$first RABBITMQ_CTL_DIST_PORT_MAX=$last RABBITMQ_CTL_ERL_ARGS='-start_epmd false'
		export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}'
	ENV
	printf '#!/bin/sh\n. "%s/env"\nexec "%s/rabbitmqctl" "$@"\n' "$dir" "$bin" >"$dir/ctl"
	printf '#!/bin/sh\n. "%s/env"\nexec epmd\n' "$dir" >"$dir/epmd"
	printf '#!/bin/sh\n. "%s/env"\ncd "%s"\nwhile "%s/rabbitmq-server"; [ -e ready ]; do :; done\n' "$dir" "$dir" "$bin" >"$dir/node"
	chmod +x "$dir/ctl" "$dir/epmd" "$dir/node"
	background "$dir/epmd.log" "$dir/epmd"
	if await listens "$epmd"; then
		background "$dir/node.log" "$dir/node"
	fi
	if ! await listens "$port" || ! await "$dir/ctl" await_startup; then
		tail -q -n 5 "$dir/epmd.log" "$dir/node.log" >&2
		echo "the node did not start" >&2
		return 1
	fi
	touch "$dir/ready"
	export WAYBILL_TEST_RABBITMQ=127.0.0.1:$port WAYBILL_TEST_RABBITMQ_TLS=localhost:$tls
	export WAYBILL_TEST_RABBITMQ_CA=$dir/ca.pem WAYBILL_TEST_RABBITMQCTL=$dir/ctl
}
