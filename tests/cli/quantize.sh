# quantize: a GGUF in, a sealed GGUF out; what it refuses and what it says.
. tests/cli/common.sh
FOREIGN=$SRC/$BUILD/tests/tool_foreign
TYPES='Q8_0 Q6_K Q5_K Q4_K Q4_1 Q4_0 IQ4_NL IQ4_XS MXFP4 NVFP4'

# the same tensors by either way, in the same place: the roots are equal
exits 'lossless' 0 "$INGOT" convert "$SAMPLE" -o lossless.gguf -q
exits 'q8 of the checkpoint' 0 "$INGOT" convert "$SAMPLE" -o direct.gguf --recipe q8 --json direct.json -q
for t in 1 2 7; do
	exits "q8 of the GGUF, $t threads" 0 "$INGOT" quantize lossless.gguf -o q8-$t.gguf --recipe q8 -t $t --json q8.json -q
	check "the root is that of q8, $t threads" test "$(grep -m 1 '"root"' direct.json)" = "$(grep -m 1 '"root"' q8.json)"
	same "the same file, $t threads" q8-1.gguf q8-$t.gguf
done
exits 'verify' 0 "$INGOT" verify q8-1.gguf
exits 'the sidecar' 0 "$INGOT" quantize mtp-lossless.gguf -o mtp-q8.gguf --recipe q8 -q
exits 'verify the sidecar' 0 "$INGOT" verify mtp-q8.gguf -q
exits 'a second time over' 0 "$INGOT" quantize q8-1.gguf -o twice.gguf --recipe lossless
says 'a second time over' 'the source was as it was sealed'
check 'the checkpoint is still named' grep -aq 'model-00001-of-00003.safetensors' twice.gguf
check 'and so are both recipes' sh -c 'tr "\0" "\n" <twice.gguf | grep -aq "^\.\*=KEEP"'
exits 'it runs' 0 "$INGOT" perplexity q8-1.gguf -f "$TEXT" --chunks 1 --reference "$SAMPLE" --max-kld 0.01
exits 'to another place' 0 sh -c "mkdir -p elsewhere && cp lossless.gguf elsewhere/ && cd elsewhere &&
	LC_ALL=C TZ=Asia/Tokyo '$INGOT' quantize ./lossless.gguf -o x.gguf --recipe q8 -q"
same 'to another place' q8-1.gguf elsewhere/x.gguf

# any architecture
exits 'a stranger' 0 "$FOREIGN" in.gguf
for t in $TYPES; do
	printf '.*=%s\n' $t >./r
	exits "a stranger to $t" 0 "$INGOT" quantize in.gguf -o $t.gguf --recipe ./r -t 1
	says "a stranger to $t: rows of 40" 'blk.0.attn_odd.weight \(rows of 40\) becomes F16|rows of'
	exits "verify $t" 0 "$INGOT" verify $t.gguf -q
	exits "$t with 3 threads" 0 "$INGOT" quantize in.gguf -o 3.gguf --recipe ./r -t 3 -q --force
	same "$t with 3 threads" $t.gguf 3.gguf
done
printf '.*=Q6_K\n' >./r
exits 'shorter blocks' 0 "$INGOT" quantize in.gguf -o 3.gguf --recipe ./r --force --dry-run
says 'shorter blocks' "2 tensors have rows that do not divide into Q6_K's blocks of 256: blk.0.attn_odd"
says 'shorter blocks' '^blk.0.ffn_down_exps.weight +F16 +-> Q8_0'
says 'no digest' 'neither a seal nor a digest vouches for it'
exits 'a rule of the user' 2 "$INGOT" quantize in.gguf -o x.gguf --tensor-type 'ffn_=Q6_K'
says 'a rule of the user' "rule 'ffn_=Q6_K': rows of tensor blk.0.ffn_down_exps.weight have 96 elements"
exits 'what steers stays' 0 "$INGOT" quantize in.gguf -o x.gguf --tensor-type attn_odd=KEEP --tensor-type '.*=Q8_0'
says 'what steers stays' '9 tensors that a rule names keep their type.*position_embd.weight is the first'

# effort
printf '.*=IQ4_XS\n' >./r
exits 'the best effort' 0 "$INGOT" quantize in.gguf -o best.gguf --recipe ./r --effort best -q
exits 'by three threads' 0 "$INGOT" quantize in.gguf -o best3.gguf --recipe ./r --effort best -q -t 3
same 'by three threads' best.gguf best3.gguf
check 'the best effort shows' sh -c '! cmp -s best.gguf IQ4_XS.gguf'
exits 'convert knows it' 0 "$INGOT" convert "$SAMPLE" -o best4.gguf --no-mtp --tensor-type attn_q_a=Q4_K --effort best
exits 'no such effort' 2 "$INGOT" quantize in.gguf -o x1.gguf --recipe q8 --effort most
exits 'no such matrix' 4 "$INGOT" quantize in.gguf -o x1.gguf --recipe q8 --imatrix nowhere

# sizes that make no sense
exits 'larger' 0 "$INGOT" quantize in.gguf -o big.gguf --tensor-type 'attn_q\.weight=F32'
says 'larger' '1 tensors become larger than their source, with the same values: blk.0.attn_q.weight as F32'
exits 'no smaller' 0 "$INGOT" quantize lossless.gguf -o big8.gguf --tensor-type ffn_gate_exps=Q8_0 --allow-requantize
says 'no smaller' '4 tensors become no smaller than their source and less exact: .* as Q8_0 takes 2.00'
says 'FP4 anew' 'FP4 weights of 4 tensors were encoded anew: relative error 0.00[0-9]+ '
says 'FP4 anew' '4 tensors of FP4 weights are encoded anew and lose their exact values: [0-9]+ bytes become'

# the report
printf '.*=MXFP4\n' >./r
for t in 1 3; do
	exits "report, $t threads" 0 "$INGOT" quantize in.gguf -o rep.gguf --recipe ./r --report $t.tsv -t $t -q --force
done
same 'the report does not depend on threads' 1.tsv 3.tsv
check 'a line a tensor, a total a role' sh -c 'test $(wc -l <1.tsv) -eq $((1 + 16 + 16 + 1))'
check 'of a tensor' grep -qE '^blk.0.ffn_gate_exps.weight	ffn_gate_exps	1	F16	MXFP4	212992	56576	106496	0\.0[0-9]+	0\.1[01][0-9]+	0\.99[0-9]+	0\.[0-9]+	[0-3]:[0-9]+:[0-9]+	0\.[0-9]+	[0-3]:[0-9]+:[0-9]+	[0-9]+	0	0$' 1.tsv
check 'of ids' grep -qE '^rope_ids	rope_ids	1	I32	I32	40	40	0	-	-	-	-	-	-	-	0	0	0$' 1.tsv
exits 'report in JSON' 0 "$INGOT" convert "$SAMPLE" -o rep.gguf --report rep.json -q --force
check 'nothing moved' test "$(grep -c '"relative":	0,' rep.json)" -eq "$(grep -c '"relative":	[^n]' rep.json)"
exits 'no place for it' 4 "$INGOT" convert "$SAMPLE" -o x1.gguf --report nowhere/r.tsv
gone 'no place for it' x1.gguf
exits 'a report is there' 2 "$INGOT" convert "$SAMPLE" -o x1.gguf --report 1.tsv
exits 'of a dry run' 2 "$INGOT" convert "$SAMPLE" -o x1.gguf --report 9.tsv --dry-run

# what is quantized already
exits 'a quantized stranger' 0 "$FOREIGN" q4.gguf Q4_0
exits 'is refused' 2 "$INGOT" quantize q4.gguf -o x8.gguf --recipe q8
says 'is refused' 'q4.gguf: tensor blk.0.attn_q.weight: is already quantized, as Q4_0 .*--allow-requantize'
gone 'is refused' x8.gguf x8.gguf.partial
exits 'unless it is asked for' 0 "$INGOT" quantize q4.gguf -o x8.gguf --recipe q8 --allow-requantize
exits 'or stays' 0 "$INGOT" quantize q4.gguf -o x9.gguf --recipe q8 --tensor-type attn_q=KEEP
exits 'FP4 too' 2 "$INGOT" quantize lossless.gguf -o x10.gguf --tensor-type gate_exps=Q4_K
says 'FP4 too' 'is already quantized, as MXFP4'
exits 'to F32 is no loss' 0 "$INGOT" quantize q4.gguf -o f32.gguf --tensor-type 'attn_q.weight=F32'

# damage
exits 'a NaN' 0 "$FOREIGN" nan.gguf nan
for rule in '.*=Q8_0' '.*=KEEP'; do
	printf '%s\n' "$rule" >./r
	exits "a NaN: $rule" 3 "$INGOT" quantize nan.gguf -o x1.gguf --recipe ./r
	says "a NaN: $rule" 'a NaN at row 5, column 7 \(tensor blk.0.attn_k.weight, bytes [0-9]+\.\.[0-9]+\)'
done
exits 'an infinity' 0 "$FOREIGN" inf.gguf inf
exits 'an infinity' 3 "$INGOT" quantize inf.gguf -o x1.gguf --recipe q8
says 'an infinity' 'an infinite value at row 5, column 7'
gone 'damage leaves nothing' x1.gguf x1.gguf.partial x1.gguf.lock
cp lossless.gguf hurt.gguf
flip hurt.gguf 4000000 3
exits 'a flipped bit' 1 "$INGOT" quantize hurt.gguf -o x1.gguf --recipe q8
says 'a flipped bit' 'damaged \(tensor blk\.[0-9].*, bytes [0-9]+\.\.[0-9]+\): not as it was sealed'
cp lossless.gguf hurt.gguf
flip hurt.gguf $(grep -abo 'DeepSeek V4' hurt.gguf | head -n 1 | cut -d: -f1) 1
exits 'a flipped bit of the header' 1 "$INGOT" quantize hurt.gguf -o x1.gguf --recipe q8
cp lossless.gguf hurt.gguf
printf x >>hurt.gguf
exits 'a byte too many' 1 "$INGOT" quantize hurt.gguf -o x1.gguf --recipe q8
exits 'taken all the same' 0 "$INGOT" quantize hurt.gguf -o x2.gguf --recipe q8 --allow-unverified
says 'taken all the same' 'taken as unsealed by --allow-unverified'
printf '%064d  in.gguf\n' 0 >wrong
exits 'another digest' 1 "$INGOT" quantize in.gguf -o x1.gguf --recipe q8 --digests wrong
gone 'damage leaves nothing' x1.gguf x1.gguf.partial x1.gguf.lock

# what the Hub recorded
sum=$(sha256sum in.gguf | cut -d' ' -f1)
mkdir -p local/.cache/huggingface/download models--acme--tiny/blobs models--acme--tiny/snapshots/main
cp in.gguf local/my.gguf
record=local/.cache/huggingface/download/my.gguf.metadata
printf '%040d\n%s\n4102444800.0\n' 7 "$sum" >$record
exits 'a download' 0 "$INGOT" quantize local/my.gguf -o hub.gguf --recipe q8
says 'a download' 'the source matched its known digest'
exits 'a download' 0 "$INGOT" inspect hub.gguf
says 'a download' 'my.gguf \(hub-local-dir\)'
printf '%040d\n%064d\n4102444800.0\n' 7 1 >$record
exits 'another download' 1 "$INGOT" quantize local/my.gguf -o x1.gguf --recipe q8
printf '%040d\n%s\n1000000000.0\n' 7 "$sum" >$record
exits 'a stale record' 0 "$INGOT" quantize local/my.gguf -o hub.gguf --recipe q8 --force
says 'a stale record' 'record is older than the file'
cp in.gguf "models--acme--tiny/blobs/$sum"
ln -s "../../blobs/$sum" models--acme--tiny/snapshots/main/my.gguf
exits 'the cache' 0 "$INGOT" quantize models--acme--tiny/snapshots/main/my.gguf -o hub.gguf --recipe q8 --force
says 'the cache' 'the source matched its known digest'

# usage
exits 'no type' 2 "$INGOT" quantize in.gguf -o x1.gguf
says 'no type' 'to which type'
exits 'onto itself' 2 "$INGOT" quantize in.gguf -o in.gguf --recipe q8 --force
exits 'no GGUF' 3 "$INGOT" quantize "$SAMPLE/config.json" -o x1.gguf --recipe q8
exits 'no file' 4 "$INGOT" quantize nowhere.gguf -o x1.gguf --recipe q8
exits 'too little memory' 4 "$INGOT" quantize in.gguf -o x1.gguf --recipe q8 --max-memory 100K
ln -s in.gguf link.gguf
exits 'a link' 0 "$INGOT" quantize link.gguf -o x3.gguf --recipe q8 -q
done_testing
