#!/bin/bash
# One conversion over a Slurm cluster: an array of N parts, and a job that seals when all of them are done.
#
#	docs/slurm-convert.sh N SOURCE OUT.gguf [OPTIONS of ingot convert]
#
# OUT.gguf lies on a file system that all nodes share, with locks; SOURCE may be a copy of each node's own. INGOT is the
# program; what SBATCH_FLAGS holds goes to sbatch, for instance SBATCH_FLAGS='--partition=cpu --cpus-per-task=16 --time=4:00:00'.
# A part that is preempted, requeued or submitted again goes on where it was. The job at the end runs whatever became of the
# parts, and names in OUT.gguf.finish.log those that failed; run the script again then: parts that are done only read
# their bytes back.
set -eu
[ $# -ge 3 ] || { sed -n '2,4p' "$0" >&2; exit 2; }
n=$1 source=$(realpath -s "$2") out=$(realpath -s "$3"); shift 3
command=("$(command -v "${INGOT:-ingot}")" convert "$source" -o "$out" --no-progress "$@")

# exec: the signal that comes before the end of the allotted time must reach the program itself, which then flushes
job() { # PART OR FINISH: a batch script
	printf '#!/bin/bash\nexec'
	printf ' %q' "${command[@]}"
	printf ' -t "${SLURM_CPUS_PER_TASK:-1}" %s\n' "$1"
}
# shellcheck disable=SC2086
parts=$(job "--part \"\$SLURM_ARRAY_TASK_ID/$n\"" |
	sbatch --parsable --requeue --open-mode=append --signal=B:TERM@60 --array="1-$n" --job-name=ingot-part \
		--output="$out.part-%a.log" ${SBATCH_FLAGS:-})
# shellcheck disable=SC2086
finish=$(job --finish |
	sbatch --parsable --requeue --open-mode=append --dependency="afterany:${parts%%;*}" \
		--job-name=ingot-finish --output="$out.finish.log" ${SBATCH_FLAGS:-})
echo "parts ${parts%%;*}, finish ${finish%%;*}; scontrol requeue ${parts%%;*}_K starts part K again"
