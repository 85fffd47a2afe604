# What each command may do once it runs: seen from outside, and by what it can no longer reach. The
# attempts themselves (sockets, exec, other files) are in tests/test_sandbox.c.
. tests/cli/common.sh
case $BUILD in
*-address* | *-thread* | *-undefined* | *-memory* | *-fuzz*)
	exits 'a build with a sanitizer says that it has none' 4 "$INGOT" inspect "$SAMPLE" --require-sandbox
	says 'a build with a sanitizer says that it has none' 'no sandbox: this build has a sanitizer'
	done_testing
	exit ;;
esac
exits 'switched off and insisted on' 4 env INGOT_SANDBOX=off "$INGOT" inspect "$SAMPLE" --require-sandbox
says 'switched off and insisted on' 'ingot: inspect: no sandbox: INGOT_SANDBOX=off is set; leave out --require-sandbox'
exits 'switched off' 0 env INGOT_SANDBOX=off "$INGOT" inspect "$SAMPLE"
check 'switched off, nothing is said' test ! -s err
"$INGOT" inspect "$SAMPLE" -v >out 2>err
if grep -q 'without a full sandbox' err; then
	exits 'a kernel without it is an error if insisted on' 4 "$INGOT" inspect "$SAMPLE" --require-sandbox
	echo "not shown: $(cat err)"
	done_testing
	exit
fi
says 'inspect says that it is confined' 'sandbox: only the paths that were named'

# A run that waits for its prompt, from outside.
mkfifo wait
"$INGOT" run "$SAMPLE" -f - --require-sandbox <wait >run.out 2>&1 &
pid=$!
exec 9>wait
for i in 1 2 3 4 5 6 7 8 9 10; do
	grep -q '^Seccomp:[[:space:]]*2' /proc/$pid/status && break
	sleep 0.1
done
cp /proc/$pid/status status; cp /proc/$pid/limits limits
exec 9>&-
wait $pid
check 'a filter of calls' grep -q '^Seccomp:[[:space:]]*2' status
check 'no new privileges' grep -q '^NoNewPrivs:[[:space:]]*1' status
check 'no core file' grep -qE '^Max core file size +0 +0' limits

# Every way that a path can be named still works.
R=--require-sandbox
mkdir -p hub/models--a--b/blobs hub/models--a--b/snapshots/0123456789012345678901234567890123456789 elsewhere
snap=hub/models--a--b/snapshots/0123456789012345678901234567890123456789
for f in "$SAMPLE"/*; do
	[ -f "$f" ] || continue
	d=$(sha256sum "$f" | cut -c1-64)
	cp "$f" "hub/models--a--b/blobs/$d"
	ln -s "../../blobs/$d" "$snap/$(basename "$f")"
done
exits 'links of the Hub cache' 0 "$INGOT" verify "$snap" $R
exits 'convert, with its MTP file, from there' 0 "$INGOT" convert "$snap" -o elsewhere/a.gguf -q $R --report elsewhere/r.tsv --json j.json
exits 'verify' 0 "$INGOT" verify elsewhere/a.gguf $R
exits 'verify made again from its source' 0 "$INGOT" verify elsewhere/a.gguf --source "$snap" $R
ln -s elsewhere/a.gguf link.gguf
exits 'a link to a GGUF' 0 "$INGOT" inspect link.gguf $R
exits 'the MTP file beside' 0 "$INGOT" perplexity elsewhere/a.gguf --mtp -f "$TEXT" -c 32 --chunks 1 $R --logprobs lp.txt -q
check 'its output is there' test -s lp.txt
(mkdir pack && cp "$TEXT" pack/t.txt && cd pack && tar czf ../pack.tar.gz t.txt)
exits 'a member of an archive' 0 "$INGOT" perplexity elsewhere/a.gguf -f pack.tar.gz:t.txt -c 32 --chunks 1 $R -q
exits 'quantize' 0 "$INGOT" quantize elsewhere/a.gguf -o q.gguf --recipe q8 $R -q --write-recipe rec.txt
exits 'a recipe that is a file' 0 "$INGOT" quantize elsewhere/a.gguf -o q2.gguf --recipe rec.txt $R -q
exits 'compare' 1 "$INGOT" compare elsewhere/a.gguf q.gguf --max-relative-error 0 $R -q --html elsewhere/c.html
check 'its page is there' test -s elsewhere/c.html
exits 'calibrate' 0 "$INGOT" calibrate elsewhere/a.gguf -f "$TEXT" -c 32 --chunks 1 -o im.gguf $R -q
exits 'sign' 0 "$INGOT" sign q.gguf --key "$SRC/tests/golden/sign/p256.pem" --oms elsewhere/q.sig --sums $R
exits 'verify --key' 0 "$INGOT" verify q.gguf --key "$SRC/tests/golden/sign/p256.pub.pem" $R
exits 'JSON on a descriptor' 0 sh -c "'$INGOT' inspect q.gguf $R --json /dev/stdout | grep -q '^{\\|\"path\"'"
if shm=$(mktemp -d -p /dev/shm 2>/dev/null); then
	exits 'an output in /dev/shm' 0 "$INGOT" quantize elsewhere/a.gguf -o "$shm/q.gguf" --recipe q8 $R -q
	exits 'verify it there' 0 "$INGOT" verify "$shm/q.gguf" $R
	rm -r "$shm"
fi
exits 'streamed past the page cache' 0 "$INGOT" run elsewhere/a.gguf --raw -p 'And it' -n 2 --max-memory 16M $R

# What was not named is not opened: a snapshot that leads to another place than its blobs.
f=$snap/config.json
cp "$f" elsewhere/config.json
ln -sfn "$(pwd)/elsewhere/config.json" "$f"
"$INGOT" inspect "$snap" $R >out 2>err
check 'a link to elsewhere is not followed' test $? -ne 0
done_testing
