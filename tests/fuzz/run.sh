#!/bin/bash
# run.sh SECONDS [NAME...]: each fuzz target (or those named) for so long, with its dictionary, from the seeds and
# from what earlier runs found (build/corpus). Prints executions; a finding stops it and leaves its input.
set -u
seconds=$1; shift
bin=build/clang-fuzz-fuzzer-no-link-address-undefined/tests/fuzz
[ $# -gt 0 ] || for t in tests/fuzz/fuzz_*.c; do t=${t##*/fuzz_}; set -- "$@" "${t%.c}"; done
total=0 failed=0
for t in "$@"; do
	mkdir -p build/corpus/"$t" build/findings
	"$bin/fuzz_$t" -max_total_time="$seconds" -dict=tests/fuzz/"$t".dict -print_final_stats=1 -timeout=10 \
		-max_len=65536 -rss_limit_mb=2048 -artifact_prefix=build/findings/"$t"- \
		build/corpus/"$t" tests/fuzz/seeds >build/findings/"$t".log 2>&1 || { failed=$((failed + 1)); tail -n 30 build/findings/"$t".log; }
	n=$(sed -n 's/^stat::number_of_executed_units: *//p' build/findings/"$t".log)
	total=$((total + ${n:-0}))
	printf '%-12s %12s executions\n' "$t" "${n:-0}"
done
echo "$total executions, $failed findings"
[ "$failed" -eq 0 ]
