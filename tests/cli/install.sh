# make install into an empty place, its manual pages and completions, and make uninstall.
. tests/cli/common.sh
make=$(command -v make) cd_back=$(pwd)
(cd "$SRC" && "$make" -s install BUILD="$BUILD" DESTDIR="$cd_back/root" PREFIX=/usr) >out 2>err
check 'install' test $? -eq 0
share=root/usr/share
check 'the program runs from there' sh -c 'root/usr/bin/ingot --version | grep -q "^ingot "'
check 'a manual page of all' grep -q '^.SH COMMANDS' $share/man/man1/ingot.1
for c in $("$INGOT" help --names); do
	page=$share/man/man1/ingot-$c.1
	"$INGOT" help $c >help
	tr -d '\\' <$page | sed 's/fB//g; s/fR//g; s/fI//g' >plain
	for option in $(grep -oE '^ *(-., )? *--[a-z-]+' help | grep -oE -- '--[a-z-]+'); do
		check "the manual of $c has $option" grep -q -- "^\(-., \)\?$option\( \|\$\)" plain
	done
	check "the manual of $c describes it" test "$(sed -n '/^.SH DESCRIPTION/,/^.SH OPTIONS/p' $page | wc -w)" -gt 15
	check "no line of it is taken for a request" sh -c "! grep -vE '^\.(TH|SH|TP|PP|BR?)( |\$)' $page | grep -q '^[.'\'']'"
done
if command -v groff >/dev/null; then	# not needed by anything else
	groff -man -Tascii -ww $share/man/man1/*.1 >pages 2>warnings
	check 'groff has nothing to say' sh -c '! grep -q . warnings'
fi

# what bash completes for "ingot ARGS...", the last one begun
completes() { # WANT ARGS...
	local want=$1 n; shift; n=$#
	bash -c '. "$0"; COMP_CWORD=$1; shift; COMP_WORDS=(ingot "$@"); _ingot; echo " ${COMPREPLY[*]} "' \
		$share/bash-completion/completions/ingot $n "$@" >got 2>&1
	check "ingot $* -> $want" grep -q -- " $want " got
}
completes 'convert' con
completes 'convert' help con
completes '--recipe' convert --rec
completes '--require-sandbox' convert SOURCE -o OUT --requ
completes 'fast best' quantize --effort ''
completes 'high' run --think h
: >model.gguf
completes 'model.gguf' verify mod
for shell in zsh fish; do	# where they are
	command -v $shell >/dev/null || continue
	$shell -n $share/$([ $shell = zsh ] && echo zsh/site-functions/_ingot || echo fish/vendor_completions.d/ingot.fish) 2>err
	check "$shell reads its completions" test $? -eq 0
done
check 'zsh: every command' test "$(grep -cE '^[a-z]+\)$' $share/zsh/site-functions/_ingot)" -eq "$("$INGOT" help --names | wc -l)"
check 'fish: choices and files' grep -q "from quantize' -l effort -x -a 'fast best'" $share/fish/vendor_completions.d/ingot.fish

(cd "$SRC" && "$make" -s uninstall BUILD="$BUILD" DESTDIR="$cd_back/root" PREFIX=/usr) >out 2>err
check 'uninstall leaves nothing' test -z "$(find root -type f)"
done_testing
