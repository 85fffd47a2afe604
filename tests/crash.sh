#!/bin/bash
# Conversions that are killed, or whose calls fail, at every place in turn. After each: no file under the final
# name that is not the right one, an exit code and a message that fit, and a --resume that ends with the very
# bytes of a run that was left alone. The last line is "N passed, N failed".
# BIN, BUILD as for the other tests; SEED; SCALE=1 in CI, 25 for the long campaign.
set -u
SRC=$(pwd) INGOT=$(pwd)/${BIN:?} BUILD=$(pwd)/${BUILD:?}
SCALE=${SCALE:-1} SEED=${SEED:-20261125}
RANDOM=$SEED
# in memory by default: flushing to a disk thousands of times takes hours
dir=$(mktemp -d -p "${TMPDIR:-/dev/shm}" 2>/dev/null || mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
passed=0 failed=0
fail() { failed=$((failed + 1)); echo "FAILED: $*"; [ -s err ] && head -n 3 err; }
echo "seed $SEED, scale $SCALE, in $dir"

"$BUILD/samples/make_checkpoint" src --preset least --shards 3 --scales-apart --with-mtp --record-time 4102444800 \
	>/dev/null 2>make.err || { cat make.err; echo "0 passed, 1 failed"; exit 1; }
"$INGOT" convert src -o ref.gguf -q >/dev/null 2>&1 || { echo "0 passed, 1 failed"; exit 1; }
export LD_PRELOAD_FAULT="$BUILD/tests/fault.so"
go() { # FAULT THREADS OPTIONS...: one conversion under a fault
	local fault=$1 threads=$2; shift 2
	FAULT=$fault LD_PRELOAD=$LD_PRELOAD_FAULT "$INGOT" convert src -o a.gguf -t "$threads" --journal-every 2K "$@" \
		>out 2>err
}
same() { cmp -s a.gguf ref.gguf && cmp -s mtp-a.gguf mtp-ref.gguf; }
clean() { rm -f a.gguf* mtp-a.gguf*; }
# What is there now may only be nothing or the right thing, and going on makes it right.
settle() { # WHAT
	local what=$1
	: >err
	[ ! -e a.gguf ] || cmp -s a.gguf ref.gguf || { fail "$what: a wrong file has the final name"; clean; return; }
	[ ! -e mtp-a.gguf ] || cmp -s mtp-a.gguf mtp-ref.gguf || { fail "$what: a wrong sidecar"; clean; return; }
	if ! [ -e a.gguf ] && ! "$INGOT" convert src -o a.gguf --resume $([ -e a.gguf.journal ] || echo --force) >out 2>err; then
		fail "$what: cannot go on"; clean; return
	fi
	if ! same; then fail "$what: other bytes after going on"
	elif grep -q 'not what it says' err; then fail "$what: the journal spoke of what was not on the disk"
	elif [ -e a.gguf.partial ] || [ -e mtp-a.gguf.partial ] || [ -e a.gguf.new ]; then fail "$what: something is left over"
	else passed=$((passed + 1)); fi
	clean
}
failing() { # CALL K WHAT THREADS: a call fails, the run says so or goes on
	go "$1:$2:$3" "$4"; local code=$?
	if [ $code -eq 0 ]; then
		same || { fail "$*: success, but other bytes"; clean; return; }
	elif [ $code -ge 128 ]; then fail "$*: died with $code"; clean; return
	elif [ ! -s err ]; then fail "$*: exit code $code and not a word"; clean; return
	elif [ $code -eq 1 ] || [ $code -eq 5 ] || [ $code -eq 6 ]; then fail "$*: exit code $code"; clean; return
	fi
	settle "$*"
}
killed() { # CALL K THREADS
	go "$1:$2:kill" "$3" 2>/dev/null
	settle "kill at $1 $2, $3 threads"
}
FAULT_COUNT=counts LD_PRELOAD=$LD_PRELOAD_FAULT "$INGOT" convert src -o a.gguf -t 1 --journal-every 2K -q >/dev/null 2>&1
clean
count() { awk -v c="$1" '$1 == c { print $2 }' counts; }
report() { echo "$1: $((passed + failed - before)) cases, $failed failed so far, $SECONDS s"; before=$((passed + failed)); }
before=0

exec 3>&2 2>/dev/null	# the shell's own word on killed children
for call in pwrite write fsync rename fallocate; do		# at each of them
	for ((k = 1; k <= $(count $call); k++)); do killed $call $k 1; done
done
for shard in src/*.safetensors; do				# and a shard is downloaded again before it goes on
	for ((k = 1; k <= $(count rename); k++)); do
		go "rename:$k:kill" 1; touch "$shard"
		settle "kill at rename $k, then a new $shard"
	done
done
for ((i = 0; i < 100 * SCALE; i++)); do				# anywhere, several threads
	killed any $((RANDOM % ($(count pwrite) * 2 + 200) + 1)) $((RANDOM % 4 + 1))
done
# The sidecar has its name, the model not yet, and now the source has other bytes: never one of each.
cp -r src other; rm -rf other/.cache
FAULT=rename:3:kill LD_PRELOAD=$LD_PRELOAD_FAULT "$INGOT" convert other -o a.gguf --allow-unverified -t 1 -q >out 2>err
[ -e mtp-a.gguf ] && [ ! -e a.gguf ] || fail 'a kill between the two names'
for shard in other/*.safetensors; do printf '\1' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") - 2)) conv=notrunc; done 2>/dev/null
"$INGOT" convert other -o a.gguf --allow-unverified --resume -q >out 2>err; code=$?
if [ $code -eq 1 ] && grep -q 'the source has changed since' err && [ ! -e a.gguf ]; then passed=$((passed + 1)); else fail "changed between the names: exit code $code"; fi
"$INGOT" convert other -o a.gguf --allow-unverified --force -q >out 2>err &&
	"$INGOT" convert other -o b.gguf --allow-unverified -q >out 2>err && cmp -s a.gguf b.gguf && cmp -s mtp-a.gguf mtp-b.gguf &&
	passed=$((passed + 1)) || fail 'changed between the names, then --force'
clean; rm -rf other b.gguf mtp-b.gguf
report 'kills at a call'
for call in pwrite write fsync rename; do			# a power cut before each
	for ((k = 1; k <= $(count $call); k++)); do go "$call:$k:cut" 1; settle "power cut at $call $k"; done
done
for ((i = 0; i < 40 * SCALE; i++)); do
	go "any:$((RANDOM % ($(count pwrite) * 2 + 200) + 1)):cut" 3; settle 'power cut anywhere, 3 threads'
done
report 'power cuts'
# Parts and --finish, killed at a call or cut off by power: the others go on, it is run again, the bytes are the same.
settle_parts() { # WHAT
	local what=$1 k
	: >err
	[ ! -e a.gguf ] || cmp -s a.gguf ref.gguf || { fail "$what: a wrong file has the final name"; clean; return; }
	if [ -e a.gguf ] && same && ! [ -e a.gguf.parts ] && ! [ -e a.gguf.journal ]; then passed=$((passed + 1)); clean; return; fi
	if ! "$INGOT" convert src -o a.gguf --finish >out 2>err; then
		for k in 1 2 3; do "$INGOT" convert src -o a.gguf --part $k/3 >out 2>err || { fail "$what: part $k"; clean; return; }; done
		"$INGOT" convert src -o a.gguf --finish >out 2>err || { fail "$what: cannot finish"; clean; return; }
	fi
	if ! same; then fail "$what: other bytes"
	elif grep -q 'not what' err; then fail "$what: a journal spoke of what was not on the disk"
	elif [ -e a.gguf.partial ] || [ -e a.gguf.parts ] || [ -e a.gguf.journal ]; then fail "$what: something is left over"
	else passed=$((passed + 1)); fi
	clean
}
parts() { local k; for k in "$@"; do "$INGOT" convert src -o a.gguf --part $k/3 -q >/dev/null 2>&1; done; }
for ((i = 0; i < 30 * SCALE; i++)); do
	how=kill; ((i % 3)) || how=cut
	parts $((i % 3 + 1))
	go "any:$((RANDOM % ($(count pwrite) + 150) + 1)):$how" 2 --part $(((i + 1) % 3 + 1))/3
	settle_parts "a part, $how $i"
done
for call in pwrite write fsync rename; do
	for ((k = 1; k <= 4; k++)); do
		for how in kill cut; do
			parts 1 2 3
			go "$call:$k:$how" 1 --finish
			settle_parts "--finish, $how at $call $k"
		done
	done
done
report 'parts'
# A set of files: killed or cut off around the syncs and the names. Where the first file is, all are, and going on ends with
# the same ones.
mkdir set && "$INGOT" convert src -o set/a.gguf --split-max-size 250K -q >/dev/null 2>&1
(cd set && FAULT_COUNT=counts LD_PRELOAD=$LD_PRELOAD_FAULT "$INGOT" convert ../src -o b.gguf --split-max-size 250K -t 1 -q \
	>/dev/null 2>&1; rm -f b-* mtp-b*; mv counts ../set-counts)
settle_set() { # WHAT
	local what=$1 f n=0
	: >err
	for f in a-0*.gguf mtp-a*.gguf; do
		[ -e "$f" ] || continue
		cmp -s "$f" "set/$f" || { fail "$what: a wrong $f"; rm -f a-0* mtp-a* a.gguf*; return; }
		n=$((n + 1))
	done
	if ls a-00001-of-0000?.gguf >/dev/null 2>&1 && [ $n -ne "$(ls set | wc -l)" ]; then fail "$what: the first is there, others are not"; fi
	if [ $n -ne "$(ls set | wc -l)" ] && ! "$INGOT" convert src -o a.gguf --split-max-size 250K --resume $([ -e a.gguf.journal ] ||
			echo --force) >out 2>err; then fail "$what: cannot go on"
	elif ! (for f in set/*; do cmp -s "$f" "${f#set/}" || exit 1; done); then fail "$what: other bytes"
	elif [ "$(ls -d a-0* mtp-a* a.gguf* 2>/dev/null | wc -l)" -ne "$(ls set | wc -l)" ] && [ ! -e a.gguf.journal ]; then
		fail "$what: something is left over"
	else passed=$((passed + 1)); fi
	rm -f a-0* mtp-a* a.gguf*
}
for call in rename fsync; do
	for ((k = 1; k <= $(awk -v c=$call '$1 == c { print $2 }' set-counts); k++)); do
		how=$([ $call = fsync ] && echo cut || echo kill)
		go "$call:$k:$how" 1 --split-max-size 250K
		settle_set "a set, $how at $call $k"
	done
done
rm -rf set
report 'sets of files'
start=${EPOCHREALTIME/./}					# by the clock: at any moment of a run's time
"$INGOT" convert src -o a.gguf -t 1 --journal-every 2K >out 2>err; clean
took=$((${EPOCHREALTIME/./} - start)) hit=0
for ((i = 0; hit < 200 * SCALE && i < 1000 * SCALE; i++)); do	# only those count that met a run alive
	"$INGOT" convert src -o a.gguf -t $((RANDOM % 4 + 1)) --journal-every 2K >out 2>err & pid=$!
	us=$((RANDOM * took / 32768))
	printf -v nap '%d.%06d' $((us / 1000000)) $((us % 1000000)); sleep "$nap"
	kill -KILL $pid; wait $pid
	if [ $? -eq 137 ]; then hit=$((hit + 1)) took=$((took + took / 32)); else took=$((took - took / 8)); fi
	settle 'kill by the clock'
done
[ "$hit" -ge $((200 * SCALE)) ] || fail "only $hit kills by the clock met a run alive"
report "kills by the clock, $hit of them met a run alive"
exec 2>&3

EIO=5 ENXIO=6 ENOMEM=12 EACCES=13 EMFILE=24 EFBIG=27 ENOSPC=28 EROFS=30 ETIMEDOUT=110 ESTALE=116 EDQUOT=122
ways=$((SCALE < 20 ? 1 : 7))					# so many errors a call, and threads an allocation
for call in open read pread write pwrite fsync fallocate rename close; do
	n=$(count $call)
	case $call in
	pwrite | fallocate) errors=($ENOSPC $EIO $EDQUOT $EFBIG $EROFS $ETIMEDOUT $ESTALE) ;;
	*) errors=($EIO $ESTALE $EDQUOT $ENOMEM $EACCES $EMFILE $ENXIO) ;;
	esac
	step=$(((n + 139) / (140 * SCALE))); [ $step -gt 0 ] || step=1
	for ((k = 1; k <= n; k += step)); do
		for e in "${errors[@]:0:ways}"; do
			failing $call $k "$e" 1
			failing $call $k "$e+" 2
		done
	done
done
report 'calls that fail, once and for good'
n=$(count malloc) step=$(((n + 499) / (500 * SCALE))); [ $step -gt 0 ] || step=1
for ((k = 1; k <= n; k += step)); do
	for ((t = 1; t <= ways; t++)); do
		failing malloc $k $ENOMEM $t
		failing malloc $k "$ENOMEM+" $t
	done
done
report 'allocations that fail'
for call in read pread write pwrite any; do
	failing $call 1 short 2
	failing $call 1 intr 2
done
report 'short and interrupted calls'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
