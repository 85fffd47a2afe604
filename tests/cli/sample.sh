# The bundled sample is a trained model: it predicts text that it has not seen far better than the tokens'
# frequencies do, and damage to any of its parts shows in the perplexity.
. tests/cli/common.sh

figure() { sed -n 's/^.*"ppl":[[:space:]]*\([0-9.eE+-]*\).*$/\1/p' "$1"; }
# above WHAT A FACTOR B: A is more than FACTOR * B
above() {
	if awk -v a="$2" -v f="$3" -v b="$4" 'BEGIN { exit !(b > 0 && a > f * b) }'; then ok
	else bad "$1: $2 is not over $3 * $4"; fi
}
# perplexity_of MODEL: prints it; leaves a line for each scored token in scored
perplexity_of() {
	"$INGOT" perplexity "$1" -f "$TEXT" --chunks 4 --logprobs scored --json found.json >/dev/null 2>err || cat err >&2
	figure found.json
}
# swapped A B: the sample in harm/, with the names of the tensors that begin with A and with B exchanged
swapped() {
	rm -rf harm && mkdir harm && cp "$SAMPLE"/*.json harm/
	for f in "$SAMPLE"/*.safetensors "$SAMPLE"/model.safetensors.index.json; do
		LC_ALL=C sed "s/\"$1/\"@$1/g; s/\"$2/\"$1/g; s/\"@$1/\"$2/g" "$f" >"harm/${f##*/}"
	done
}
# flipped TENSOR BIT: the sample in harm/, with that bit changed in every byte of the tensor
flipped() {
	rm -rf harm && mkdir harm && cp "$SAMPLE"/*.json "$SAMPLE"/*.safetensors harm/
	f=$(grep -l "\"$1\"" harm/*.safetensors)
	n=$(od -An -tu8 -N8 "$f" | tr -d ' ')
	range=$(head -c $((8 + n)) "$f" | grep -ao "\"$1\":{[^}]*}" | sed 's/.*\[\([0-9]*\),\([0-9]*\)\].*/\1 \2/')
	from=$((8 + n + ${range% *})) to=$((8 + n + ${range#* }))
	od -An -v -tu1 -w1 -j$from -N$((to - from)) "$f" | awk -v b=$((1 << $2)) \
		'{ printf "\\%03o", int($1 / b) % 2 ? $1 - b : $1 + b }' >bytes
	printf "$(cat bytes)" | dd of="$f" bs=4096 seek=$from oflag=seek_bytes conv=notrunc 2>/dev/null
}
# harm WHAT FACTOR: the sample in harm/ has more than FACTOR times the perplexity of the whole one
harm() { above "$1" "$(perplexity_of harm)" "$2" "$whole"; }

whole=$(perplexity_of "$SAMPLE")
# the least that frequencies of tokens can give: those of the scored tokens themselves
least=$(awk '{ n[$2]++ } END { for (t in n) h -= n[t] * log(n[t] / NR); print exp(h / NR) }' scored)
above 'better than frequencies' "$least" 3 "$whole"
# damage to each kind of part
flipped layers.0.attn.wo_b.scale 1 && harm 'scales of FP8' 1.02
for l in 0 1 2 3; do
	flipped layers.$l.ffn.experts.0.w2.scale 2 && harm "scales of an expert of layer $l" 1.01
	swapped layers.$l.hc_attn_ layers.$l.hc_ffn_ && harm "hyper-connections of layer $l" 1.005
done
flipped layers.1.attn.attn_sink 6 && harm 'sinks' 1.01
swapped layers.1.attn.compressor. layers.3.attn.compressor. && harm 'compressors' 1.02
swapped layers.2.attn.compressor.wkv layers.2.attn.compressor.wgate && harm 'the compressor of 128' 1.001
swapped layers.0.attn.wo_b layers.2.attn.wo_b && harm 'output matrices of two layers' 1.1
done_testing
