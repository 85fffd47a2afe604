#!/bin/bash
# Power cuts under LazyFS, a FUSE file system that keeps what was not synced in memory and drops it when told to: a
# conversion into it dies at a random moment, what it had not synced is dropped, and it is mounted anew. After each cut:
# no file under the final name that is not the right one, and going on ends with the very bytes of a run that was left
# alone, or is cut as well. Names last at once there; tests/crash.sh takes those back, too. The last line is
# "N passed, N failed".
# BIN, BUILD as for the other tests; LAZYFS: the folder of the built program (dsrhaslab/lazyfs on GitHub; in its
# version of June 2024 lfs_truncate() may return a `res` that nobody set: there ftruncate() fails now and then, and a
# run with it); SEED; CUTS=20, 500 for a release: so many have to meet a run alive.
set -u
[ -x "${LAZYFS:-}/lazyfs" ] || { echo 'LazyFS: NOT RUN, LAZYFS names no folder with it (nothing was counted)'; exit 0; }
[ "$(id -u)" -eq 0 ] && [ -c /dev/fuse ] || { echo 'LazyFS: NOT RUN, it takes root and /dev/fuse (nothing was counted)'; exit 0; }
INGOT=$(pwd)/${BIN:?} BUILD=$(pwd)/${BUILD:?} LAZYFS=$(cd "$LAZYFS" && pwd)/lazyfs
CUTS=${CUTS:-20} SEED=${SEED:-20261125}
RANDOM=$((SEED % 32768))
dir=$(mktemp -d -p "${TMPDIR:-/dev/shm}" 2>/dev/null || mktemp -d) || exit 1
run='' server=''
stop() {
	[ -z "$run" ] || kill -KILL "$run"
	umount -l "$dir/mnt"
	[ -z "$server" ] || kill -KILL "$server"
	rm -rf "$dir"
} 2>/dev/null
trap stop EXIT
trap 'exit 1' INT TERM
cd "$dir" || exit 1
passed=0 failed=0
fail() { failed=$((failed + 1)); echo "FAILED: $*"; [ -s err ] && head -n 3 err; }
give_up() { echo "FAILED: $*"; tail -n 3 log; echo "$passed passed, $((failed + 1)) failed"; exit 1; }
echo "seed $SEED, $CUTS cuts, in $dir"

"$BUILD/samples/make_checkpoint" src --preset least --shards 3 --scales-apart --with-mtp --record-time 4102444800 \
	>/dev/null 2>make.err || { cat make.err; echo "0 passed, 1 failed"; exit 1; }
"$INGOT" convert src -o ref.gguf -q >/dev/null 2>&1 || { echo "0 passed, 1 failed"; exit 1; }

cat >config <<END
[faults]
fifo_path="$dir/fifo"
fifo_path_completed="$dir/done"
[cache]
apply_eviction=false
[cache.simple]
custom_size="64MB"
blocks_per_page=1
[filesystem]
log_all_operations=false
logfile=""
END
mkdir root mnt; mkfifo fifo 'done'; exec 3<>fifo 4<>'done'
mounted() {
	local i
	"$LAZYFS" mnt --config-path config -o allow_other -o modules=subdir -o subdir="$dir/root" -f >log 2>&1 & server=$!
	for ((i = 0; i < 500; i++)); do mountpoint -q mnt && return; sleep 0.01; done
	give_up 'LazyFS does not mount'
}
cut() {	# a cut, and the power is back
	local answer i
	echo lazyfs::clear-cache >&3
	read -r -t 20 answer <&4 || give_up 'LazyFS does not answer'
	for ((i = 0; i < 100; i++)); do umount mnt && break; sleep 0.05; done	# a dead run lets go late
	mountpoint -q mnt && give_up 'LazyFS cannot be unmounted'
	wait "$server"
	mounted
}
now() { (cd mnt && cksum -- *); }

exec 2>/dev/null	# the shell's own word on killed children, and on LazyFS, which always ends by abort
mounted	# does it do what the test is for?
echo old >mnt/a; sync mnt/a; echo new >>mnt/a; echo new >mnt/b
[ "$(cat mnt/a mnt/b)" = $'old\nnew\nnew' ] || give_up 'LazyFS does not keep what is written'
cut
[ "$(cat mnt/a mnt/b)" = old ] || give_up 'LazyFS does not drop what was not synced'
rm mnt/a mnt/b

conversion=("$INGOT" convert src -o mnt/a.gguf -q --journal-every 2K)
convert() { "${conversion[@]}" "$@" >out 2>err; }
# Going on, from whatever is there: from a journal, or else from the start.
how() { if [ -e mnt/a.gguf.journal ]; then echo --resume; elif ls mnt | grep -q .; then echo --resume --force; fi; }
right() { cmp -s mnt/a.gguf ref.gguf && cmp -s mnt/mtp-a.gguf mtp-ref.gguf; }
clean() { rm -f mnt/*; }
start=${EPOCHREALTIME/./}
convert && right || give_up "a run that is left alone: $(cat err)"
took=$((${EPOCHREALTIME/./} - start)) hit=0 lost=0 again=0
clean
for ((i = 0; hit < CUTS && i < 5 * CUTS; i++)); do
	what="cut $i ($(how))"
	"${conversion[@]}" -t $((RANDOM % 4 + 1)) $(how) >out 2>err & run=$!
	us=$((RANDOM * took / 32768))
	printf -v nap '%d.%06d' $((us / 1000000)) $((us % 1000000)); sleep "$nap"
	kill -KILL $run; wait $run; code=$? run=''
	if [ $code -eq 137 ]; then hit=$((hit + 1)) took=$((took + took / 32)); else took=$((took - took / 8)); fi
	before=$(now)
	cut
	[ "$before" = "$(now)" ] || lost=$((lost + 1))
	if [ -e mnt/a.gguf ] && ! cmp -s mnt/a.gguf ref.gguf; then fail "$what: a wrong file has the final name"; clean; continue
	elif [ -e mnt/mtp-a.gguf ] && ! cmp -s mnt/mtp-a.gguf mtp-ref.gguf; then fail "$what: a wrong sidecar"; clean; continue
	elif [ $code -eq 0 ] && ! right; then fail "$what: success, and then it is not there"; clean; continue
	elif [ $code -ne 0 ] && [ $code -ne 137 ]; then fail "$what: exit code $code"; clean; continue; fi
	if [ $code -eq 137 ] && [ ! -e mnt/a.gguf ] && ((RANDOM % 3 == 0)); then	# the run that goes on is cut as well
		again=$((again + 1)) passed=$((passed + 1)); continue
	fi
	: >err
	if ! [ -e mnt/a.gguf ] && ! convert $(how); then fail "$what: cannot go on"
	elif ! right; then fail "$what: other bytes after going on"
	elif grep -q 'not what it says' err; then fail "$what: the journal spoke of what was not on the disk"
	elif ls mnt | grep -v '^\(mtp-\)\?a\.gguf\(\.lock\)\?$' >err; then fail "$what: something is left over"
	else passed=$((passed + 1)); fi
	clean
done
[ $hit -ge $CUTS ] || fail "only $hit cuts met a run alive"
echo "$hit of $i cuts met a run alive, $lost lost bytes, $again were followed by another, $SECONDS s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
