# Apache Kafka from its Maven packages: one node that is broker and controller at once. Exports
#
#   WAYBILL_TEST_KAFKA         host:port without TLS and names: everybody is an administrator
#   WAYBILL_TEST_KAFKA_SASL    host:port that asks for PLAIN or SCRAM. User "admin" with "admin-secret" may do
#                              everything; others are made by the tests
#   WAYBILL_TEST_KAFKA_TLS     host:port with TLS that asks for a name as well
#   WAYBILL_TEST_KAFKA_MTLS    host:port with TLS that asks for a client certificate
#   WAYBILL_TEST_KAFKA_CA      file with the authority of the certificates, PEM
#   WAYBILL_TEST_KAFKA_CERT, WAYBILL_TEST_KAFKA_KEY   files with a client certificate and its key, PEM
#   WAYBILL_TEST_KAFKA_PID     file with the process id of the node. Killed, it comes back by itself.

# shellcheck shell=bash disable=SC2034
packages_kafka="./adapters/kafka"

kafka_version=4.1.1
kafka_libs=$PWD/bin/kafka-$kafka_version

install_kafka() {
	need java default-jre-headless && need openssl || return 1
	[ -d "$kafka_libs" ] && return
	need mvn maven || return 1
	say "Bringing Kafka $kafka_version with Maven (once, about 45 MB)."
	local dir=$kafka_libs.new
	rm -rf "$dir"
	mkdir -p "$dir"
	cat >"$dir/pom.xml" <<-POM
		<project xmlns="http://maven.apache.org/POM/4.0.0">
		  <modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>kafka</artifactId><version>1</version>
		  <dependencies>
		    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$kafka_version</version></dependency>
		    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
		  </dependencies>
		</project>
	POM
	if ! timeout 900 mvn -q -B -f "$dir/pom.xml" dependency:copy-dependencies -DoutputDirectory="$dir" >"$dir/log" 2>&1; then
		echo "Maven could not bring org.apache.kafka:kafka_2.13:$kafka_version" >&2
		return 1
	fi
	mv "$dir" "$kafka_libs" # complete, or not at all
}

start_kafka() {
	local dir=$1 plain sasl tls mtls controller level=warn
	free_ports plain sasl tls mtls controller || return 1
	certificates "$dir" || {
		echo "openssl made no certificates" >&2
		return 1
	}
	cat "$dir/server.key" "$dir/server.pem" >"$dir/keystore.pem"
	cat >"$dir/server.properties" <<-CONF
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@127.0.0.1:$controller
		controller.listener.names=CONTROLLER
		inter.broker.listener.name=PLAIN
		listeners=PLAIN://127.0.0.1:$plain,SASL://127.0.0.1:$sasl,TLS://localhost:$tls,MTLS://localhost:$mtls,CONTROLLER://127.0.0.1:$controller
		advertised.listeners=PLAIN://127.0.0.1:$plain,SASL://127.0.0.1:$sasl,TLS://localhost:$tls,MTLS://localhost:$mtls
		listener.security.protocol.map=PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SASL_SSL,MTLS:SSL,CONTROLLER:PLAINTEXT
		sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
		listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_admin="admin-secret" user_plain="plain-secret";
		listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		listener.name.tls.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_admin="admin-secret";
		listener.name.tls.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		listener.name.tls.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		ssl.keystore.type=PEM
		ssl.keystore.location=$dir/keystore.pem
		ssl.truststore.type=PEM
		ssl.truststore.location=$dir/ca.pem
		listener.name.mtls.ssl.client.auth=required
		authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
		super.users=User:ANONYMOUS;User:admin;User:CN=client
		log.dirs=$dir/data
		num.partitions=3
		auto.create.topics.enable=false
		offsets.topic.replication.factor=1
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		share.coordinator.state.topic.replication.factor=1
		share.coordinator.state.topic.min.isr=1
	CONF
	local java=(java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel="$level" -cp "$kafka_libs/*")
	if ! "${java[@]}" kafka.tools.StorageTool format -t "$("${java[@]}" kafka.tools.StorageTool random-uuid 2>/dev/null)" \
		-c "$dir/server.properties" >"$dir/format.log" 2>&1; then
		tail -n 5 "$dir/format.log" >&2
		return 1
	fi
	cat >"$dir/node" <<-NODE
		#!/bin/sh
		cd "$dir"
		while :; do
			java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=$level -cp "$kafka_libs/*" kafka.Kafka "$dir/server.properties" &
			echo \$! >"$dir/pid"
			wait
			[ -e ready ] || exit 1
		done
	NODE
	chmod +x "$dir/node"
	background "$dir/node.log" "$dir/node"
	if ! await listens "$plain" || ! await listens "$mtls"; then
		tail -n 5 "$dir/node.log" >&2
		echo "the node did not start" >&2
		return 1
	fi
	touch "$dir/ready"
	export WAYBILL_TEST_KAFKA=127.0.0.1:$plain WAYBILL_TEST_KAFKA_SASL=127.0.0.1:$sasl
	export WAYBILL_TEST_KAFKA_TLS=localhost:$tls WAYBILL_TEST_KAFKA_MTLS=localhost:$mtls WAYBILL_TEST_KAFKA_PID=$dir/pid
	export WAYBILL_TEST_KAFKA_CA=$dir/ca.pem WAYBILL_TEST_KAFKA_CERT=$dir/client.pem WAYBILL_TEST_KAFKA_KEY=$dir/client.key
}
