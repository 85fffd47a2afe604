# verify --deep: a file can be as it was sealed and still hold what no sound model has. Each case overwrites a
# few bytes of a good file and seals it anew, so that only the look at the values can tell.
. tests/cli/common.sh
RESEAL=$SRC/$BUILD/tests/tool_reseal
"$INGOT" convert "$SAMPLE" -o good.gguf --recipe q8 --no-mtp -q >/dev/null 2>&1
"$INGOT" inspect good.gguf --tensors --json - | tr -d ' \t\n' | tr '{' '\n' | grep '"offset"' >tensors
exits 'a sound file' 0 "$INGOT" verify good.gguf --deep --strict --json d.json
says 'a sound file' '^INTACT: .*; values of 126 tensors \([0-9]+ bytes\), 1024 tokens and the hyper-parameters are sound; not looked at: authenticity \(it is not signed\), derivation from a source$'
check 'JSON says it' grep -q '"values":[[:space:]]*"SOUND"' d.json
exits 'not asked, not claimed' 0 "$INGOT" verify good.gguf
says 'not asked, not claimed' 'not looked at: .*values$'

at() { sed -n "s/.*\"name\":\"$1\".*\"offset\":\([0-9]*\).*/\1/p" tensors; }
key() { echo $(($(grep -abo "$1" good.gguf | head -n 1 | cut -d: -f1) + ${#1} + 4)); }	# a key's value
info() { echo $(($(grep -abo "$1" ${2:-good.gguf} | tail -n 1 | cut -d: -f1) + ${#1})); }	# what follows a tensor's name
# deep_bad WHAT PATTERN OFFSET HEX...: intact, and yet bad
deep_bad() {
	case_=$1 pattern=$2; shift 2
	cp good.gguf b.gguf
	check "$case_: sealed anew" "$RESEAL" b.gguf "$@"
	exits "$case_: intact" 0 "$INGOT" verify b.gguf
	exits "$case_" 1 "$INGOT" verify b.gguf --deep -t 3
	says "$case_" "^BAD: $pattern"
	says "$case_" '^INTACT: .* are NOT sound'
}

# tables of expert ids
ids=$(at blk.0.ffn_gate_tid2eid.weight)
deep_bad 'an expert id beyond' 'tensor blk.0.ffn_gate_tid2eid.weight, row 1023, column 1, bytes [0-9]+\.\.[0-9]+: expert id 8, there are 8' \
	$((ids + 8188)) 08000000
deep_bad 'a negative expert id' 'tensor blk.0.ffn_gate_tid2eid.weight, row 0, column 0, .*: expert id -1, ' "$ids" ffffffff
deep_bad 'an expert twice' 'tensor blk.0.ffn_gate_tid2eid.weight, row 5, column 1, .*: expert id 3 a second time' $((ids + 40)) 0300000003000000
deep_bad 'a table turned round' 'tensor blk.0.ffn_gate_tid2eid.weight: its shape is not' \
	$(($(info blk.0.ffn_gate_tid2eid.weight) + 4)) 00040000000000000200000000000000
deep_bad 'a table of floats' 'tensor blk.0.ffn_gate_tid2eid.weight: a table of expert ids of type F32' \
	$(($(info blk.0.ffn_gate_tid2eid.weight) + 20)) 00000000

cp good.gguf b.gguf; check 'rows and columns exchanged' "$RESEAL" b.gguf $(($(info blk.1.attn_q_b.weight) + 4)) 00020000000000008000000000000000
exits 'rows and columns exchanged' 1 "$INGOT" verify b.gguf --source "$SAMPLE"
says 'rows and columns exchanged' 'tensor blk.1.attn_q_b.weight is missing or has another shape than the source'
"$INGOT" convert "$SAMPLE" -o q5.gguf --no-mtp --tensor-type attn_q_a=Q5_K -q >/dev/null 2>&1
check 'a type that is read only' "$RESEAL" q5.gguf $(($(info blk.1.attn_q_a.weight q5.gguf) + 20)) 06000000	# of the same bytes
exits 'a type that is read only' 3 "$INGOT" verify q5.gguf --source "$SAMPLE"
says 'a type that is read only' 'tensor blk.1.attn_q_a.weight: Q5_0 is not made here, so it cannot be derived'
cp good.gguf b.gguf; pad=$(($(at blk.0.hc_attn_scale.weight) + 12)); check 'a byte between tensors' "$RESEAL" b.gguf $pad 01
exits 'a byte between tensors' 1 "$INGOT" quantize b.gguf -o n.gguf --recipe lossless
says 'a byte between tensors' 'b.gguf: byte [0-9]+ lies between tensors and is not zero'

# numbers and scales
q=$(at blk.1.attn_q_b.weight)
deep_bad 'a NaN scale' "tensor blk.1.attn_q_b.weight, row 1, column 32, bytes $((q + 170))..$((q + 204)): NaN under the block's scale" $((q + 170)) 007e
deep_bad 'an infinite scale' 'tensor blk.1.attn_q_b.weight, row 0, column 0, .*infinite under|tensor blk.1.attn_q_b.weight, row 0, column 0, .*NaN under' "$q" 007c
x=$(at blk.2.ffn_down_exps.weight)
deep_bad 'a NaN scale of MXFP4' 'tensor blk.2.ffn_down_exps.weight, expert 3, row 0, column 32, .*lost' $((x + 3 * 13056 + 17)) ff
deep_bad 'a NaN in a norm' 'tensor blk.2.attn_norm.weight, row 0, column 127, .*: NaN; it spreads' $(($(at blk.2.attn_norm.weight) + 508)) 0000c07f
deep_bad 'an infinite bias' 'tensor blk.2.exp_probs_b.bias, row 0, column 2, .*: -infinite; the choice of experts' $(($(at blk.2.exp_probs_b.bias) + 8)) 000080ff
deep_bad 'a NaN in a router' 'tensor blk.1.ffn_gate_inp.weight, row 1, column 0, .*: NaN; the choice' $(($(at blk.1.ffn_gate_inp.weight) + 512)) c07f
last=$(tail -n 1 tensors | sed 's/.*"bytes":\([0-9]*\),"offset":\([0-9]*\).*/\1 + \2 - 34/')
deep_bad 'the last block of the file' 'tensor blk.3.ffn_down_shexp.weight, row 255, column 64, ' $(($last)) 007e
cp good.gguf b.gguf
check 'a scale of zero: sealed anew' "$RESEAL" b.gguf "$q" 0000
exits 'a scale of zero is let pass' 0 "$INGOT" verify b.gguf --deep
says 'a scale of zero is let pass' '^ODD: tensor blk.1.attn_q_b.weight, row 0, column 0, .*codes that differ'
exits 'but not under --strict' 1 "$INGOT" verify b.gguf --deep --strict

# hyper-parameters
u32() { deep_bad "$1 $2" "metadata deepseek4.$1: $3" "$(key "deepseek4.$1")" "$2"; }
u32 attention.head_count 00000000 '0, values are 1 to'
u32 expert_count 00000000 '0, values are 1 to'
u32 expert_used_count 09000000 '9 is more than deepseek4.expert_count, 8'
u32 block_count 00000000 '0, values are 1 to 512'
u32 block_count 58020000 '600, values are 1 to 512'
u32 rope.dimension_count 0f000000 '15 is odd'
u32 rope.dimension_count 00100000 '4096 is more than deepseek4.attention.key_length'
u32 hash_layer_count 05000000 '5 is more than deepseek4.block_count, 4'
u32 context_length 00000000 '0, values are 1 to'
u32 context_length ffffffff '4294967295, values are 1 to'
u32 attention.output_group_count 03000000 '3 does not divide deepseek4.attention.head_count'
u32 attention.layer_norm_rms_epsilon 00000000 '0 is not positive'
u32 attention.layer_norm_rms_epsilon 0000c07f 'is missing, or no finite number'
u32 rope.freq_base 000080bf '-1 is not positive'
deep_bad 'an embedding of more rows than tokens' 'metadata: |tensor token_embd.weight: ' "$(key deepseek4.vocab_size)" ff030000
deep_bad 'a key of another type' 'metadata deepseek4.embedding_length: is missing, or no unsigned' $(($(key deepseek4.embedding_length) - 4)) 06000000
deep_bad 'a tensor of another name: missing' 'tensor blk.3.ffn_norm.weight: is missing' $(($(info blk.3.ffn_norm.weight) - 3)) 585858
says 'a tensor of another name: extra' '^BAD: tensor blk.3.ffn_norm.weiXXX: the architecture has no such tensor'
cp good.gguf b.gguf
LC_ALL=C sed -i 's/blk.3.ffn_norm.weight/blk.2.ffn_norm.weight/' b.gguf
exits 'a tensor twice' 3 "$INGOT" verify b.gguf --deep

# vocabulary
t=$(($(key tokenizer.ggml.tokens) + 12))	# the first token: its length, its text
n0=$(od -An -tu8 -j"$t" -N8 good.gguf | tr -d ' ')
ty=$(($(key tokenizer.ggml.token_type) + 12))
m=$(($(key tokenizer.ggml.merges) + 12))
for id in bos eos padding; do
	deep_bad "a $id id beyond" "metadata tokenizer.ggml.${id}_token_id: id 1024, there are 1024 tokens" "$(key tokenizer.ggml.${id}_token_id)" 00040000
done
deep_bad 'a special id that is a float' 'metadata tokenizer.ggml.bos_token_id: is no unsigned integer' $(($(key tokenizer.ggml.bos_token_id) - 4)) 06000000
deep_bad 'types that are floats' 'metadata tokenizer.ggml.token_type: is not an array of 32-bit integers' $((ty - 12)) 06000000
deep_bad 'an unknown type' 'token 7: type 9, types are' $((ty + 28)) 09000000
deep_bad 'a byte that is none' "token 9 \('.*'\): stands for a byte, but is not of the form <0xNN>" $((ty + 36)) 06000000
deep_bad 'a text that is no UTF-8' "token 0 \('.*'\): its text is no UTF-8" $((t + 8)) ff
check 'the first token is long enough' test "$n0" -gt 1
deep_bad 'a NUL in a text' 'token 0 .*or has a NUL' $((t + 8)) 00
deep_bad 'a merge of what is no token' "merge 0 \('.*'\): not two tokens that make a third" $((m + 8)) 7f
deep_bad 'a merge without a space' "merge 0 \('.*'\): not two tokens" "$(od -An -v -tu1 -w1 -j$((m + 8)) -N8 good.gguf |
	awk -v m=$((m + 8)) '$1 == 32 { print m + NR - 1; exit }')" 41
# two tokens of one byte each, one made the other
two=$(od -An -v -tu1 -w1 -j"$t" -N8000 good.gguf | awk -v t="$t" '{ b[NR - 1] = $1 } END {
	for (i = 0; i + 9 < NR && n < 2; i += 8 + b[i] + 256 * b[i + 1]) if (b[i] == 1 && b[i + 1] == 0) { print t + i + 8, b[i + 8]; n++ } }')
set -- $two
deep_bad 'a token twice' "token '.*': ids [0-9]+ and [0-9]+ have the same text" "$3" "$(printf %02x "$2")"
rm -rf talk; cp -r "$SAMPLE" talk; rm -rf talk/.cache; printf '{# a template #}' >talk/chat_template.jinja
exits 'a chat template' 0 "$INGOT" convert talk -o talk.gguf --no-mtp --allow-unverified -q
exits 'is told by its digest' 0 "$INGOT" verify talk.gguf --deep
says 'is told by its digest' "^chat template: 16 bytes, SHA-256 $(sha256sum talk/chat_template.jinja | cut -d' ' -f1)"

# several at once, all listed; damage that no one sealed; files of others
deep_bad 'many: the first' 'tensor blk.0.attn_norm.weight, ' "$(at blk.0.attn_norm.weight)" 0000c07f "$(at blk.3.attn_norm.weight)" 0000c07f "$((ty + 28))" 09000000
says 'many: the second' '^BAD: tensor blk.3.attn_norm.weight, '
says 'many: the third' '^BAD: token 7: '
says 'many: counted' 'b.gguf: 3 values or keys are not'
cp good.gguf b.gguf; printf '\177' | dd of=b.gguf bs=1 seek=$((q + 171)) conv=notrunc 2>/dev/null
exits 'damage' 1 "$INGOT" verify b.gguf --deep
says 'damage' '^DAMAGED: tensor blk.1.attn_q_b.weight'
says 'damage' '^NOT INTACT; values of'
"$SRC/$BUILD/tests/tool_foreign" f.gguf
LC_ALL=C sed -i 's/ingot\./other./g' f.gguf
exits 'without a seal' 5 "$INGOT" verify f.gguf --deep
says 'without a seal' '^NO SEAL: .*values of 16 tensors .* are sound'
"$SRC/$BUILD/tests/tool_foreign" f.gguf nan
LC_ALL=C sed -i 's/ingot\./other./g' f.gguf
exits 'without a seal, with a NaN' 1 "$INGOT" verify f.gguf --deep
says 'without a seal, with a NaN' '^BAD: tensor blk.0.attn_k.weight, row 5, column 7, '
done_testing
