# Every error in the sources is named by a test, or stands in tests/messages.txt or tests/unseen.txt with the reason why not.
# Named: a test has fourteen characters of its text in a row, which is a weak sign, but quick; `make messages` looks at what is
# really brought about.
. tests/cli/common.sh
cd "$SRC" || exit 1

tests/messages_list.sh >"$work/messages"
awk -v n=14 -f tests/messages_parts.awk -f tests/messages_named.awk "$work/messages" tests/*.c tests/*.h \
	tests/cli/[a-ln-z]*.sh >"$work/unnamed"
cat tests/messages.txt tests/unseen.txt | grep -v '^#' | grep . | sort -u >"$work/excepted"
grep -v '^#' tests/unseen.txt | sort -u >"$work/unseen"
sort -u "$work/unnamed" | comm -23 - "$work/excepted" >"$work/new"
sort -u "$work/unnamed" | comm -13 - "$work/excepted" >"$work/stale"
if [ "$(wc -l <"$work/messages")" -gt 400 ]; then ok; else bad "only $(wc -l <"$work/messages") messages were found"; fi
if [ -s "$work/new" ]; then bad 'no test names these, nor tests/messages.txt:'; cat "$work/new" >&2; else ok; fi
# a test that was added beside another message may name one of these by chance: said, no failure
comm -23 "$work/stale" "$work/unseen" >"$work/named"
if [ -s "$work/named" ]; then echo 'named by now, or gone; take them out of tests/messages.txt:' >&2; cat "$work/named" >&2; fi
done_testing
