#!/bin/sh
# coverage.sh TEST...: runs these programs and the command-line tests that are about input, in a build with
# --coverage, and prints which share of each parser's lines they ran. Exit code 1 below LEAST percent
# (default 95) of all together, or where a test fails.
set -u
least=${LEAST:-95} failed=0
export INGOT_SANDBOX=off	# a confined program could not write its counters
find "$BUILD" -name '*.gcda' -delete
for t in "$@"; do "$t" >/dev/null || failed=1; done
for t in damage replay runtime_bad sign sources; do sh tests/cli/$t.sh >/dev/null || failed=1; done
parsers='arch archive bundle checkpoint config dsse err filter gguf_read hub imatrix imatrix_read json json_keys members safetensors seal
	statement tar unpack utf8 vocab vocab_gguf vocab_json vocab_pre zip zip_walk'
for p in $parsers; do
	gcov -n -o "$BUILD/format/$p.o" "format/$p.c" 2>/dev/null |
		awk -v f="format/$p.c" -F"'" '$2 == f { want = 1; next } want && /^Lines executed/ { print f, $0; exit }'
done | sed 's/Lines executed:\([0-9.]*\)% of \([0-9]*\)/\1 \2/' |
	awk -v least="$least" '{ printf "%-28s %6.2f %% of %4d lines\n", $1, $2, $3; ran += $2 * $3 / 100; all += $3 }
		END { if (!all) { print "nothing was measured"; exit 1 }
		printf "%-28s %6.2f %% of %4d lines\n", "all parsers", 100 * ran / all, all; exit 100 * ran / all < least }' || failed=1
exit $failed
