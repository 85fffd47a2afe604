# Runs that end early: what they leave, and how the next one goes on.
. tests/cli/common.sh
C="$INGOT convert"
$C "$SAMPLE" -o ref.gguf -q >/dev/null 2>&1
start() { # OPTIONS...: a conversion of the sample into a.gguf that stops somewhere in the middle
	$C "$SAMPLE" -o a.gguf -t 2 --journal-every 100K "$@" >out 2>err & pid=$!
	while [ ! -s a.gguf.journal ] && kill -0 $pid 2>/dev/null; do :; done
	kill -INT $pid 2>/dev/null; wait $pid
}
tries=0
while start; code=$?; [ $code -eq 0 ] && [ $tries -lt 20 ]; do rm -f a.gguf* mtp-a.gguf*; tries=$((tries + 1)); done
check 'SIGINT gives 130' test $code -eq 130
if [ -e a.gguf.journal ]; then	# it may have come before anything was made
	says 'SIGINT' 'run the same command with --resume'
	check 'no final name' test ! -e a.gguf
	exits 'again, without a word' 2 $C "$SAMPLE" -o a.gguf
	says 'again, without a word' '--resume goes on with it, --force starts anew'
	exits 'with other options' 2 $C "$SAMPLE" -o a.gguf --resume --recipe q8
	says 'with other options' 'other options or another source'
	check 'and nothing was removed' test -e a.gguf.partial -a -e a.gguf.journal
fi
exits 'goes on' 0 $C "$SAMPLE" -o a.gguf --resume
same 'the same bytes' a.gguf ref.gguf
same 'the same sidecar' mtp-a.gguf mtp-ref.gguf
gone 'nothing is left over' a.gguf.partial a.gguf.journal a.gguf.lock mtp-a.gguf.partial mtp-a.gguf.lock
exits 'nothing to go on with' 2 $C "$SAMPLE" -o a.gguf --resume
exits 'from the start with --resume' 0 $C "$SAMPLE" -o b.gguf --resume
same 'from the start with --resume' b.gguf ref.gguf

# a shard that fails its digest at the end keeps what the others made
cp -r "$SAMPLE" src; cp -r "$SAMPLE/.cache" src/ 2>/dev/null
last=$(ls src/*.safetensors | tail -n 1)
cp -p "$last" good
flip "$last" $(($(size "$last") - 5)) 3
exits 'a damaged shard' 1 $C src -o c.gguf --journal-every 100K
says 'a damaged shard' 'SHA-256 is'
says 'a damaged shard' 'run the same command with --resume'
gone 'a damaged shard' c.gguf
cp good "$last"; touch -d '2020-01-01' "$last"
exits 'after the shard was replaced' 0 $C src -o c.gguf --resume
says 'after the shard was replaced' 'has changed since; what was made of it is made again'
says 'after the shard was replaced' 'goes on with [1-9][0-9]* of'
same 'after the shard was replaced' c.gguf ref.gguf

# what the disk lost although it had promised
flip "$last" $(($(size "$last") - 5)) 3
exits 'a damaged shard again' 1 $C src -o d.gguf --journal-every 100K
cp good "$last"; touch -d '2020-01-01' "$last"
dd if=/dev/zero of=d.gguf.partial bs=4096 seek=500 count=100 conv=notrunc 2>/dev/null
exits 'a partial file with a hole' 0 $C src -o d.gguf --resume
says 'a partial file with a hole' 'chunks are not what it says; they are made again'
same 'a partial file with a hole' d.gguf ref.gguf
# a torn journal
flip "$last" $(($(size "$last") - 5)) 3
exits 'and again' 1 $C src -o e.gguf --journal-every 100K
cp good "$last"; touch -d '2020-01-01' "$last"
truncate -s -7 e.gguf.journal
exits 'a torn journal' 0 $C src -o e.gguf --resume
says 'a torn journal' 'are torn and do not count'
same 'a torn journal' e.gguf ref.gguf
flip "$last" $(($(size "$last") - 5)) 3
exits 'once more' 1 $C src -o f.gguf --journal-every 100K
cp good "$last"; touch -d '2020-01-01' "$last"
printf garbage >f.gguf.journal
exits 'no journal at all' 2 $C src -o f.gguf --resume
says 'no journal at all' 'is no journal, or damaged; --force starts anew'
exits 'and --force' 0 $C src -o f.gguf --force
same 'and --force' f.gguf ref.gguf
done_testing
