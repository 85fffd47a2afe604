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
measure() {	# SOURCE TEXT CONVERT-OPTIONS...: leaves the file, its divergence and its error
	local source=$1 words=$2
	shift 2
	"$bin" convert "$source" -o "$dir/q.gguf" --no-mtp --allow-unverified --force -q "$@" >/dev/null
	"$bin" compare "$source" "$dir/q.gguf" --json "$dir/c.json" -q >/dev/null
	"$bin" perplexity "$dir/q.gguf" -f "$words" --chunks "$chunks" --reference "$source" --json "$dir/p.json" -q >/dev/null
}
row() {		# TYPE SOURCE TEXT CONVERT-OPTIONS...: the error is that of the tensors that became the type
	local type=$1
	shift
	measure "$@"
	printf '| %s | %s | %s | %.6f | %.5f |\n' "$type" "${bits[$type]}" "$(relative "$type")" "$(figure kl_divergence)" \
		"$(figure ppl_ratio)"
}
recipe_row() {	# LABEL SOURCE TEXT CONVERT-OPTIONS...
	local label=$1
	shift
	measure "$@"
	printf '| %s | %s | %.6f | %.5f |\n' "$label" "$(stat -c %s "$dir/q.gguf")" "$(figure kl_divergence)" "$(figure ppl_ratio)"
}
types_table() { printf '\n%s\n\n| type | bits | relative error | KL divergence | perplexity ratio |\n| --- | --- | --- | --- | --- |\n' "$1"; }
recipes_table() {	# TITLE SOURCE
	printf '\n%s\n\n| recipe | bytes | KL divergence | perplexity ratio |\n| --- | --- | --- | --- |\n' "$1"
	for r in lossless q8 q4; do recipe_row "$r" "$2" $text --recipe $r; done
	local size=$(stat -c %s "$dir/q.gguf")		# of q4
	recipe_row "--target-size, that of q4" "$2" $text --target-size "$size"
	recipe_row "--target-size, 9/10 of it" "$2" $text --target-size $((size * 9 / 10))
}

"$tools/tests/tool_experts" samples/v4-tiny "$dir/soft"
"$tools/samples/make_checkpoint" "$dir/large" --base --n-embd 2048 --n-vocab 2048 --n-ff-exp 2048 --layers 1 \
	--n-expert 4 --n-hash 1 --gain 1 --heldout "$dir/heldout.txt" >/dev/null

recipes_table 'Sample, FP4 experts' samples/v4-tiny
recipes_table 'Sample, experts spread to 16 bits' "$dir/soft"
types_table 'Sample: every matrix with rows of 256 but the experts'
for t in $types; do row $t samples/v4-tiny $text --tensor-type "_exps=KEEP" --tensor-type ".*=$t|KEEP"; done
types_table 'Sample, experts spread to 16 bits: gate and up experts'
for t in $types; do row $t "$dir/soft" $text --tensor-type "ffn_(gate|up)_exps=$t"; done
types_table 'Rows of 2048, FP8 experts: all experts'
for t in $types; do row $t "$dir/large" "$dir/heldout.txt" --tensor-type "_exps=$t"; done

# what an error of each role's tensors does: divergence over the sum of their squared relative errors
squares() { tr -d ' \t\n' <"$dir/c.json" | sed 's/,"types":.*//' | tr '{' '\n' |
	sed -n 's/.*"relative":\([^,]*\),"cosine.*/\1/p' | awk '{ s += $1 * $1 } END { printf "%.6f", s }'; }
printf '\nSample, experts spread to 16 bits: one role at a time as Q4_0\n\n'
printf '| role | sum of squared relative errors | KL divergence | the one over the other |\n| --- | --- | --- | --- |\n'
for role in output token_embd blk.*attn_kv blk.*attn_output_a blk.*attn_output_b blk.*attn_q_a blk.*attn_q_b blk.*ffn_gate_exps \
	blk.*ffn_up_exps blk.*ffn_down_exps blk.*ffn_gate_shexp blk.*ffn_up_shexp blk.*ffn_down_shexp blk.*attn_compressor_kv \
	blk.*attn_compressor_gate blk.*indexer.attn_q_b blk.*indexer.proj blk.*indexer_compressor_kv blk.*indexer_compressor_gate; do
	measure "$dir/soft" $text --tensor-type "^$role\\.weight=Q4_0"
	printf '| %s | %s | %s | %s |\n' "${role#blk.\*}" "$(squares)" "$(figure kl_divergence)" \
		"$(awk -v s="$(squares)" -v k="$(figure kl_divergence)" 'BEGIN { printf "%.4f", k / s }')"
done
