#!/bin/bash
# The runtime beside llama.cpp on the same GGUF, text and threads: perplexity and decode of one token at a
# time, by turns in one run, on V4-Flash's widths (256 experts) cut to LAYERS layers. LLAMA names the
# folder of llama.cpp's programs (llama-perplexity, llama-bench, built elsewhere); without it nothing is
# compared and the script says so. Needs 25 GB of scratch and 14 GB of memory. Called by make bench.
set -euo pipefail
if [ ! -x "${LLAMA:-}/llama-bench" ]; then
	echo "llama.cpp: not compared; LLAMA=DIR names the folder with its llama-perplexity and llama-bench"
	exit 0
fi
build=${BUILD:-build/gcc-release}
bin=${BIN:-$build/ingot}
dir=${BENCH_DIR:-/var/tmp/ingot-bench}
threads=${THREADS:-2} layers=${LAYERS:-2} rounds=${ROUNDS:-2} chunks=${CHUNKS:-4} new=${NEW:-200}
text=${TEXT:-samples/heldout.txt} tokens=$((512 * chunks))
mkdir -p "$dir"
make_model() {	# RECIPE FILE
	[ ! -f "$2" ] || return 0
	local source=$dir/peer-source
	[ -d "$source" ] || "$build"/samples/make_checkpoint "$source" --preset flash --layers "$layers" \
		--ratios "${RATIOS:-4,128}" --n-hash 1 --n-vocab "${VOCAB:-16384}" --record-time 4102444800 >/dev/null
	"$bin" convert "$source" -o "$2" --recipe "$1" --no-progress >/dev/null 2>&1
}
# Both leave out the opening of the file: seconds from the first layer to the last score.
ours_prefill() {
	"$bin" perplexity "$1" -f "$text" -c 512 --chunks "$chunks" -t "$threads" --max-memory 1G --no-progress \
		--json "$dir/peer.json" >/dev/null 2>&1
	sed -n 's/.*"seconds":[[:space:]]*\([0-9.e+]*\).*/\1/p' "$dir/peer.json" | tail -n 1 |
		awk -v n="$tokens" '{ printf "%.2f", n / $1 }'
}
theirs_prefill() {
	"$LLAMA"/llama-perplexity -m "$1" -f "$text" -c 512 --chunks "$chunks" -t "$threads" -b "$tokens" \
		-ub "$tokens" 2>&1 | sed -n 's/.*perplexity: \([0-9.]*\) seconds per pass.*/\1/p' |
		awk -v n="$tokens" '{ printf "%.2f", n / $1 }'
}
seconds_for() {	# MODEL N: seconds to decode N tokens, drawn so that all experts get their turn
	"$bin" run "$1" --raw -p "And it came to pass" -n "$2" --temp 1 --ignore-eos -t "$threads" --max-memory 14G \
		--no-progress -v 2>&1 >/dev/null | sed -n 's/^decode: .* in \([0-9.]*\) s.*/\1/p'
}
# Weights are read when they are first wanted, llama-bench's before it starts: so the later tokens.
ours_decode() {
	local a b
	a=$(seconds_for "$1" "$new") b=$(seconds_for "$1" $((3 * new)))
	awk -v a="$a" -v b="$b" -v n="$new" 'BEGIN { printf "%.2f", 2 * n / (b - a) }'
}
theirs_decode() {
	"$LLAMA"/llama-bench -m "$1" -t "$threads" -p 0 -n 64 -r 1 2>/dev/null |
		awk -F'|' '/ tg/ { split($8, a, " "); printf "%.2f", a[1] }'
}
ratio() { awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { if (b > 0) printf "%.2f", a / b; else printf "?" }'; }

for recipe in ${RECIPES:-lossless q8}; do
	model=$dir/peer-$recipe.gguf
	make_model "$recipe" "$model"
	for i in $(seq "$rounds"); do
		cat "$model" >/dev/null		# into the page cache, for both
		a=$(ours_prefill "$model") b=$(theirs_prefill "$model")
		echo "$recipe, run $i: perplexity at -c 512, tokens/s: ingot $a, llama.cpp $b, ratio $(ratio "$a" "$b") (asked 1.3)"
		a=$(ours_decode "$model") b=$(theirs_decode "$model")
		echo "$recipe, run $i: decode, tokens/s: ingot $a, llama.cpp $b, ratio $(ratio "$a" "$b") (asked 1.1)"
	done
done
rm -rf "$dir/peer-source"
