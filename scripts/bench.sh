#!/usr/bin/env bash
# Runs `bin/waybill bench` with these arguments, and starts brokers for the cases that need one and that no argument
# -destination describes:
#
#   rabbitmq   a private node, as in test-brokers.sh
#   kafka      a cluster in memory; with KAFKA=real Apache's, as in test-brokers.sh
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }

# wants CASE: it is to be measured, and nobody has said where.
wants() {
	case ",$cases," in *",$1,"* | ",all,") ;; *) return 1 ;; esac
	case "$*$given" in *" $1="*) return 1 ;; esac
}
cases='' given=' ' last=''
for arg in "$@"; do
	case $last in -case | --case) cases=$arg ;; -destination | --destination) given+=" $arg" ;; esac
	case $arg in
	-case=* | --case=*) cases=${arg#*=} ;;
	-destination=* | --destination=*) given+=" ${arg#*=}" ;;
	esac
	last=$arg
done

if [ -z "${BROKERS_STARTED:-}" ]; then
	backends=()
	if wants rabbitmq; then backends+=(rabbitmq); fi
	if wants kafka && [ "${KAFKA:-}" = real ]; then backends+=(kafka); fi
	if [ ${#backends[@]} -gt 0 ]; then
		BROKERS_STARTED=1 exec scripts/test-brokers.sh "${backends[@]}" -- "$0" "$@"
	fi
fi

more=()
if wants rabbitmq && [ -n "${WAYBILL_TEST_RABBITMQ:-}" ]; then
	# Nobody consumes. The queue drops its oldest messages, so that the runs do not fill the memory.
	"$WAYBILL_TEST_RABBITMQCTL" -q eval 'rabbit_amqqueue:declare(rabbit_misc:r(<<"/">>, queue, <<"bench">>), true, false,
		[{<<"x-max-length">>, long, 20000}], none, <<"bench">>).' >/dev/null
	more+=(-destination 'rabbitmq={"type": "rabbitmq", "config": {"server_url": "'"$WAYBILL_TEST_RABBITMQ"'", "routing_key_template": "\"bench\""},
		"credentials": {"username": "guest", "password": "guest"}}')
fi
if wants kafka; then
	address=${WAYBILL_TEST_KAFKA:-}
	go build -o bin/kafka ./tests/kafka
	if [ -n "$address" ]; then
		bin/kafka "$address"
	elif [ "${KAFKA:-}" != real ]; then
		coproc bin/kafka
		read -r address <&"${COPROC[0]}"
	fi
	if [ -n "$address" ]; then
		more+=(-destination 'kafka={"type": "kafka", "config": {"brokers": "'"$address"'", "topic": "events"}}')
	fi
fi
bin/waybill bench ${more[@]+"${more[@]}"} "$@"
