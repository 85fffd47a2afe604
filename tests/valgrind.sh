#!/bin/bash
# Every command once under valgrind: no bad access, nothing uninitialized, no block lost. In a debug build: a release clears
# automatic variables. Kernels are AVX2's, as valgrind knows no wider ones. BIN, BUILD as for the other tests. Ends with
# "N passed, N failed"; minutes. Called by make valgrind.
set -u
command -v valgrind >/dev/null || { echo 'valgrind is missing: NOT RUN'; echo '0 passed, 1 failed'; exit 1; }
INGOT=$(pwd)/${BIN:?} BUILD=$(pwd)/${BUILD:?} K=$(pwd)/tests/golden/sign
export INGOT_KERNELS=avx2
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
passed=0 failed=0
under() {
	if valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite "$INGOT" "$@" >out 2>err; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1)); echo "FAILED: $*"; head -n 30 err
	fi
}
"$BUILD/samples/make_checkpoint" src --preset least --shards 3 --with-mtp --record-time 4102444800 >out 2>&1
tar czf src.tar.gz src
seq -s ' ' 5 20 >ids
under convert src -o a.gguf -q -t 2
under convert src -o s.gguf -q --split-max-size 250K
under verify a.gguf -t 2
under verify a.gguf --deep
under verify a.gguf --source src
under verify src
under inspect src
under inspect src.tar.gz
under quantize a.gguf -o q.gguf --recipe q8 -q -t 2
under sign q.gguf --key "$K/p256.pem" --oms q.sig
under verify q.gguf --key "$K/p256.pub.pem"
under compare a.gguf q.gguf
under calibrate a.gguf --token-ids ids -c 8 -o i.gguf -q
under perplexity a.gguf --token-ids ids -c 8 --reference q.gguf --html p.html --no-progress
under run a.gguf --token-ids ids -n 2
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
