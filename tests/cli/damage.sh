# A flipped bit anywhere in a sealed file is found, and in the data it is located.
. tests/cli/common.sh
"$INGOT" convert "$SAMPLE" -o a.gguf -q >/dev/null 2>&1
n=$(size a.gguf)
header=$("$INGOT" inspect a.gguf --json - | sed -n 's/.*"header_bytes":[^0-9]*\([0-9]*\).*/\1/p')
seed=12345 flips=0
next() { seed=$(( (seed * 1103515245 + 12345) % 2147483648 )); echo $seed; }
while [ $flips -lt 80 ]; do	# half of them in the header, which is a small part of the file
	next >/dev/null; at=$(( (seed / 7) % (flips % 2 ? header : n) )); next >/dev/null; bit=$(( (seed / 65536) % 8 ))
	cp a.gguf f.gguf
	flip f.gguf $at $bit
	"$INGOT" verify f.gguf >out 2>err; code=$?
	# in the header a flip may also break what is parsed before digests are compared
	if [ $code -eq 1 ] || { [ $at -lt "$header" ] && [ $code -eq 3 ]; }; then ok; else
		bad "flip of bit $bit at $at (header $header): exit code $code"; fi
	if [ $at -ge "$header" ]; then
		found=$(sed -n 's/^DAMAGED:.* bytes* \([0-9]*\).*/\1/p' out | head -n 1)
		end=$(sed -n 's/^DAMAGED:.*\.\.\([0-9]*\)$/\1/p' out | head -n 1)
		if [ -n "$found" ] && [ "$found" -le $at ] && [ "${end:-$((at + 1))}" -gt $at ]; then ok; else
			bad "flip at $at is not located"; cat out >&2; fi
	fi
	flips=$((flips + 1))
done
# a header rewritten by another tool: one more key, so another size, and the tensors moved as they are
key=$(grep -abo ingot.seal.file_size a.gguf | head -n 1 | cut -d: -f1)
cp a.gguf f.gguf; flip f.gguf $((key + 20 + 4 + 1)) 3
exits 'another size in the seal' 1 "$INGOT" verify f.gguf
says 'another size in the seal' 'not sealed by its last writer: .*though its tensors match'
says 'another size in the seal' '^REWRITTEN: the header'
# places that only one rule covers each: text of a token, the digests, the root, padding, the signature's slot
for place in tokenizer.ggml.tokens+26 ingot.recipe+14 ingot.source.sha256+20 ingot.seal.chunk_sha256+20 \
	ingot.seal.root+20 ingot.seal.header_sha256+20 ingot.seal.signature+14 ingot.seal.signature+4000; do
	key=${place%+*}
	at=$(grep -abo "$key" a.gguf | head -n 1 | cut -d: -f1)
	cp a.gguf f.gguf
	flip f.gguf $((at + ${#key} + ${place#*+})) 2
	exits "a flip in $place" 1 "$INGOT" verify f.gguf
	says "a flip in $place" 'DAMAGED: header'
done
"$INGOT" inspect a.gguf --tensors --json - | tr -d ' \t\n' | tr '{' '\n' | grep '"offset"' |
	sed 's/.*"bytes":\([0-9]*\),"offset":\([0-9]*\).*/\1 \2/' >spans
at=$(awk '{ e = $1 + $2; if (e % 32) { print e; exit } }' spans)
check 'there is padding' test -n "$at"
cp a.gguf f.gguf; flip f.gguf "$at" 0
exits 'a flip in padding' 1 "$INGOT" verify f.gguf
says 'a flip in padding' "DAMAGED: padding, byte $at"
cp a.gguf f.gguf; truncate -s -1 f.gguf
exits 'cut by a byte' 3 "$INGOT" verify f.gguf
cp a.gguf f.gguf; printf x >>f.gguf
exits 'longer by a byte' 1 "$INGOT" verify f.gguf
{ printf 'GGUF\003\000\000\000'; head -c 24 /dev/zero; } >plain.gguf
exits 'a GGUF without a seal' 5 "$INGOT" verify plain.gguf
says 'a GGUF without a seal' 'has no seal'
printf 'not a GGUF at all' >x
exits 'no GGUF' 3 "$INGOT" verify x
exits 'nothing there' 4 "$INGOT" verify nothing
exits 'expert is named' 1 sh -c "cp a.gguf f.gguf; at=\$('$INGOT' inspect a.gguf --tensors --json - | tr -d ' \t\n' |
	sed -n 's/.*\"name\":\"blk.1.ffn_up_exps.weight\"[^}]*\"offset\":\([0-9]*\).*/\1/p');
	printf '\\377' | dd of=f.gguf bs=1 seek=\$((at + 9000)) conv=notrunc 2>/dev/null; '$INGOT' verify f.gguf"
says 'expert is named' 'tensor blk.1.ffn_up_exps.weight, expert [0-9]+, bytes'
done_testing
