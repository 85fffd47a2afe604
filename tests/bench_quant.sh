#!/bin/bash
# What each block type costs: bits a value against relative error, KL divergence and perplexity, on the
# trained sample and on a fitted model with rows as long as V4-Flash's. Markdown tables, for
# docs/quantization.md; passes or fails nothing. CHUNKS (default 34: the whole text) makes it shorter.
set -euo pipefail
bin=${BIN:-build/gcc-release/ingot}
tools=${BUILD:-build/gcc-release}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chunks=${CHUNKS:-34}
text=samples/heldout.txt
types=${TYPES:-Q8_0 Q6_K Q5_K Q4_1 Q4_K Q4_0 IQ4_NL NVFP4 IQ4_XS MXFP4}
declare -A bits=([Q8_0]=8.5 [Q6_K]=6.5625 [Q5_K]=5.5 [Q4_1]=5 [Q4_K]=4.5 [Q4_0]=4.5 [IQ4_NL]=4.5 [NVFP4]=4.5 [IQ4_XS]=4.25 [MXFP4]=4.25)

# figure OBJECT: the mean in that object of the report
figure() { tr -d ' \t\n' <"$dir/p.json" | sed -n "s/.*\"$1\":{[^}]*\"mean\":\([-0-9.eE+]*\).*/\1/p"; }
# relative TYPE: error of all tensors that became it, from a comparison's JSON
relative() {
	tr -d ' \t\n' <"$dir/c.json" | sed 's/.*"types"://' | tr '{' '\n' |
		sed -n "s/.*\"b\":\"$1\".*\"values\":\([0-9]*\),\"rms\":\([^,]*\),\"relative\":\([^,]*\),.*/\1 \2 \3/p" |
		awk '$3 > 0 { d = $1 * $2 * $2; dd += d; xx += d / ($3 * $3) } END { printf "%.4f", xx ? sqrt(dd / xx) : 0 }'
}
# row LABEL BITS SOURCE TEXT TYPE CONVERT-OPTIONS...: one line of a table
row() {
	local label=$1 bpw=$2 source=$3 words=$4 type=$5
	shift 5
	"$bin" convert "$source" -o "$dir/q.gguf" --no-mtp --allow-unverified --force -q "$@" >/dev/null
	"$bin" compare "$source" "$dir/q.gguf" --json "$dir/c.json" -q >/dev/null
	"$bin" perplexity "$dir/q.gguf" -f "$words" --chunks "$chunks" --reference "$source" --json "$dir/p.json" -q >/dev/null
	printf '| %s | %s | %s | %s | %.6f | %.5f |\n' "$label" "$bpw" "$(stat -c %s "$dir/q.gguf")" "$(relative "$type")" \
		"$(figure kl_divergence)" "$(figure ppl_ratio)"
}
title() { printf '\n%s\n\n| %s | bits | file, bytes | relative error | KL divergence | perplexity ratio |\n' "$1" "$2"
	 printf '| --- | --- | --- | --- | --- | --- |\n'; }

"$tools/tests/tool_experts" samples/v4-tiny "$dir/soft"
"$tools/samples/make_checkpoint" "$dir/large" --base --n-embd 2048 --n-vocab 2048 --n-ff-exp 2048 --layers 2 \
	--n-hash 1 --heldout "$dir/heldout.txt" >/dev/null

title 'Sample, experts spread to 16 bits: gate and up experts' type
for t in $types; do row $t "${bits[$t]}" "$dir/soft" $text $t --tensor-type "ffn_(gate|up)_exps=$t"; done
title 'Sample: every other matrix with rows of 256' type
for t in $types; do row $t "${bits[$t]}" samples/v4-tiny $text $t --tensor-type "_exps=KEEP" --tensor-type ".*=$t|KEEP"; done
title 'Rows of 2048, FP8 experts' type
for t in $types; do row $t "${bits[$t]}" "$dir/large" "$dir/heldout.txt" $t --tensor-type "_exps=$t"; done
title 'Recipes, sample' recipe
for r in lossless q8 q4; do row $r '' samples/v4-tiny $text Q8_0 --recipe $r; done
title 'Recipes, sample with experts spread to 16 bits' recipe
for r in lossless q8 q4; do row $r '' "$dir/soft" $text Q8_0 --recipe $r; done
