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
done_testing
