# Signatures: in the slot of a seal, and Model Signing bundles, made here and by others.
. tests/cli/common.sh
K=$SRC/tests/golden/sign
"$INGOT" convert "$SAMPLE" -o a.gguf --no-mtp -q >/dev/null 2>&1
"$INGOT" convert "$SAMPLE" -o b.gguf --no-mtp --name other -q >/dev/null 2>&1
cp a.gguf plain.gguf
slot=$(($(grep -abo ingot.seal.signature a.gguf | head -n 1 | cut -d: -f1) + 20 + 4 + 8))

exits 'inspect of an unsigned file' 0 "$INGOT" inspect a.gguf
says 'inspect of an unsigned file' '^seal: .* chunks, not signed, by ingot'
exits 'an unsigned file' 5 "$INGOT" verify a.gguf --key "$K/p256.pub.pem"
says 'an unsigned file' 'is not signed; `ingot sign'
for k in ed25519 p256 p384; do
	cp plain.gguf a.gguf
	exits "sign with $k" 0 "$INGOT" sign a.gguf --key "$K/$k.pem"
	exits "verify with $k" 0 "$INGOT" verify a.gguf --key "$K/$k.pub.pem" --json v.json
	says "verify with $k" '^INTACT, AUTHENTIC: .*signed by the key you named'
	check "$k in JSON" grep -q '"signature":[[:space:]]*"AUTHENTIC"' v.json
	cmp -l plain.gguf a.gguf | awk -v from=$slot '$1 <= from || $1 > from + 4096 { exit 1 }'
	check "$k touches the slot only" test $? -eq 0
	exits "inspect says so of $k" 0 "$INGOT" inspect a.gguf --json i.json
	says "inspect says so of $k" '^seal: .* chunks, signed, by ingot'
	check "inspect's JSON says so of $k" grep -q '"signed":[[:space:]]*true' i.json
	exits "header alone with $k" 0 "$INGOT" verify a.gguf --key "$K/$k.pub.pem" --header
	says "header alone with $k" '^HEADER AUTHENTIC: .*not looked at: the tensors'
done
exits 'without a key it is intact, no more' 0 "$INGOT" verify a.gguf
says 'without a key it is intact, no more' '^INTACT: .*not looked at: its signature'
exits 'another key' 5 "$INGOT" verify a.gguf --key "$K/p256.pub.pem"
says 'another key' '^INTACT: .*not looked at: who signed it'
says 'another key' 'not by this key'
exits 'another key signs' 2 "$INGOT" sign a.gguf --key "$K/p256.pem"
exits 'another key signs with --force' 0 "$INGOT" sign a.gguf --key "$K/p256.pem" --force
exits 'the same key signs again' 0 "$INGOT" sign a.gguf --key "$K/p256.pem"
exits 'a key from standard input' 0 sh -c "'$INGOT' sign a.gguf --key - <'$K/p256.pem'"
exits 'and it verifies' 0 "$INGOT" verify a.gguf --key "$K/p256.pub.pem"
exits 'an encrypted key' 3 "$INGOT" sign a.gguf --key "$K/encrypted.pem"
says 'an encrypted key' 'openssl pkey -in'
exits 'an RSA key' 3 "$INGOT" sign a.gguf --key "$K/rsa.pem"
exits 'a public key to sign with' 3 "$INGOT" sign a.gguf --key "$K/p256.pub.pem"
exits 'no key at all' 2 "$INGOT" sign a.gguf
exits 'a key that is not there' 4 "$INGOT" sign a.gguf --key nothing.pem
exits 'sign what is no GGUF' 3 "$INGOT" sign "$K/p256.pem" --key "$K/p256.pem"
exits 'while another run signs it' 6 flock a.gguf "$INGOT" sign a.gguf --key "$K/p256.pem"

# every byte of the envelope counts: base64's spare bits would show here
n=$(dd if=a.gguf bs=1 skip="$slot" count=4096 2>/dev/null | tr -d ' \n' | wc -c)
i=0 wrong=0
while [ $i -lt "$n" ]; do
	cp a.gguf f.gguf; flip f.gguf $((slot + i)) $((i % 7))
	"$INGOT" verify f.gguf --header --key "$K/p256.pub.pem" >out 2>err; code=$?
	case $code in 1 | 3 | 5) ;; *) wrong=$((wrong + 1)); echo "byte $i of the envelope: exit code $code" >&2 ;; esac
	i=$((i + 9))
done
check 'flips in the envelope are found' test $wrong -eq 0
cp a.gguf f.gguf; printf '{"payload":"x' | dd of=f.gguf bs=1 seek="$slot" conv=notrunc 2>/dev/null
printf '%1000s' ' ' | dd of=f.gguf bs=1 seek=$((slot + 13)) conv=notrunc 2>/dev/null
exits 'a signature cut short' 1 "$INGOT" verify f.gguf
exits 'is mended by signing again' 0 "$INGOT" sign f.gguf --key "$K/p256.pem"
exits 'and then verifies' 0 "$INGOT" verify f.gguf --key "$K/p256.pub.pem"
cp b.gguf f.gguf
at=$(($(grep -abo ingot.seal.signature b.gguf | head -n 1 | cut -d: -f1) + 20 + 4 + 8))
dd if=a.gguf bs=1 skip="$slot" count=4096 2>/dev/null | dd of=f.gguf bs=1 seek=$at conv=notrunc 2>/dev/null
exits 'a signature from another file' 1 "$INGOT" verify f.gguf --key "$K/p256.pub.pem"
says 'a signature from another file' 'signed another header'
cp a.gguf f.gguf; flip f.gguf $(($(size f.gguf) - 100)) 1
exits 'damaged tensors under a good signature' 1 "$INGOT" verify f.gguf --key "$K/p256.pub.pem"
exits 'signing damaged tensors with everything read' 1 "$INGOT" sign f.gguf --key "$K/p256.pem" --sums
cp a.gguf f.gguf; flip f.gguf $(($(grep -abo ingot.recipe a.gguf | head -n 1 | cut -d: -f1) + 26)) 1
exits 'signing a damaged header' 1 "$INGOT" sign f.gguf --key "$K/p256.pem"

# for people without this program
exits 'sums and bundle' 0 "$INGOT" sign a.gguf --key "$K/p256.pem" --sums --oms a.sig
check 'sha256sum reads the sums' sha256sum -c --strict a.gguf.SHA256SUMS
exits 'our bundle' 0 "$INGOT" verify a.gguf --key "$K/p256.pub.pem" --oms a.sig
says 'our bundle' '^AUTHENTIC: 1 files'
exits 'our bundle with another key' 5 "$INGOT" verify a.gguf --key "$K/p384.pub.pem" --oms a.sig
exits 'our bundle over another file' 1 "$INGOT" verify b.gguf --key "$K/p256.pub.pem" --oms a.sig
exits 'a bundle is not replaced' 2 "$INGOT" sign a.gguf --key "$K/p256.pem" --oms a.sig
exits 'a bundle needs a key' 2 "$INGOT" verify a.gguf --oms a.sig
cp plain.gguf c.gguf
exits 'a bundle with Ed25519' 3 "$INGOT" sign c.gguf --key "$K/ed25519.pem" --oms c.sig
same 'and nothing was written' plain.gguf c.gguf
exits 'sums of the file before' 0 sh -c "printf x >c.gguf.SHA256SUMS; '$INGOT' sign c.gguf --key '$K/p256.pem'"
says 'sums of the file before' 'SHA256SUMS: is of the file as it was before'

# bundles that the signers' reference tool made
exits 'their bundle of a file' 0 "$INGOT" verify "$K/model/config.json" --key "$K/p256.pub.pem" --oms "$K/file.sig"
for k in p256 p384; do
	exits "their bundle of a directory, $k" 0 "$INGOT" verify "$K/model" --key "$K/$k.pub.pem" --oms "$K/model.$k.sig"
	says "their bundle of a directory, $k" '^AUTHENTIC: 2 files'
done
exits 'a directory bundle over a file' 1 "$INGOT" verify a.gguf --key "$K/p256.pub.pem" --oms "$K/model.p256.sig"
cp -r "$K/model" m
printf x >m/extra
exits 'a file that nobody signed' 1 "$INGOT" verify m --key "$K/p256.pub.pem" --oms "$K/model.p256.sig"
says 'a file that nobody signed' '^extra: EXTRA'
rm m/extra m/config.json
exits 'a file that is gone' 1 "$INGOT" verify m --key "$K/p256.pub.pem" --oms "$K/model.p256.sig"
says 'a file that is gone' '^config.json: MISSING'
ln -s /etc/passwd m/config.json
exits 'a link in its place' 1 "$INGOT" verify m --key "$K/p256.pub.pem" --oms "$K/model.p256.sig"
n=$(size "$K/file.sig") i=0 wrong=0
while [ $i -lt "$n" ]; do
	cp "$K/file.sig" f.sig; flip f.sig $i $((i % 7))
	"$INGOT" verify "$K/model/config.json" --key "$K/p256.pub.pem" --oms f.sig >out 2>err; code=$?
	case $code in 1 | 3 | 5) ;; 0) # names of fields that say nothing: media type, tlog, key id
		dd if="$K/file.sig" bs=1 skip=$((i > 40 ? i - 40 : 0)) count=80 2>/dev/null |
			grep -qE 'mediaType|vnd.dev|tlogEntries|keyid|hint|publicKey|verificationMaterial' ||
			{ wrong=$((wrong + 1)); echo "byte $i of the bundle: accepted" >&2; } ;;
	*) wrong=$((wrong + 1)); echo "byte $i of the bundle: exit code $code" >&2 ;; esac
	i=$((i + 23))
done
check 'flips in a bundle are found' test $wrong -eq 0
done_testing
