#!/usr/bin/env bash
# Asks Apache Flink 2.3 what it answers on a seeded input. Needs Java 17 or newer (JDK), Maven and pip on the first run.
# usage: run.sh list                          names every case, what it shows and its options
#        run.sh CASE SEED OUTDIR [SIZE]       input.jsonl, expected.jsonl and case.json (SIZE lines; 2000)
#        run.sh all SEED OUTDIR [SIZE]        every case in one JVM: OUTDIR/CASE/ and OUTDIR/tapes/
#        run.sh replay CASE INPUT OUTDIR      what Flink answers on given input lines
# ORACLE_CASES=FILE takes another table of cases than cases.jsonl.
# ORACLE_ROCKSDB=1 keeps state in RocksDB instead of the heap; the answers are the same.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cases=${ORACLE_CASES:-$here/cases.jsonl}
cache=${FLINK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wasmill/flink-2.3.0}

fail() { echo "run.sh: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || fail "$1 is not installed ($2)"; }

need java "the cases run on it: a JDK, 17 or newer"
need javac "the sources are compiled with it: a JDK, 17 or newer"
if [ ! -d "$cache/deps/lib" ]; then
  need pip "it downloads Flink as the package apache-flink-libraries"
  mkdir -p "$cache"
  tmp=$(mktemp -d "$cache/.download.XXXXXX")
  pip download -q --no-deps --no-binary=:all: apache-flink-libraries==2.3.0 -d "$tmp"
  tar xzf "$tmp"/apache_flink_libraries-2.3.0.tar.gz -C "$tmp" --strip-components=1
  mv "$tmp/deps" "$cache/deps" && rm -rf "$tmp"
fi
for artifact in flink-runtime:2.3.0:jar:tests flink-test-utils-junit:2.3.0; do # Flink's operator test harness
  [ -f "$cache/harness/.${artifact%%:*}" ] && continue
  need mvn "it downloads Flink's operator test harness"
  mkdir -p "$cache/harness"
  mvn -q -B dependency:copy -Dartifact="org.apache.flink:$artifact" -DoutputDirectory="$cache/harness" |
    sed 's/\x1b\[[0-9;]*m//g' >&2
  touch "$cache/harness/.${artifact%%:*}"
done
jars=$(printf '%s:' "$cache"/deps/lib/*.jar "$cache"/harness/*.jar)
classes=$cache/oracle-classes
if [ ! -f "$classes/.done" ] || [ -n "$(find "$here/flink" -name '*.java' -newer "$classes/.done")" ]; then
  rm -rf "$classes" && mkdir -p "$classes"
  javac -encoding UTF-8 -nowarn -XDsuppressNotes -cp "$jars" -d "$classes" "$here"/flink/*.java
  touch "$classes/.done"
fi
oracle() {
  java -Xmx4g -Dfile.encoding=UTF-8 -Dlog4j2.StatusLogger.level=OFF -Doracle.rocksdb="${ORACLE_ROCKSDB:+true}" \
    --add-opens=java.base/java.util=ALL-UNNAMED --add-opens=java.base/java.lang=ALL-UNNAMED \
    -cp "$classes:$jars" Oracle "$cases" "$@"
}
known() { grep -q "^{\"name\":\"$1\"," "$cases" || fail "no case is named $1; \`run.sh list\` names them all"; }

case "$#:${1:-}" in
  1:list) oracle list ;;
  3:all | 4:all) oracle all "$2" "$3" "${4:-2000}" ;;
  4:replay) known "$2" && oracle replay "$2" "$3" "$4" ;;
  3:* | 4:*) known "$1" && oracle run "$1" "$2" "$3" "${4:-2000}" ;;
  *) sed -n '3,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
