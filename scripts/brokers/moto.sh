# moto, which plays the services of AWS. Exports
#
#   WAYBILL_TEST_MOTO       URL of a server with all services. It takes any credentials
#   WAYBILL_TEST_MOTO_IAM   URL of another one, which knows users, their keys and their policies. After a POST of a number
#                           to /moto-api/reset-auth it lets that many requests through, so that a first user can be made
#
# It is Python, and lives in an environment of its own under bin/.

# shellcheck disable=SC2034
packages_moto="./adapters/awssqs ./adapters/awseventbridge ./adapters/awskinesis ./adapters/awss3"
after_moto="./app"

moto_version=5.2.1
moto_env=$PWD/bin/moto-$moto_version

install_moto() {
	python_env "$moto_env" moto_server "moto[server]==$moto_version"
}

# moto answers from several threads and locks nothing: of two records put at the same time one is lost. So none of its
# threads is interrupted by another one, but where it waits for the network.
serve_moto='import sys; sys.setswitchinterval(60); from moto.server import main; main()'

start_moto() {
	local dir=$1 port iam
	free_ports port iam || return 1
	background "$dir/moto.log" "$moto_env/bin/python" -c "$serve_moto" -H 127.0.0.1 -p "$port"
	background "$dir/iam.log" env INITIAL_NO_AUTH_ACTION_COUNT=0 "$moto_env/bin/python" -c "$serve_moto" -H 127.0.0.1 -p "$iam"
	if ! await listens "$port" || ! await listens "$iam"; then
		tail -q -n 5 "$dir/moto.log" "$dir/iam.log" >&2
		echo "moto did not start" >&2
		return 1
	fi
	export WAYBILL_TEST_MOTO=http://127.0.0.1:$port WAYBILL_TEST_MOTO_IAM=http://127.0.0.1:$iam
}
