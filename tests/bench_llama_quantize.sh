#!/bin/bash
# `ingot quantize` beside llama-quantize: one BF16 file, the same types, one thread and THREADS, files in
# memory (OUT_DIR), by turns in one run; input GB/s of the whole command, and the error that each leaves
# (ingot compare). Ours hashes and seals as it goes. LLAMA names the folder of llama-quantize; without it
# nothing is compared and the script says so. Passes or fails nothing. Called by make bench.
set -euo pipefail
if [ ! -x "${LLAMA:-}/llama-quantize" ]; then
	echo "llama-quantize: not compared; LLAMA=DIR names its folder"
	exit 0
fi
build=${BUILD:-build/gcc-release}
bin=${BIN:-$build/ingot}
dir=$(mktemp -d -p "${OUT_DIR:-/dev/shm}")
trap 'rm -rf "$dir"' EXIT
declare -A theirs=([MXFP4]=MXFP4_MOE)
"$build"/samples/make_checkpoint "$dir/source" --base --n-embd 2048 --n-vocab 2048 --n-ff-exp 2048 --layers 2 \
	--n-expert 4 --n-hash 1 --gain 1 >/dev/null
"$bin" convert "$dir/source" -o "$dir/in.gguf" --no-mtp --allow-unverified -q --tensor-type '.*=BF16|KEEP' >/dev/null 2>&1
rm -rf "$dir/source"
size=$(stat -c %s "$dir/in.gguf")

took() {	# COMMAND...: seconds of the better of two runs
	local best=999 t i
	for i in 1 2; do
		t=$EPOCHREALTIME
		"$@" >/dev/null 2>&1 || { echo "failed: $*" >&2; exit 1; }
		t=$(awk -v a="$t" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')
		best=$(awk -v a="$best" -v b="$t" 'BEGIN { print a < b ? a : b }')
	done
	echo "$best"
}
error_of() {	# FILE TYPE: relative error of the experts that became the type
	"$bin" compare "$dir/in.gguf" "$1" --tensors '_exps' --json "$dir/c.json" -q >/dev/null 2>&1
	tr -d ' \t\n' <"$dir/c.json" | sed 's/.*"types"://' | tr '{' '\n' |
		sed -n "s/.*\"b\":\"$2\".*\"relative\":\([^,]*\),.*/\1/p" | head -n 1
}
printf '%s of BF16, best of two runs; GB/s: llama-quantize, ingot fast, ingot best (ratios)\n' "$size"
for type in ${TYPES:-Q8_0 Q4_0 Q4_1 MXFP4 IQ4_NL Q6_K Q5_K Q4_K IQ4_XS}; do
	for t in ${THREAD_LIST:-1 ${THREADS:-2}}; do
		a=$(took "$LLAMA"/llama-quantize --pure "$dir/in.gguf" "$dir/a.gguf" "${theirs[$type]:-$type}" "$t")
		b=$(took "$bin" quantize "$dir/in.gguf" -o "$dir/b.gguf" --tensor-type ".*=$type|KEEP" -t "$t" --force -q)
		c=$(took "$bin" quantize "$dir/in.gguf" -o "$dir/c.gguf" --tensor-type ".*=$type|KEEP" -t "$t" --force -q --effort best)
		awk -v n="$size" -v a="$a" -v b="$b" -v c="$c" -v type="$type" -v t="$t" 'BEGIN { n /= 1e9
			printf "%-7s %d threads  %6.3f  %6.3f (%5.1fx)  %6.3f (%5.1fx)\n", type, t, n / a, n / b, a / b, n / c, a / c }'
	done
	echo "$type error: llama-quantize $(error_of "$dir/a.gguf" "$type"), fast $(error_of "$dir/b.gguf" "$type")," \
		"best $(error_of "$dir/c.gguf" "$type")"
done
