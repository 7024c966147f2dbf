//! `harness check`: what a scenario comes to, before anything runs. `spread` is of runs over several machines, and `dollars` what those cost.

mod dollars;
mod spread;

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use console::style;
use scenario::{LoadOptions, Origin, Scenario, Slack};
use serde_json::{Value, json};
use swarm::Bytes;

use super::print;
use crate::cli::{CheckArguments, Format};
use crate::cost::PricesError;
use crate::estimates::{self, OfForecast, OfRun};
use crate::exit::{Exit, chain, print_error};
use crate::live::{self, CloudChoice};
use crate::machine;
use crate::progress::seconds;
use spread::Spread;

/// What a scenario comes to on this machine.
struct Checked {
    scenario: Scenario,
    /// By region; none where links are not limited.
    bounds: Vec<Option<Duration>>,
    deadline: Duration,
    run: OfRun,
    /// Why there is no live run of it here.
    no_run: Option<String>,
    forecast: OfForecast,
    /// Why there is no forecast of it here.
    no_forecast: Option<String>,
    threads: usize,
    spread: Option<Spread>,
}

pub(crate) fn check(arguments: &CheckArguments) -> Exit {
    let options = LoadOptions {
        build: arguments.build.clone(),
        ..arguments.changes.options()
    };
    let scenario = match Scenario::load(&arguments.scenario, &options) {
        Ok(scenario) => scenario,
        Err(error) => {
            match arguments.format {
                Format::Text => say!("{error}"),
                Format::Json => {
                    let problem =
                        |problem: &scenario::Problem| json!({"place": problem.place, "message": problem.message});
                    let problems: Vec<Value> = error.problems.iter().map(problem).collect();
                    print(&format!("{:#}\n", json!({"problems": problems})));
                }
            }
            return Exit::Usage;
        }
    };
    let checked = match Checked::new(scenario, arguments) {
        Ok(checked) => checked,
        Err(error) => {
            print_error("there are no dollars", &error);
            return Exit::Usage;
        }
    };
    match arguments.format {
        Format::Text => print(&checked.text(arguments.all)),
        Format::Json => print(&format!("{:#}\n", checked.json())),
    }
    match (&checked.no_run, &checked.no_forecast) {
        _ if checked.spread.as_ref().is_some_and(|spread| !spread.fits()) => Exit::No,
        (Some(_), Some(_)) if checked.spread.is_none() => Exit::No,
        _ => Exit::Success,
    }
}

impl Checked {
    fn new(scenario: Scenario, arguments: &CheckArguments) -> Result<Self, PricesError> {
        let bound = |region| {
            let plan = scenario.plan(region);
            Some(scenario.bounds(&plan, Slack::default())?.makespan())
        };
        let bounds: Vec<Option<Duration>> = (0..scenario.regions.len()).map(bound).collect();
        let threads = machine::cores();
        // A folder of its own would be made there.
        let fits = live::fits(&scenario, Path::new("runs"), &CloudChoice::Embedded);
        let latest = bounds.iter().copied().flatten().max();
        Ok(Self {
            run: estimates::of_run(&scenario, latest),
            no_run: fits.err().map(|error| chain(&error)),
            forecast: estimates::of_forecast(&scenario, threads),
            no_forecast: super::plan::fits(&scenario, threads).err().or_else(|| {
                let keys = scenario.not_in_kernel();
                let is_kernel = scenario.fidelity == scenario::Fidelity::Kernel;
                (is_kernel && !keys.is_empty()).then(|| format!("the kernel fidelity has no {}", keys.join(", ")))
            }),
            deadline: scenario.time_limit(),
            spread: Spread::of(&scenario, latest, arguments)?,
            bounds,
            threads,
            scenario,
        })
    }

    fn text(&self, all: bool) -> String {
        let mut text = self.head();
        let _ = writeln!(text, "\n{}", style("values").bold());
        let shown = self
            .scenario
            .values
            .iter()
            .filter(|of| all || of.from != Origin::Default);
        for of in shown {
            let value = of.value.as_str().map_or_else(|| of.value.to_string(), str::to_owned);
            let _ = writeln!(text, "  {:<36} {value:<28} {}", of.key, style(&of.from).dim());
        }
        let defaults = self
            .scenario
            .values
            .iter()
            .filter(|of| of.from == Origin::Default)
            .count();
        if !all {
            let _ = writeln!(text, "  and {defaults} by default; --all shows them");
        }
        let _ = writeln!(text, "\n{}", style("thresholds").bold());
        for threshold in &self.scenario.thresholds {
            let of = threshold.not_of_forecasts().map_or("", |_| "  (live runs only)");
            let _ = writeln!(text, "  {:<20} {}{of}", threshold.name, threshold.expression);
        }
        if self.scenario.thresholds.is_empty() {
            let _ = writeln!(
                text,
                "  none; any field of a report can have one, `harness schema report` lists them"
            );
        }
        text.push_str(&self.what_it_takes());
        text.extend(self.spread.as_ref().map(Spread::text));
        text
    }

    fn head(&self) -> String {
        let scenario = &self.scenario;
        let mut text = format!("{}: {}\n", style(&scenario.name).bold(), scenario.description);
        let chunk = scenario.chunk_size();
        let _ = writeln!(
            text,
            "build {}: {} in {} chunks of {}",
            scenario.build.id,
            scenario.build_size(),
            scenario.build_size().get().div_ceil(chunk.into()),
            Bytes::new(chunk.into())
        );
        for (region, bound) in scenario.regions.iter().zip(&self.bounds) {
            let bound = bound.map_or_else(
                || "no lower bound, since links are not limited".to_owned(),
                |bound| format!("the last is done after {} at the earliest", show(bound)),
            );
            let _ = writeln!(text, "{}: {} hosts, {bound}", region.name, region.hosts);
        }
        let _ = writeln!(text, "given up after {}", show(self.deadline));
        for warning in scenario.warnings() {
            let _ = writeln!(text, "{}: {warning}", style("warning").yellow());
        }
        text
    }

    fn what_it_takes(&self) -> String {
        let OfRun {
            memory_bytes,
            disk_bytes,
            payload_bytes,
            seconds: takes,
        } = self.run;
        let mut text = String::new();
        let _ = writeln!(text, "\n{}", style("takes about").bold());
        let _ = match &self.no_run {
            None => writeln!(
                text,
                "  run   {}, {} of memory, {} of disk; hosts receive {} in all",
                seconds(Duration::from_secs_f64(takes)),
                Bytes::new(memory_bytes),
                Bytes::new(disk_bytes),
                Bytes::new(payload_bytes)
            ),
            Some(why) => writeln!(text, "  run   {}: {why}", style("not here").red()),
        };
        let OfForecast {
            memory_bytes,
            transfers,
            seconds_least,
            seconds_most,
        } = self.forecast;
        let _ = match &self.no_forecast {
            None => writeln!(
                text,
                "  plan  {} to {}, {} of memory; {transfers} transfers on {} threads",
                seconds(Duration::from_secs_f64(seconds_least)),
                seconds(Duration::from_secs_f64(seconds_most)),
                Bytes::new(memory_bytes),
                self.threads
            ),
            Some(why) => writeln!(text, "  plan  {}: {why}", style("not here").red()),
        };
        text
    }

    fn json(&self) -> Value {
        let ms = |bound: &Option<Duration>| bound.map(crate::report::milliseconds);
        let value = |of: &scenario::KeyValue| json!({"key": of.key, "value": of.value, "from": of.from.to_string()});
        let threshold = |of: &scenario::Threshold| json!({"name": of.name, "expression": of.expression, "field": of.field(), "not_of_forecasts": of.not_of_forecasts()});
        let regions = self.scenario.regions.iter().zip(&self.bounds);
        let regions =
            regions.map(|(of, bound)| json!({"name": of.name, "hosts": of.hosts, "lower_bound_ms": ms(bound)}));
        json!({
            "problems": [],
            "scenario": self.scenario.name,
            "values": self.scenario.values.iter().map(value).collect::<Vec<_>>(),
            "thresholds": self.scenario.thresholds.iter().map(threshold).collect::<Vec<_>>(),
            "warnings": self.scenario.warnings(),
            "regions": regions.collect::<Vec<_>>(),
            "deadline_seconds": self.deadline.as_secs_f64(),
            "run": self.run, "no_run": self.no_run,
            "plan": self.forecast, "no_plan": self.no_forecast,
            "spread": self.spread,
        })
    }
}

fn show(time: Duration) -> String {
    crate::report::time(Some(time.as_secs_f64() * 1000.0))
}
