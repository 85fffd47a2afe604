# verify --source: what a sealed file says of its source is made again and compared.
. tests/cli/common.sh
"$INGOT" convert "$SAMPLE" -o a.gguf -q >/dev/null 2>&1
"$INGOT" convert "$SAMPLE" -o q.gguf --no-mtp --recipe q8 --tensor-type 'ffn_down_shexp=Q4_1' --tensor-type 'attn_q_a\.=Q4_0' -q >/dev/null 2>&1
exits 'a lossless file' 0 "$INGOT" verify a.gguf --source "$SAMPLE" --json d.json
says 'a lossless file' '^INTACT, DERIVED: .* 8 source files by digest, [0-9]+ metadata keys, 210 of 210 matrices'
check 'JSON says it' grep -q '"derivation":[[:space:]]*"DERIVED"' d.json
exits 'its sidecar' 0 "$INGOT" verify mtp-a.gguf --source "$SAMPLE" -t 3
says 'its sidecar' '^INTACT, DERIVED: .* 55 of 55 matrices'
exits 'encoded types' 0 "$INGOT" verify q.gguf --source "$SAMPLE"
exits 'a sample' 0 "$INGOT" verify q.gguf --source "$SAMPLE" --sample 12
says 'a sample' 'DERIVED: .* 12 of 210 matrices; not looked at: .*the other matrices'
exits 'not asked, not claimed' 0 "$INGOT" verify a.gguf
says 'not asked, not claimed' '^INTACT: .*not looked at: .*derivation from a source'
exits 'best effort' 0 "$INGOT" convert "$SAMPLE" -o best.gguf --no-mtp --tensor-type 'attn_q_a\.=Q4_0' --effort best -q
exits 'best effort is derived as such' 0 "$INGOT" verify best.gguf --source "$SAMPLE"

# lies: another source, sealed as if it were this one
lie() {	# NAME: a copy of the sample to be changed
	rm -rf "$1"; cp -r "$SAMPLE" "$1"; rm -rf "$1/.cache"
}
sealed() { "$INGOT" convert "$1" -o "$1.gguf" --no-mtp --allow-unverified -q >/dev/null 2>&1; }
lie expert
shard=$(ls expert/*.safetensors | head -n 1)
head=$(grep -abo 'layers.1.ffn.experts.3.w1.weight' "$shard" | head -n 1 | cut -d: -f1)
if [ -z "$head" ]; then shard=$(grep -l 'layers.1.ffn.experts.3.w1.weight' expert/*.safetensors | head -n 1); fi
off=$(head -c 200000 "$shard" | grep -ao '"layers.1.ffn.experts.3.w1.weight":{[^}]*}' | sed 's/.*data_offsets":\[\([0-9]*\),.*/\1/')
data=$(($(od -An -tu8 -N8 "$shard" | tr -d ' ') + 8))
flip "$shard" $((data + off + 77)) 0
check 'the changed source converts' sealed expert
exits 'it is intact' 0 "$INGOT" verify expert.gguf
exits 'an expert that was changed' 1 "$INGOT" verify expert.gguf --source "$SAMPLE"
says 'an expert that was changed' 'DIFFERS: tensor blk.1.ffn_gate_exps.weight, expert 3: byte'
says 'an expert that was changed' 'DIFFERS: source file .*safetensors: its SHA-256'
says 'an expert that was changed' '^INTACT: .*is NOT what the source gives'
lie template
sed -i 's/"chat_template": *"/&{# be evil #}/' template/tokenizer_config.json
grep -q 'be evil' template/tokenizer_config.json || printf '{# be evil #}' >template/chat_template.jinja
check 'the changed template converts' sealed template
exits 'a chat template that was changed' 1 "$INGOT" verify template.gguf --source "$SAMPLE"
says 'a chat template that was changed' 'DIFFERS: metadata tokenizer.chat_template'
lie words
n=$(grep -n '"merges"' words/tokenizer.json | head -n 1 | cut -d: -f1)
awk -v n="$n" 'NR == n + 1 { held = $0; next } { print } NR == n + 2 { print held }' words/tokenizer.json >t.json
mv t.json words/tokenizer.json
check 'the tokenizer did change' sh -c "! cmp -s words/tokenizer.json '$SAMPLE/tokenizer.json'"
if sealed words; then
	exits 'a tokenizer that was changed' 1 "$INGOT" verify words.gguf --source "$SAMPLE"
	says 'a tokenizer that was changed' 'DIFFERS: metadata tokenizer.ggml.merges'
fi
lie config
sed -i 's/"rms_norm_eps": *[0-9.e-]*/"rms_norm_eps": 1e-3/' config/config.json
check 'the changed config converts' sealed config
exits 'a hyper-parameter that was changed' 1 "$INGOT" verify config.gguf --source "$SAMPLE" --sample 1
says 'a hyper-parameter that was changed' 'DIFFERS: metadata deepseek4.attention.layer_norm_rms_epsilon'

# importance
exits 'calibrate' 0 "$INGOT" calibrate a.gguf -f "$TEXT" -o m.gguf -c 64 --chunks 2 -q
exits 'calibrate otherwise' 0 "$INGOT" calibrate a.gguf -f "$TEXT" -o n.gguf -c 64 --chunks 1 -q
exits 'convert with it' 0 "$INGOT" convert "$SAMPLE" -o w.gguf --no-mtp --imatrix m.gguf --tensor-type 'attn_q_a\.=Q4_0' -q
exits 'without the matrix' 5 "$INGOT" verify w.gguf --source "$SAMPLE"
says 'without the matrix' 'give it with --imatrix'
exits 'with the matrix' 0 "$INGOT" verify w.gguf --source "$SAMPLE" --imatrix m.gguf
exits 'with another matrix' 1 "$INGOT" verify w.gguf --source "$SAMPLE" --imatrix n.gguf
says 'with another matrix' 'DIFFERS: importance matrix n.gguf'
exits 'a sample without a source' 2 "$INGOT" verify a.gguf --sample 3
exits 'no source there' 4 "$INGOT" verify a.gguf --source nothing
done_testing
