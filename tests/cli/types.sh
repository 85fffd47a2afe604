# Block types of each family by --tensor-type: one converts, is the same for any number of threads, and runs;
# rows that are no whole blocks are refused by name.
. tests/cli/common.sh

for t in NVFP4 Q4_1 IQ4_XS Q4_K Q6_K; do
	rule="(ffn_gate_exps|ffn_up_exps|token_embd|attn_q_a|attn_kv)\\.weight=$t"
	exits "convert to $t" 0 "$INGOT" convert "$SAMPLE" -o $t.gguf --no-mtp --tensor-type "$rule" -t 1 -q
	exits "$t with 3 threads" 0 "$INGOT" convert "$SAMPLE" -o 3.gguf --no-mtp --tensor-type "$rule" -t 3 -q --force
	same "$t with 3 threads" $t.gguf 3.gguf
	exits "verify $t" 0 "$INGOT" verify $t.gguf -q
	exits "run $t" 0 "$INGOT" perplexity $t.gguf -f "$TEXT" --chunks 1 --reference "$SAMPLE" --max-kld 0.08
done
check '4 bits are fewer than 6' test "$(size Q4_K.gguf)" -lt "$(size Q6_K.gguf)"
exits 'rows that are no blocks' 2 "$INGOT" convert "$SAMPLE" -o x.gguf --tensor-type 'attn_q_b=Q4_K'
says 'rows that are no blocks' 'blk.0.attn_q_b.weight have 128 elements, no multiple of Q4_K.s block of 256'
gone 'rows that are no blocks' x.gguf
# a second type for those rows, or none
exits 'a second type' 0 "$INGOT" convert "$SAMPLE" -o x.gguf --dry-run --tensor-type 'attn_q_b=Q4_K|Q8_0'
says 'a second type' 'blk.0.attn_q_b.weight .rows of 128. becomes Q8_0'
says 'a second type' 'blk.3.attn_q_b.weight +FP8 +-> Q8_0'
exits 'as they are' 0 "$INGOT" convert "$SAMPLE" -o x.gguf --dry-run --tensor-type 'attn_q_b=Q4_K|KEEP'
says 'as they are' 'blk.3.attn_q_b.weight +FP8 +-> BF16'
exits 'a second type that does not fit either' 2 "$INGOT" convert "$SAMPLE" -o x.gguf --dry-run --tensor-type 'attn_q_b=Q4_K|Q6_K'
exits 'no such second type' 2 "$INGOT" convert "$SAMPLE" -o x.gguf --dry-run --tensor-type 'attn_q_b=Q4_K|Q99'
says 'no such second type' 'Q99 is no GGUF type'
# q4: FP4 experts stay, FP8 experts become the 4-bit type, or the second one where rows are too short
"$MAKE_CHECKPOINT" base --base >/dev/null
exits 'q4 of FP4 experts' 0 "$INGOT" convert "$SAMPLE" -o x.gguf --dry-run --recipe q4
says 'q4 of FP4 experts' 'blk.1.ffn_up_exps.weight +FP4 +-> MXFP4'
exits 'q4 of FP8 experts' 0 "$INGOT" convert base -o q4.gguf --recipe q4 --json q4.json
says 'q4 of FP8 experts' 'blk.0.ffn_down_exps.weight .rows of 96. becomes IQ4_NL'
exits 'its experts' 0 "$INGOT" inspect q4.gguf --tensors
says 'its experts' 'blk.0.ffn_down_exps.weight +IQ4_NL'
says 'its experts' 'blk.0.ffn_gate_exps.weight +(Q4_K|IQ4_XS)'
says 'its router' 'blk.0.ffn_gate_inp.weight +BF16'
exits 'run q4' 0 "$INGOT" perplexity q4.gguf -f "$TEXT" --chunks 1 --reference base --max-kld 0.1
done_testing
