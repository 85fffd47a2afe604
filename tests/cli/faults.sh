# Every command on a machine that fails under it: the K-th call of a kind, once or from then on. Then either it did not matter
# and all is as ever, or the command says so: an exit code of its own, a line with a next step, no file under a final name.
# Never a false success. tests/crash.sh does this to conversions, at every call; here are the other commands, and FAULTS places
# (3) among the calls of each kind.
. tests/cli/common.sh
release_only
FAULTS=${FAULTS:-3} SO=$SRC/$BUILD/tests/fault.so SPY=${LD_PRELOAD:-}

"$MAKE_CHECKPOINT" src --preset least --shards 3 --with-mtp --record-time 4102444800 >/dev/null 2>&1 && "$INGOT" convert src -o ref.gguf -q >/dev/null 2>&1 &&
	"$INGOT" quantize ref.gguf -o q.gguf --recipe q8 -q >/dev/null 2>&1 && "$INGOT" convert src -o set.gguf --no-mtp -q \
	--split-max-size 250K >/dev/null 2>&1 || bad 'the files that are worked on'
"$INGOT" sign q.gguf --key "$SRC/tests/golden/sign/p256.pem" >/dev/null 2>&1 || bad 'a signature'
tar cf src.tar src; gzip -k src.tar; printf '%d ' 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 >ids
cp "$SRC/tests/golden/sign/p256.pem" key.pem; cp "$SRC/tests/golden/sign/p256.pub.pem" key.pub

# what a run made: models, and what goes with them; and what it found, without times and rates
files() {
	for f in "$@"; do
		[ -e "$f" ] || continue
		echo "$f"
		case $f$random in *.json | *.sig | *1) ;; *) cksum <"$f" ;; esac
	done
}
models() { files o.gguf o-0*.gguf mtp-o*.gguf; }
made() { models; files o.sig o.tsv o.json; }
found() { sed -E 's/[0-9.]+ (ms|s|min|[KMG]i?B\/s|tok[a-z]*\/s)\b/T/g; s/[0-9.]+ (of|to) [0-9.]+ [KMG]i?B/B/g' out; }
clean() { rm -rf o.gguf* o-0* mtp-o* o.sig o.tsv o.json; }
# one CALL:K:WHAT COMMAND...
one() {
	fault=$1; shift
	clean; [ -z "$before" ] || eval "$before"
	FAULT=$fault LD_PRELOAD="$SO $SPY" "$@" >out 2>err </dev/null; code=$?
	if [ $code -eq 0 ]; then
		{ made; found; } >now
		if cmp -s now as_ever; then ok; else bad "$* with $fault: success, but not as ever"; diff as_ever now >&2; fi
		return
	fi
	models >now
	case $code in
	3 | 4 | 5) ;;
	*) bad "$* with $fault: exit code $code"; tail -n 3 err >&2; return ;;
	esac
	if ! grep -q '^ingot: .*; ' err; then bad "$* with $fault: no next step"; cat err >&2
	elif [ -n "$outputs" ] && grep -q '^o\(-00001.*\)*[.]gguf$' now && ! cmp -s now as_made; then
		bad "$* with $fault: half of it has a name"
	else ok; fi
}
# the same of a command that has to fail
one_against() {
	fault=$1; shift
	FAULT=$fault LD_PRELOAD="$SO $SPY" "$@" >out 2>err </dev/null; code=$?
	case $code in
	0 | 2 | 6) bad "$* with $fault: exit code $code"; cat out err >&2 ;;
	*) if [ $code -lt 126 ]; then ok; else bad "$* with $fault: exit code $code"; fi ;;
	esac
}
# each ONE COMMAND...: ONE CALL:K:WHAT COMMAND... at FAULTS places of every call that is in counts
each() {
	one=$1; shift
	while read -r call n; do
		[ "$n" -gt 0 ] || continue
		case $call in
		malloc | mmap) error=12 ;;
		thread) error=11 ;;
		fallocate | *write) error=28 ;;
		lock) error=37 ;;
		*) error=5 ;;
		esac
		i=0
		while [ $i -lt "$FAULTS" ] && [ $i -lt "$n" ]; do
			k=$((1 + i * n / (n < FAULTS ? n : FAULTS)))
			$one "$call:$k:$error$([ $((i % 2)) -eq 0 ] || echo +)" "$@"
			i=$((i + 1))
		done
	done <counts
}
# under COMMAND...: faults of every kind in its calls. $before makes what the command changes, $outputs says that it makes files.
under() {
	clean; [ -z "$before" ] || eval "$before"
	FAULT_COUNT=counts LD_PRELOAD="$SO $SPY" "$INGOT" "$@" >out 2>err </dev/null || { bad "$* without a fault"; cat err >&2; return; }
	models >as_made
	{ made; found; } >as_ever
	each one "$INGOT" "$@"
}
# against COMMAND...: what is wrong with its files is not missed because something else fails, too
against() {
	FAULT_COUNT=counts LD_PRELOAD="$SO $SPY" "$INGOT" "$@" >out 2>err </dev/null && bad "$* without a fault"
	each one_against "$INGOT" "$@"
}

before= outputs=1 random=
under convert src -o o.gguf -q -t 2
under convert src -o o.gguf -q --split-max-size 250K -t 2
under convert src.tar.gz -o o.gguf -q -t 2 --allow-unverified
under convert src -o o.gguf -q --recipe q8 --report o.tsv -t 2
under quantize ref.gguf -o o.gguf -q --recipe q8 -t 2
under calibrate ref.gguf --token-ids ids -c 8 -o o.gguf -q -t 2
before=': >o.gguf.partial; : >o-00001-of-00002.gguf.partial'
under convert src -o o.gguf -q --force
before='"$INGOT" convert src -o o.gguf --part 2/2 -q >/dev/null 2>&1'
under convert src -o o.gguf --part 1/2 -q
before='for k in 1 2; do "$INGOT" convert src -o o.gguf --part $k/2 -q >/dev/null 2>&1; done'
under convert src -o o.gguf --finish -q
before= outputs=
under verify src -t 2
under verify src.tar.gz -t 2
under verify set-00001-of-0000*.gguf -t 2
under verify q.gguf --key key.pub -t 2
under verify ref.gguf --deep -t 2
under verify ref.gguf --source src -t 2
under inspect src
under inspect src.tar.gz
under inspect q.gguf --json o.json
under compare ref.gguf q.gguf -t 2
under perplexity ref.gguf --token-ids ids -c 8 --reference q.gguf -t 2 --no-progress --max-memory 16M
under perplexity src --token-ids ids -c 8 -t 2 --no-progress
under run ref.gguf --token-ids ids -n 3 -t 2
before='cp ref.gguf o.gguf' random=1	# an ECDSA signature has a nonce
under sign o.gguf --key key.pem --oms o.sig
clean
cp -r src part; rm part/model-00002*; cp -r src more; : >more/extra
cp -r src wrong; flip wrong/model-00002-of-00003.safetensors 30000 2; cp ref.gguf bad.gguf; flip bad.gguf 500000 3
against verify part
against verify more --strict
against verify bad.gguf -t 2
against verify ref.gguf --source wrong
against perplexity ref.gguf --token-ids ids -c 8 --reference q.gguf --max-kld 0 --no-progress
done_testing
