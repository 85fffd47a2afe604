# The bundled sample is a trained model: it predicts text that it has not seen far better than the tokens'
# frequencies do, and damage to any of its parts shows in the perplexity.
. tests/cli/common.sh

CHUNKS=4
figure() { sed -n 's/^.*"ppl":[[:space:]]*\([0-9.eE+-]*\).*$/\1/p' "$1"; }
# above WHAT A FACTOR B: A is more than FACTOR * B
above() {
	if awk -v a="$2" -v f="$3" -v b="$4" 'BEGIN { exit !(b > 0 && a > f * b) }'; then ok
	else bad "$1: $2 is not over $3 * $4"; fi
}
# perplexity_of MODEL: prints it; leaves a line for each scored token in scored
perplexity_of() {
	"$INGOT" perplexity "$1" -f "$TEXT" --chunks $CHUNKS --logprobs scored --json found.json >/dev/null 2>err || cat err >&2
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
	at=$(head -c $((8 + n)) "$f" | grep -ao "\"$1\":{[^}]*}" | sed 's/.*\[\([0-9]*\),\([0-9]*\)\].*/\1 \2/')
	i=$((8 + n + ${at% *})) end=$((8 + n + ${at#* }))
	while [ $i -lt $end ]; do flip "$f" $i "$2"; i=$((i + 1)); done
}

whole=$(perplexity_of "$SAMPLE")
# the least that frequencies of tokens can give: those of the scored tokens themselves
least=$(awk '{ n[$2]++ } END { for (t in n) h -= n[t] * log(n[t] / NR); print exp(h / NR) }' scored)
above 'far better than frequencies' "$least" 3 "$whole"
# harm WHAT FACTOR: the sample in harm/ has more than FACTOR times the perplexity
harm() { above "$1 shows" "$(perplexity_of harm)" "$2" "$whole"; }
