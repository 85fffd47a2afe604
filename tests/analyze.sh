#!/bin/sh
# Static analysis: gcc -fanalyzer and clang-tidy over what parses and what talks to people, cppcheck over everything but
# the tests. Not covered by the first two: convert, quantize and runtime, which cppcheck, the warnings and the
# sanitizers see. Exceptions have their reasons in .clang-tidy, tests/cppcheck.txt and here. JOBS at once.
# Ends with "N passed, N failed"; a tool that is missing is a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
jobs=${JOBS:-$(nproc)}
flags="-std=c17 -I. -D_GNU_SOURCE $(pkg-config --cflags zlib libarchive libcjson libcrypto)"
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

clean() {	# NAME: the log has no finding
	if [ -s "$log" ]; then failed=$((failed + 1)); cat "$log"; echo "FAILED: $1"; else passed=$((passed + 1)); fi
}

# -fanalyzer: a tensor's entry is reached through its list, which the analyser loses sight of and calls a leak
gcc --version >/dev/null && printf '%s\n' format/*.c |
	xargs -P "$jobs" -I{} sh -c "gcc -O2 $flags -fanalyzer -c {} -o /dev/null 2>&1 || echo 'cannot compile {}'" |
	grep -E 'warning:|error:|cannot' | grep -v '^format/safetensors.c:.*leak of .<unknown>.' >"$log"
clean 'gcc -fanalyzer'

# err.c defines what analyze.h wraps; verify/derive.c: source_bind, in another file, fills the matrix or says that there is none
: >"$log"
command -v clang-tidy >/dev/null || echo 'clang-tidy is missing' >"$log"
[ -s "$log" ] || printf '%s\n' format/*.c cli/*.c verify/*.c | grep -v '^format/err.c$' |
	xargs -P "$jobs" -I{} clang-tidy --quiet {} -- $flags -include tests/analyze.h 2>/dev/null |
	grep -E '(warning|error):' | grep -v '/verify/derive.c:.*UndefinedBinaryOperatorResult' >"$log"
clean 'clang-tidy'

cppcheck -q --error-exitcode=1 --std=c11 -j"$jobs" --enable=warning,portability -I. -D_GNU_SOURCE --include=tests/cppcheck.h \
	--suppressions-list=tests/cppcheck.txt --inline-suppr format quantize convert verify runtime report cli >"$log" 2>&1 ||
	echo "cppcheck ended with $?" >>"$log"
clean 'cppcheck'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
