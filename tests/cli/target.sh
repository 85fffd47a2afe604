# Expected errors of a dry run beside those that a conversion has; --target-size: the file has at most that size, the
# same for any number of threads, can be made again from its recipe, and loses less than one type for all.
. tests/cli/common.sh

# errors FILE: name and relative error of each tensor of a document with "name" and that figure
expected() { tr -d ' \t\n' <"$1" | tr '{' '\n' | sed -n 's/.*"name":"\([^"]*\)".*"expected_relative_error":\([-0-9.e]*\).*/\1 \2/p'; }
found() { tr -d ' \t\n' <"$1" | tr '{' '\n' | sed -n 's/.*"name":"\([^"]*\)".*"relative":\([-0-9.e]*\),"cosine.*/\1 \2/p'; }

"$MAKE_CHECKPOINT" base --base >/dev/null
rule='attn_(kv|q_a|output_a)\.=Q4_0'
exits 'dry run' 0 "$INGOT" convert base -o x.gguf --recipe q4 --tensor-type "$rule" --dry-run --json d.json -t 1
says 'dry run: a tensor' 'blk.1.ffn_gate_exps.weight +FP8 +-> Q4_K +110592 +0\.0[67][0-9]+$'
says 'dry run: what stays' 'blk.1.attn_norm.weight +BF16 +-> F32 +1024 +none$'
says 'dry run: a role' '^ffn_gate_exps.weight +4 +[0-9]+ +442368 +4\.5000 +0\.0[67]'
says 'dry run: how many values' '^expected errors: of at most [0-9]+ values of a tensor'
gone 'dry run' x.gguf
exits 'dry run, threads' 0 "$INGOT" convert base -o x.gguf --recipe q4 --tensor-type "$rule" --dry-run --json d5.json -t 5
expected d.json >expected
expected d5.json | cmp -s - expected && ok || bad 'expected errors depend on threads'
exits 'the same for real' 0 "$INGOT" convert base -o x.gguf --recipe q4 --tensor-type "$rule" -q
exits 'what it is' 0 "$INGOT" compare base x.gguf --json c.json
found c.json >found
check 'tensors' test "$(wc -l <found)" -eq 126
check 'expected errors are near those found' awk 'NR == FNR { e[$1] = $2; next }
	$2 > 0 { n++; d = e[$1] / $2 - 1; if (d > 0.2 || d < -0.2) { print $1, e[$1], $2; bad = 1 } }
	$2 == 0 && e[$1] != 0 { print $1, e[$1], "of nothing"; bad = 1 } END { exit bad || n < 40 }' expected found

# sizes
for z in 3400000 3900000 6000000; do
	exits "$z" 0 "$INGOT" convert "$SAMPLE" -o $z.gguf --no-mtp --target-size $z -t 1
	says "$z" "48 tensors were free, [0-9]+ of $z bytes are used; the smallest file would have"
	check "$z: at most, and most of it" test "$(size $z.gguf)" -le $z -a "$(size $z.gguf)" -ge $((z - z / 200))
	exits "$z: verify" 0 "$INGOT" verify $z.gguf
done
exits 'threads' 0 "$INGOT" convert "$SAMPLE" -o t.gguf --no-mtp --target-size 3900000 -t 4 --write-recipe chosen.recipe
same 'threads' 3900000.gguf t.gguf
exits 'from its recipe' 0 "$INGOT" convert "$SAMPLE" -o r.gguf --no-mtp --recipe ./chosen.recipe
same 'from its recipe' 3900000.gguf r.gguf
check 'the seal has the recipe' grep -aq '^^blk.\.0.\.attn_kv.\.weight$=' r.gguf
exits 'an existing recipe' 2 "$INGOT" convert "$SAMPLE" -o s.gguf --no-mtp --target-size 4M --write-recipe chosen.recipe
exits 'less loss than Q5_K everywhere' 0 "$INGOT" perplexity 3900000.gguf -f "$TEXT" --chunks 2 --reference "$SAMPLE" --max-kld 0.006
exits 'Q5_K everywhere' 0 "$INGOT" convert "$SAMPLE" -o q5.gguf --no-mtp --tensor-type _exps=KEEP --tensor-type '.*=Q5_K|Q8_0'
check 'is no smaller' test "$(size q5.gguf)" -ge 3900000
exits 'and over that' 1 "$INGOT" perplexity q5.gguf -f "$TEXT" --chunks 2 --reference "$SAMPLE" --max-kld 0.006

# ends
exits 'too small' 2 "$INGOT" convert "$SAMPLE" -o small.gguf --no-mtp --target-size 1000000
says 'too small' 'the smallest file has [0-9]+ bytes, .*FP4 weights are in theirs, MXFP4 of 4.25 bits'
gone 'too small' small.gguf
least=$(sed -n 's/.*the smallest file has \([0-9]*\) bytes.*/\1/p' err)
exits 'the smallest' 0 "$INGOT" convert "$SAMPLE" -o small.gguf --no-mtp --target-size "$least" -q
check 'the smallest' test "$(size small.gguf)" -eq "$least"
exits 'a byte less' 2 "$INGOT" convert "$SAMPLE" -o s.gguf --no-mtp --target-size $((least - 1))
exits 'room for all' 0 "$INGOT" convert "$SAMPLE" -o all.gguf --target-size 1G -q
exits 'room for all' 0 "$INGOT" compare "$SAMPLE" all.gguf --max-relative-error 0
exits 'the sidecar' 0 "$INGOT" compare "$SAMPLE" mtp-all.gguf
says 'the sidecar is Q8_0' 'blk.4.attn_q_a.weight +FP8 +Q8_0'
exits "a user's rule stays" 0 "$INGOT" convert "$SAMPLE" -o s.gguf --dry-run --target-size 4M --tensor-type 'attn_kv\.=Q4_1'
says "a user's rule stays" 'blk.2.attn_kv.weight +FP8 +-> Q4_1'
exits 'recipe and size' 2 "$INGOT" convert "$SAMPLE" -o s.gguf --recipe q8 --target-size 4M
exits 'FP8 experts' 0 "$INGOT" convert base -o s.gguf --dry-run --target-size 3700000 --json -
says 'FP8 experts' '"target_least_bytes":'

# a GGUF that becomes a smaller one
exits 'lossless' 0 "$INGOT" convert "$SAMPLE" -o a.gguf --no-mtp -q
exits 'quantize' 0 "$INGOT" quantize a.gguf -o z.gguf --target-size 3900000
check 'quantize: at most, and most of it' test "$(size z.gguf)" -le 3900000 -a "$(size z.gguf)" -ge 3880000
exits 'quantize: verify' 0 "$INGOT" verify z.gguf
exits 'quantize: what is quantized stays' 2 "$INGOT" quantize z.gguf -o y.gguf --target-size 3500000
says 'quantize: what is quantized stays' 'the smallest file has'
exits 'or not' 0 "$INGOT" quantize z.gguf -o y.gguf --target-size 3500000 --allow-requantize
check 'or not' test "$(size y.gguf)" -le 3500000
done_testing
