#!/bin/sh
# Every message of an error is brought about: all tests run with tests/spy.c in front, which writes down what ingot and the tests
# format; a message counts as seen if a line has all its fixed parts in their order. tests/cli/errors.sh and
# tests/cli/faults.sh, here with many places, bring most about. What no test can is in tests/unseen.txt with its reason.
# Ends with "N passed, M failed": one check for each message.
# BIN, BUILD, and the unit tests as arguments. Called by make messages; minutes.
set -eu
log=$(mktemp) list=$(mktemp)
trap 'rm -f "$log" "$list"' EXIT
${CC:-gcc} -shared -fPIC -O1 -D_GNU_SOURCE tests/spy.c -o "$BUILD"/tests/spy.so -ldl
FAULTS=40 SPY_LOG=$log LD_PRELOAD=$(pwd)/$BUILD/tests/spy.so tests/run.sh "$@" >"$BUILD"/tests/spy.out 2>&1 || true
tests/messages_list.sh >"$list"
n=$(wc -l <"$list")
awk -f tests/messages_parts.awk -f tests/messages_seen.awk "$log" "$list" | sort >"$BUILD"/tests/unseen
grep -v '^#' tests/unseen.txt | grep . | sort >"$list"
comm -23 "$BUILD"/tests/unseen "$list" | sed 's/^/FAILED, not seen: /'
m=$(comm -23 "$BUILD"/tests/unseen "$list" | wc -l)
comm -13 "$BUILD"/tests/unseen "$list" | sed 's/^/seen by now, or gone; take it out of tests\/unseen.txt: /'
echo "$n messages: $((n - $(wc -l <"$BUILD"/tests/unseen))) brought about, $(comm -12 "$BUILD"/tests/unseen "$list" | wc -l) of tests/unseen.txt"
echo "$((n - m)) passed, $m failed"
[ "$m" -eq 0 ]
