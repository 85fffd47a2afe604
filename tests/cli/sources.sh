# Every kind of source there is converts, and every value arrives; what is not one is refused.
. tests/cli/common.sh
LOSSLESS=$SRC/$BUILD/tests/tool_lossless
dims='--n-embd 128 --n-head 2 --head-dim 64 --n-rot 16 --q-lora 64 --o-groups 2 --o-lora 32 --n-ff-exp 64
	--n-expert 4 --n-expert-used 2 --idx-head 2 --idx-dim 64 --n-vocab 320 --ratios 0,4,128 --n-hash 1'

variant() {	# NAME OPTIONS...: makes, verifies, converts, compares
	name=$1; shift
	check "make $name" "$MAKE_CHECKPOINT" $name $dims --record-time 4102444800 "$@"
	exits "verify $name" 0 "$INGOT" verify $name
	exits "convert $name" 0 "$INGOT" convert $name -o $name.gguf
	exits "seal of $name" 0 "$INGOT" verify $name.gguf
	side=; [ ! -e mtp-$name.gguf ] || side=mtp-$name.gguf
	exits "values of $name" 0 "$LOSSLESS" $name $name.gguf $side
	exits "inspect $name" 0 "$INGOT" inspect $name
}
variant plain
variant mtp --with-mtp
check 'MTP is kept in a sidecar' test -s mtp-mtp.gguf
variant base --base --with-mtp
variant block32 --fp8-block 32
variant base32 --base --fp8-block 32
variant inv --scale-name weight_scale_inv
variant u8 --fp4-dtype U8
variant f4 --fp4-dtype F4
variant i32 --ids I32
variant single --single
variant apart --scales-apart --shards 4
variant transformers --naming transformers
variant edge --edge --with-mtp
variant wide --n-expert 33 --n-expert-used 5

# tensors of several chunks, whose boundaries cut blocks and rows: experts, two joined sources, a table of ids
big='--n-embd 2048 --n-head 2 --head-dim 64 --n-rot 16 --q-lora 64 --o-groups 2 --o-lora 32 --n-ff-exp 4224 --n-expert 1
	--n-expert-used 1 --idx-head 2 --idx-dim 64 --ratios 4 --n-hash 0 --fill noise --record-time 4102444800'
check 'make big' "$MAKE_CHECKPOINT" big $big --n-vocab 1100 --with-mtp
exits 'convert big' 0 "$INGOT" convert big -o big.gguf -t 1
exits 'values of big' 0 "$LOSSLESS" big big.gguf mtp-big.gguf
exits 'big with threads' 0 "$INGOT" convert big -o big5.gguf -t 5
same 'big with threads' big.gguf big5.gguf
same 'sidecar with threads' mtp-big.gguf mtp-big5.gguf
exits 'verify big' 0 "$INGOT" verify big5.gguf
exits 'big as q8' 0 "$INGOT" convert big -o q1.gguf --recipe q8 -t 1
exits 'big as q8 with threads' 0 "$INGOT" convert big -o q6.gguf --recipe q8 -t 6
same 'big as q8 with threads' mtp-q1.gguf mtp-q6.gguf
rm -rf big big.gguf big5.gguf mtp-big*.gguf q[16].gguf mtp-q*.gguf
check 'make ids' "$MAKE_CHECKPOINT" ids --preset least --n-ff-exp 64 --n-expert 8 --n-expert-used 7 --idx-head 2 --idx-dim 64 --ratios 4 --fill noise \
	--record-time 4102444800 --n-vocab 150001
exits 'convert ids' 0 "$INGOT" convert ids -o ids.gguf -t 3
exits 'values of ids' 0 "$LOSSLESS" ids ids.gguf
rm -rf ids ids.gguf

# the layout of the shards does not show in the tensors: same data, same root
root() { "$INGOT" inspect "$1" | sed -n 's/^seal: *root \([0-9a-f]*\).*/\1/p'; }
for other in inv u8 i32 single apart; do
	check "$other has the same tensors as plain" test "$(root plain.gguf)" = "$(root $other.gguf)"
done

# a Hub cache
check 'make a cache' "$MAKE_CHECKPOINT" hub $dims --cache --repo acme/tiny
snapshot=$(echo hub/models--*/snapshots/*)
exits 'verify a cache' 0 "$INGOT" verify "$snapshot"
exits 'convert a cache' 0 "$INGOT" convert "$snapshot" -o cache.gguf
exits 'inspect what came of it' 0 "$INGOT" inspect cache.gguf
says 'the anchor is the blob name' '\(hub-cache\)'
check 'the repository is in the metadata' grep -aq 'acme/tiny' cache.gguf
# a name without an owner, and a snapshot that no commit names: still a cache, of that name
cp -a hub/models--* hub/models--alone && mv hub/models--alone/snapshots/* hub/models--alone/snapshots/main
exits 'a cache without owner and commit' 0 "$INGOT" convert hub/models--alone/snapshots/main -o alone.gguf
exits 'inspect what came of that' 0 "$INGOT" inspect alone.gguf
says 'the anchor is the blob name there too' '\(hub-cache\)'
# a folder of that form elsewhere is a plain folder: its links lead nowhere that counts
mkdir -p other/snapshots && cp -a hub/models--alone/snapshots/main other/snapshots/main &&
	cp -a hub/models--alone/blobs other/blobs
exits 'a folder that looks like a cache' 3 "$INGOT" convert other/snapshots/main -o other.gguf
says 'a folder that looks like a cache' 'symbolic link'
mkdir escape && cp -a "$snapshot"/../../. escape/ && f=$(echo escape/snapshots/*/model-00001*.safetensors)
ln -sf ../../../hub/secret "$f"; echo x >hub/secret
exits 'a link that leaves the cache' 3 "$INGOT" convert escape/snapshots/* -o escape.gguf

# DSpark is recognised, dropped aloud, recorded
check 'make DSpark' "$MAKE_CHECKPOINT" dspark $dims --with-dspark
exits 'convert DSpark' 0 "$INGOT" convert dspark -o dspark.gguf
says 'dropped aloud' 'dropped DSpark draft modules'
check 'and recorded' grep -aq 'DSpark draft modules (mtp.\*)' dspark.gguf

# digests
cp -a plain nodigest && rm -r nodigest/.cache
exits 'no digest' 5 "$INGOT" convert nodigest -o n.gguf
gone 'no digest' n.gguf n.gguf.partial
exits 'no digest, verify' 5 "$INGOT" verify nodigest
says 'no digest, verify' 'model-00001.*: NO DIGEST'
exits 'allowed' 0 "$INGOT" convert nodigest -o n.gguf --allow-unverified
exits 'the seal says so' 0 "$INGOT" inspect n.gguf
says 'the seal says so' 'safetensors \(none\)'
(cd nodigest && sha256sum *.safetensors *.json >../SUMS)
exits 'a list of digests' 0 "$INGOT" convert nodigest -o l.gguf --digests SUMS
exits 'verify with it' 0 "$INGOT" verify nodigest --digests SUMS
cp -a plain stale && touch -d '2101-01-01' stale/model-00001-of-00003.safetensors
exits 'a stale record does not count' 5 "$INGOT" convert stale -o s.gguf
exits 'a stale record, verify' 5 "$INGOT" verify stale
cp -a plain record && echo x >record/.cache/huggingface/download/model.safetensors.index.json.metadata
exits 'a malformed record, verify' 5 "$INGOT" verify record
says 'a malformed record, verify' '^model.safetensors.index.json: NO DIGEST'
exits 'a malformed record' 0 "$INGOT" convert record -o record.gguf
check 'a malformed record is said once' test "$(grep -c 'not a download record' err)" -eq 1
cp -a plain wrong && flip wrong/model-00002-of-00003.safetensors 50000 3
exits 'a wrong shard' 1 "$INGOT" convert wrong -o w.gguf
says 'a wrong shard is named, with both digests' 'model-00002-of-00003.safetensors: SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}'
gone 'a wrong shard' w.gguf w.gguf.lock
says 'a wrong shard' 'run the same command with --resume'
exits 'a wrong shard, verify' 1 "$INGOT" verify wrong
says 'a wrong shard, verify' '^model-00002-of-00003.safetensors: FAILED'
cp -a plain badjson && flip badjson/config.json 20 1
exits 'a changed config' 1 "$INGOT" verify badjson

# malformed
broken() {	# NAME CODE PATTERN COMMANDS: a copy of plain without records, changed by COMMANDS in it
	rm -rf b && cp -a plain b && rm -r b/.cache
	(cd b && eval "$4") || bad "$1: the fixture"
	exits "$1" $2 "$INGOT" convert b -o b.gguf --allow-unverified
	says "$1" "$3"
	gone "$1" b.gguf b.gguf.partial b.gguf.lock
}
one=model-00001-of-00003.safetensors
broken 'truncated shard' 3 "$one" "truncate -s -1 $one"
broken 'extended shard' 3 "$one" "truncate -s +1 $one"
broken 'missing shard' 3 'shard is missing' "rm $one"
broken 'LFS pointer' 3 'LFS pointer' "printf 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n' >$one"
broken 'index with ../' 3 'plain name' "sed -i 's|$one|../$one|' model.safetensors.index.json"
broken 'index names another tensor' 3 'does not hold it' "sed -i 's|embed.weight|embed.height|' model.safetensors.index.json"
broken 'index twice' 3 'twice|duplicate' "sed -i 's|\"weight_map\":|\"weight_map\":{},\"weight_map\":|' model.safetensors.index.json"
broken 'no index' 3 'neither' 'rm model.safetensors.index.json'
broken 'no config' 3 'config.json is missing' 'rm config.json'
broken 'wrong dims' 3 'mis-shaped tensor' "sed -i 's/\"hidden_size\": *128/\"hidden_size\": 256/' config.json"
broken 'another vocabulary' 3 'embed.weight' "sed -i 's/\"vocab_size\": *320/\"vocab_size\": 321/' config.json"
broken 'V4.1' 3 'DeepSeek-V4.1' "sed -i 's/DeepseekV4ForCausalLM/DeepseekV41ForCausalLM/' config.json"
broken 'another architecture' 3 'LlamaForCausalLM' "sed -i 's/DeepseekV4ForCausalLM/LlamaForCausalLM/' config.json"
broken 'a layer too many' 3 'missing tensor: layers.3.' "sed -i 's/\"num_hidden_layers\": *3/\"num_hidden_layers\": 4/;s/\"compress_ratios\": *\[/&0,/' config.json"
broken 'an unknown name' 3 'unknown tensor: layers.0.attn_form.weight' \
	"sed -i 's/layers.0.attn_norm.weight/layers.0.attn_form.weight/' *.safetensors model.safetensors.index.json"
says 'and the one that is missed' 'missing tensor: layers.0.attn_norm.weight'
broken 'a FIFO' 3 'not a regular file' "rm $one && mkfifo $one"
broken 'a link' 3 'symbolic link' "mv $one x && ln -s x $one"
broken 'no tokenizer' 3 'tokenizer.json is missing' 'rm tokenizer.json'
# values that no conversion may pass over: FP8 and E8M0 NaN codes, ids outside the model or twice in a row
"$INGOT" inspect plain --tensors --json - | tr -d ' \t\n' | tr '{' '\n' >tensors
poke() {	# TENSOR INDEX BYTE(octal): overwrites a byte of it in b/
	line=$(grep "\"name\":\"$1\"" ../tensors) off=${line#*\"offset\":} shard=${line#*\"shard\":\"}
	printf "\\$3" | dd of="${shard%%\"*}" bs=1 seek=$((${off%%,*} + $2)) conv=notrunc 2>/dev/null
}
broken 'a NaN code of FP8' 3 'a NaN at row 1, column 5 \(tensor layers.1.attn.wq_a.weight, bytes' 'poke layers.1.attn.wq_a.weight 133 177'
broken 'a NaN scale of FP8' 3 'a NaN at row 0, column 0 \(tensor layers.0.attn.wkv.weight' 'poke layers.0.attn.wkv.scale 0 377'
broken 'a NaN scale of FP4' 3 'a NaN at row 1, column 32 \(tensor layers.2.ffn.experts.3.w2.weight' 'poke layers.2.ffn.experts.3.w2.scale 3 377'
broken 'an expert id too high' 3 'expert id outside the model at row 1, column 0 \(tensor layers.0.ffn.gate.tid2eid' 'poke layers.0.ffn.gate.tid2eid 16 4'
broken 'an expert id of -1' 3 'expert id outside' 'poke layers.0.ffn.gate.tid2eid 15 377'
broken 'an expert twice in a row' 3 'expert id twice in one row' 'for i in 0 8; do poke layers.0.ffn.gate.tid2eid $i 1; done'
exits 'the published digests are read' 1 "$INGOT" verify plain --digests "$SRC/samples/digests/DeepSeek-V4-Flash-0731.sha256"
says 'the published digests are read' '^model-00048-of-00048.safetensors: MISSING'
says 'the published digests are read' '^config.json: FAILED'
exits 'not a directory' 3 "$INGOT" convert plain/config.json -o b.gguf
exits 'nothing there' 4 "$INGOT" convert nothing -o b.gguf
done_testing
