#!/bin/sh
# coverage.sh TEST...: runs these programs and the command-line tests that are about input, in a build with
# --coverage, and prints which share of each parser's lines they ran, and of the ways that its branches can go. Exit
# code 1 below LEAST percent (default 95) of all lines together or LEAST_BRANCHES (85), or where a test fails.
set -u
least=${LEAST:-95} least_branches=${LEAST_BRANCHES:-85} failed=0
export FAULTS=${FAULTS:-12} INGOT_SANDBOX=off	# a confined program could not write its counters
find "$BUILD" -name '*.gcda' -delete
for t in "$@"; do "$t" >/dev/null || failed=1; done
for t in archives damage errors faults replay runtime_bad sign sources split; do sh tests/cli/$t.sh >/dev/null || failed=1; done
parsers='arch archive bundle checkpoint config dsse err filter gguf_read hub imatrix imatrix_read json json_keys members safetensors seal
	statement tar unpack utf8 vocab vocab_gguf vocab_json vocab_pre zip'
for p in $parsers; do
	gcov -b -n -o "$BUILD/format/$p.o" "format/$p.c" 2>/dev/null |
		awk -v f="format/$p.c" -F"'" '$2 == f { want = 1; next } want && /^Lines executed/ { lines = $0 }
			want && /^No branches/ { $0 = "Taken at least once:0.00% of 0" }
			want && /^Taken at least once/ { print f, lines, $0; exit }'
done | sed 's/Lines executed:\([0-9.]*\)% of \([0-9]*\) Taken at least once:\([0-9.]*\)% of \([0-9]*\)/\1 \2 \3 \4/' |
	awk -v least="$least" -v least_b="$least_branches" '
		function row(name, l, n, b, m) { printf "%-28s %6.2f %% of %4d lines %6.2f %% of %4d branches\n", name, l, n, b, m }
		{ row($1, $2, $3, $4, $5); ran += $2 * $3 / 100; all += $3; taken += $4 * $5 / 100; ways += $5 }
		END { if (!all || !ways) { print "nothing was measured"; exit 1 }
		row("all parsers", 100 * ran / all, all, 100 * taken / ways, ways)
		exit 100 * ran / all < least || 100 * taken / ways < least_b }' || failed=1
exit $failed
