# moto, which plays the services of AWS. Exports
#
#   WAYBILL_TEST_MOTO   URL of a server with all services. It takes any credentials
#
# It is Python, and lives in an environment of its own under bin/.

# shellcheck disable=SC2034
packages_moto="./adapters/awssqs ./adapters/awseventbridge ./adapters/awskinesis ./adapters/awss3"

moto_version=5.2.1
moto_env=$PWD/bin/moto-$moto_version

install_moto() {
	[ -x "$moto_env/bin/moto_server" ] && return
	if ! have python3; then
		echo "it needs Python 3 with venv (apt-get install python3-venv)" >&2
		return 1
	fi
	say "Bringing moto $moto_version with pip (once, about 60 MB)."
	rm -rf "$moto_env"
	if ! { python3 -m venv "$moto_env" && timeout 300 "$moto_env/bin/pip" install -q "moto[server]==$moto_version"; } >&2; then
		rm -rf "$moto_env"
		echo "pip could not bring moto[server]==$moto_version" >&2
		return 1
	fi
}

start_moto() {
	local dir=$1 port
	port=$(free_port) || return 1
	background "$dir/moto.log" "$moto_env/bin/moto_server" -H 127.0.0.1 -p "$port"
	if ! await 60 listens "$port"; then
		tail -n 5 "$dir/moto.log" >&2
		echo "moto did not start" >&2
		return 1
	fi
	export WAYBILL_TEST_MOTO=http://127.0.0.1:$port
}
