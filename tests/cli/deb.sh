# The Debian packages: built, put into a root of their own by dpkg, used there, removed. Dependencies are checked against what is
# installed here. Needs root, or fakeroot, and dpkg-dev.
. tests/cli/common.sh
release_only
command -v dpkg-shlibdeps >/dev/null || skip 'dpkg-shlibdeps (Debian: dpkg-dev) is missing'
fake=
[ "$(id -u)" -eq 0 ] || { fake=fakeroot; command -v fakeroot >/dev/null || skip 'neither root nor fakeroot'; }
[ -f /var/lib/dpkg/status ] || skip 'this is no Debian'
(cd "$SRC" && make -s deb BUILD="$BUILD") >out 2>err
check 'make deb' test $? -eq 0
version=$("$INGOT" --version | cut -d' ' -f2)
debs=$(ls "$SRC/$BUILD"/deb/*_"${version}"_*.deb)
check 'three packages' test "$(echo "$debs" | wc -l)" -eq 3
for deb in $debs; do
	name=$(dpkg-deb -f "$deb" Package)
	dpkg-deb -c "$deb" >list
	check "$name: everything is root's" sh -c '! awk "{ print \$2 }" list | grep -v "^root/root\$"'
	check "$name: nobody else writes" sh -c '! awk "\$1 !~ /^l/ { print substr(\$1, 2) }" list | grep -E "^.{4}w|^.{7}w"'
	check "$name: nothing of this machine" sh -c "! grep -E 'build|home|tmp' list"
	check "$name: copyright, changelog" test "$(grep -cE "usr/share/doc/$name/(copyright|changelog.gz)" list)" -eq 2
	dpkg-deb -x "$deb" tree
	dpkg-deb -e "$deb" tree/DEBIAN
	check "$name: its digests" sh -c 'cd tree && md5sum -c --quiet --strict DEBIAN/md5sums'
	check "$name: of all its files" test "$(find tree -type f ! -path '*/DEBIAN/*' | wc -l)" -eq "$(wc -l <tree/DEBIAN/md5sums)"
	rm -rf tree
done
check 'the program says what it needs' sh -c "dpkg-deb -f '$SRC/$BUILD'/deb/ingot_*.deb Depends | grep -q 'libarchive.*libc6 (>= .*libcjson.*libssl'"

mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates root/var/lib/dpkg/triggers
cp /var/lib/dpkg/status root/var/lib/dpkg/status
cp /var/lib/dpkg/arch root/var/lib/dpkg/arch 2>/dev/null
dpkg_in() { PATH=$PATH:/usr/sbin:/sbin $fake dpkg --root="$work/root" --force-not-root --force-script-chrootless --log=/dev/null --no-triggers "$@"; }
# libingot-dev needs the development packages of a static link, which a machine that only builds the program has as well
dpkg_in -i $debs >out 2>err
check 'dpkg installs them' test $? -eq 0
for package in ingot libingot0 libingot-dev; do
	check "$package is installed" sh -c "dpkg --root='$work/root' -s $package | grep -q '^Status: install ok \(installed\|triggers\)'"
done
exits 'the program runs' 0 root/usr/bin/ingot --version
says 'its version' "^ingot $version\$"
check 'and works' root/usr/bin/ingot verify "$SAMPLE" --digests "$SRC/samples/digests/v4-tiny.sha256"
check 'a manual page' sh -c 'zcat root/usr/share/man/man1/ingot-convert.1.gz | grep -q "^.SH OPTIONS"'
lib=$(dirname "$(find root/usr/lib -name libingot.a)")
check 'pkg-config finds the library where Debian has it' grep -qx "libdir=${lib#root}" "$lib/pkgconfig/ingot.pc"
${CC:-cc} "$SRC/examples/convert_and_verify.c" -Iroot/usr/include -L"$lib" -lingot -o example 2>err
check 'a program links to it' test $? -eq 0
LD_LIBRARY_PATH=$lib exits 'and runs' 2 ./example
dpkg_in -r libingot-dev libingot0 ingot >out 2>err
check 'dpkg removes them' test $? -eq 0
check 'and leaves nothing' test -z "$(find root/usr ! -type d 2>/dev/null)"
done_testing
