# One output made by several runs: any order, any number at once, any of them killed and run again.
. tests/cli/common.sh
C="$INGOT convert"
# five shards of uneven size, scales in other shards than their weights, and a sidecar
"$MAKE_CHECKPOINT" src --preset least --shards 5 --scales-apart --with-mtp --record-time 4102444800 \
	>/dev/null 2>make.err || bad "no checkpoint: $(cat make.err)"
$C src -o ref.gguf -q >/dev/null 2>&1
clean() { rm -f a.gguf* mtp-a.gguf*; }
sealed() { # WHAT: a.gguf is the file that one run makes, and nothing else is left
	same "$1" a.gguf ref.gguf
	same "$1, the sidecar" mtp-a.gguf mtp-ref.gguf
	left=$(ls -d a.gguf.* mtp-a.gguf.* 2>/dev/null)
	if [ -z "$left" ]; then ok; else bad "$1: left over: $left"; fi
	clean
}
part() { $C src -o a.gguf --part "$@"; }

exits 'nothing to finish' 2 $C src -o a.gguf --finish
says 'nothing to finish' 'no part of it has been made here'
for order in '1 2 3' '3 1 2' '2 3 1'; do
	for k in $order; do exits "part $k of $order" 0 part $k/3; done
	says 'a part' 'part [123]/3 is done: [0-9] of 5 shards'
	exits "order $order" 0 $C src -o a.gguf --finish
	sealed "order $order"
done
for n in 1 2 5 9; do	# nine: some have no shard
	for k in $(seq $n); do part $k/$n -q -t 2 >/dev/null 2>>par.err & done; wait
	exits "$n at once" 0 $C src -o a.gguf --finish
	sealed "$n at once"
done
$C src -o b.gguf --part 1/3 --dry-run --json cut1 >out 2>&1; $C src -o b.gguf --part 2/3 --dry-run --json cut2 >>out 2>&1
$C src -o b.gguf --part 3/3 --dry-run --json cut3 >>out 2>&1
gone 'a dry run' b.gguf.partial b.gguf.parts
check 'every shard in one share' test "$(sed -n '/part_shards/,/]/p' cut1 cut2 cut3 | tr ',' '\n' | grep -o 'model-[^"]*' |
	sort | uniq -c | awk '$1 == 1' | wc -l)" -eq 5

# what is missing is named, and the end may be done again
exits 'the second of three' 0 part 2/3
exits 'two are missing' 2 $C src -o a.gguf --finish
says 'two are missing' 'part 1/3 is not complete .*with --part 1/3 in place of --finish'
says 'two are missing' 'part 3/3 is not complete .*with --part 3/3 in place of --finish'
says 'two are missing' '2 of 3 parts are not complete; run them and --finish again: --part 1/3, 3/3'
gone 'two are missing' a.gguf
exits 'a part once more' 0 part 2/3
exits 'another recipe' 2 part 1/3 --recipe q8
says 'another recipe' 'parts of another conversion were begun here'
exits 'another division' 2 part 1/4
says 'another division' 'made in 3 parts, not 4'
exits 'to finish with another recipe' 2 $C src -o a.gguf --finish --recipe q8
exits 'a run without parts' 2 $C src -o a.gguf
says 'a run without parts' 'being made in parts'
exits 'and with --resume' 2 $C src -o a.gguf --resume
exits 'the other two' 0 part 1/3; exits 'the last' 0 part 3/3
dd if=/dev/zero of=a.gguf.partial bs=1000 seek=40 count=30 conv=notrunc 2>/dev/null
exits 'bytes that the disk lost' 1 $C src -o a.gguf --finish
says 'bytes that the disk lost' 'are not what the parts. journals say'
says 'bytes that the disk lost' 'have to be run again'
for k in 1 2 3; do exits 'made again' 0 part $k/3; done
says 'made again' 'goes on with'
exits 'and finished' 0 $C src -o a.gguf --finish --sums
check 'sums' sha256sum -c --strict a.gguf.SHA256SUMS mtp-a.gguf.SHA256SUMS
rm -f a.gguf.SHA256SUMS mtp-a.gguf.SHA256SUMS
exits 'a part that comes late' 2 part 1/3
says 'a part that comes late' 'exists already'
sealed 'after all that'

# a run without parts left something; --force starts anew, once
printf x >a.gguf.partial
exits 'leftovers of another kind' 2 part 1/2
says 'leftovers of another kind' 'an earlier run without --part left it'
exits 'and --force' 0 part 1/2 --force
exits 'the other part, also with --force' 0 part 2/2 --force
exits 'another plan with --force' 0 part 1/2 --force --recipe q8
exits 'its other part is missing' 2 $C src -o a.gguf --finish --recipe q8
says 'its other part is missing' '1 of 2 parts are not complete'
exits 'the first plan again' 0 part 1/2 --force
exits 'and its other part' 0 part 2/2
printf garbage >a.gguf.part-2-of-2.journal
exits 'a journal that is none' 2 $C src -o a.gguf --finish
exits 'that part anew' 0 part 2/2 --force
exits 'finished' 0 $C src -o a.gguf --finish
sealed '--force'
$C src -o a.gguf --no-mtp -q >/dev/null 2>&1; mv a.gguf nomtp.gguf
exits '--no-mtp, 1' 0 part 1/2 --no-mtp; exits '--no-mtp, 2' 0 part 2/2 --no-mtp
exits '--no-mtp' 0 $C src -o a.gguf --no-mtp --finish
same '--no-mtp' a.gguf nomtp.gguf
gone '--no-mtp' mtp-a.gguf mtp-a.gguf.partial
exits 'a part of what exists, with --force' 0 part 1/1 --force
exits 'replaced' 0 $C src -o a.gguf --finish --force
sealed 'replaced'

# who is in whose way: the locks are held as other processes hold them
exits 'one part' 0 part 1/2
exits 'two runs of one part' 6 flock a.gguf.part-2-of-2.lock $C src -o a.gguf --part 2/2
says 'two runs of one part' 'another run is writing it'
exits 'a part while the end is written' 6 flock a.gguf.lock $C src -o a.gguf --part 2/2
exits 'a part beside others' 0 flock -s a.gguf.lock $C src -o a.gguf --part 2/2
exits 'the end while a part runs' 6 flock -s a.gguf.lock flock a.gguf.part-2-of-2.lock $C src -o a.gguf --finish
says 'the end while a part runs' 'part 2/2 is running'
exits 'a new start while a part runs' 6 flock -s a.gguf.lock $C src -o a.gguf --force
exits 'now it can end' 0 $C src -o a.gguf --finish
sealed 'after the locks'

# the scales of another shard were other bytes for one part than for the one that hashed them
mkdir other; cp src/* other/ 2>/dev/null; rm -rf src2; mkdir src2; cp src/* src2/
for f in other/*.safetensors; do	# the same headers
	n=$(($(od -An -tu8 -N8 "$f") + 8))
	head -c $n "$f" >changed
	tail -c +$((n + 1)) "$f" | LC_ALL=C tr '\170\171\172\173\174\175' '\171\170\173\172\175\174' >>changed
	mv changed "$f"
done
$C src2 -o a.gguf --part 1/5 --allow-unverified -q >/dev/null 2>&1
for k in 2 3 4 5; do $C other -o a.gguf --part $k/5 --allow-unverified -q >/dev/null 2>&1; done
$C src2 -o a.gguf --finish --allow-unverified >out 2>err; code=$?
check 'parts of different sources' test $code -eq 1
says 'parts of different sources' 'was another file for this part than for others'
clean

# killed at any time and run again
seed=${SEED:-20261125}
awk -v s="$seed" 'BEGIN { srand(s); for (i = 0; i < 24; i++) printf "0.0%02d\n", rand() * 60 }' >times
echo "seed $seed"
for t in $(cat times); do
	for k in 1 2 3; do $C src -o a.gguf --part $k/3 -q -t 2 --journal-every 2K >/dev/null 2>&1 & eval "p$k=\$!"; done
	sleep "$t"; kill -9 $p1 $p2 $p3 2>/dev/null
	wait $p1 2>/dev/null; wait $p2 2>/dev/null; wait $p3 2>/dev/null
	$C src -o a.gguf --finish -q >/dev/null 2>&1; code=$?
	[ $code -eq 0 ] || [ $code -eq 2 ] || bad "killed after $t: --finish gives $code"
	if [ $code -ne 0 ]; then
		for k in 3 2 1; do part $k/3 -q >/dev/null 2>again.err || bad "killed after $t: part $k: $(cat again.err)"; done
		$C src -o a.gguf --finish -q >/dev/null 2>again.err & p1=$!
		sleep "$t"; kill -9 $p1 2>/dev/null; wait $p1 2>/dev/null
		[ -e a.gguf ] && ! [ -e a.gguf.parts ] && ! [ -e a.gguf.journal ] ||
			$C src -o a.gguf --finish -q >/dev/null 2>again.err || bad "killed after $t: --finish again: $(cat again.err)"
	fi
	rm -f a.gguf.lock mtp-a.gguf.lock	# of one that was killed at the very end
	sealed "killed after $t"
done

for bad_form in 0/3 4/3 1 /3 1/ 1/0 -1/3 1/3x a/b 1/10000 01/3 1/+3 ''; do
	exits "--part '$bad_form'" 2 part "$bad_form"
	says "--part '$bad_form'" 'give K/N'
done
exits 'both' 2 part 1/2 --finish
exits 'a report' 2 part 1/2 --report r.tsv
says 'a report' 'ingot compare'
exits 'a recipe to write' 2 part 1/2 --write-recipe r.txt
exits 'a GGUF' 2 "$INGOT" quantize ref.gguf -o q.gguf --tensor-type .=Q8_0 --part 1/2
says 'a GGUF' 'only .ingot convert. knows parts'
gone 'nothing was begun' a.gguf.parts q.gguf.parts a.gguf.partial
done_testing
