# The main job on the sample: convert, verify, the same bytes however it is run.
. tests/cli/common.sh
LOSSLESS=$SRC/$BUILD/tests/tool_lossless

exits 'lossless' 0 "$INGOT" convert "$SAMPLE" -o a.gguf -t 1
exits 'verify' 0 "$INGOT" verify a.gguf
says 'verify' '^INTACT: .*not looked at: authenticity'
exits 'the sidecar too' 0 "$INGOT" verify mtp-a.gguf
exits 'every value is kept' 0 "$LOSSLESS" "$SAMPLE" a.gguf mtp-a.gguf
says 'every value is kept' ', 0 differ$'
gone 'nothing is left over' a.gguf.partial a.gguf.lock mtp-a.gguf.partial mtp-a.gguf.lock
for t in 2 7; do
	exits "with $t threads" 0 "$INGOT" convert "$SAMPLE" -o t$t.gguf -t $t --max-memory 64M
	same "with $t threads" a.gguf t$t.gguf
	same "sidecar with $t threads" mtp-a.gguf mtp-t$t.gguf
done
mkdir -p elsewhere && cp -a "$SAMPLE" elsewhere/copy
exits 'from another path' 0 env LC_ALL=C TZ=Asia/Tokyo "$INGOT" convert elsewhere/copy -o b.gguf
same 'from another path' a.gguf b.gguf

exits 'q8' 0 "$INGOT" convert "$SAMPLE" -o q8.gguf --recipe q8
exits 'verify q8' 0 "$INGOT" verify q8.gguf
check 'q8 is smaller' test "$(size q8.gguf)" -lt "$(size a.gguf)"
exits 'inspect q8' 0 "$INGOT" inspect q8.gguf
says 'inspect q8' 'type: +Q8_0'
says 'inspect q8' 'type: +MXFP4'
exits 'no MTP' 0 "$INGOT" convert "$SAMPLE" -o nomtp.gguf --no-mtp
gone 'no MTP' mtp-nomtp.gguf
check 'the metadata says what was dropped' grep -aq 'MTP block (mtp.\*): .* by --no-mtp' nomtp.gguf
exits 'a rule of the user' 0 "$INGOT" convert "$SAMPLE" -o f32.gguf --tensor-type 'attn_q_a=F32' \
	--tensor-type 'ffn_gate_inp=Q8_0'
says 'a router stays' '2? ?.*keep their type, because they steer the model'
exits 'every value is kept as F32' 0 "$LOSSLESS" "$SAMPLE" f32.gguf mtp-f32.gguf
printf '# comment\nattn_kv=F16\n.*=KEEP\n' >my.recipe
exits 'a recipe file' 0 "$INGOT" convert "$SAMPLE" -o mine.gguf --recipe ./my.recipe
exits 'sums' 0 "$INGOT" convert "$SAMPLE" -o s.gguf --sums
check 'sums' sha256sum -c --strict s.gguf.SHA256SUMS mtp-s.gguf.SHA256SUMS
exits 'JSON' 0 "$INGOT" convert "$SAMPLE" -o j.gguf --json -
check 'JSON alone on standard output' sh -c 'head -c 1 out | grep -q "{" && tail -n 1 out | grep -q "^}"'
says 'JSON' '"root":'
exits 'dry run' 0 "$INGOT" convert "$SAMPLE" -o d.gguf --dry-run
gone 'dry run' d.gguf
says 'dry run' 'blk.0.ffn_gate_exps.weight +FP4 +-> MXFP4'
says 'dry run' '^space: '

# what must not happen
exits 'a sidecar is no model' 3 "$INGOT" perplexity mtp-a.gguf -f "$TEXT"
says 'a sidecar is no model' 'holds an MTP block alone'
exits 'an existing output' 2 "$INGOT" convert "$SAMPLE" -o a.gguf
exits 'replaced by --force' 0 "$INGOT" convert "$SAMPLE" -o a.gguf --force
same 'replaced by --force' a.gguf b.gguf
cp -a "$SAMPLE" src
exits 'an output that is an input' 2 "$INGOT" convert src -o src/model-00001-of-00003.safetensors --force
same 'the input is untouched' src/model-00001-of-00003.safetensors "$SAMPLE/model-00001-of-00003.safetensors"
exits 'an output that is in use' 6 flock busy.gguf.lock "$INGOT" convert "$SAMPLE" -o busy.gguf
says 'an output that is in use' 'another run is writing it'
exits 'no directory' 4 "$INGOT" convert "$SAMPLE" -o no/where.gguf
exits 'a disk that is full' 4 sh -c "ulimit -f 100; exec '$INGOT' convert '$SAMPLE' -o full.gguf"
says 'a disk that is full' 'full.gguf: cannot reserve [0-9]+ bytes'
gone 'a disk that is full' full.gguf full.gguf.partial full.gguf.lock
exits 'too little memory' 4 "$INGOT" convert "$SAMPLE" -o m.gguf --max-memory 100K
says 'too little memory' 'give --max-memory'
exits 'no output' 2 "$INGOT" convert "$SAMPLE"
exits 'an unknown recipe' 2 "$INGOT" convert "$SAMPLE" -o x.gguf --recipe best
exits 'an unknown type' 2 "$INGOT" convert "$SAMPLE" -o x.gguf --tensor-type 'a=Q9'
exits 'a bad expression' 2 "$INGOT" convert "$SAMPLE" -o x.gguf --tensor-type '(=Q8_0'
exits 'an unknown option' 2 "$INGOT" convert "$SAMPLE" -o x.gguf --fast
done_testing
