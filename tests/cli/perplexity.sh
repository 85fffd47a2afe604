# Perplexity of the sample: the figures of an independent implementation in float64, the same from
# checkpoint and lossless GGUF, from any number of threads; what is refused, and how.
. tests/cli/common.sh

# near FILE WANT: "ppl" in the JSON file is WANT to a millionth
near() {
	got=$(sed -n 's/^.*"ppl":[[:space:]]*\([0-9.eE+-]*\).*$/\1/p' "$1")
	if echo "$got $2" | awk '{ d = $1 / $2 - 1; exit !($1 > 0 && d < 1e-6 && d > -1e-6) }'; then ok
	else bad "PPL $got, not $2"; fi
}

exits 'convert' 0 "$INGOT" convert "$SAMPLE" -o a.gguf -q
exits 'source' 0 "$INGOT" perplexity "$SAMPLE" -f "$TEXT" --chunks 2 --json s.json --logprobs s.lp -t 1
says 'the text is named by its digest' "SHA-256 $(sha256sum "$TEXT" | cut -d' ' -f1)"
says 'chunks' 'chunks: 2 of 512 tokens out of 17704 \(16680 left over\), 255 scored'
says 'bos' 'bos: none'
check 'a running estimate' grep -qE '^\[1\]19\.6209,\[2\]27\.[0-9]{4},$' out
check 'the last line' sh -c 'tail -n 1 out | grep -qE "^Final estimate: PPL = [0-9.]+ \+/- [0-9.]+$"'
near s.json 27.2469382827938
exits 'GGUF' 0 "$INGOT" perplexity a.gguf -f "$TEXT" --chunks 2 --json g.json --logprobs g.lp -t 3
near g.json 27.2469382827938
same 'probabilities of source and GGUF' s.lp g.lp
check 'a line a scored token' test "$(wc -l <s.lp)" -eq 510
exits 'one chunk at a time' 0 "$INGOT" perplexity a.gguf -f "$TEXT" --chunks 2 --logprobs m.lp -t 2 --max-memory 20M
same 'one chunk at a time' s.lp m.lp
for k in scalar avx2 avx512 neon; do	# those that this processor has
	if INGOT_KERNELS=$k "$INGOT" perplexity a.gguf -f "$TEXT" -c 128 --chunks 1 --logprobs $k.lp -t 2 -v >out 2>err; then
		says "$k is named" "$k kernels"
		same "the same probabilities from $k kernels" scalar.lp $k.lp
	else
		check "$k is refused" grep -q "INGOT_KERNELS is '$k', which" err
	fi
done
exits 'kernels that are not known' 2 env INGOT_KERNELS=mmx "$INGOT" perplexity a.gguf -f "$TEXT" --chunks 1
check 'they are named' grep -q "INGOT_KERNELS is 'mmx'.* avx512, avx2 or scalar\|neon or scalar" err
exits 'long context' 0 "$INGOT" perplexity a.gguf -f "$TEXT" -c 2048 --chunks 1 --json l.json
near l.json 30.8523189365146
exits 'q8' 0 "$INGOT" convert "$SAMPLE" -o q8.gguf --recipe q8 -q
exits 'q8' 0 "$INGOT" perplexity q8.gguf -f "$TEXT" --chunks 1 --logprobs q8.lp
check 'q8 is near, not equal' sh -c '! cmp -s q8.lp s.lp && tail -n 1 out | grep -qE "PPL = 19\.[0-9]+ "'

cut -d' ' -f2 s.lp | head -n 255 >few.ids
exits 'token ids' 0 "$INGOT" perplexity a.gguf --token-ids few.ids -c 100 --json -
says 'token ids' '"tokens":[[:space:]]*255'
says 'JSON alone on standard output' '"left_over":[[:space:]]*55'
exits 'a text too short' 3 "$INGOT" perplexity a.gguf --token-ids few.ids
says 'a text too short' '^ingot: few.ids: 255 tokens are less than one chunk of 512'
echo '3 1024' >bad.ids
exits 'an id outside' 3 "$INGOT" perplexity a.gguf --token-ids bad.ids -c 4
says 'an id outside' '^ingot: bad.ids: bytes '
exits 'too little memory' 4 "$INGOT" perplexity a.gguf -f "$TEXT" --max-memory 1M
says 'too little memory' 'needs [0-9]+ bytes of memory, --max-memory allows 1048576; .* for the weights at work in one layer'
exits 'no text' 2 "$INGOT" perplexity a.gguf
exits 'text and ids' 2 "$INGOT" perplexity a.gguf -f "$TEXT" --token-ids few.ids
exits 'no model' 2 "$INGOT" perplexity -f "$TEXT"
exits 'a context of three' 2 "$INGOT" perplexity a.gguf -f "$TEXT" -c 3
exits 'official activations' 0 "$INGOT" perplexity a.gguf --token-ids few.ids -c 100 --activations official --logprobs o.lp
says 'official activations' ', official activations$'
exits 'official, source' 0 "$INGOT" perplexity "$SAMPLE" --token-ids few.ids -c 100 --activations official --logprobs p.lp
same 'official: source and GGUF' o.lp p.lp
exits 'no such activations' 2 "$INGOT" perplexity a.gguf -f "$TEXT" --activations f8
exits 'no such model' 4 "$INGOT" perplexity nothing.gguf -f "$TEXT"
exits 'no such text' 4 "$INGOT" perplexity a.gguf -f nothing.txt
exits 'the sidecar alone is no model' 3 "$INGOT" perplexity mtp-a.gguf -f "$TEXT"
exits 'a text is no model' 3 "$INGOT" perplexity "$TEXT" -f "$TEXT"
done_testing
