# verify --deep of a checkpoint: its digests can be right and its numbers none. Each case overwrites a few bytes of a
# copy and gives the digests of the result, so that only the look at the values can tell.
. tests/cli/common.sh
dims='--n-embd 128 --n-head 2 --head-dim 64 --n-rot 16 --q-lora 64 --o-groups 2 --o-lora 32 --n-ff-exp 64
	--n-expert 4 --n-expert-used 2 --idx-head 2 --idx-dim 64 --n-vocab 320 --ratios 0,4,128 --n-hash 1 --record-time 4102444800'

exits 'the sample' 0 "$INGOT" verify "$SAMPLE" --deep --strict --json d.json
says 'the sample' '^INTACT: 8 files .*; values of 427 tensors \([0-9]+ bytes\), 1024 tokens and the hyper-parameters are sound; not looked at: 0 files'
check 'JSON says it' grep -q '"values":[[:space:]]*"SOUND"' d.json
check 'JSON counts' grep -q '"tensors_looked_at":[[:space:]]*427' d.json
exits 'not asked, not claimed' 0 "$INGOT" verify "$SAMPLE"
says 'not asked, not claimed' 'not looked at: .*, values$'
exits 'never of a header' 2 "$INGOT" verify "$SAMPLE" --deep --header
for kind in base inv draft mtp apart f4 transformers i32; do
	case $kind in
	base) o=--base ;; inv) o='--scale-name weight_scale_inv' ;; draft) o=--with-dspark ;; mtp) o='--with-mtp --single' ;;
	apart) o='--scales-apart --shards 4' ;; f4) o='--fp4-dtype F4' ;; transformers) o='--naming transformers' ;; i32) o='--ids I32' ;;
	esac
	check "make $kind" "$MAKE_CHECKPOINT" $kind $dims $o
	exits "$kind is sound" 0 "$INGOT" verify $kind --deep --strict
	exits "inspect $kind" 0 "$INGOT" inspect $kind	# also where a draft module is dropped
done
check 'make a cache' "$MAKE_CHECKPOINT" cache $dims --cache
exits 'a snapshot in a cache' 0 "$INGOT" verify cache/*/snapshots/* --deep
says 'a snapshot in a cache' 'hyper-parameters are sound'

# list DIR: where its tensors are. fresh DIR: a copy of it as b. poke NAME OFFSET HEX: bytes of a tensor of it.
list() { "$INGOT" inspect "$1" --tensors --json - | tr -d ' \t\n' | tr '{' '\n' | grep '"offset"' >"tensors.$1"; }
of() { sed -n "s/.*\"name\":\"$2\".*\"offset\":\([0-9]*\),\"shard\":\"\([^\"]*\)\".*/\1 \2/p" "tensors.$1"; }
fresh() { rm -rf b; cp -r "$1" b; rm -rf b/.cache; from=$1; }
poke() {
	set -- "$2" "$3" $(of $from "$1")
	printf "$(for byte in $(printf %s "$2" | sed 's/../0x& /g'); do printf '\\%03o' $((byte)); done)" >poke.bin
	dd if=poke.bin of="b/$4" bs=1 seek=$(($3 + $1)) conv=notrunc 2>/dev/null
}
deep() { (cd b && sha256sum -- *) >sums; "$INGOT" verify b --digests sums --deep -t 3 "$@"; }
# found WHAT PATTERN: the digests are right, and yet b is bad
found() {
	exits "$1" 1 deep
	says "$1" "^BAD: $2"
	says "$1" '^INTACT: .* are NOT sound'
}
bad_value() { fresh "$2"; poke "$4" "$5" "$6"; found "$1" "tensor $4, $3"; }	# WHAT KIND PATTERN TENSOR OFFSET HEX
cp -r "$SAMPLE" tiny
for kind in tiny base mtp draft i32 f4; do list $kind; done

# numbers and scales
bad_value 'NaN of BF16' tiny 'row 1, column 0, bytes [0-9]+\.\.[0-9]+ of model-0000[0-9]-of-00003.safetensors: NaN; it spreads' embed.weight 512 c07f
bad_value 'infinite BF16' tiny 'row 0, column 2, .*: -infinite; the choice of experts' layers.1.ffn.gate.weight 4 80ff
bad_value 'NaN of F32' tiny 'row 0, column 0, .*: NaN; the choice' layers.2.ffn.gate.bias 0 0000c0ff
bad_value 'infinite F32' tiny 'row 0, column 1, .*: infinite; it spreads' layers.2.hc_attn_scale 4 0000807f
bad_value 'NaN of E4M3' tiny 'row 0, column 130, .*: NaN; it spreads' layers.1.attn.wq_a.weight 130 7f
exits 'a dry run looks at values' 3 "$INGOT" convert b -o n.gguf --recipe q8 --tensor-type attn_q_a=Q8_0 --dry-run --allow-unverified
says 'a dry run looks at values' 'safetensors: a NaN at row 0, column 130 .tensor layers.1.attn.wq_a.weight.; download the file again, or leave'
check 'the model of before' "$INGOT" convert "$SAMPLE" -o before.gguf --no-mtp -q
exits 'nor can it be derived' 3 "$INGOT" verify before.gguf --source b
says 'nor can it be derived' 'safetensors: a NaN at row 0, column 130 .tensor layers.1.attn.wq_a.weight.; download the file again'
fresh tiny; poke norm.weight 0 "$(printf '7f7f%.0s' $(seq 256))"
exits 'logits beyond numbers' 3 "$INGOT" perplexity b -f "$TEXT" -c 32 --chunks 1
says 'logits beyond numbers' 'b: the forward pass left the range of float32 .token [0-9]+ of the text'
bad_value 'minus NaN of E4M3' tiny 'row 2, column 255, .*: NaN' layers.3.attn.wq_a.weight 767 ff
bad_value 'NaN scale of FP8' tiny 'row 0, column 1, .*: NaN as a scale; it spreads' layers.1.attn.wq_a.scale 1 ff
bad_value 'NaN scale of FP4' tiny 'row 95, column 7, .*: NaN as a scale; every token that reaches' layers.2.ffn.experts.5.w3.scale 767 ff
bad_value 'NaN scale of FP4, of another type' f4 'row 0, column 0, .*: NaN as a scale' layers.2.ffn.experts.3.w2.scale 0 ff
bad_value 'NaN F32 scale' base 'row 0, column 0, .*: NaN as a scale; it spreads' layers.0.attn.wq_a.scale 0 0000c07f
bad_value 'infinite F32 scale' base 'row 0, column 0, .*: infinite as a scale; every token' layers.0.ffn.experts.1.w1.scale 0 0000807f
bad_value 'NaN in the MTP block' mtp 'row 0, column 3, .*of model.safetensors: NaN' mtp.0.enorm.weight 6 c07f
bad_value 'NaN where nothing is converted' draft 'row 0, column 3, .*: NaN' mtp.1.attn_norm.weight 6 c07f
odd() {	# WHAT PATTERN TENSOR HEX
	fresh "$1"; poke "$3" 0 "$4"
	exits "$3 $4 is let pass" 0 deep
	says "$3 $4" "^ODD: tensor $3, row 0, column 0, .*: a scale of $2"
	exits "$3 $4 is not under --strict" 1 deep --strict
}
odd base '0; what its codes said is lost' layers.0.attn.wq_a.scale 00000000
odd base '-1; scales are positive' layers.0.attn.wq_a.scale 000080bf
odd base '8.*e.37; the largest code under it is infinite' layers.0.attn.wq_a.scale ffff7f7e
odd tiny '.*e.36; the largest code under it is infinite' layers.1.attn.wq_a.scale f7
odd tiny '.*e.37; the largest code under it is infinite' layers.2.ffn.experts.5.w3.scale fd
fresh tiny; poke layers.1.attn.wq_a.scale 0 f6; poke layers.2.ffn.experts.5.w3.scale 0 fc
exits 'the largest scales that are let pass' 0 deep --strict

# tables of expert ids
bad_value 'an expert id beyond' tiny 'row 1023, column 1, .*: expert id 8, there are 8 experts' layers.0.ffn.gate.tid2eid 16376 0800000000000000
bad_value 'a negative expert id' tiny 'row 0, column 0, .*: expert id -1, ' layers.1.ffn.gate.tid2eid 0 ffffffffffffffff
bad_value 'an id past 32 bits' tiny 'row 0, column 0, .*: expert id 4294967296, ' layers.1.ffn.gate.tid2eid 0 0000000001000000
bad_value 'an expert twice' tiny 'row 5, column 1, .*: expert id 3 a second time' layers.0.ffn.gate.tid2eid 80 03000000000000000300000000000000
bad_value 'ids of 32 bits' i32 'row 7, column 0, .*: expert id 4, there are 4' layers.0.ffn.gate.tid2eid 56 04000000

# pieces: the last element of tensors that are cut
check 'make ids' "$MAKE_CHECKPOINT" ids --preset least --n-ff-exp 64 --n-expert 8 --n-expert-used 7 --idx-head 2 --idx-dim 64 --ratios 4 \
	--fill noise --n-vocab 150001
list ids
exits 'many tokens' 0 "$INGOT" verify ids --deep
bad_value 'the last id of many' ids 'row 150000, column 6, .*: expert id 9' layers.0.ffn.gate.tid2eid 8400048 0900000000000000
bad_value 'the last number of many' ids 'row 150000, column 63, .*: NaN' embed.weight 19200126 c07f
rm -rf ids

# configuration
config() { fresh tiny; sed -i "$2" "b/$1"; found "$1: $2" "$3"; }
config config.json 's/"bos_token_id": 0/"bos_token_id": 1024/' 'config.json: bos_token_id: id 1024, there are 1024 tokens'
config generation_config.json 's/"eos_token_id": [0-9]*/"eos_token_id": [1, 5000]/' 'generation_config.json: eos_token_id: id 5000, there are'
config generation_config.json 's/"bos_token_id": [0-9]*/"bos_token_id": -1/' '.*generation_config.json: .*bos_token_id'
config config.json 's/"moe_intermediate_size": 96/"moe_intermediate_size": 64/' 'mis-shaped tensor layers.0.ffn.experts.0.w1.weight: .*expected'
says 'all are listed' '^BAD: mis-shaped tensor layers.3.ffn.experts.7.w3.weight'
config config.json 's/"vocab_size": 1024/"vocab_size": 1000/' 'mis-shaped tensor embed.weight'
config config.json 's/"num_hidden_layers": 4/"num_hidden_layers": 3/' 'tensor layers.3.attn_norm.weight: the architecture has no such tensor'
config config.json 's/"num_hash_layers": 2/"num_hash_layers": 3/' 'missing tensor: layers.2.ffn.gate.tid2eid'
config config.json 's/"num_attention_heads": 4/"num_attention_heads": 0/' '.*config.json: .*num_attention_heads'
config config.json 's/"n_routed_experts": 8/"n_routed_experts": 60000/' 'config.json: speaks of 4 layers of 60000 experts'
fresh tiny; rm b/tokenizer.json; found 'no tokenizer' 'tokenizer.json: is missing'
fresh tiny; rm b/config.json; found 'no configuration' 'config.json: is missing'
fresh tiny; printf '{# a template #}' >b/chat_template.jinja
exits 'a chat template' 0 deep
says 'a chat template' "^chat template: 16 bytes, SHA-256 $(sha256sum b/chat_template.jinja | cut -d' ' -f1)"
fresh tiny; sed -i 's/DeepseekV4ForCausalLM/LlamaForCausalLM/' b/config.json
exits 'another model' 3 deep

# several at once, whatever the number of threads; digests that differ; none at all
fresh tiny; poke embed.weight 0 c07f; poke layers.3.attn.wq_a.weight 9 7f; poke layers.1.ffn.gate.tid2eid 0 ff
found 'many: the first' 'tensor embed.weight, '
cp out many.out
says 'many: the second' '^BAD: tensor layers.3.attn.wq_a.weight, '
says 'many: the third' '^BAD: tensor layers.1.ffn.gate.tid2eid, '
says 'many: counted' '^ingot: b: 3 values or keys are not'
deep -t 1 >one.out 2>/dev/null
same 'many: one thread' one.out many.out
cp -r tiny/.cache b/.cache
exits 'digests that differ' 1 "$INGOT" verify b --deep
says 'digests that differ' '^model-0000[0-9]-of-00003.safetensors: FAILED'
says 'digests that differ' '^BAD: tensor embed.weight, '
says 'digests that differ' '^NOT INTACT; values of'
rm -rf b/.cache
exits 'no digests, bad values' 1 "$INGOT" verify b --deep
says 'no digests, bad values' '^NO DIGEST: .*are NOT sound'
fresh tiny
exits 'no digests, sound values' 5 "$INGOT" verify b --deep
says 'no digests, sound values' '^NO DIGEST: .*are sound'
rm b/model-00002-of-00003.safetensors
exits 'a shard is missing' 1 "$INGOT" verify b --deep
says 'a shard is missing' '^model-00002-of-00003.safetensors: MISSING'
done_testing
