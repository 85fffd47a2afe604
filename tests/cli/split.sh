# Split GGUFs: written by convert and quantize, read by every command, told apart when mixed or incomplete.
. tests/cli/common.sh
C="$INGOT convert $SAMPLE"
exits 'one file' 0 $C -o one.gguf -q
exits 'split' 0 $C -o s.gguf --split-max-size 2M --json split.json -q
N=$(ls s-0000?-of-0000?.gguf | wc -l)
check 'several files' test "$N" -ge 3
FIRST=s-00001-of-0000$N.gguf SECOND=s-00002-of-0000$N.gguf LAST=s-0000$N-of-0000$N.gguf
MTP=$(ls mtp-s*.gguf | head -n 1)
for f in s-*.gguf mtp-s*.gguf; do
	check "$f has at most 2 MiB" test "$(size $f)" -le 2097152
done
check 'nothing is left' test "$(ls -d s*.partial s*.lock s*.journal 2>/dev/null | wc -l)" -eq 0
check 'no file of the plain name' test ! -e s.gguf
check 'JSON lists them' test "$(grep -c '"path":' split.json)" -eq "$(ls s-*.gguf mtp-s*.gguf | wc -l)"

# the same tensors: byte for byte, by any way
exits 'compare' 0 "$INGOT" compare one.gguf $FIRST
exits 'compare, the sidecar' 0 "$INGOT" compare mtp-one.gguf "$MTP"
exits 'joined again' 0 "$INGOT" quantize $SECOND -o joined.gguf --recipe lossless --json joined.json -q
exits 'the single file' 0 "$INGOT" quantize one.gguf -o single.gguf --recipe lossless --json single.json -q
check 'the root of all is that of one' test "$(grep -m 1 '"root"' joined.json)" = "$(grep -m 1 '"root"' single.json)"
exits 'verify what was joined' 0 "$INGOT" verify joined.gguf --deep
exits 'quantize splits, too' 0 "$INGOT" quantize one.gguf -o q.gguf --recipe lossless --split-max-size 2M -q
check 'as many files' test "$(ls q-*.gguf | wc -l)" -eq "$N"
exits 'and verifies' 0 "$INGOT" verify q-00001-of-0000$N.gguf -q
exits 'q8 of a set' 0 "$INGOT" quantize $FIRST -o q8.gguf --recipe q8 -q
exits 'q8 of the file' 0 "$INGOT" quantize one.gguf -o q8one.gguf --recipe q8 -q
exits 'are alike' 0 "$INGOT" compare q8.gguf q8one.gguf
for t in 1 7; do
	exits "again, $t threads" 0 $C -o s$t.gguf --split-max-size 2M -q -t $t
	for k in $(seq $N); do same "file $k with $t threads" s-0000$k-of-0000$N.gguf s$t-0000$k-of-0000$N.gguf; done
done

# every command takes any file of it
exits 'inspect' 0 "$INGOT" inspect $SECOND
says 'inspect' "^file: +$LAST .* tensors, sealed, root [0-9a-f]{64}"
says 'inspect' '^model: +deepseek4'
exits 'inspect --json' 0 "$INGOT" inspect $FIRST --tensors --json inspect.json
exits 'verify' 0 "$INGOT" verify $FIRST
says 'verify' "^$SECOND: OK"
says 'verify' "^INTACT: $N files of one set: headers, [0-9]+ tensors in [0-9]+ chunks"
exits 'verify by the last' 0 "$INGOT" verify $LAST --deep --source "$SAMPLE" --sample 5
says 'verify by the last' '^INTACT, DERIVED.*values of [0-9]+ tensors .* are sound'
exits 'verify --header' 0 "$INGOT" verify $FIRST --header
says 'verify --header' "^HEADER INTACT: the headers of all $N files"
exits 'derived whole' 0 "$INGOT" verify $FIRST --source "$SAMPLE" -q
exits 'perplexity' 0 "$INGOT" perplexity $LAST -f "$TEXT" --chunks 1 -c 64 --reference "$SAMPLE" --max-kld 0
exits 'perplexity, small memory' 0 "$INGOT" perplexity $FIRST -f "$TEXT" --chunks 1 -c 64 --reference one.gguf --max-kld 0 --max-memory 64M
exits 'calibrate' 0 "$INGOT" calibrate $FIRST -f "$TEXT" -c 64 --chunks 1 -o im.gguf -q
exits 'run' 0 "$INGOT" run $SECOND --raw -p 'The' -n 3 -q
exits 'the same text' 0 sh -c "'$INGOT' run one.gguf --raw -p The -n 3 -q >a; '$INGOT' run $FIRST --raw -p The -n 3 -q >b; cmp a b"
cp "$MTP" mtp-s.gguf
exits 'in a sandbox, with the sidecar' 0 "$INGOT" perplexity $LAST -f "$TEXT" --chunks 1 -c 64 --mtp --mtp-model "$MTP"

# what is missing, mixed or damaged is named
mkdir part && cp s-*.gguf part/ && rm part/$SECOND
exits 'verify, one missing' 1 "$INGOT" verify part/$FIRST --json v.json
says 'verify, one missing' "^part/$SECOND: MISSING"
says 'verify, one missing' "^part/$LAST: OK"
says 'verify, one missing' "part/$SECOND: is missing: 1 of the set's $N files"
check 'JSON says so' grep -q '"verdict":	"INCOMPLETE"' v.json
for what in "inspect part/$LAST" "perplexity part/$FIRST -f $TEXT" "compare one.gguf part/$FIRST" "quantize part/$FIRST -o x.gguf --recipe q8" \
	"run part/$FIRST -p x" "sign part/$FIRST --key none" "calibrate part/$FIRST -f $TEXT -o x.gguf"; do
	case $what in sign*) cp "$SRC"/tests/golden/sign/ed25519.pem none ;; esac
	exits "$what, one missing" 3 "$INGOT" $what -q
	says "$what, one missing" "1 of the set's $N files are missing: $SECOND; fetch them, or convert again"
done
exits 'another conversion' 0 $C -o part/s.gguf --recipe q8 --no-mtp --split-max-size 1M -q
cp q-00002-of-0000$N.gguf part/$SECOND	# the same tensors, another first file
exits 'verify, mixed' 1 "$INGOT" verify part/$FIRST
says 'verify, mixed' "^part/$SECOND: OK"
says 'verify, mixed' "part/$SECOND: was not made together with part/$FIRST \(the first file's metadata is another\)"
exits 'inspect, mixed' 1 "$INGOT" inspect part/$FIRST
exits 'run, mixed' 1 "$INGOT" run part/$LAST -p x
exits 'other values' 0 $C -o o.gguf --tensor-type 'output.weight=Q8_0' --tensor-type token_embd=Q8_0 --no-mtp --split-max-size 2M -q
if [ -e o-00002-of-0000$N.gguf ]; then
	cp o-00002-of-0000$N.gguf part/$SECOND
	exits 'run, of other values' 1 "$INGOT" inspect part/$FIRST
	says 'run, of other values' "was not made together with|tensor .* is in"
fi
cp $SECOND part/$SECOND
exits 'whole again' 0 "$INGOT" verify part/$FIRST -q
cp $LAST part/$SECOND
exits 'a file twice' 3 "$INGOT" verify part/$FIRST
says 'a file twice' 'its name says number 1 of'
cp $SECOND part/$SECOND
flip part/$SECOND $(($(size $SECOND) - 4096)) 3
exits 'a flipped bit' 1 "$INGOT" verify part/$FIRST
says 'a flipped bit' "^part/$SECOND: FAILED"
says 'a flipped bit' '^DAMAGED: tensor '
says 'a flipped bit' "part/$SECOND: damaged in 1 places"
exits 'and quantize sees it' 1 "$INGOT" quantize part/$FIRST -o x.gguf --recipe q8
says 'and quantize sees it' "part/$SECOND: damaged \(tensor"
gone 'and makes nothing' x.gguf

# signatures
cp "$SRC"/tests/golden/sign/ed25519.pem key.pem
cp "$SRC"/tests/golden/sign/ed25519.pub.pem key.pub.pem
exits 'a bundle of several files' 2 "$INGOT" sign $SECOND --key "$SRC/tests/golden/sign/p256.pem" --oms x.sig
says 'a bundle of several files' '--oms: a bundle is made of one file, and .* is one of '
exits 'sign' 0 "$INGOT" sign $SECOND --key key.pem
check 'each is signed' test "$(grep -c 'signed header digest' out)" -eq "$N"
exits 'verify --key' 0 "$INGOT" verify $LAST --key key.pub.pem
says 'verify --key' '^INTACT, AUTHENTIC'
cp s1-00002-of-0000$N.gguf $SECOND
exits 'one is not signed' 5 "$INGOT" verify $FIRST --key key.pub.pem
says 'one is not signed' "$SECOND: "

# the plan, sizes that cannot be, resume
exits 'dry run' 0 $C -o d.gguf --split-max-size 2M --dry-run
says 'dry run' "^d-00001-of-0000$N.gguf: [0-9]+ tensors, [0-9]+ bytes"
says 'dry run' "^d-0000$N-of-0000$N.gguf: "
exits 'all in one' 0 $C -o w.gguf --split-max-size 1G -q
same 'all in one' w.gguf one.gguf
exits 'too small' 2 $C -o x.gguf --no-mtp --split-max-size 100K
says 'too small' '--split-max-size: a file of 102400 bytes cannot hold tensor .* give at least [0-9]+'
least=$(sed -n 's/.*give at least \([0-9]*\).*/\1/p' err)
exits 'the least' 0 $C -o l.gguf --no-mtp --split-max-size "$least" --dry-run
exits 'both sizes' 2 $C -o x.gguf --split-max-size 2M --target-size 4M
exits 'it is there' 2 $C -o s.gguf --split-max-size 2M
says 'it is there' 'exists already'
exits 'by force' 0 $C -o s.gguf --split-max-size 2M --force -q
exits 'by force' 0 "$INGOT" verify $FIRST -q
killed() {	# a conversion to r.gguf, once it has a journal; false if it was faster
	$C -o r.gguf --split-max-size 2M -q -t 1 --journal-every 64K >/dev/null 2>&1 &
	pid=$!
	for i in $(seq 200); do [ -e r.gguf.journal ] && break; sleep 0.01; done
	kill -9 $pid 2>/dev/null
	wait $pid 2>/dev/null
	[ -e r.gguf.journal ]
}
if killed; then
	exits 'leftovers are seen' 2 $C -o r.gguf --split-max-size 2M
	says 'leftovers are seen' 'an earlier run left it'
	rm r.gguf.journal; : >mtp-r-00001-of-00077.gguf.partial; : >r.gguf.partial; : >r-x-00001-of-00002.gguf.partial
	exits 'another division' 2 $C -o r.gguf --no-mtp
	says 'another division' 'an earlier run that divided it otherwise'
	exits 'another division, no journal' 2 $C -o r.gguf --resume
	says 'another division, no journal' 'an earlier run that divided it otherwise'
	exits 'another division, by force' 0 $C -o r.gguf --split-max-size 3M --force -q
	check 'nothing is left of another division' test "$(ls -d r*.partial mtp-r*.partial 2>/dev/null)" = r-x-00001-of-00002.gguf.partial
	rm -f r-* mtp-r*
	if killed; then
		exits 'resume with another size' 2 $C -o r.gguf --split-max-size 3M --resume
		says 'resume with another size' 'an earlier run had other options'
	fi
fi
: >k-00001-of-00009.gguf.partial; : >mtp-k-00001-of-00009.gguf.partial
exits 'beside one at work' 0 flock k-00001-of-00009.gguf.lock $C -o k.gguf --split-max-size 3M --no-mtp --force -q
check 'beside one at work' test -e k-00001-of-00009.gguf.partial
gone 'and nobody at that one' mtp-k-00001-of-00009.gguf.partial
exits 'resume' 0 $C -o r.gguf --split-max-size 2M --resume -q
for k in $(seq 2 $N); do same "resumed file $k" r-0000$k-of-0000$N.gguf s1-0000$k-of-0000$N.gguf; done
for k in 1 2 3; do exits "part $k" 0 $C -o p.gguf --split-max-size 2M --part $k/3 -q; done
exits 'finish' 0 $C -o p.gguf --split-max-size 2M --finish -q
for k in $(seq $N); do same "file $k of parts" p-0000$k-of-0000$N.gguf s1-0000$k-of-0000$N.gguf; done
check 'nothing is left of parts' test "$(ls -d p.gguf* p-*.partial p-*.lock 2>/dev/null | wc -l)" -eq 0
exits 'sums' 0 $C -o u.gguf --split-max-size 2M --sums -q
check 'sums of each' sh -c 'for f in u-*.SHA256SUMS; do sha256sum -c --strict --status $f || exit 1; done'
done_testing
