# The text of a perplexity in every form it is distributed in: the same text, digest and figure to
# the last digit. The zip is written here by hand, from the CRC and length in gzip's trailer.
. tests/cli/common.sh

le() {	# BYTES VALUE: little-endian
	n=$1 v=$2
	while [ "$n" -gt 0 ]; do printf "\\$(printf %03o $((v & 255)))"; v=$((v >> 8)) n=$((n - 1)); done
}
# a stored zip of $TEXT under the name NAME
make_zip() {
	gzip -c "$TEXT" | tail -c 8 >crc.size
	tail -c 4 crc.size >>crc.size
	{ printf 'PK\3\4'; le 2 10; le 8 0; cat crc.size; le 2 ${#1}; le 2 0; printf %s "$1"; cat "$TEXT"; } >z.zip
	from=$(size z.zip)
	{ printf 'PK\1\2'; le 2 20; le 2 10; le 8 0; cat crc.size; le 2 ${#1}; le 16 0; printf %s "$1"; } >>z.zip
	to=$(size z.zip)
	{ printf 'PK\5\6'; le 4 0; le 2 1; le 2 1; le 4 $((to - from)); le 4 "$from"; le 2 0; } >>z.zip
}
# ppl TEXT: perplexity over it; the probabilities in lp, the figures in j.json
ppl() { "$INGOT" perplexity "$SAMPLE" -f "$1" -c 64 --chunks 2 --logprobs lp --json j.json; }
figure() { grep -oE '"(ppl|sha256|bytes)":[[:space:]]*[^,]*' "$1"; }

exits 'plain' 0 ppl "$TEXT"
mv lp want.lp
figure j.json >want
check 'a figure' grep -q '"ppl"' want
check 'the digest of the text' grep -q "$(sha256sum "$TEXT" | cut -d' ' -f1)" want

mkdir raw
cp "$TEXT" raw/wiki.test.raw
echo other >raw/other
gzip -c "$TEXT" >t.gz
tar -cf t.tar raw/wiki.test.raw
tar -cf both.tar raw
gzip -c t.tar >t.tar.gz
gzip -c both.tar >both.tar.gz
make_zip raw/wiki.test.raw
forms='t.gz t.tar t.tar.gz z.zip z.zip:raw/wiki.test.raw both.tar:raw/wiki.test.raw both.tar.gz:raw/wiki.test.raw'
if command -v xz >/dev/null; then xz -c "$TEXT" >t.xz; xz -c t.tar >t.tar.xz; forms="$forms t.xz t.tar.xz"; fi
if command -v zstd >/dev/null; then
	zstd -qc "$TEXT" >t.zst; zstd -qc t.tar >t.tar.zst; forms="$forms t.zst t.tar.zst"
fi
for form in $forms; do
	exits "$form" 0 ppl "$form"
	figure j.json >got
	same "$form: figure and digest" got want
	same "$form: probabilities" lp want.lp
done
cp t.gz both.tar:raw
exits 'a file whose name has a colon' 0 ppl both.tar:raw

exits 'two members' 3 ppl both.tar
says 'two members' '^ingot: both.tar: holds 2 files; name one as both.tar:MEMBER; they are: raw/'
exits 'no such member' 3 ppl both.tar:raw/none
says 'no such member' "^ingot: both.tar: no member 'raw/none'; it holds 2: raw/"
head -c 2000 t.gz >cut.gz
exits 'cut gzip' 3 ppl cut.gz
says 'cut gzip' '^ingot: cut.gz: ends inside its gzip data'
head -c "$(($(size z.zip) - 60))" z.zip >cut.zip
exits 'cut zip' 3 ppl cut.zip
says 'cut zip' '^ingot: cut.zip: no zip end record'
head -c 300M /dev/zero | gzip -1 >bomb.gz
exits 'bomb' 3 timeout 5 "$INGOT" perplexity "$SAMPLE" -f bomb.gz
says 'bomb' '^ingot: bomb.gz: unpacks to more than 200 times'
exits 'more text than memory' 4 "$INGOT" perplexity "$SAMPLE" -f t.gz --max-memory 10K
says 'more text than memory' 'do not fit --max-memory'
exits 'token ids may be packed, too' 3 "$INGOT" perplexity "$SAMPLE" --token-ids t.gz
says 'token ids may be packed, too' '^ingot: t.gz: bytes '
done_testing
