# perplexity --reference --html and compare --html: a page that is well formed, loads and runs nothing whatever tokens and file
# names say, has the figures of --json, and is the same for any number of threads. Where Chromium is installed, also
# what it makes of it.
. tests/cli/common.sh

P="$INGOT perplexity"
PAGE=$SRC/$BUILD/tests/tool_page
verdict() { check "$1: $3" grep -qF "<b id=\"verdict\">$3</b>" "$2"; }
# equal WHAT A B: two numbers, but for the last digits that a text of them may lack
equal() {
	if echo "$2 $3" | awk '{ d = $1 - $2; s = $1 < 0 ? -$1 : $1; exit !(NF == 2 && d <= 4e-16 * s && -d <= 4e-16 * s) }'; then ok
	else bad "$1: '$2' in the page, '$3' in the JSON"; fi
}

exits 'convert' 0 "$INGOT" convert "$SAMPLE" -o a.gguf -q
exits 'convert q8' 0 "$INGOT" convert "$SAMPLE" -o q8.gguf --recipe q8 -q

# ---- perplexity ----
exits 'lossless' 0 $P a.gguf -f "$TEXT" -c 128 --chunks 1 --reference "$SAMPLE" --per-layer --html same.html
check 'lossless: well formed' "$PAGE" same.html
verdict 'lossless' same.html 'Lossless on this text'
check 'lossless: says so in a sentence' grep -q 'a.gguf predicts exactly what its reference .* predicts: at all 63 scored' same.html
check 'lossless: no worst positions' sh -c '! grep -qE "id=.(worst|distributions)." same.html'

exits 'q8' 0 $P q8.gguf -f "$TEXT" -c 256 --chunks 2 --reference "$SAMPLE" --per-layer --mtp --html q8.html --json q8.json -t 1
check 'q8: well formed' "$PAGE" q8.html
verdict 'q8' q8.html 'Not lossless'
for section in figures distributions layers worst mtp provenance; do
	check "q8: $section" grep -q "<section id=\"$section\">" q8.html
done
tr -d '\n\t ' <q8.json >q8.flat
mtp_at=$(grep -bo '"mtp":{' q8.flat | cut -d: -f1)
head -c "$mtp_at" q8.flat >main.flat; tail -c +"$mtp_at" q8.flat >mtp.flat
for of in parity mtp.parity; do
	[ $of = parity ] && flat=main.flat || flat=mtp.flat
	for key in reference_ppl ppl_ratio ln_ppl_ratio same_top_share probability_change probability_change_rms; do
		both=$(grep -oE "\"$key\":\{\"mean\":[^}]*" $flat | head -n 1 | sed 's/.*"mean"://; s/,"error":/ /')
		equal "$of.$key" "$("$PAGE" q8.html $of.$key.mean)" "${both% *}"
		equal "$of.$key, error" "$("$PAGE" q8.html $of.$key.error)" "${both#* }"
	done
	kld=$(grep -oE '"kl_divergence":\{[^}]*' $flat | head -n 1)
	for key in mean error max p99_9 p99 p95 p90 median min; do
		equal "$of.kl_divergence.$key" "$("$PAGE" q8.html $of.kl_divergence.$key)" \
			"$(echo "$kld," | grep -oE "\"$key\":[^,]*" | cut -d: -f2)"
	done
done
i=0
for value in $(grep -oE '"relative_rms_error":[^,]*' main.flat | cut -d: -f2); do
	equal "layer $i" "$("$PAGE" q8.html parity.layers.$i.relative_rms_error)" "$value"
	i=$((i + 1))
done
check 'five states' test "$i" -eq 5
equal 'the worst position has the largest divergence' "$("$PAGE" q8.html worst.0.kld)" "$("$PAGE" q8.html parity.kl_divergence.max)"
check 'counts of a histogram add up' test "$(grep -oE '<title>(up to )?[0-9.×⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+( to [0-9.×⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?: [0-9,]+ position' q8.html |
	sed 's/.*: //; s/,//; s/ .*//' | awk '{ n += $1 } END { print n }')" -eq 254
check 'no time, no place' sh -c "! grep -qE '$(date +%Y)|$(uname -n)' q8.html"
exits 'the command in the page' 0 sh -c "$(grep -oE '<code>ingot perplexity [^<]*' q8.html | sed "s|<code>ingot|'$INGOT'|") --html again.html \
	-q -t 2 --max-memory 50M"
same 'the command in the page makes the same page, with other threads and batches' q8.html again.html
gone 'nothing is left beside it' q8.html.partial q8.html.lock

exits 'a gate that fails' 1 $P q8.gguf -f "$TEXT" -c 64 --chunks 1 --reference "$SAMPLE" --max-kld 1e-6 --html gate.html -q
verdict 'a gate that fails' gate.html 'Outside the gates'
exits 'a gate that holds' 0 $P q8.gguf -f "$TEXT" -c 64 --chunks 1 --reference "$SAMPLE" --max-kld 0.1 --html gate.html -q
verdict 'a gate that holds, over the page before' gate.html 'Within the gates'

# ---- what it refuses ----
exits 'no reference' 2 $P q8.gguf -f "$TEXT" --html x.html
cp q8.gguf precious.gguf
exits 'a slip of the hand' 2 $P q8.gguf -f "$TEXT" --chunks 1 --reference "$SAMPLE" --html precious.gguf
says 'a slip of the hand' 'precious.gguf: exists, and is no HTML page'
same 'a slip of the hand costs nothing' q8.gguf precious.gguf
exits 'no such folder' 4 $P q8.gguf -f "$TEXT" --chunks 1 --reference "$SAMPLE" --html nowhere/x.html
exits 'a run that fails' 3 $P q8.gguf -f q8.gguf -c 4 --chunks 1 --reference "$TEXT" --html x.html
gone 'a run that fails leaves no page' x.html x.html.partial x.html.lock

# ---- tokens and names that are markup ----
cp -r "$SAMPLE" hostile
rm -rf hostile/.cache
evil='<script>alert(1)<\/script>\&\\"'"'"'\\u202e\\u0007<img src=x onerror=alert(2)>'
sed -i "s/\"<think>\"/\"$evil\"/g" hostile/tokenizer.json hostile/tokenizer_config.json
name='<img src=x onerror=alert(3)>&"'\''.gguf'
exits 'hostile tokens' 0 "$INGOT" convert hostile -o "$name" --recipe q8 --allow-unverified -q
i=0
while [ $i -lt 32 ]; do echo "$((i * 37 % 1000)) 1022 $((i * 11 % 1000)) 1022"; i=$((i + 1)); done >"<b>ids"
exits 'hostile tokens' 0 $P "$name" --token-ids '<b>ids' -c 64 --reference hostile --html evil.html
check 'hostile tokens: well formed, nothing but text' "$PAGE" evil.html
check 'hostile tokens: they are there as text' grep -qF '&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;\u{202E}\x07&lt;img' evil.html
check 'hostile names: there as text' grep -qF '&lt;img src=x onerror=alert(3)&gt;&amp;&quot;&#39;.gguf' evil.html
command=$(grep -oE '<code>ingot perplexity [^<]*' evil.html | sed "s/<code>ingot/\"\$INGOT\"/; s/&lt;/</g; s/&gt;/>/g; s/&quot;/\"/g; s/&#39;/'/g; s/&amp;/\&/g")
exits 'hostile names: quoted for a shell' 0 eval "$command --html evil2.html -q"
same 'hostile names: quoted for a shell' evil.html evil2.html
if command -v xmllint >/dev/null; then	# an independent parser, where there is one
	xmllint --html --noout evil.html q8.html 2>&1 | grep 'error :' | grep -vE 'Tag (svg|path|text|rect|circle|header|main|footer|section|figure|figcaption|details|summary|data|mark|bdi|title) invalid' >lint.log
	check 'xmllint finds nothing else' test ! -s lint.log
fi

# ---- compare ----
exits 'compare: equal' 0 "$INGOT" compare "$SAMPLE" a.gguf --html equal.html -q
check 'compare: well formed' "$PAGE" equal.html
verdict 'compare' equal.html 'Equal'
"$MAKE_CHECKPOINT" base --base --n-vocab 1024 --n-expert 24 --record-time 4102444800 >/dev/null
exits 'FP8 experts' 0 "$INGOT" convert base -o b4.gguf --recipe q4 -q
exits 'compare: experts' 0 "$INGOT" compare base b4.gguf --html b4.html --json b4.json -t 1
check 'compare: experts: well formed' "$PAGE" b4.html
verdict 'compare: experts' b4.html 'Not equal'
tr -d '\n\t ' <b4.json | sed 's/"types":/\n&/' >b4.flat
i=0
for value in $(sed -n 2p b4.flat | grep -oE '"relative":[^,]*' | cut -d: -f2); do
	equal "types $i" "$("$PAGE" b4.html types.$i.relative)" "$value"
	i=$((i + 1))
done
check 'every pair of types' test "$i" -gt 4
equal 'the largest error' "$("$PAGE" b4.html largest_relative)" "$(head -n 1 b4.flat | grep -oE '"relative":[^,]*' | cut -d: -f2 | sort -g | tail -n 1)"
check 'a cell an expert' test "$(grep -c '<title>layer [0-3], expert [0-9]*: 0\.0[0-9]*</title>' b4.html)" -eq $((3 * 4 * 24))
one=$(sed 's/"name":/\n&/g' b4.flat | grep '^"name":"blk.2.ffn_up_exps.weight"' | sed 's/.*"experts":\[//; s/\].*//' | cut -d, -f6)
check 'the figure of one' grep -q "<title>layer 2, expert 5: $(printf %.4f "$one")</title>" b4.html
exits 'compare with three threads' 0 "$INGOT" compare base b4.gguf --html again.html -q -t 3
same 'compare with three threads: the same bytes' b4.html again.html
exits 'compare: a limit' 1 "$INGOT" compare base b4.gguf --html x.html --max-relative-error 0.01 -q
verdict 'compare: a limit' x.html 'Outside what was asked for'
exits 'compare: missing tensors' 1 "$INGOT" compare a.gguf mtp-a.gguf --html x.html -q
check 'compare: missing tensors: well formed' "$PAGE" x.html
verdict 'compare: missing tensors' x.html 'Outside what was asked for'
"$SRC/$BUILD/tests/tool_foreign" f.gguf; "$SRC/$BUILD/tests/tool_foreign" nan.gguf nan
exits 'compare: a NaN' 0 "$INGOT" compare f.gguf nan.gguf --tensors '^blk' --html x.html -q
check 'compare: a NaN: well formed' "$PAGE" x.html
check 'compare: a NaN is marked' grep -q 'class="wrong"' x.html

# ---- Chromium ----
browser=$(command -v chromium || command -v chromium-browser)
if [ -z "$browser" ]; then
	echo 'skipped: how Chromium shows the pages; it is not installed'
	done_testing
	exit
fi
browse() { HOME=$work timeout 100 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --single-process --no-zygote \
	--no-first-run --hide-scrollbars --user-data-dir="$work/profile" --window-size=1100,1400 "$@" 2>browser.log; }
# the pages in frames of 400 and 1100 pixels: is anything wider than its frame, does anything but style sheets load
frame() { echo "<iframe width=$2 height=900 srcdoc=\""; sed 's/&/\&amp;/g; s/"/\&quot;/g' "$1"; echo '"></iframe>'; }
{
	echo '<!DOCTYPE html><meta charset=utf-8><body>'
	for f in evil q8 b4; do frame $f.html 400; frame $f.html 1100; done
	cat <<-'END'
	<script>onload = () => { for (const f of document.querySelectorAll("iframe")) { const d = f.contentDocument, r = d.documentElement;
	document.body.append("width " + f.width + (r.scrollWidth <= f.width && r.clientWidth == f.width ? " fits" : " OVERFLOWS " + r.scrollWidth) +
	", scripts " + d.querySelectorAll("script, img, iframe, object, link, a").length + ", sections " + d.querySelectorAll("section").length +
	", loads " + f.contentWindow.performance.getEntriesByType("resource").length + ", title " + d.title + "; "); } };</script>
	END
} >frames.html
browse --dump-dom "file://$work/frames.html" >frames.dom
if [ ! -s frames.dom ]; then
	echo 'skipped: how Chromium shows the pages; it does not start here'
	done_testing
	exit
fi
tail -c 2000 frames.dom >out; : >err
check 'six pages' test "$(grep -oE 'width [0-9]+ ' out | wc -l)" -eq 6
check 'each fits its width' test "$(grep -oE 'width (400|1100) fits, scripts 0, sections [1-9]' out | wc -l)" -eq 6
check 'nothing is loaded' test "$(grep -oE 'loads 0, title ingot ' out | wc -l)" -eq 6
browse --screenshot="$work/light.png" "file://$work/q8.html"
browse --blink-settings=preferredColorScheme=0 --screenshot="$work/dark.png" "file://$work/q8.html"
check 'light and dark are pictures' sh -c 'test "$(stat -c %s light.png)" -gt 40000 && test "$(stat -c %s dark.png)" -gt 40000'
check 'light and dark differ' sh -c '! cmp -s light.png dark.png'
[ -z "${KEEP:-}" ] || cp light.png dark.png q8.html b4.html evil.html "$KEEP"
done_testing
