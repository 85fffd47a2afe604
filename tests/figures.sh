#!/bin/bash
# Figures about damage and about others who meddle: bits flipped in a sealed file, longer damage, a full disk, a storm
# of signals, two writers of one file, inputs that change while they are read. Every case is counted; the last line is
# "N passed, N failed". What this machine does not allow is said and counted as nothing.
# BIN, BUILD as for the other tests; SEED; SCALE=1 in CI (2,000 flips, 500 of longer damage), 50 for a release.
set -u
SRC=$(pwd) INGOT=$(pwd)/${BIN:?} BUILD=$(pwd)/${BUILD:?}
SCALE=${SCALE:-1} SEED=${SEED:-20261125}
RANDOM=$((SEED % 32768))
dir=$(mktemp -d -p "${TMPDIR:-/dev/shm}" 2>/dev/null || mktemp -d) || exit 1
trap 'umount "$dir/small" 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
passed=0 failed=0 before=0
ok() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAILED: $*"; head -n 3 err 2>/dev/null; }
report() { echo "$1: $((passed + failed - before)) cases, $failed failed so far, $SECONDS s"; before=$((passed + failed)); }
echo "seed $SEED, scale $SCALE, in $dir"

small='--preset least --record-time 4102444800'
{
	"$BUILD/samples/make_checkpoint" src $small --shards 3 --scales-apart &&
	"$BUILD/samples/make_checkpoint" long $small --n-vocab 40960 --fill noise &&	# tables of more than one chunk
	"$INGOT" convert src -o ref.gguf -q && "$INGOT" convert long -o long.gguf -q &&
	"$INGOT" convert "$SRC/samples/v4-tiny" -o tiny.gguf --no-mtp --recipe q8 -q
} >make.out 2>&1 || { cat make.out; echo '0 passed, 1 failed'; exit 1; }

flips() {	# FILE FLIPS OTHERS: the counts of tool_flips are added
	local line
	cp "$1" f.gguf
	line=$("$BUILD/tests/tool_flips" f.gguf "$2" "$3" "$SEED" 2>err | tail -n 1)
	case $line in *' passed, '*' failed') ;; *) line='0 passed, 1 failed' ;; esac
	passed=$((passed + ${line%% passed*})) line=${line#*passed, } failed=$((failed + ${line%% failed*}))
	[ "${line%% failed*}" -eq 0 ] || cat err
	cmp -s "$1" f.gguf || fail "$1 was not put back"
}
flips ref.gguf $((1400 * SCALE)) 0
flips tiny.gguf $((500 * SCALE)) 0
flips long.gguf $((100 * SCALE)) 0
report 'F7: flipped bits, found and located'
flips ref.gguf 0 $((300 * SCALE))
flips tiny.gguf 0 $((150 * SCALE))
flips long.gguf 0 $((50 * SCALE))
report 'F8: bursts, cuts, tails, exchanges, edits, found and located'

# a disk that is too small, by a little or by a lot: either it fits, or it is said and nothing has the name
need=$(($(stat -c %s ref.gguf) / 1024))
full() {	# KIBIBYTES
	mount -t tmpfs -o "size=${1}k" tmpfs small || return 1
	"$INGOT" convert src -o small/a.gguf -q >out 2>err; local code=$?
	if [ $code -eq 0 ]; then cmp -s small/a.gguf ref.gguf && ok || fail "$1 KiB: success, but other bytes"
	elif [ $code -ne 4 ] || ! grep -q 'ingot: small/a.gguf' err; then fail "$1 KiB: exit code $code"
	elif [ -e small/a.gguf ]; then fail "$1 KiB: a file under the final name"
	else ok; fi
	umount small
}
mkdir small
if mount -t tmpfs -o size=64k tmpfs small 2>/dev/null; then
	umount small
	for ((i = 0; i < 50 * SCALE; i++)); do full $((i * (need + 64) / (50 * SCALE) / 4 * 4 + 4)); done
	tar czf src.tar.gz src
	for free in 64k "$(($(stat -c %s src.tar.gz) / 1024 + 16))k"; do	# less than what is packed; less than what is in it
		mount -t tmpfs -o "size=$free" tmpfs small
		"$INGOT" convert src.tar.gz -o a.gguf --scratch small -q >out 2>err; code=$?
		if [ $code -eq 4 ] && grep -q 'are free.*; free space, or give --scratch DIR' err && [ ! -e a.gguf ]; then ok
		else fail "$free of room to unpack: exit code $code"; fi
		umount small
	done
	report 'F12: a full disk'
else
	echo 'F12: a full disk: NOT RUN, this user may not mount a tmpfs (nothing was counted)'
fi

# a signal every millisecond, and every call that it meets ends with EINTR: the same bytes, the same verdict. Only
# who waits for a key from a pipe is waiting for a person, and a signal ends that, as ^C does
signals=0 K=$SRC/tests/golden/sign
storm() {
	rm -f counts
	FAULT=any:1:storm FAULT_COUNT="$dir/counts" LD_PRELOAD="$BUILD/tests/fault.so" "$INGOT" "$@" >out 2>err
	local code=$?
	signals=$((signals + $(awk '$1 == "signals" { print $2 }' counts 2>/dev/null || echo 0) + 0))
	return $code
}
mkfifo keys; exec 9<>keys
for ((i = 0; i < 5 * SCALE; i++)); do
	for one in src:ref long:long; do
		rm -f a.gguf*
		if ! storm convert ${one%:*} -o a.gguf -q -t $((i % 3 + 1)); then fail "convert ${one%:*} in a storm: $(tail -n 1 err)"
		elif ! cmp -s a.gguf ${one#*:}.gguf; then fail "convert ${one%:*} in a storm: other bytes"
		elif ! storm verify a.gguf -t $((i % 3 + 1)) || ! grep -q '^INTACT' out; then fail "verify ${one%:*} in a storm"
		else ok; fi
	done
	if ! storm sign a.gguf --key "$K/p256.pem" || ! storm verify a.gguf --key "$K/p256.pub.pem"; then fail 'signing in a storm'
	else ok; fi
	cp a.gguf before
	storm sign a.gguf --force --key - <&9 & one=$!
	for ((k = 0; k < 1000; k++)); do kill -0 $one 2>/dev/null || break; sleep 0.01; done
	[ $k -lt 1000 ] || cat "$K/p384.pem" >&9	# so that it ends: nothing else is ever there to be read
	if wait $one; then fail 'a signal did not end the wait for a key'
	elif ! grep -q 'cannot read the key' err || ! cmp -s a.gguf before; then fail 'the wait for a key, in a storm'
	else ok; fi
done
exec 9>&-
[ $signals -gt 0 ] && ok || fail 'no signal came'
report "F12: a storm of $signals signals"

# two writers of one file: one of them makes it, the other is told so
late=0
for ((i = 0; i < 50 * SCALE; i++)); do
	rm -f a.gguf*
	"$INGOT" convert src -o a.gguf -q -t 1 >out1 2>err1 & one=$!
	"$INGOT" convert src -o a.gguf -q -t 1 >out2 2>err & two=$!
	wait $one; a=$?; wait $two; b=$?
	[ $a -eq 0 ] && { loser=$b; cp err err1; } || loser=$a
	if ! cmp -s a.gguf ref.gguf; then fail "two writers, exit codes $a and $b: the file is not right"
	elif [ $((a == 0)) -eq $((b == 0)) ]; then fail "two writers, exit codes $a and $b"
	elif [ $loser -eq 6 ]; then ok
	elif grep -q 'exists' err1; then late=$((late + 1)); ok	# the other one had already ended
	else fail "two writers: the loser ends with $loser"; fi
done
report "F14: two writers ($late came after the other's end)"

# inputs that change between two reads: refused. A name that was given to another file is another matter: the run
# holds the file that it opened, and either refuses or has made exactly what that one gives
held=0
cat >meddle.sh <<'END'
shard=$(ls in/*.safetensors | sed -n "$(($2 % 3 + 1))p")
case $1 in
cut) truncate -s -16 "$shard" ;;
longer) printf x >>"$shard" ;;
rewritten) printf '\125' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") - 40)) conv=notrunc ;;
replaced) cp "$shard" new && printf '\125' | dd of=new bs=1 seek=300 conv=notrunc && mv new "$shard" ;;
esac
END
FAULT_COUNT=counts LD_PRELOAD="$BUILD/tests/fault.so" "$INGOT" convert src -o a.gguf -q -t 1 >out 2>err
reads=$(awk '$1 == "pread" { print $2 }' counts)
for ((i = 0; i < 50 * SCALE; i++)); do
	set -- cut longer rewritten replaced; shift $((i % 4)); how=$1
	rm -rf in a.gguf*; cp -a src in
	FAULT=pread:$((RANDOM % reads + 1)):stop LD_PRELOAD="$BUILD/tests/fault.so" "$INGOT" convert in -o a.gguf -q -t 1 >out 2>err & pid=$!
	while state=$(cut -d' ' -f3 /proc/$pid/stat 2>/dev/null) && [ "$state" != T ] && [ "$state" != Z ]; do :; done
	sh meddle.sh $how $RANDOM 2>/dev/null
	kill -CONT $pid; wait $pid; code=$?
	if [ $code -eq 0 ] && [ $how = replaced ] && cmp -s a.gguf ref.gguf; then held=$((held + 1)); ok
	elif [ $code -eq 0 ]; then fail "input $how while it was read: taken"
	elif [ -e a.gguf ]; then fail "input $how while it was read: a file under the final name"
	elif ! grep -q '^ingot: ' err; then fail "input $how while it was read: exit code $code and not a word"
	else ok; fi
done
report "F15: inputs that change ($held times the file that was opened served on)"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
