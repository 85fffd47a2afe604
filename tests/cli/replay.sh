# Every fuzz target, without a fuzzer: the seeds, and fixed changes of each, under whatever compiler and
# sanitizer this build has. What a campaign found stays among the seeds.
. tests/cli/common.sh
ln -s "$SRC/samples" "$SRC/tests" .	# the targets read them from where they are run
total=0
for t in tests/fuzz/fuzz_*.c; do
	t=${t##*/fuzz_} t=${t%.c}
	check "a dictionary for $t" test -s tests/fuzz/"$t".dict
	exits "replay $t" 0 "$SRC/$BUILD/tests/fuzz/replay_$t" 300 tests/fuzz/seeds/*
	[ ! -s err ] || cat err >&2
	n=$(sed -n 's/ inputs$//p' out)
	total=$((total + ${n:-0}))
done
check 'they were many' test "$total" -gt 60000
done_testing
