# libingot as it is installed: what it exports, pkg-config, the example built against it both ways, a C++ compiler on the header.
. tests/cli/common.sh
release_only
export LC_ALL=C
(cd "$SRC" && make -s install BUILD="$BUILD" DESTDIR="$work/root" PREFIX=/opt/ingot LIBDIR=/opt/ingot/lib64) >out 2>err
check 'install' test $? -eq 0
lib=$work/root/opt/ingot/lib64
declared=$(grep -oE '\bingot_[a-z_]+\(' "$work/root/opt/ingot/include/ingot.h" | tr -d '(' | sort -u)

nm -D --defined-only "$lib/libingot.so" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' | sort -u >exported
echo "$declared" >declared
same 'the shared library exports what the header declares, and nothing else' declared exported
nm -g --defined-only "$lib/libingot.a" | awk 'NF == 3 { print $3 }' | sort -u >exported
same 'so does the static one' declared exported
check 'its name is versioned' sh -c "readelf -d '$lib/libingot.so' | grep -q 'SONAME.*\\[libingot.so.0\\]'"
check 'and so are its names' sh -c "nm -D '$lib/libingot.so' | grep -q 'T ingot_convert@@INGOT_0'"
check 'links lead to it' test "$(readlink "$lib/libingot.so") $(readlink "$lib/libingot.so.0")" = "libingot.so.0 libingot.so.$("$INGOT" --version | cut -d' ' -f2)"
readelf -lWd "$lib/libingot.so" >elf
check 'every symbol bound at the start' grep -q BIND_NOW elf
check 'no relocation in code' sh -c '! grep -q TEXTREL elf'
check 'a stack that does not execute' grep -qE 'GNU_STACK .* RW +0x' elf
nm -D --undefined-only "$lib/libingot.so" >needs
check 'it cannot print, exit or catch signals' sh -c "! grep -E ' (exit|abort|printf|puts|putchar|perror|signal|sigaction|setlocale|setenv|stdout|stderr)(@|\$)' needs"

export PKG_CONFIG_PATH=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$work/root
export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1
check 'pkg-config knows its version' test "$(pkg-config --modversion ingot)" = "$("$INGOT" --version | cut -d' ' -f2)"
check 'and what a static link takes besides' sh -c 'pkg-config --static --libs ingot | grep -q -- "-lcrypto"'
check 'which a dynamic one does not' sh -c '! pkg-config --libs ingot | grep -q -- "-lcrypto"'
cc=${CC:-cc}
own="-I$work/root/opt/ingot/include -L$lib -lingot"
check 'its flags are the place' test "$(pkg-config --cflags --libs ingot | tr -s ' ' | sed 's/ $//')" = "$own"
$cc -std=c17 -Wall -Wextra -Werror "$SRC/examples/convert_and_verify.c" $(pkg-config --cflags --libs ingot) -o shared 2>err
check 'the example, shared' test $? -eq 0
$cc -std=c17 "$SRC/examples/convert_and_verify.c" $(pkg-config --cflags ingot) \
	$(pkg-config --static --libs ingot | sed 's/-lingot/-l:libingot.a/') -o static 2>err
check 'the example, static' test $? -eq 0
check 'without libingot.so' sh -c '! readelf -d static | grep -q libingot'
mkdir source
cp "$SAMPLE"/*.* source
exits 'without digests the example refuses' 5 env LD_LIBRARY_PATH=$lib ./shared source OUT.gguf
says 'and says what helps' 'no digest is known'
mkdir -p source/.cache/huggingface/download
for f in source/*.*; do	# as a download records it
	n=${f#source/}
	printf '%040d\n%s\n%s.5\n' 7 "$(sha256sum <"$f" | cut -d' ' -f1)" "$(date +%s)" >"source/.cache/huggingface/download/$n.metadata"
done
export LD_LIBRARY_PATH=$lib
exits 'the example stops when its callback says so' 128 ./shared source OUT.gguf 0
says 'and why' 'stopped by the caller'
gone 'nothing has the name' OUT.gguf
exits 'then it goes on, to the end' 0 ./shared source OUT.gguf
says 'and verifies' 'intact: yes, values sound: yes'
exits 'the static one makes the same' 0 env -u LD_LIBRARY_PATH ./static source two.gguf
same 'bytes' OUT.gguf two.gguf
exits 'the program' 0 "$INGOT" convert source -o three.gguf --recipe q8 -q
same 'makes them, too' OUT.gguf three.gguf
flip OUT.gguf 3000000 1
exits 'damage has the code of the program' 1 "$INGOT" verify OUT.gguf

echo '#include <ingot.h>
int main() { ingot_run run = {}; run.size = sizeof run; return ingot_version()[0] != 48 || ingot_verify(nullptr, "/nowhere", nullptr, &run, nullptr) != INGOT_SYSTEM; }' >plus.cc
plus=$(command -v c++ || command -v clang)
if [ -n "$plus" ]; then
	$plus -x c++ -std=c++11 -Wall -Wextra -pedantic -Werror plus.cc -x none $(pkg-config --cflags --libs ingot) -o plus 2>err
	check 'a C++ compiler takes the header' test $? -eq 0
	exits 'and its program runs' 0 ./plus
else
	echo 'not shown: there is no C++ compiler'
fi
$cc -std=c99 -Wall -Wextra -pedantic -Werror -Wno-unused -fsyntax-only -x c "$SRC/library/ingot.h" 2>err
check 'and so does C99' test $? -eq 0

# Every public call in a locale with a decimal comma, with the same bytes as without.
if localedef -i de_DE -f UTF-8 "$work/de_DE.UTF-8" >/dev/null 2>&1; then
	(cd "$SRC" && LOCPATH=$work LC_ALL=de_DE.UTF-8 "$BUILD"/tests/test_library) >out 2>err
	check 'in a locale with a comma' test $? -eq 0
	says 'it was one' "numbers have a ','"
else
	echo 'not shown: a locale with a comma (Debian: locales)'
fi

(cd "$SRC" && make -s uninstall BUILD="$BUILD" DESTDIR="$work/root" PREFIX=/opt/ingot LIBDIR=/opt/ingot/lib64) >out 2>err
check 'uninstall leaves nothing' test -z "$(find root ! -type d)"
done_testing
