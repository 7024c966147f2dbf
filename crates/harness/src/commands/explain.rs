//! `harness explain`: why a host of a run was late, and what words mean.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use explain::{Reasons, Records, TICK_NANOS, Verdict};
use serde_json::{Value, json};

use super::{print, words};
use crate::cli::{ExplainArguments, Format};
use crate::exit::{Exit, print_error};
use crate::report::slack;

pub(crate) fn explain(arguments: &ExplainArguments) -> Exit {
    if arguments.words {
        print(&explain::markdown());
        return Exit::Success;
    }
    let explained = match arguments.what.as_slice() {
        [run] if run.exists() || run.components().count() > 1 => of_run(run, arguments),
        [] => match newest() {
            Some(run) => of_run(&run, arguments),
            None => {
                say!(
                    "harness: there is no run under runs/ that was recorded; expected a run's folder, or a word such as \
                     stretch"
                );
                return Exit::Usage;
            }
        },
        words => {
            let words: Vec<String> = words.iter().map(|word| word.display().to_string()).collect();
            return words::of_word(&words.join(" "));
        }
    };
    explained.unwrap_or_else(|exit| exit)
}

fn of_run(run: &Path, arguments: &ExplainArguments) -> Result<Exit, Exit> {
    let records = read(run)?;
    let reasons = Reasons::new(&records, slack(&records));
    let hosts = chosen(&reasons, arguments)?;
    let told: Vec<(usize, Verdict)> = hosts
        .into_iter()
        .filter_map(|(region, host)| Some((region, reasons.why(region, host)?)))
        .collect();
    match arguments.format {
        Format::Text => print(&text(&reasons, &told, usize::from(arguments.steps))),
        Format::Json => print(&format!("{:#}\n", as_json(&reasons, &told))),
    }
    Ok(Exit::Success)
}

/// The records of a run's folder.
fn read(run: &Path) -> Result<Records, Exit> {
    let file = if run.is_dir() {
        run.join(Records::FILE)
    } else {
        run.to_owned()
    };
    let bytes = std::fs::read(&file).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound && run.join("report.json").is_file() {
            say!(
                "harness: {} has a report and no {}: it was made with --no-records, by an older program, with --seeds, or with the \
                 fidelity \"kernel\", which has no protocol; expected a run or a forecast of one seed that was recorded",
                run.display(),
                Records::FILE
            );
            return Exit::Usage;
        }
        print_error(&format!("there are no records at {}; expected a run's folder", file.display()), &error);
        Exit::Usage
    })?;
    Records::from_bytes(&bytes).map_err(|error| {
        print_error(&format!("{} cannot be read", file.display()), &error);
        Exit::Usage
    })
}

/// The hosts that are asked for, by region and index.
fn chosen(reasons: &Reasons<'_>, arguments: &ExplainArguments) -> Result<Vec<(usize, u32)>, Exit> {
    let regions = &reasons.records().scenario.regions;
    let hosts = match (&arguments.host, arguments.last) {
        (Some(name), _) => {
            let Some(host) = reasons.named(name) else {
                let example = regions.first().map(|region| region.host_name(0)).unwrap_or_default();
                say!("harness: there is no host {name} in this run; expected a name such as {example}");
                return Err(Exit::Usage);
            };
            vec![host]
        }
        (None, Some(count)) => {
            let of_region = |region| {
                reasons
                    .last(region, usize::from(count))
                    .into_iter()
                    .map(move |host| (region, host))
            };
            (0..regions.len()).flat_map(of_region).collect()
        }
        (None, None) => reasons.last_of_all().into_iter().collect(),
    };
    if hosts.is_empty() {
        say!("harness: nothing is expected of any host of this run; expected --host NAME");
        return Err(Exit::Usage);
    }
    Ok(hosts)
}

fn text(reasons: &Reasons<'_>, told: &[(usize, Verdict)], steps: usize) -> String {
    let records = reasons.records();
    let mut text = String::new();
    for (region, verdict) in told {
        let _ = writeln!(text, "{}", reasons.sentence(*region, verdict));
        text.push_str(&reasons.table(verdict));
        if steps > 0 && !verdict.path.steps.is_empty() {
            text.push_str("its path, from the bucket on:\n");
            text.push_str(&reasons.steps(*region, verdict, steps));
        }
    }
    for (index, region) in records.scenario.regions.iter().enumerate() {
        if let Some(slowest) = reasons.slowest(index) {
            let causes: Vec<String> = slowest
                .time
                .iter()
                .take(CAUSES_SHOWN)
                .map(|(cause, part)| format!("{} {:.0} %", cause.word(), part * 100.0))
                .collect();
            let _ = writeln!(
                text,
                "the slowest {} of {}, beyond their bounds: {}",
                slowest.hosts,
                region.name,
                causes.join(", ")
            );
        }
    }
    let stride = records.sample.stride();
    if stride > 1.0 {
        let _ = writeln!(
            text,
            "of {stride:.1} chunks one is recorded: what is seldom may be missed"
        );
    }
    if records.facts.stopped.is_some() {
        text.push_str("the run was stopped before it was done\n");
    }
    text
}

fn as_json(reasons: &Reasons<'_>, told: &[(usize, Verdict)]) -> Value {
    let seconds = |ticks: i64| ticks as f64 * TICK_NANOS as f64 / 1e9;
    let shapes = &reasons.records().scenario.regions;
    let host = |(region, verdict): &(usize, Verdict)| {
        let shares: Vec<Value> = verdict
            .shares
            .iter()
            .map(|(cause, ticks)| json!({"cause": cause.word(), "seconds": seconds(*ticks), "share": verdict.part(*cause)}))
            .collect();
        let begins = verdict.path.steps.first().map_or(0, |step| step.from);
        let path: Vec<Value> = verdict
            .path
            .steps
            .iter()
            .map(|step| {
                json!({
                    "from_seconds": seconds(step.from - begins), "seconds": seconds(step.to - step.from), "cause": step.cause.word(),
                    "host": shapes[*region].host_name(step.host), "with": step.with.map(|with| reasons.member(*region, with)),
                    "chunk": step.chunk,
                })
            })
            .collect();
        json!({
            "host": shapes[*region].host_name(verdict.host), "region": shapes[*region].name, "seconds": seconds(verdict.total),
            "bound_seconds": verdict.bound.map(seconds), "cause": verdict.main.word(),
            "sentence": reasons.sentence(*region, verdict), "shares": shares, "path": path,
        })
    };
    json!({"hosts": told.iter().map(host).collect::<Vec<_>>(), "recorded_of_chunks": 1.0 / reasons.records().sample.stride()})
}

/// The newest folder under `runs/` that has records.
fn newest() -> Option<PathBuf> {
    let entries = std::fs::read_dir("runs").ok()?;
    let runs = entries.filter_map(|entry| Some(entry.ok()?.path()));
    runs.filter(|run| run.join(Records::FILE).is_file()).max()
}

/// Causes of the slowest hosts that are shown, of each region.
const CAUSES_SHOWN: usize = 5;
