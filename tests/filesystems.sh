#!/bin/bash
# tests/crash.sh on ext4, xfs and btrfs, each on an image in memory: what a rename, a flush or a reserved byte does differs
# between them. The last line is "N passed, N failed" over all. What this machine cannot make or mount is said and
# counted as nothing.
# BIN, BUILD, SCALE, SEED as for crash.sh; FILESYSTEMS to choose; SIZE of an image in MB.
set -u
SIZE=${SIZE:-512}
dir=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d) || exit 1
trap 'umount "$dir/mnt" 2>/dev/null; rm -rf "$dir"' EXIT
trap 'kill $! 2>/dev/null; wait; exit 1' INT TERM	# whoever is in the mount goes first
mkdir "$dir/mnt"
passed=0 failed=0
PATH=$PATH:/usr/sbin:/sbin
for fs in ${FILESYSTEMS:-ext4 xfs btrfs}; do
	rm -f "$dir/image"
	if ! truncate -s "${SIZE}M" "$dir/image" || ! "mkfs.$fs" -q "$dir/image" >/dev/null 2>"$dir/err"; then
		echo "$fs: NOT RUN, it cannot be made here (nothing was counted): $(head -n 1 "$dir/err")"
		continue
	fi
	if ! mount -t "$fs" -o loop "$dir/image" "$dir/mnt" 2>"$dir/err"; then
		echo "$fs: NOT RUN, it cannot be mounted here (nothing was counted): $(head -n 1 "$dir/err")"
		continue
	fi
	TMPDIR=$dir/mnt tests/crash.sh >"$dir/out" &
	wait $!
	line=$(tail -n 1 "$dir/out")
	case $line in *' passed, '*' failed') ;; *) line='0 passed, 1 failed' ;; esac
	sed "\$d; s/^/$fs: /" "$dir/out"
	echo "$fs: $line, $SECONDS s"
	passed=$((passed + ${line%% passed*})) line=${line#*passed, } failed=$((failed + ${line%% failed*}))
	umount "$dir/mnt" || { echo "$fs: cannot be unmounted"; failed=$((failed + 1)); break; }
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
