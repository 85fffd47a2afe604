# perplexity --reference on the sample: exactly equal for the lossless file, near for q8; the
# gates both ways; what is refused.
. tests/cli/common.sh

P="$INGOT perplexity"
# value FILE KEY: the number after "KEY": in a JSON file, the first of that name
value() { tr -d '\n\t ' <"$1" | grep -oE "\"$2\":[0-9.eE+-]+" | head -n 1 | cut -d: -f2; }
# within FILE KEY LOW HIGH
within() {
	if echo "$(value "$1" "$2") $3 $4" | awk '{ exit !(NF == 3 && $1 >= $2 && $1 <= $3) }'; then ok
	else bad "$1: $2 is $(value "$1" "$2"), not from $3 to $4"; fi
}

exits 'convert' 0 "$INGOT" convert "$SAMPLE" -o a.gguf -q
exits 'convert q8' 0 "$INGOT" convert "$SAMPLE" -o q8.gguf --recipe q8 -q

exits 'lossless' 0 $P a.gguf -f "$TEXT" --chunks 2 --reference "$SAMPLE" --per-layer --max-kld 0 \
	--max-ppl-increase 0 --json a.json
says 'within' '^within the gates: PPL increase 0 % .*mean KL divergence 0 '
says 'the divergence is exactly 0' '^  maximum +0$'
says 'the ratio is exactly 1' '^PPL ratio +1\.000000 \+/- 0\.000000'
says 'all tokens agree' 'same most likely token +100\.000 \+/- 0\.000 %'
says 'no layer differs' '^first difference: none'
check 'a line a state' test "$(grep -cE '^  (embedding|layer [0-3]) +0 +1\.0+ +0$' out)" -eq 5
check 'the last line' sh -c 'tail -n 1 out | grep -qE "^Final estimate: PPL = [0-9.]+ \+/- [0-9.]+$"'
check 'JSON: all zero' sh -c 'tr -d "\n\t " <a.json | grep -q "\"kl_divergence\":{\"positions\":510,\"mean\":0,\"error\":0,\"max\":0,"'
within a.json ppl_increase_percent 0 0

exits 'q8' 0 $P q8.gguf -f "$TEXT" --chunks 3 --reference a.gguf --per-layer --json q.json -t 1 \
	--logprobs with.lp --max-kld 0.01 --max-ppl-increase 1.5
cp out one.out
says 'q8 is near' '^first difference: embedding; first above 0\.001: embedding$'
within q.json min 0 0.0001
within q.json median 0.00001 0.001
within q.json max 0.001 1
within q.json relative_rms_error 0.001 0.02
exits 'three threads' 0 $P q8.gguf -f "$TEXT" --chunks 3 --reference a.gguf --per-layer --json q3.json -t 3 \
	--max-kld 0.01 --max-ppl-increase 1.5
same 'text from one thread and three' one.out out
for f in q q3; do grep -vE 'memory_bytes|seconds"|per_second"' $f.json >$f.cut; done
same 'JSON from one thread and three' q.cut q3.cut
exits 'small batches' 0 $P q8.gguf -f "$TEXT" --chunks 3 --reference a.gguf --per-layer --max-memory 45M -v \
	--max-kld 0.01 --max-ppl-increase 1.5
says 'small batches' '^batches: [23] of'
grep -vE '^(batches|PPL = |run|weights|peak)' out >small.out
same 'the same from small batches' one.out small.out
exits 'alone' 0 $P q8.gguf -f "$TEXT" --chunks 3 --logprobs alone.lp
same 'the reference does not touch the model' alone.lp with.lp
check 'the same last line' test "$(tail -n 1 out)" = "$(tail -n 1 one.out)"

exits 'gate on divergence' 1 $P q8.gguf -f "$TEXT" --chunks 1 --reference "$SAMPLE" --max-kld 1e-6 --json g.json
says 'gate on divergence' '^ingot: q8.gguf: outside the gates, .*: mean KL divergence [0-9.e-]+ \(--max-kld 1e-06, over by '
check 'the figures are there all the same' sh -c 'tail -n 1 out | grep -q "^Final estimate" && grep -q within g.json'
# the lossless file against q8 is better or worse: one way round the perplexity rises
$P q8.gguf -f "$TEXT" --chunks 2 --reference a.gguf --max-ppl-increase 0 >out 2>one.err; one=$?
$P a.gguf -f "$TEXT" --chunks 2 --reference q8.gguf --max-ppl-increase 0 >out 2>two.err; two=$?
check 'gate on perplexity, one way of two' test "$((one + two))" -eq 1
check 'it says by how much' sh -c 'cat one.err two.err | grep -qE "PPL increase [0-9.e-]+ % \(--max-ppl-increase 0, over by "'

exits 'gate without reference' 2 $P a.gguf -f "$TEXT" --max-kld 1
says 'gate without reference' '--reference'
exits 'gate without reference' 2 $P a.gguf -f "$TEXT" --max-ppl-increase 1
exits 'layers without reference' 2 $P a.gguf -f "$TEXT" --per-layer
exits 'a gate below 0' 2 $P a.gguf -f "$TEXT" --reference a.gguf --max-kld=-1
exits 'a gate that is no number' 2 $P a.gguf -f "$TEXT" --reference a.gguf --max-kld nan
exits 'no such reference' 4 $P a.gguf -f "$TEXT" --reference nothing
exits 'fewer layers' 0 "$MAKE_CHECKPOINT" three --layers 3 --n-vocab 1024 --record-time 4102444800
exits 'fewer layers' 1 $P a.gguf -f "$TEXT" --reference three
says 'fewer layers' '^ingot: a.gguf: 4 layers, the reference three has 3'
# need ARGS...: bytes that the refusal asks for
need() { $P "$@" -f "$TEXT" --chunks 1 -t 2 --max-memory 1M 2>&1 >out | grep -oE 'needs [0-9]+' | cut -d' ' -f2; }
one=$(need a.gguf) two=$(need a.gguf --reference q8.gguf --per-layer)
check 'two models need nearly twice the memory' test "$((two * 10))" -gt "$((one * 18))"
exits 'both must fit' 4 $P a.gguf -f "$TEXT" --chunks 1 -t 2 --reference q8.gguf --per-layer --max-memory $((two - 1))
says 'both must fit' 'in two models needs [0-9]+ bytes of memory, --max-memory allows'
exits 'both just fit' 0 $P a.gguf -f "$TEXT" --chunks 1 -t 2 --reference q8.gguf --per-layer --max-memory $two
done_testing
