#!/bin/bash
# Everything that CI looks at, after the packages are there: two compilers, lint, static analysis,
# the test command of the README, the same under sanitizers, a race detector, a short fuzz.
# Each step is counted; the last line is "N passed, N failed". FUZZ_SECONDS (default 10) a target.
set -uo pipefail
jobs=${1:-$(nproc)}
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

step() {	# NAME COMMAND...: one check; its output is shown only if it fails
	local name=$1 t=$SECONDS; shift
	if "$@" >"$log" 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)); cat "$log"; echo "FAILED: $name"; fi
	printf '%-52s %4d s\n' "$name" $((SECONDS - t))
}
suite() {	# NAME COMMAND...: a test command; the counts of its closing line are added
	local name=$1 t=$SECONDS line; shift
	"$@" >"$log" 2>&1
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
	if [ -z "$line" ]; then cat "$log"; line='0 passed, 1 failed'; fi
	local p=${line%% passed*} f=${line#*passed, }; f=${f%% failed*}
	[ "$f" -eq 0 ] || cat "$log"
	passed=$((passed + p)) failed=$((failed + f))
	printf '%-52s %4d s   %s\n' "$name" $((SECONDS - t)) "$line"
}
same_bytes() {	# gcc and clang builds make the same file
	local d; d=$(mktemp -d)
	build/gcc-release/ingot convert samples/v4-tiny -o "$d/a.gguf" -q >/dev/null &&
	build/clang-release/ingot convert samples/v4-tiny -o "$d/b.gguf" -t 3 -q >/dev/null &&
	build/gcc-release/ingot convert samples/v4-tiny -o "$d/c.gguf" --recipe q8 -q >/dev/null &&
	build/clang-release/ingot convert samples/v4-tiny -o "$d/d.gguf" --recipe q8 -q >/dev/null &&
	cmp "$d/a.gguf" "$d/b.gguf" && cmp "$d/mtp-a.gguf" "$d/mtp-b.gguf" && cmp "$d/c.gguf" "$d/d.gguf"
	local r=$?; rm -rf "$d"; return $r
}
same_perplexity() {	# two compilers, two thread counts, source and result: one figure to the last digit, one matrix
	local d; d=$(mktemp -d)
	local run='perplexity -f samples/heldout.txt -c 256 --chunks 2'
	build/gcc-release/ingot convert samples/v4-tiny -o "$d/a.gguf" -q >/dev/null &&
	build/gcc-release/ingot $run samples/v4-tiny -t 1 --logprobs "$d/1" >/dev/null &&
	build/gcc-release/ingot $run "$d/a.gguf" -t 2 --logprobs "$d/2" >/dev/null &&
	build/clang-release/ingot $run samples/v4-tiny -t 3 --logprobs "$d/3" >/dev/null &&
	cmp "$d/1" "$d/2" && cmp "$d/1" "$d/3" &&
	build/gcc-release/ingot calibrate samples/v4-tiny -f samples/heldout.txt --chunks 1 -o "$d/1.gguf" -q >/dev/null &&
	build/clang-release/ingot calibrate "$d/a.gguf" -f samples/heldout.txt --chunks 1 -o "$d/2.gguf" -t 3 -q >/dev/null &&
	cmp "$d/1.gguf" "$d/2.gguf"
	local r=$?; rm -rf "$d"; return $r
}
races() {
	local d; d=$(mktemp -d)
	local bin=build/gcc-release-thread/ingot
	"$bin" convert samples/v4-tiny -o "$d/a.gguf" -t 4 && "$bin" verify "$d/a.gguf" -t 4 &&
	"$bin" verify samples/v4-tiny -t 4 &&
	"$bin" perplexity "$d/a.gguf" -f samples/heldout.txt --mtp -c 32 --chunks 1 -t 3 --max-memory 16M &&
	"$bin" run "$d/a.gguf" --raw -p 'And it came to pass' -n 3 -t 3 --max-memory 16M
	local r=$?; rm -rf "$d"; return $r
}
fuzz() {	# new inputs go to a scratch directory, the seeds are only read
	local d r; d=$(mktemp -d)
	build/clang-fuzz-fuzzer-no-link-address-undefined/tests/fuzz/"$1" -max_total_time="${FUZZ_SECONDS:-10}" \
		-dict=tests/fuzz/"${1#fuzz_}".dict -rss_limit_mb=2048 -max_len=65536 -timeout=10 -artifact_prefix="$d/" "$d" tests/fuzz/seeds
	r=$?; [ $r -eq 0 ] || cat "$d"/crash-* "$d"/timeout-* 2>/dev/null | base64
	rm -rf "$d"; return $r
}
fuzz_all() {	# as many targets at a time as there are processors; what each said and its end are left in DIR
	export -f fuzz
	for t in tests/fuzz/fuzz_*.c; do basename "$t" .c; done |
		xargs -P "$jobs" -I{} bash -c "fuzz {} >'$1/{}.log' 2>&1; echo \$? >'$1/{}.end'"
}
fuzz_end() { cat "$1/$2.log"; [ "$(cat "$1/$2.end")" = 0 ]; }

step 'build with gcc, warnings are errors' make -s -j"$jobs" WERROR=1 CC=gcc all tools
step 'build with clang, warnings are errors' make -s -j"$jobs" WERROR=1 CC=clang all tools
step 'lint' tests/lint.sh
suite 'gcc -fanalyzer and cppcheck' env JOBS="$jobs" tests/analyze.sh gcc cppcheck
suite 'make check' make -s check
step 'the same build elsewhere, byte for byte' make -s reproducible QUICK=1
step 'gcc and clang make the same bytes' same_bytes
step 'one perplexity for compilers, threads, source, result' same_perplexity
suite 'make check, address and undefined' make -s -j"$jobs" CC=clang SAN=address,undefined check
suite 'killed and failing runs' make -s crash
suite 'damage and meddling' make -s figures
suite 'NEON kernels under qemu' tests/neon.sh
suite 'no byte is read before it is written' make -s -j"$jobs" memory
step 'build with the thread sanitizer' make -s -j"$jobs" SAN=thread all
step 'no races' races
if step 'build the fuzzers' make -s -j"$jobs" fuzzers; then
	said=$(mktemp -d)
	step 'fuzz every target' fuzz_all "$said"
	for t in tests/fuzz/fuzz_*.c; do
		step "fuzz $(basename "$t" .c)" fuzz_end "$said" "$(basename "$t" .c)"
	done
	rm -rf "$said"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
