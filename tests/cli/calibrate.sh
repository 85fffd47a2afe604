# calibrate on the sample: sums of an independent implementation in float64, the same bytes from
# checkpoint and GGUF, any threads, kernels and batches; experts that no token reached; what is refused.
. tests/cli/common.sh

C="$INGOT calibrate"
SHOW=$SRC/$BUILD/tests/tool_imatrix
GOLDEN=$SRC/tests/golden/imatrix.txt
sed -n 's/^ids //p' "$GOLDEN" >ids

exits 'convert' 0 "$INGOT" convert "$SAMPLE" -o a.gguf -q
exits 'calibrate' 0 $C a.gguf --token-ids ids -c 156 -o one.gguf -t 1 --json one.json
says 'what came to the experts' '^experts: 32 in 4 layers, 8 to 189 tokens each, 78\.0 on average$'
says 'a short text draws a warning' '^ingot: ids: the text is short: 78\.0 tokens .* a text of 400 tokens'
says 'the last line' '^one.gguf: importance of 59 tensors from 312 tokens, [0-9]+ bytes$'
says 'perplexity as `ingot perplexity` has it' '^Final estimate: PPL = 30\.3208 '
$SHOW one.gguf >got
cp got one.sums
grep -vE '^(#|ids )' "$GOLDEN" >want
check 'a line a matrix' test "$(wc -l <got)" -eq "$(wc -l <want)"
# names and counts equal, sums to a millionth
check 'sums of squares' sh -c 'paste -d" " want got | awk "{ a = \$4 / \$9 - 1; b = \$5 / \$10 - 1
	if (\$1 != \$6 || \$2 != \$7 || \$3 != \$8 || a * a > 1e-12 || b * b > 1e-12) { print; bad = 1 } } END { exit bad || NR < 100 }"'

exits 'checkpoint, three threads' 0 $C "$SAMPLE" --token-ids ids -c 156 -o two.gguf -t 3 -q
same 'from a checkpoint, by three threads' one.gguf two.gguf
exits 'too little memory' 4 $C a.gguf --token-ids ids -c 156 -o n.gguf -t 2 --max-memory 1M
says 'too little memory' 'needs [0-9]+ bytes of memory, --max-memory allows 1048576'
least=$(grep -oE 'needs [0-9]+' err | cut -d' ' -f2)
exits 'small batches' 0 $C a.gguf --token-ids ids -c 156 -o three.gguf -t 2 --max-memory "$least" -v
says 'small batches' '^batches: 2 of up to 1 chunks'
same 'in two batches' one.gguf three.gguf
for k in scalar avx2 avx512 neon; do	# those that this processor has
	INGOT_KERNELS=$k $C a.gguf --token-ids ids -c 156 -o $k.gguf -q >out 2>err && same "$k kernels" one.gguf $k.gguf
done

exits 'a few tokens' 0 $C a.gguf -f "$TEXT" -c 8 --chunks 1 -o few.gguf --json few.json
says 'unreached experts' '^experts that no token reached: 4, in 2 of 4 layers; .* the mean of the layer.s other experts'
says 'which' '^  layer 2: 6, 7; layer 3: 0, 4$'
check 'which, in JSON' sh -c 'tr -d "\n\t " <few.json | grep -q "\"unreached\":4,.*\[{\"layer\":2,\"experts\":\[6,7\]},{\"layer\":3,\"experts\":\[0,4\]}\]"'
$SHOW few.gguf >got
check 'their count is 0' grep -qE '^blk\.2\.ffn_down_exps\.weight 6 0 0 0$' got
check 'nobody else has 0' test "$(grep -cE ' 0 0 0$' got)" -eq 12

exits 'MTP' 0 $C a.gguf --token-ids ids -c 156 -o m.gguf --mtp -t 2
says 'MTP' '^m.gguf: importance of 71 tensors'
$SHOW m.gguf >got
check 'MTP: every stream counts' grep -qE '^blk\.4\.nextn\.eh_proj\.weight 0 1248 ' got
check 'MTP: the trunk is as without it' sh -c 'grep -v "^blk\.4\." got | cmp - one.sums'
exits 'MTP from a checkpoint' 0 $C "$SAMPLE" --token-ids ids -c 156 -o mc.gguf --mtp -t 1
same 'MTP from a checkpoint' m.gguf mc.gguf

exits 'an output that exists' 2 $C a.gguf --token-ids ids -c 156 -o one.gguf
says 'an output that exists' '^ingot: one.gguf: exists already'
exits 'force' 0 $C a.gguf --token-ids ids -c 156 -o few.gguf --force -q
same 'force' one.gguf few.gguf
exits 'no text' 2 $C a.gguf -o n.gguf
exits 'no output' 2 $C a.gguf --token-ids ids
exits 'a context of three' 2 $C a.gguf --token-ids ids -c 3 -o n.gguf
exits 'a text too short' 3 $C a.gguf --token-ids ids -o n.gguf
exits 'an importance matrix is no model' 3 $C one.gguf --token-ids ids -c 156 -o n.gguf
exits 'a full disk' 4 sh -c "ulimit -f 60; exec $C a.gguf --token-ids ids -c 156 -o n.gguf"
gone 'nothing is left of runs that failed' n.gguf n.gguf.partial n.gguf.lock
done_testing
