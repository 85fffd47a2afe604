# The limits in SECURITY.md are those of the source: each number is computed from its constant.
. tests/cli/common.sh
log2() { n=$1 l=0; while [ "$n" -gt 1 ]; do n=$((n / 2)) l=$((l + 1)); done; echo $l; }
# limit ROW FILE CONSTANT PHRASE: in the table's row, PHRASE with the constant for @D, less one for @L, in KiB, MiB, GiB
# for @K, @M, @G, as the exponent of two for @E
limit() {
	v=$(sed -n "s/.*[ \t{]$3 = \([0-9][0-9 <]*\).*/\1/p" "$SRC/$2" | head -n 1)
	if [ -z "$v" ]; then bad "$2 has no constant $3"; return; fi
	v=$(($v))
	phrase=$(echo "$4" | sed "s/@D/$v/;s/@L/$((v - 1))/;s/@K/$((v >> 10)) KiB/;s/@M/$((v >> 20)) MiB/;s/@G/$((v >> 30)) GiB/;s/@E/$(log2 $v)/")
	if grep "^| $1 |" "$SRC/SECURITY.md" | grep -qF -- "$phrase"; then ok; else
		bad "SECURITY.md, $1: nothing says '$phrase', though $3 in $2 is $v"; fi
}
limit safetensors format/format.h ST_MAX_HEADER 'header @D bytes;'
limit safetensors format/format.h ST_MAX_RANK 'rank @D;'
limit safetensors format/format.h ST_MAX_NAME 'name @D bytes;'
limit safetensors format/safetensors.c MAX_DEPTH 'JSON depth @D;'
limit checkpoint format/checkpoint.c MAX_SHARDS '@D shards;'
limit checkpoint format/checkpoint.c INDEX_LIMIT 'index @M;'
limit checkpoint format/hub.c DIR_LIMIT '@D files in a directory;'
limit checkpoint format/hub.c RECORD_LIMIT 'record of a download @D bytes;'
limit checkpoint format/hub.c DIGESTS_LIMIT 'digest list @M;'
limit JSON format/base.h JSON_MAX_DEPTH 'depth @D at most'
limit configuration format/model.h CONFIG_LIMIT '@M;'
limit configuration format/model.h ARCH_MAX_LAYERS '@L layers;'
limit configuration format/arch.c DIM_MAX 'dimensions 2^@E;'
limit configuration format/arch.c COUNT_MAX 'counts @D |'
limit tokenizer format/vocab_json.c MAX_TOKENIZER 'file @M;'
limit tokenizer format/vocab.h VOCAB_MAX_TOKENS '2^@E tokens and merges;'
limit tokenizer format/vocab.h VOCAB_MAX_MERGES '2^@E tokens and merges;'
limit tokenizer format/vocab.h VOCAB_MAX_TEXT '@D bytes a token'
limit GGUF format/format.h GGUF_MAX_HEADER 'header @M;'
limit GGUF format/format.h GGUF_MAX_KV '@D keys;'
limit GGUF format/format.h GGUF_MAX_TENSORS '@D tensors;'
limit GGUF format/format.h GGUF_MAX_KEY 'key @D bytes;'
limit GGUF format/format.h GGUF_MAX_NAME 'tensor name @D bytes;'
limit GGUF format/format.h GGUF_MAX_DIMS '@D dimensions;'
limit GGUF format/format.h GGUF_SET_MOST '@D files of a split one,'
limit GGUF format/gguf_read.c MAX_ALIGNMENT 'up to @M'
limit 'importance matrix' format/imatrix.c MAX_NAME 'name @D bytes;'
limit 'keys, signatures' format/sign.h KEY_FILE_LIMIT 'key file @K;'
limit 'keys, signatures' format/sign.h KEY_SIGNATURE_MAX 'signature @D bytes;'
limit 'keys, signatures' format/sign.h DSSE_MAX_SIGNATURES '@D signatures;'
limit 'keys, signatures' format/sign.h BUNDLE_LIMIT 'bundle @M'
limit texts runtime/text.c TEXT_LIMIT '@G unpacked'
limit texts runtime/cmd_run.c PROMPT_LIMIT '(prompt @M)'
limit 'texts in archives' format/archive.c MAX_ENTRIES '@D entries;'
limit 'texts in archives' format/filter.h MAX_RATIO '@D times the packed size'
limit 'texts in archives' format/zip.c MAX_DIRECTORY 'directory of a zip @M;'
limit 'checkpoints in archives' format/members.h MAX_MEMBERS '@D entries;'
limit 'checkpoints in archives' format/members.h MAX_MEMBER_NAME 'names of @D bytes;'
limit 'checkpoints in archives' format/zip.c MAX_DIRECTORY 'directory of a zip @M;'
limit 'checkpoints in archives' format/filter.h MAX_RATIO '@D times the packed size'
limit recipes convert/recipe.c RECIPE_LIMIT '@M;'
limit recipes convert/recipe.c MAX_RULES '@D rules'
limit 'journal of a conversion' convert/resume.c JOURNAL_LIMIT '@G;'
done_testing
