# deepseek4 GGUFs as llama.cpp's converter, ds4 and ik_llama.cpp write them: taken by every command, or refused by name.
. tests/cli/common.sh
PEER=$SRC/$BUILD/tests/tool_peer
exits 'a file to start from' 0 "$INGOT" convert "$SAMPLE" -o in.gguf --no-mtp -q
for who in llama ds4 ik; do
	exits "made, $who" 0 "$PEER" in.gguf $who.gguf $who
	exits "inspect, $who" 0 "$INGOT" inspect $who.gguf --tensors
	says "inspect, $who" '^layers: +4: 1 window only, 2 ratio 4, 1 ratio 128; the first 2 routed by hash'
	says "inspect, $who" '^seal: +none'
	exits "verify, $who" 5 "$INGOT" verify $who.gguf
	says "verify, $who" "$who.gguf: has no seal: it was not made by ingot"
	exits "verify --deep, $who" 5 "$INGOT" verify $who.gguf --deep
	says "verify --deep, $who" '^NO SEAL: .*values of 126 tensors .* and the hyper-parameters are sound'
	exits "perplexity, $who" 0 "$INGOT" perplexity $who.gguf -f "$TEXT" --chunks 2 -c 128 --reference "$SAMPLE" --max-kld 0.05
	exits "calibrate, $who" 0 "$INGOT" calibrate $who.gguf -f "$TEXT" --chunks 1 -c 64 -o im.gguf --force -q
	exits "run, $who" 0 "$INGOT" run $who.gguf -p 'What is a hacker?' -n 4 -q
	exits "quantize, $who" 0 "$INGOT" quantize $who.gguf -o $who-sealed.gguf --recipe lossless -q
	exits "sealed, $who" 0 "$INGOT" verify $who-sealed.gguf -q
	exits "split, $who" 0 "$INGOT" quantize $who.gguf -o $who-s.gguf --recipe lossless --split-max-size 2M -q
	exits "a set, $who" 0 "$INGOT" verify $who-s-00002-of-*.gguf --deep -q
done
exits 'compare, llama' 0 "$INGOT" compare "$SAMPLE" llama.gguf --max-relative-error 0.01
exits 'compare, ds4' 0 "$INGOT" compare "$SAMPLE" ds4.gguf --max-relative-error 0.2
says 'compare, ds4' 'FP4 -> Q4_K'
exits 'ik has the same values' 0 "$INGOT" perplexity ik.gguf -f "$TEXT" --chunks 1 -c 64 --reference in.gguf --max-kld 0
exits 'a block that is counted and not there' 1 "$INGOT" verify ds4.gguf --deep --strict
says 'a block that is counted and not there' '^ODD: metadata deepseek4.nextn_predict_layers: 1, but the file has no such block'

refused() { # KIND PATTERN: no command that runs it takes it, and the reason is named
	exits "made, $1" 0 "$PEER" in.gguf $1.gguf $1
	for c in "perplexity $1.gguf -f $TEXT" "run $1.gguf -p x" "inspect $1.gguf"; do
		[ "$1" = iq2 ] && [ "${c%% *}" = inspect ] && continue
		exits "$c" 3 "$INGOT" $c -q
		says "$c" "$2"
	done
}
refused group ': metadata key deepseek4.expert_group_count is 2 \(as in DeepSeek-V3 layouts\): experts are chosen within groups'
refused dense 'leading_dense_block_count is 1'
refused clamp 'swiglu_clamp_shexp differs from swiglu_clamp_exp'
refused mtp ": has a tensor mtp.0.e_proj.weight \(as of ds4\): it is ds4's file of an MTP block"
refused fused 'blk.0.ffn_gate_up_exps.weight \(as of llama.cpp\): gate and up matrices of the experts are fused'
refused gating '1 KV heads, gating function 2; 1 and 4 are known'
refused iq2 'type IQ2_XXS cannot be read here \(tensor blk.1.ffn_up_exps.weight\)'
exits 'and --deep says what it left' 3 "$INGOT" verify iq2.gguf --deep
done_testing
