# What `ingot inspect` tells before anything is read: the published figures of V4-Flash and V4-Pro from the headers of
# checkpoints of their size (data of holes), sizes of outputs, memory to run, a GGUF's seal and sources.
. tests/cli/common.sh

# field FILE KEY: the number of a key that occurs once
field() { tr -d ' \t\n' <"$1" | sed -n "s/.*\"$2\":\([-0-9.eE+]*\).*/\1/p"; }
# near WHAT KEY WANT: within half a unit of the last digit that is published
near() {
	got=$(field doc.json "$2")
	if awk -v a="$got" -v b="$3" -v d="$4" 'BEGIN { exit !(a >= b - d && a <= b + d) }'; then ok
	else bad "$1: $2 is '$got', not $3 +- $4"; fi
}
published() {	# PRESET PARAMETERS ACTIVE KV FLOPS
	"$MAKE_CHECKPOINT" "$1" --preset "$1" --sparse >/dev/null || bad "make $1"
	exits "$1" 0 "$INGOT" inspect "$1" --json doc.json
	near "$1" parameters "$2" "$3"
	near "$1" parameters_active "$4" "$5"
	near "$1" kv_of_v32 "$6" 0.006
	near "$1" flops_of_v32 "$7" 0.006
}
published flash 284e9 5e8 13e9 5e8 0.07 0.10
says flash 'layers: +43: 2 window only, 21 ratio 4, 20 ratio 128'
says flash 'recipe: +lossless would make 162 GB'
published pro 1.6e12 5e10 49e9 5e8 0.10 0.27
says pro 'layers: +61: 0 window only, 30 ratio 4, 31 ratio 128'
says pro 'to run: +876 GB of memory at 4096 tokens with all weights in it, 243 MB at least'
rm -r flash pro

# What it says of the output's size and of the memory is what happens.
exits sample 0 "$INGOT" inspect "$SAMPLE" --json doc.json --context 4096
exits convert 0 "$INGOT" convert "$SAMPLE" -o a.gguf --recipe q8 -q
size=$(stat -c %s a.gguf)
exits sample 0 "$INGOT" inspect "$SAMPLE"
said=$(sed -n 's/^recipe: *q8 .*(\([0-9]*\) bytes)/\1/p' out)
# the plan does not know the sources' digests yet, whose entries are of known length but for their names
if [ $((size - said)) -lt 4096 ] && [ $((said - size)) -lt 4096 ]; then ok; else bad "q8: $said bytes were said, $size made"; fi
least=$(field doc.json memory_least) all=$(field doc.json memory_all)
if [ "$all" -gt "$least" ]; then ok; else bad "all weights: $all, least: $least"; fi
exits 'the least memory' 0 "$INGOT" run "$SAMPLE" --raw -p 'And it came' -n 4 --ctx-size 4096 --max-memory "$((least + (1 << 20)))" -q
exits 'a third of it' 4 "$INGOT" run "$SAMPLE" --raw -p 'And it came' -n 4 --ctx-size 4096 --max-memory "$((least / 3))" -q

exits 'a GGUF' 0 "$INGOT" inspect a.gguf
says 'a GGUF' 'seal: +root [0-9a-f]{64}, [0-9]+ chunks, not signed, by ingot'
says 'a GGUF' 'source: +[0-9a-f]{64}  model-00001-of-00003.safetensors \(hub-local-dir\)'
says 'a GGUF' 'to run: '
# A part of a download says that it cannot be run, and why.
cp -r "$SAMPLE" part && rm part/model-00002-of-00003.safetensors
"$INGOT" inspect part >out 2>err
says 'a part' 'model-00002-of-00003.safetensors'
done_testing
