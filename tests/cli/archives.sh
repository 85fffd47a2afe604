# An archive of a checkpoint as SOURCE and MODEL: the same bytes and figures as from the directory, members that are stored
# are read where they lie, what is compressed leaves no name on the disk, and what is damaged is named. Forged archives are in
# tests/test_hostile_members.c.
. tests/cli/common.sh
has() { command -v "$1" >/dev/null 2>&1; }
confined() { case $BUILD in *-address* | *-thread* | *-undefined*) false ;; *) ! "$INGOT" inspect m -v 2>&1 | grep -q 'without a full' ;; esac; }
cp -a "$SAMPLE" m
R=
[ "${INGOT_SANDBOX:-on}" = on ] && confined && R=--require-sandbox
"$INGOT" convert m -o ref.gguf -q >/dev/null 2>&1
ppl() { "$INGOT" perplexity "$@" -f "$TEXT" -c 64 --chunks 1 -q $R 2>ppl.err | grep '^Final'; }
figure=$(ppl m)

tar cf plain.tar m
mkdir packed
tar --format=pax -czf packed/pax.tar.gz -C m .
forms='plain.tar packed/pax.tar.gz'
has xz && tar --format=gnu -cJf packed/gnu.tar.xz m 2>/dev/null && forms="$forms packed/gnu.tar.xz"
has zstd && tar --format=ustar -cf - m | zstd -q >packed/ustar.tar.zst && forms="$forms packed/ustar.tar.zst"
has zip && zip -qr0 stored.zip m && (cd m && zip -qr ../packed/deflated.zip .) && forms="$forms stored.zip packed/deflated.zip"
has zip && zip -qr - m | cat >packed/piped.zip && forms="$forms packed/piped.zip"
for a in $forms; do
	exits "$a: convert" 0 "$INGOT" convert "$a" -o out.gguf --force $R
	same "$a: the same bytes" out.gguf ref.gguf
	same "$a: the same sidecar" mtp-out.gguf mtp-ref.gguf
	exits "$a: verify" 0 "$INGOT" verify "$a" $R
	says "$a: verify" 'INTACT: 8 files have the digests'
	exits "$a: inspect" 0 "$INGOT" inspect "$a" --json i.json $R
	check "$a: inspect" grep -q '"kind":.*archive of a checkpoint directory' i.json
	check "$a: one perplexity" test "$figure" = "$(ppl "$a")"
done
check 'nothing is left beside them' test "$(ls -A packed | wc -l)" -eq "$(echo "$forms" | tr ' ' '\n' | grep -c packed/)"

# Every other command; the name says nothing.
P=packed/pax.tar.gz
cp plain.tar plain.gguf
exits 'a tar by another name' 0 "$INGOT" inspect plain.gguf
exits 'verify --deep' 0 "$INGOT" verify plain.tar --deep $R
exits 'verify --deep, compressed' 0 "$INGOT" verify $P --deep $R
exits 'verify --source' 0 "$INGOT" verify ref.gguf --source $P $R
says 'verify --source' 'DERIVED'
exits 'compare' 0 "$INGOT" compare plain.tar ref.gguf -q $R
exits 'run' 0 "$INGOT" run plain.tar --raw -p 'And it' -n 2 $R
exits 'calibrate' 0 "$INGOT" calibrate $P -f "$TEXT" -c 32 --chunks 1 -o im.gguf -q $R
exits 'a reference' 0 "$INGOT" perplexity ref.gguf --reference $P -f "$TEXT" -c 64 --chunks 1 --max-kld 0 $R
check 'streamed past the page cache' test "$figure" = "$(ppl plain.tar --max-memory 16M)"
(cd m && sha256sum *.safetensors) >sums
tar cf bare.tar --exclude=.cache m
exits 'no records in it' 5 "$INGOT" convert bare.tar -o bare.gguf
exits 'digests from a list' 0 "$INGOT" convert bare.tar -o bare.gguf --digests sums -q
exits 'in two parts: 2' 0 "$INGOT" convert $P -o parts.gguf --part 2/2 -q
exits 'in two parts: 1' 0 "$INGOT" convert plain.tar -o parts.gguf --part 1/2 -q
exits 'in two parts: end' 0 "$INGOT" convert plain.tar -o parts.gguf --finish -q
same 'in two parts' parts.gguf ref.gguf
mkdir scratch
exits '--scratch' 0 "$INGOT" verify $P --scratch scratch $R
says '--scratch' 'unpacked to a file without a name in scratch, gone at the end: at least [0-9]+ bytes, [0-9]+ are free'
exits '--scratch that is not there' 4 "$INGOT" verify $P --scratch nowhere
says '--scratch that is not there' 'packed/pax.tar.gz: is compressed; --scratch DIR names a folder'

exits 'no room' 4 sh -c "ulimit -f 1000; exec '$INGOT' verify $P --scratch scratch"
says 'no room' "pax.tar.gz: member '[^']*safetensors' \(byte [0-9]+ of [0-9]+; --scratch DIR .*cannot write the scratch file there: "
check 'nothing is left of it' test -z "$(ls -A scratch)"

# The Hub's cache, its links into the blobs of the same archive.
snap=hub/models--a--b/snapshots/0123456789012345678901234567890123456789
mkdir -p hub/models--a--b/blobs $snap
for f in m/*; do
	d=$(sha256sum "$f" | cut -c1-64)
	cp "$f" "hub/models--a--b/blobs/$d"
	ln -s "../../blobs/$d" "$snap/$(basename "$f")"
done
"$INGOT" convert $snap -o cache.gguf -q >/dev/null 2>&1
for a in hub.tar hub.tgz hub.zip; do
	case $a in *.zip) has zip || continue; zip -qryX $a hub ;; *.tgz) tar czf $a hub ;; *) tar cf $a hub ;; esac
	exits "$a: convert" 0 "$INGOT" convert $a -o c.gguf --force -q $R
	same "$a: as from the cache" c.gguf cache.gguf
	exits "$a: verify" 0 "$INGOT" verify $a
done
tar cf nowhere.tar -C hub/models--a--b snapshots
exits 'links without their blobs' 3 "$INGOT" inspect nowhere.tar
says 'links without their blobs' 'is a link to .*which is no file of the archive; pack the blobs with it'

# Stored members are read in place: no file is made, not even one without a name.
# (a build that counts what it runs writes files of its own)
if has strace && strace -o /dev/null true 2>/dev/null && [ "${BUILD%-coverage*}" = "$BUILD" ]; then
	for a in plain.tar stored.zip; do
		[ -e $a ] || continue
		strace -f -o trace -e trace=openat,open,creat,memfd_create,mknodat "$INGOT" verify $a --deep -q >/dev/null 2>&1
		check "$a: no file is made" sh -c "grep -q '$a' trace && ! grep -E 'O_CREAT|O_TMPFILE|creat\\(|memfd|mknod|O_WRONLY|O_RDWR' trace"
	done
	strace -f -o trace -e trace=openat,open,creat "$INGOT" inspect $P -q >/dev/null 2>&1
	check 'inspect unpacks no shard' sh -c '! grep -E "O_CREAT|O_TMPFILE|creat\(" trace'
	exits 'a disk that fails' 4 env ASAN_OPTIONS=detect_leaks=0 strace -f -o /dev/null -e trace=pread64 -e inject=pread64:error=EIO:when=90+ \
		"$INGOT" convert plain.tar -o x.gguf -t 1
	says 'a disk that fails' 'plain.tar:m/model-[^ ]*: cannot read \(bytes [0-9]+\.\.[0-9]+\): Input/output error'
	rm -f x.gguf* mtp-x.gguf*
fi

# Damage. The flipped byte is in the last shard's data.
cp plain.tar bad.tar
last=$(tar tf plain.tar | grep 'safetensors$' | tail -n 1)
dd if=m/"$(basename "$last")" of=piece bs=1 skip=20000 count=64 2>/dev/null
at=$(grep -abo -F -f - plain.tar <piece 2>/dev/null | head -n 1 | cut -d: -f1)
[ -n "$at" ] || at=$(($(size plain.tar) / 2))
flip bad.tar "$at" 4
exits 'a flipped bit: verify' 1 "$INGOT" verify bad.tar
says 'a flipped bit: verify' 'safetensors: FAILED'
exits 'a flipped bit: convert' 1 "$INGOT" convert bad.tar -o d.gguf --journal-every 100K
says 'a flipped bit: convert' 'bad.tar:m/model-.*safetensors: SHA-256 is'
gone 'a flipped bit: convert' d.gguf
cp plain.tar bad.tar
exits 'the archive was replaced' 0 "$INGOT" convert bad.tar -o d.gguf --resume
same 'the archive was replaced' d.gguf ref.gguf
for a in plain.tar $P $(ls stored.zip 2>/dev/null); do
	for percent in 25 50 75 99; do
		head -c $(($(size $a) * percent / 100)) $a >cut.bin
		exits "$a cut at $percent %" 3 "$INGOT" inspect cut.bin
		says "$a cut at $percent %" 'download it again'
	done
done
head -c $(($(size plain.tar) / 2)) plain.tar >cut.bin
exits 'cut in a shard' 3 "$INGOT" convert cut.bin -o x.gguf
says 'cut in a shard' "cut.bin: ends at byte [0-9]+ inside member 'm/[^']*' \(bytes [0-9]+\.\.[0-9]+\)"
cp plain.tar moving.tar
"$INGOT" convert moving.tar -o x.gguf -t 1 -q >out 2>err & pid=$!
while kill -0 $pid 2>/dev/null; do touch moving.tar; done
wait $pid
check 'an archive that changes under it' test $? -eq 4
says 'an archive that changes under it' 'changed while it was being read'
gone 'an archive that changes under it' x.gguf
exits 'the archive as output' 2 "$INGOT" convert plain.gguf -o plain.gguf --force

# Kinds of entries that are refused, as packers make them.
refused() { exits "$1" 3 "$INGOT" inspect "$2"; says "$1" "$3"; }
ln -s /etc/passwd m/odd
tar cf l.tar m; refused 'a link to elsewhere' l.tar "'m/odd' is a link to '/etc/passwd', out of the archive"
rm m/odd; ln m/config.json m/odd
tar cf l.tar m; refused 'a hard link' l.tar 'is a hard link'
rm m/odd; mkfifo m/odd
tar cf l.tar m; refused 'a FIFO' l.tar 'is a device or another special file'
rm m/odd; truncate -s 1M m/odd
tar cSf l.tar m; refused 'a sparse file' l.tar 'is a sparse file'
tar --format=pax -cSf l.tar m; refused 'a sparse file, pax' l.tar 'a sparse file'
rm m/odd
cp plain.tar l.tar; tar rf l.tar m/config.json; refused 'a second of the same name' l.tar 'two members are called'
cp m/config.json m/CONFIG.json; tar cf l.tar m; refused 'but for case' l.tar 'two members are called'
rm m/CONFIG.json
cp plain.tar l.tar; echo more >>l.tar; refused 'something behind the end' l.tar 'something follows the end'
cp -r m n; tar cf l.tar m n; refused 'two checkpoints' l.tar 'holds more than one checkpoint'
tar cf l.tar plain.tar; refused 'an archive in an archive' l.tar 'holds no checkpoint'
gzip -c m/config.json >l.gz; refused 'one file, compressed' l.gz 'is one compressed file'
tar czf l.tgz m && gzip -c l.tgz >l.tar; refused 'compressed twice' l.tar 'compressed twice'
truncate -s 300M zeros && mv zeros m/zeros.json
tar czf bomb.tgz m/config.json m/zeros.json; refused 'a bomb' bomb.tgz 'to more than 200 times'
# AR-20
mkdir m/many && (cd m/many && seq 16390 | xargs touch)
tar cf l.tar m; refused 'too many files' l.tar 'more than 16384 entries, the limit'
done_testing
