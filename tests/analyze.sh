#!/bin/bash
# Static analysis: gcc -fanalyzer over everything but the encoders and kernels, clang-tidy over what parses and what talks
# to people, cppcheck over everything but the tests. Exceptions have their reasons in .clang-tidy, tests/cppcheck.txt and
# here. `analyze.sh TOOL...` runs those named (gcc, clang-tidy, cppcheck); JOBS at once. clang-tidy takes minutes and
# leaves files alone that it found clean and that have not changed since, nor any header (build/tidy).
# Ends with "N passed, N failed"; a tool that is missing is a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
jobs=${JOBS:-$(nproc)}
export flags="-std=c17 -I. -D_GNU_SOURCE $(pkg-config --cflags zlib libarchive libcjson libcrypto)"
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ $# -gt 0 ] || set -- gcc clang-tidy cppcheck

clean() {	# NAME: the log has no finding
	if [ -s "$log" ]; then failed=$((failed + 1)); cat "$log"; echo "FAILED: $1"; else passed=$((passed + 1)); fi
}

# One file, with what analyze.h tells of other files; err.c defines what it wraps.
gcc_file() {
	local with='-include tests/analyze.h'
	[ "$1" != format/err.c ] || with=
	gcc -O2 $flags $with -fanalyzer -c "$1" -o /dev/null 2>&1 || echo "$1: cannot compile"
}
tidy_file() {
	local stamp=build/tidy/$1.clean found
	[ -e "$stamp" ] && [ -z "$(find "$1" .clang-tidy tests/analyze.h -- */*.h -newer "$stamp")" ] && return
	found=$(clang-tidy --quiet "$1" -- $flags -include tests/analyze.h 2>/dev/null) && [ -z "$found" ] &&
		mkdir -p "${stamp%/*}" && touch "$stamp"
	printf '%s\n' "$found"
}
export -f gcc_file tidy_file

# A member of a list that another struct owns is lost sight of and called a leak: `<unknown>`, and aux.c's digests.
# plan.c: as derive.c below; model.c: a log with lines has a line's end; forward.c: a slot is a member of its struct;
# html.c: what %e makes of a finite number has an e in it; convert.c: no memory for the paths ended it before.
run_gcc() {
	command -v gcc >/dev/null || echo 'gcc is missing'
	printf '%s\n' format/*.c cli/*.c verify/*.c convert/*.c quantize/[!e]*.c runtime/[!k]*.c runtime/kv.c report/*.c library/*.c |
		xargs -P "$jobs" -I{} bash -c 'gcc_file {}' | grep -E 'warning:|error:|cannot compile' | grep -v -e 'leak of .<unknown>.' \
		-e '^convert/aux.c:.*leak of .malloc' \
		-e '^convert/plan.c:.*value .found' -e '^report/html.c:.*NULL .at' -e '^convert/convert.c:.*NULL .*paths' \
		-e '^runtime/model.c:.*NULL .end' -e '^runtime/forward.c:.*NULL .0'
}

# verify/derive.c: source_bind, in another file, fills the matrix or says that there is none
run_tidy() {
	command -v clang-tidy >/dev/null || echo 'warning: clang-tidy is missing'
	printf '%s\n' format/*.c cli/*.c verify/*.c | grep -v '^format/err.c$' | xargs -P "$jobs" -I{} bash -c 'tidy_file {}' |
		grep -E '(warning|error):' | grep -v '/verify/derive.c:.*UndefinedBinaryOperatorResult'
}

run_cppcheck() {
	cppcheck -q --error-exitcode=1 --std=c11 -j"$jobs" --enable=warning,portability -I. -D_GNU_SOURCE --include=tests/cppcheck.h \
		--suppressions-list=tests/cppcheck.txt --inline-suppr format quantize convert verify runtime report library cli 2>&1 ||
		echo "cppcheck ended with $?"
}

for tool in "$@"; do
	case $tool in
	gcc) run_gcc >"$log" ;;
	clang-tidy) run_tidy >"$log" ;;
	cppcheck) run_cppcheck >"$log" ;;
	*) echo "no such tool" >"$log" ;;
	esac
	clean "$tool"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
