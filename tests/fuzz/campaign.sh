#!/bin/bash
# campaign.sh RUNS [NAME...]: each fuzz target (or those named) until it has had RUNS inputs, campaigns before this one
# counted in (build/corpus/NAME.runs), so that it may be stopped and started again. The inputs go through a build
# without the address sanitizer, which is several times as fast; undefined behaviour, a broken promise of the target, a
# crash, 10 seconds or 1 GB stop it there. Then all that it kept goes through the build with the address sanitizer. In slices
# of SLICE inputs of at most MAX_LEN bytes, a target after the other. Ends with "N executions, N findings"; each leaves its input in build/findings.
set -u
runs=$1 slice=${SLICE:-1000000} failed=0 total=0; shift
fast=build/clang-fast-fuzzer-no-link-undefined/tests/fuzz
slow=build/clang-fuzz-fuzzer-no-link-address-undefined/tests/fuzz
[ $# -gt 0 ] || for t in tests/fuzz/fuzz_*.c; do t=${t##*/fuzz_}; set -- "$@" "${t%.c}"; done
mkdir -p build/findings build/corpus
export MALLOC_PERTURB_=90	# what is freed, or not yet written, has no friendly zeros

run() {	# BUILD NAME OPTIONS...: false, and the end of its log, if it found something
	local bin=$1 t=$2 late; shift 2
	"$bin/fuzz_$t" -print_final_stats=1 -print_funcs=0 -reload=0 -timeout=10 -rss_limit_mb=1024 \
		-artifact_prefix=build/findings/"$t"- "$@" build/corpus/"$t" tests/fuzz/seeds >build/findings/"$t".log 2>&1 && return
	late=$(sed -n 's/.*Test unit written to \(.*-timeout-.*\)/\1/p' build/findings/"$t".log)	# or the machine was busy?
	[ -n "$late" ] && "$bin/fuzz_$t" -timeout=10 "$late" 2>/dev/null && rm "$late" && return
	failed=$((failed + 1)); tail -n 20 build/findings/"$t".log
	return 1
}
had() { cat build/corpus/"$1".runs 2>/dev/null || echo 0 0; }	# NAME: executions, microseconds

for ((more = 1; more && failed == 0; )); do
	more=0
	for t in "$@"; do
		read -r n us < <(had "$t")
		left=$((runs - n)); [ $left -gt 0 ] || continue
		more=1; mkdir -p build/corpus/"$t"; start=${EPOCHREALTIME/./}
		run "$fast" "$t" -runs=$((left < slice ? left : slice)) -max_len=${MAX_LEN:-8192} -dict=tests/fuzz/"$t".dict || break
		n=$((n + $(sed -n 's/^stat::number_of_executed_units: *//p' build/findings/"$t".log)))
		echo $n $((us + ${EPOCHREALTIME/./} - start)) >build/corpus/"$t".runs
	done
done
for t in "$@"; do
	read -r n us < <(had "$t")
	[ -d build/corpus/"$t" ] && run "$slow" "$t" -runs=0 -max_len=65536
	printf '%-12s %12d executions %8d a second, %6d inputs kept\n' "$t" "$n" $((us ? n * 1000000 / us : 0)) \
		"$(find build/corpus/"$t" -type f 2>/dev/null | wc -l)"
	total=$((total + n))
done
echo "$total executions, $failed findings"
[ "$failed" -eq 0 ]
