#!/bin/sh
# Which messages of errors the tests really bring about: all of them run with tests/spy.c in front, which writes down what
# ingot and the tests format; a message counts as seen if a line has all its fixed parts in their order. Lists those that
# nobody saw. A report, not a test: calls of the operating system that fail are tests/crash.sh's.
# BIN, BUILD, and the unit tests as arguments. Called by make messages; minutes.
set -eu
log=$(mktemp) list=$(mktemp)
trap 'rm -f "$log" "$list"' EXIT
${CC:-gcc} -shared -fPIC -O1 -D_GNU_SOURCE tests/spy.c -o "$BUILD"/tests/spy.so -ldl
SPY_LOG=$log LD_PRELOAD=$(pwd)/$BUILD/tests/spy.so tests/run.sh "$@" >"$BUILD"/tests/spy.out 2>&1 || true
tests/messages_list.sh >"$list"
n=$(wc -l <"$list")
awk -f tests/messages_parts.awk -f tests/messages_seen.awk "$log" "$list" >"$BUILD"/tests/unseen
cat "$BUILD"/tests/unseen
m=$(wc -l <"$BUILD"/tests/unseen)
echo "$n messages, $((n - m)) seen, $m not: listed above, and in $BUILD/tests/unseen"
