#!/bin/bash
# Debian packages, in $BUILD/deb: `make deb` calls this. Three, as Debian's policy (chapter 8) asks of a shared library: ingot (the
# program, which needs no libingot), libingot$ABI (several versions may be installed at a time), libingot-dev. No network, no root,
# no debhelper: dpkg-deb and dpkg-shlibdeps (dpkg-dev) alone. The bytes depend on the source and its changelog's date only.
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8
for tool in dpkg-deb dpkg-shlibdeps dpkg-parsechangelog; do
	command -v $tool >/dev/null || { echo "make deb: $tool is missing; on Debian: apt-get install dpkg-dev" >&2; exit 1; }
done
arch=$(dpkg --print-architecture)
lib=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
said=$(dpkg-parsechangelog -l packaging/changelog -S Version)
[ "$said" = "$VERSION" ] || { echo "make deb: packaging/changelog speaks of $said, format/base.h of $VERSION" >&2; exit 1; }
maintainer=$(dpkg-parsechangelog -l packaging/changelog -S Maintainer)
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -l packaging/changelog -S Timestamp)
export SOURCE_DATE_EPOCH
out=$BUILD/deb
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$out"
mkdir -p "$out"

put() { $MAKE -s --no-print-directory "install-$2" CC="$CC" BUILD="$BUILD" DESTDIR="$work/$1" PREFIX=/usr LIBDIR="$lib" >/dev/null; }
put ingot program
put "libingot$ABI" library
put libingot-dev dev
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$work/ingot/usr/bin/ingot" "$work/libingot$ABI$lib"/libingot.so.*.*
strip -D --strip-debug "$work/libingot-dev$lib/libingot.a"
gzip -9n "$work"/ingot/usr/share/man/man1/*
install -d "$work/libingot-dev/usr/share/doc/libingot-dev/examples"
install -m 644 examples/*.c "$work/libingot-dev/usr/share/doc/libingot-dev/examples/"

mkdir -p "$work/stub/debian"	# dpkg-shlibdeps wants a source package around it
printf 'Source: ingot\nMaintainer: %s\n\nPackage: ingot\nArchitecture: any\n' "$maintainer" >"$work/stub/debian/control"
needs() { (cd "$work/stub" && dpkg-shlibdeps -O -e "$1" 2>/dev/null) | sed -n 's/^shlibs:Depends=//p'; }

# package NAME SECTION DEPENDS SUMMARY <about, a line starting with a space each
package() {
	local root=$work/$1 doc=$work/$1/usr/share/doc/$1
	install -d "$doc" "$root/DEBIAN"
	{ printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: ingot\n\nFiles: *\n'
	  sed -n 's/^Copyright (c) /Copyright: /p' LICENSE
	  echo 'License: Expat'
	  sed '1,/^Copyright/d; /./,$!d; s/^$/./; s/^/ /' LICENSE
	} >"$doc/copyright"
	gzip -9nc packaging/changelog >"$doc/changelog.gz"
	find "$root" -type d -exec chmod 755 {} +
	(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\n' | sort | xargs md5sum >DEBIAN/md5sums)
	{ printf 'Package: %s\nSource: ingot\nVersion: %s\nArchitecture: %s\nMaintainer: %s\n' "$1" "$VERSION" "$arch" "$maintainer"
	  printf 'Installed-Size: %d\n' "$(find "$root" -type f ! -path '*/DEBIAN/*' -printf '%s\n' | awk '{ n += int(($1 + 1023) / 1024) } END { print n }')"
	  printf 'Depends: %s\nSection: %s\nPriority: optional\n' "$3" "$2"
	  [ "$1" = ingot ] || echo 'Multi-Arch: same'
	  printf 'Description: %s\n' "$4"
	  cat
	} >"$root/DEBIAN/control"
	chmod 644 "$root"/DEBIAN/*
	find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	dpkg-deb --root-owner-group -Zxz --threads-max=1 -b "$root" "$out/$1_${VERSION}_$arch.deb" >/dev/null
}

package ingot science "$(needs "$work/ingot/usr/bin/ingot")" 'DeepSeek-V4 checkpoints to sealed GGUF files' <<'EOF'
 Converts a downloaded checkpoint into one GGUF file, checking the digest of
 every shard as it is read, and seals every bit of the result.
 .
 It also verifies and signs such files, quantizes GGUF files of any
 architecture, measures perplexity of source and result side by side, and
 runs them on the processor.
EOF

install -d "$work/libingot$ABI/DEBIAN"
echo "libingot $ABI libingot$ABI (>= $VERSION)" >"$work/libingot$ABI/DEBIAN/shlibs"
echo 'activate-noawait ldconfig' >"$work/libingot$ABI/DEBIAN/triggers"
package "libingot$ABI" libs "$(needs "$work/libingot$ABI$lib/libingot.so.$VERSION")" 'conversion and verification of model files (library)' <<'EOF'
 What the program ingot does, for other programs: opens, converts and
 verifies checkpoints and GGUF files, and measures perplexity.
EOF

package libingot-dev libdevel "libingot$ABI (= $VERSION), libarchive-dev, libcjson-dev, libssl-dev, zlib1g-dev" \
	'conversion and verification of model files (development)' <<'EOF'
 Header, static library, pkg-config file and an example for programs that
 use libingot.
EOF
ls "$out"/*.deb
