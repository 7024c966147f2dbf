//! A run on Slurm: one script, whose first node has the run beside its workers.

use super::{Rendered, WITHIN};

pub(super) fn render(of: &Rendered) -> Result<String, String> {
    let Rendered { name, workers, .. } = of;
    let [of_worker, of_run] = of.memory;
    // The run is in the script itself, on the first node, so each task may have as much as both.
    let memory = (of_worker + of_run.div_ceil(u64::from(*workers).max(1))).div_ceil(1 << 20);
    let minutes = of.limit.as_secs().div_ceil(60);
    let run = quoted(&of.run_arguments(&of.file, "0.0.0.0:PORT"))?.replace("0.0.0.0:PORT", "\"0.0.0.0:$port\"");
    let program = quote(&of.program)?;
    Ok(format!(
        r#"#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --ntasks={workers}
#SBATCH --cpus-per-task=2
#SBATCH --mem-per-cpu={per_cpu}M
#SBATCH --time={minutes}
#SBATCH --signal=B:TERM@90
#SBATCH --output={name}-%j.log
# sbatch this from a folder that all nodes see; the scenario is found from there. The report is in {name}-<job>/run.
# Workers reach the run by the name of the first node; FLEETCAST_HOST is another name or an address of it.
set -u
umask 077
folder="$PWD/{name}-$SLURM_JOB_ID"
mkdir -p "$folder" || exit 4
trap 'rm -f "$folder/run.key"' EXIT
head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$folder/run.key" || exit 4
# Two jobs may share a node.
port=$((20000 + SLURM_JOB_ID % 10000))
run= workers=
trap 'kill -TERM $run $workers 2> /dev/null' TERM INT
{program} {run} --key-file "$folder/run.key" --out "$folder/run" &
run=$!
srun --ntasks={workers} --kill-on-bad-exit=0 {program} worker --connect "${{FLEETCAST_HOST:-$(hostname)}}:$port" --key-file "$folder/run.key" --within {within} &
workers=$!
# A signal ends a wait before its process has ended.
until wait "$run"; code=$?; ! kill -0 "$run" 2> /dev/null; do :; done
wait "$workers"
exit "$code"
"#,
        per_cpu = memory.div_ceil(2),
        within = WITHIN,
    ))
}

fn quoted(words: &[String]) -> Result<String, String> {
    let words: Result<Vec<String>, String> = words.iter().map(|word| quote(word)).collect();
    Ok(words?.join(" "))
}

/// As a shell takes it for one word.
fn quote(word: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/' | '_' | ':' | '=' | ',' | '%');
    if word.contains(['\n', '\0']) {
        return Err(format!("{word:?} cannot stand in a script; expected no ends of lines"));
    }
    if !word.is_empty() && word.chars().all(is_plain) {
        return Ok(word.to_owned());
    }
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}
