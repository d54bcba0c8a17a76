#!/usr/bin/env bash
# Runs a Kafka broker of one node on loopback, for tests, in the foreground:
#   scripts/kafka.sh DIR PORT    keeps its data in DIR; started again there, it goes on
#   scripts/kafka.sh --fetch     only fetches the jars, with Maven, into the cache
set -euo pipefail
version=3.9.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/conclave-test/kafka-$version

fetch() {
  [ -e "$cache/complete" ] && return
  command -v mvn >/dev/null || { echo "Maven (mvn) is not installed" >&2; exit 1; }
  mkdir -p "$cache"
  cat >"$cache/pom.xml" <<XML
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>conclave</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
  </dependencies>
</project>
XML
  mvn -q -B -f "$cache/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/jars" -DincludeScope=runtime >"$cache/mvn.log" 2>&1 || { tail -n 20 "$cache/mvn.log" >&2; exit 1; }
  touch "$cache/complete"
}

fetch
[ "${1-}" = --fetch ] && exit 0
dir=${1:?say in which folder its data is}
port=${2:?say on which port it listens}
mkdir -p "$dir"
cd "$dir" # a folder's name may have a comma, which would make two of it
if [ ! -e server.properties ]; then
  # Free, and below the ports of outgoing connections, which would take it while Kafka is stopped.
  while control=$((10000 + RANDOM % 20000)); (exec 3<>"/dev/tcp/127.0.0.1/$control") 2>/dev/null; do :; done
  cat >server.properties <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$control
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$control
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=data
num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
controlled.shutdown.enable=false
PROPERTIES
  java -Xshare:auto -cp "$cache/jars/*" kafka.tools.StorageTool format --cluster-id 4L6g3nShT-eMCtK--X86sw --config server.properties >format.log 2>&1 ||
    { tail -n 20 format.log >&2; rm -f server.properties; exit 1; }
fi
exec java -Xms64m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -cp "$cache/jars/*" kafka.Kafka server.properties
