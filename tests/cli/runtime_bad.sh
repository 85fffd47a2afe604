# Bad input to the runtime: perplexity and run, from a checkpoint and from a GGUF, each with the code
# and the words it has, and at the start: before anything is printed, but where a value of a large
# matrix is wrong.
. tests/cli/common.sh

dims='--n-embd 128 --n-head 2 --head-dim 64 --n-rot 16 --q-lora 64 --o-groups 2 --o-lora 32 --n-ff-exp 64
	--n-expert 4 --n-expert-used 2 --idx-head 2 --idx-dim 64 --ratios 0,4,128 --n-hash 1 --record-time 4102444800'
check 'make' "$MAKE_CHECKPOINT" good $dims --n-vocab 320
check 'make, a token less' "$MAKE_CHECKPOINT" fewer $dims --n-vocab 319
rm -r good/.cache
exits 'convert' 0 "$INGOT" convert good -o good.gguf --allow-unverified -q
"$INGOT" inspect good --tensors --json - | tr -d ' \t\n' | tr '{' '\n' >tensors
"$INGOT" inspect good.gguf --tensors --json - | tr -d ' \t\n' | tr '{' '\n' >gguf.tensors
head -c 1500 "$TEXT" >text

# both WHAT CODE PATTERN MODEL: perplexity and run end alike, and print no result
both() {
	exits "$1: perplexity" "$2" "$INGOT" perplexity "$4" -f text -c 64 --chunks 1
	says "$1: perplexity" "$3"
	check "$1: perplexity, at the start" sh -c '! grep -q . out'
	exits "$1: run" "$2" "$INGOT" run "$4" --raw -f text -n 4
	says "$1: run" "$3"
	check "$1: run, at the start" sh -c '! grep -q . out'
}
bytes() { for b in "$@"; do printf "\\$b"; done; }	# octal
# in a checkpoint: broken WHAT CODE PATTERN COMMANDS in a copy
broken() {
	rm -rf b && cp -a good b
	(cd b && eval "$4") || bad "$1: the fixture"
	both "$1" "$2" "$3" b
}
poke() {	# TENSOR OFFSET BYTES(octal)...: overwrites bytes of it in b/
	line=$(grep "\"name\":\"$1\"" ../tensors) off=${line#*\"offset\":} shard=${line#*\"shard\":\"} at=$2
	shift 2
	bytes "$@" | dd of="${shard%%\"*}" bs=1 seek=$((${off%%,*} + at)) conv=notrunc 2>/dev/null
}
# in a GGUF: bent WHAT CODE PATTERN COMMANDS on b.gguf
bent() {
	cp good.gguf b.gguf
	eval "$4" || bad "$1: the fixture"
	both "$1" "$2" "$3" b.gguf
}
put() {	# FILE OFFSET BYTES(octal)...
	file=$1 at=$2
	shift 2
	bytes "$@" | dd of="$file" bs=1 seek="$at" conv=notrunc 2>/dev/null
}
stab() {	# TENSOR OFFSET BYTES(octal)...: overwrites bytes of its data in b.gguf
	line=$(grep "\"name\":\"$1\"" gguf.tensors) off=${line#*\"offset\":} off=${off%%[,\}]*} at=$2
	shift 2
	put b.gguf $((off + at)) "$@"
}
key_at() { grep -abo "$2" "$1" | head -n 1 | cut -d: -f1; }
key() {	# KEY BYTES(octal)...: a key's scalar value in b.gguf
	at=$(($(key_at b.gguf "$1") + ${#1} + 4))
	shift
	put b.gguf $at "$@"
}
rename() { LC_ALL=C sed -i "s/$1/$2/g" b.gguf; }	# to a name of the same length

# tensors
broken 'a missing tensor' 3 'ingot: b: missing tensor: layers.1.attn_norm.weight .*; verify the download' \
	"LC_ALL=C sed -i 's/layers.1.attn_norm.weight/layers.1.attn_form.weight/' *.safetensors model.safetensors.index.json"
bent 'a missing tensor' 3 'ingot: b.gguf: the tensor is missing \(tensor blk.1.attn_norm.weight\); verify it, or convert the model again' \
	'rename blk.1.attn_norm.weight blk.1.attn_form.weight'
broken 'a missing expert' 3 'ingot: b: missing tensor: layers.2.ffn.experts.3.w2.weight' \
	"LC_ALL=C sed -i 's/layers.2.ffn.experts.3.w2.weight/layers.2.ffn.experts.3.w9.weight/' *.safetensors model.safetensors.index.json"
broken 'a mis-shaped tensor' 3 'ingot: b: .*mis-shaped tensor layers.0.attn.wq_a.weight' "sed -i 's/\"q_lora_rank\": *64/\"q_lora_rank\": 32/' config.json"
bent 'a mis-shaped tensor' 3 'ingot: b.gguf: the shape of the tensor is not what the metadata demands \(tensor blk.0.attn_q_a' \
	'key deepseek4.attention.q_lora_rank 040'
broken 'more layers than there are' 3 'ingot: b: missing tensor: layers.3.' \
	"sed -i 's/\"num_hidden_layers\": *3/\"num_hidden_layers\": 4/;s/\"compress_ratios\": *\[/&0,/' config.json"
bent 'a cut file' 3 'ingot: b.gguf: ' 'truncate -s -1000 b.gguf'
broken 'a cut shard' 3 'ingot: b/model-00002-of-00003.safetensors: ' 'truncate -s -1 model-00002-of-00003.safetensors'

# vocabulary
broken 'a smaller embedding' 3 'ingot: b: .*mis-shaped tensor embed.weight' "sed -i 's/\"vocab_size\": *320/\"vocab_size\": 321/' config.json"
broken 'a token beyond the embedding' 3 'ingot: b/tokenizer.json .*320 embedding rows' "sed -i 's/\"id\": *2,/\"id\": 320,/' tokenizer.json"
broken 'a bos beyond the vocabulary' 3 'ingot: b/tokenizer.json: bos token: id 320 is not below the number of tokens, 320' \
	"rm tokenizer_config.json; sed -i 's/\"bos_token_id\": *0/\"bos_token_id\": 320/' config.json"
bent 'another embedding' 3 'ingot: b.gguf: the shape of the tensor is not what the metadata demands \(tensor token_embd.weight' \
	'key deepseek4.vocab_size 077'
bent 'an eos beyond the vocabulary' 3 'ingot: b.gguf: tokenizer.ggml.eos_token_id: id 320 is not below the number of tokens, 320' \
	'key tokenizer.ggml.eos_token_id 100 001'
# a token less: the text [PAD319], its length and its type go, a key of the same 20 bytes comes
rm -rf b && cp -a good b && cp fewer/tokenizer.json b/
exits 'a GGUF with a filler' 0 "$INGOT" convert b -o pad.gguf --allow-unverified -q
token=$(($(key_at pad.gguf '\[PAD319\]') - 8)) types=$(($(key_at pad.gguf tokenizer.ggml.token_type) + 25))
end=$((types + 16 + 4 * 320))
{ head -c $token pad.gguf; tail -c +$((token + 17)) pad.gguf | head -c $((end - 4 - token - 16))
  bytes 4 0 0 0 0 0 0 0 141 056 142 143 4 0 0 0 1 0 0 0; tail -c +$((end + 1)) pad.gguf; } >b.gguf
check 'the fixture: as long as it was' test "$(size b.gguf)" -eq "$(size pad.gguf)"
put b.gguf $(($(key_at b.gguf tokenizer.ggml.tokens) + 29)) 077
put b.gguf $((types - 16 + 8)) 077
n_kv=$(od -An -tu1 -j16 -N1 b.gguf | tr -d ' ')
put b.gguf 16 "$(printf %03o $((n_kv + 1)))"
both 'fewer tokens than rows' 3 'ingot: b.gguf: the vocabulary has 319 tokens, the embedding 320 rows \(tensor token_embd.weight\)' b.gguf

# token ids
echo '3 4 320' >bad.ids
for m in good good.gguf; do
	exits 'a token id beyond' 3 "$INGOT" perplexity $m --token-ids bad.ids -c 4
	says 'a token id beyond' '^ingot: bad.ids: bytes 3\.\.7 are no token id below 320'
	exits 'a token id beyond, run' 3 "$INGOT" run $m --token-ids bad.ids -n 1
	says 'a token id beyond, run' '^ingot: bad.ids: bytes 3\.\.7 are no token id below 320'
done

# values that are read at the start
ids=layers.0.ffn.gate.tid2eid gids=blk.0.ffn_gate_tid2eid.weight
broken 'an expert id beyond' 3 "ingot: b: an expert id outside the model \(tensor $gids, matrix 0, row 319, column 1\)" "poke $ids $((319 * 16 + 8)) 4"
bent 'an expert id beyond' 3 "ingot: b.gguf: an expert id outside the model \(tensor $gids, matrix 0, row 319, column 1\)" "stab $gids $((319 * 8 + 4)) 4"
broken 'an expert id below 0' 3 'expert id outside the model' "poke $ids 15 377"
bent 'an expert twice' 3 "ingot: b.gguf: an expert id twice in one row \(tensor $gids, matrix 0, row 5, column 1\)" "stab $gids 40 1 0 0 0 1"
broken 'a NaN scale of FP8' 3 'ingot: b/model-0000.-of-00003.safetensors: a scale that is not a number \(tensor layers.2.attn.wq_b.scale, row 0, column 0\)' \
	'poke layers.2.attn.wq_b.scale 0 377'
broken 'a NaN in a norm' 3 'ingot: b: .*\(tensor blk.2.attn_norm.weight, matrix 0, row 0, column 127\)' 'poke layers.2.attn_norm.weight 254 300 177'
bent 'a NaN in a norm' 3 'ingot: b.gguf: a value that is not finite \(tensor blk.2.attn_norm.weight, matrix 0, row 0, column 127\)' \
	'stab blk.2.attn_norm.weight 508 0 0 300 177'
bent 'an infinite sink' 3 'ingot: b.gguf: a value that is not finite \(tensor blk.1.attn_sinks.weight' 'stab blk.1.attn_sinks.weight 4 0 0 200 377'
broken 'a NaN in a router' 3 'ingot: b: .*\(tensor blk.1.ffn_gate_inp.weight, matrix 0, row 3, column 0\)' 'poke layers.1.ffn.gate.weight 768 300 377'
bent 'a NaN in a router' 3 'ingot: b.gguf: .*\(tensor blk.1.ffn_gate_inp.weight, matrix 0, row 3, column 0\)' 'stab blk.1.ffn_gate_inp.weight 768 300 377'

# values of large matrices, when they are read; every expert's, so that one that is chosen has it
late() {	# WHAT PATTERN MODEL
	exits "$1: perplexity" 3 "$INGOT" perplexity "$3" -f text -c 64 --chunks 1
	says "$1: perplexity" "$2"
	exits "$1: run" 3 "$INGOT" run "$3" --raw -f text -n 4
	says "$1: run" "$2"
}
rm -rf b && cp -a good b
(cd b && for x in 0 1 2 3; do poke layers.2.ffn.experts.$x.w1.scale 5 377; done)
late 'a NaN scale of FP4' 'ingot: b: .*\(tensor blk.2.ffn_gate_exps.weight, matrix [0-3], row 1, column (3[2-9]|[45].|6[0-3])\)' b
cp good.gguf b.gguf
for x in 0 1 2 3; do stab blk.2.ffn_gate_exps.weight $((x * 64 * 68 + 5 * 17)) 377; done
late 'a NaN scale of MXFP4' 'ingot: b.gguf: .*\(tensor blk.2.ffn_gate_exps.weight, matrix [0-3], row 1, column (3[2-9]|[45].|6[0-3])\)' b.gguf
cp good.gguf b.gguf; stab output.weight $((319 * 256)) 300 177
late 'a NaN in the output matrix' 'ingot: b.gguf: .*\(tensor output.weight, matrix 0, row 319, column 0\)' b.gguf

# what is asked for
for m in good good.gguf; do
	exits 'a text too short' 3 "$INGOT" perplexity $m -f text -c 5000
	says 'a text too short' '^ingot: text: [0-9]+ tokens are less than one chunk of 5000; take a longer text or a smaller -c'
	exits 'no text at all' 3 "$INGOT" perplexity $m -f /dev/null
	exits 'no prompt at all' 3 "$INGOT" run $m --raw -p ''
	exits 'a context too long' 3 "$INGOT" perplexity $m -f text -c 1048577
	says 'a context too long' "^ingot: $m: a context of 1048577 tokens; the model has 1048576"
	exits 'a context too long, run' 3 "$INGOT" run $m --raw -f text -c 1048577
	says 'a context too long, run' "^ingot: $m: a context of 1048577 tokens; the model has 1048576"
	exits 'too many new tokens' 3 "$INGOT" run $m --raw -f text -n 1048500
	says 'too many new tokens' "^ingot: $m: [0-9]+ tokens of prompt and 1048500 new ones are more than the model's context of 1048576; .*-n"
	exits 'a prompt beyond --ctx-size' 3 "$INGOT" run $m --raw -f text -c 50
	says 'a prompt beyond --ctx-size' "^ingot: $m: [0-9]+ tokens of prompt and 256 new ones are more than the --ctx-size of 50; take a shorter prompt$"
	exits 'too little memory' 4 "$INGOT" perplexity $m -f text -c 64 --chunks 1 --max-memory 200K
	says 'too little memory' "^ingot: $m: a chunk of 64 tokens needs [0-9]+ bytes of memory, --max-memory allows 204800; give it more \([0-9]+M\)"
	exits 'too little memory, run' 4 "$INGOT" run $m --raw -f text -n 4 --max-memory 200K
	says 'too little memory, run' "^ingot: $m: [0-9]+ tokens of context need [0-9]+ bytes of memory, --max-memory allows 204800; give it more \([0-9]+M\)"
done
exits 'and the good ones are good' 0 "$INGOT" perplexity good -f text -c 64 --chunks 1
exits 'and the good ones are good' 0 "$INGOT" run good.gguf --raw -f text -n 4
done_testing
