#!/bin/sh
# memory.sh PROGRAM...: unit tests and replays of fuzz seeds in a build with the memory sanitizer, which ends a program that
# acts on a byte that nobody wrote. Libraries that are not built so would be accused of all that they write: only
# parsers that use none of them are here. Ends with "N passed, N failed".
set -u
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for t in "$@"; do
	case $t in */replay_*) "$t" 300 tests/fuzz/seeds/* ;; *) "$t" ;; esac >"$log" 2>&1 && passed=$((passed + 1)) || {
		failed=$((failed + 1)); head -n 20 "$log"; echo "FAILED: $t"
	}
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
