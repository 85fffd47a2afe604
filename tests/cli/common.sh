# common.sh - sourced by the command-line tests: a scratch directory, checks, a closing line.
# BIN is the program, BUILD the directory with the tools.
set -u
SRC=$(pwd)
INGOT=$SRC/$BIN
MAKE_CHECKPOINT=$SRC/$BUILD/samples/make_checkpoint
SAMPLE=$SRC/samples/v4-tiny
TEXT=$SRC/samples/heldout.txt
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
n_passed=0 n_failed=0

ok() { n_passed=$((n_passed + 1)); }
bad() { n_failed=$((n_failed + 1)); echo "FAILED: $*" >&2; }
# check WHAT COMMAND...: the command succeeds
check() { what=$1; shift; if "$@" >check.log 2>&1; then ok; else bad "$what: $*"; cat check.log >&2; fi; }
# exits WHAT CODE COMMAND...: the command ends with that exit code; its output is in out and err
exits() {
	what=$1 want=$2; shift 2
	"$@" >out 2>err
	got=$?
	if [ "$got" -eq "$want" ]; then ok; else bad "$what: exit code $got, expected $want: $*"; cat err >&2; fi
}
# says WHAT PATTERN: the last command's standard error or output has the pattern
says() { if grep -qE -- "$2" err out; then ok; else bad "$1: nothing says '$2'"; cat err out >&2; fi; }
same() { if cmp -s "$2" "$3"; then ok; else bad "$1: $2 and $3 differ"; fi; }
gone() { what=$1; shift; for f in "$@"; do if [ -e "$f" ]; then bad "$what: $f exists"; return; fi; done; ok; }
# flip FILE BYTE BIT: flips one bit in place and leaves the times as they were
flip() {
	touch -r "$1" flip.time
	old=$(od -An -tu1 -j"$2" -N1 "$1" | tr -d ' ')
	printf "\\$(printf %03o $((old ^ (1 << $3))))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
	touch -r flip.time "$1"
}
size() { stat -c %s "$1"; }
# skip WHY: the test ends here, with what it has shown so far
skip() { echo "not shown: $*"; done_testing; exit; }
# for what sanitizers, debuggers and fuzzers build otherwise
release_only() {
	case $BUILD in *-debug* | *-address* | *-thread* | *-undefined* | *-memory* | *-fuzz*) skip "$BUILD is not a release build" ;; esac
}
done_testing() { echo "$n_passed passed, $n_failed failed"; [ "$n_failed" -eq 0 ]; }
