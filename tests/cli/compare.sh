# compare: a source and its lossless file hold the same values, a q8 file differs by known figures, for any
# number of threads; what only one side has, and values that are no numbers, are shown and named.
. tests/cli/common.sh

exits 'convert' 0 "$INGOT" convert "$SAMPLE" -o a.gguf -q
exits 'q8' 0 "$INGOT" convert "$SAMPLE" -o q8.gguf --recipe q8 -q
exits 'source and lossless file' 0 "$INGOT" compare "$SAMPLE" a.gguf --max-relative-error 0
says 'all equal' '^126 tensors in both: 126 equal, 0 with other values, 0 of other shape; 0 only in A, 0 only in B$'
says 'types' '^FP8 -> BF16: 34 tensors, '
exits 'the sidecar, the other way round' 0 "$INGOT" compare mtp-a.gguf "$SAMPLE" --max-relative-error 0
says 'the sidecar' '^34 tensors in both: 34 equal'
exits 'two checkpoints, MTP' 0 "$INGOT" compare "$SAMPLE" "$SAMPLE" --mtp --tensors eh_proj
says 'two checkpoints, MTP' '^1 tensors in both: 1 equal'

exits 'q8' 0 "$INGOT" compare "$SAMPLE" q8.gguf -t 1 --json 1.json
cp out q8.txt
says 'q8: experts' 'blk.0.ffn_gate_exps.weight +FP4 +MXFP4 +104448 +104448 +equal$'
says 'q8: a matrix' 'blk.0.attn_q_a.weight +FP8 +Q8_0 +32770 +34816 +0\.000[34][0-9]* +0\.00[45]'
says 'q8: counts' '^126 tensors in both: 78 equal, 48 with other values'
for t in 2 5; do
	exits "$t threads" 0 "$INGOT" compare "$SAMPLE" q8.gguf -t $t --json $t.json
	same "$t threads" out q8.txt
	same "$t threads, JSON" 1.json $t.json
done
exits 'the GGUFs differ alike' 0 "$INGOT" compare a.gguf q8.gguf --tensors 'output.weight|attn_kv.w'
grep -oE '^blk.2.attn_kv.weight.*' out | tr -s ' ' | cut -d' ' -f6- >from-gguf
grep -oE '^blk.2.attn_kv.weight.*' q8.txt | tr -s ' ' | cut -d' ' -f6- >from-source
same 'the same figures from source and lossless file' from-gguf from-source
check 'figures' test -s from-gguf
exits 'a gate' 1 "$INGOT" compare "$SAMPLE" q8.gguf --max-relative-error 0.001
says 'a gate' '^ingot: q8.gguf: relative error 0\.00[0-9]+, more than --max-relative-error 0.001 \(tensor '
exits 'two models' 1 "$INGOT" compare a.gguf mtp-a.gguf
says 'two models' 'only in a.gguf$'
says 'two models' '^ingot: a.gguf: [0-9]+ tensors are not in mtp-a.gguf, which has [0-9]+ others; 0 differ in shape'

# an FP8 code that is no number, and a scale of FP4 that is none: 32 values
cp -r "$SAMPLE" harm
at() { f=$(grep -l "\"$1\"" harm/*.safetensors); n=$(od -An -tu8 -N8 "$f" | tr -d ' ')
	from=$(head -c $((8 + n)) "$f" | grep -ao "\"$1\":{[^}]*}" | sed 's/.*\[\([0-9]*\),.*/\1/'); from=$((8 + n + from)); }
at layers.1.attn.wq_b.weight && printf '\177' | dd of="$f" bs=1 seek=$((from + 128 * 5 + 3)) conv=notrunc 2>/dev/null
at layers.1.ffn.experts.2.w1.scale && printf '\377' | dd of="$f" bs=1 seek=$((from + 9)) conv=notrunc 2>/dev/null
exits 'damaged source' 0 "$INGOT" compare harm a.gguf
says 'one NaN of FP8' '^blk.1.attn_q_b.weight .* NaN 1 and 0$'
says 'a NaN scale of FP4' '^blk.1.ffn_gate_exps.weight .* NaN 32 and 0$'
says 'nothing else' '126 tensors in both: 124 equal, 2 with other values'
exits 'a NaN is over every gate' 1 "$INGOT" compare harm a.gguf --max-relative-error 1000
exits 'one argument' 2 "$INGOT" compare a.gguf
exits 'nothing there' 4 "$INGOT" compare a.gguf nothing.gguf
exits 'no model' 3 "$INGOT" compare a.gguf "$TEXT"
exits 'too little memory' 4 "$INGOT" compare a.gguf q8.gguf --max-memory 100K
says 'too little memory' '--max-memory allows'
done_testing
