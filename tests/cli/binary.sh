# The program as it was built: what the compiler and the linker were asked for is looked for in the
# file itself (SECURITY.md lists it). Sanitizers and MODE=debug build without most of it.
. tests/cli/common.sh
release_only
for tool in readelf nm objdump; do
	command -v $tool >/dev/null || { bad "$tool (Debian: binutils) is missing"; done_testing; exit 1; }
done
export LC_ALL=C
readelf -hldW "$INGOT" >elf 2>/dev/null
nm -D "$INGOT" >symbols

check 'a position-independent program' grep -qE '^ *Type: *DYN' elf
check 'marked as such' grep -qE 'FLAGS_1.*\bPIE\b' elf
check 'every symbol bound at the start' grep -qE 'BIND_NOW' elf
check 'tables read-only after that' grep -q GNU_RELRO elf
check 'a stack that does not execute' grep -qE 'GNU_STACK .* RW +0x' elf
check 'nothing both written and executed' sh -c "! grep -E '(LOAD|GNU_STACK) .* RWE ' elf"
check 'code in a segment of its own' test "$(grep -cE 'LOAD .* R E ' elf)" -eq 1
check 'no search path for libraries in it' sh -c "! grep -E 'RPATH|RUNPATH' elf"
check 'no relocation in code' sh -c "! grep -E 'TEXTREL' elf"
check 'no library that no call needs' test "$(grep -c '(NEEDED)' elf)" -le 6

check 'canaries on stacks' grep -q '__stack_chk_fail' symbols
for call in memcpy snprintf; do
	check "$call checks its bounds" grep -q "__${call}_chk" symbols
done
check 'none of the calls that cannot be bounded' sh -c "! grep -E ' (gets|strcpy|strcat|sprintf|vsprintf|system|popen|dlopen|execve?|tmpnam)(@|\$)' symbols"
check 'no network' sh -c "! grep -E ' (socket|connect|bind|listen|accept4?|getaddrinfo|gethostbyname)(@|\$)' symbols"

# The notes of the whole program also need start files that have them, which Debian 12 has not.
case $(grep Machine: elf) in
*X86-64*)
	set -- "$SRC/$BUILD"/format/*.o "$SRC/$BUILD"/runtime/*.o "$SRC/$BUILD"/cli/*.o
	check 'shadow stacks and branch targets in every object' test "$(readelf -n "$@" | grep -c 'IBT, SHSTK')" -eq $# ;;
*AArch64*)
	check 'branch targets and signed returns' sh -c "readelf -n '$SRC/$BUILD/format/json.o' | grep -q 'BTI, PAC'" ;;
esac
check 'undefined behaviour in a parser traps' sh -c "objdump -d '$SRC/$BUILD/format/json.o' | grep -qE '\\b(ud[12]|brk)\\b'"
for o in runtime/kernels_scalar.o format/json.o; do
	check "no call into a sanitizer's library in $o" sh -c "! nm '$SRC/$BUILD/$o' | grep -E '__(asan|ubsan|tsan)'"
done
done_testing
