//! A forecast: from a scenario to the simulator, and from its result to what a report is made of.

use std::time::Instant;

use explain::Records;
use scenario::{Facts, Fidelity, Scenario, Stop};
use serde::Serialize;
use simulator::{Options, SimulationError, Status};

use crate::machine;
use crate::report::{About, Made, Report};

/// What a forecast took of this machine. Apart from the report, which is the same everywhere.
#[derive(Debug, Serialize)]
pub(crate) struct Timing {
    pub(crate) threads: usize,
    pub(crate) cores: usize,
    pub(crate) wall_seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) transfers_per_second: f64,
    pub(crate) events_per_second: f64,
    /// Virtual time over real time.
    pub(crate) speed_up: f64,
    made: Made,
}

/// What comes of a forecast.
#[derive(Debug)]
pub(crate) struct Forecasted {
    pub(crate) report: Report,
    pub(crate) timing: Timing,
    /// What passed at the hosts' cores, where that was recorded.
    pub(crate) records: Option<Records>,
}

/// Forecasts `scenario` on so many threads, and records what passes where that is said; `status` is to be read, and the forecast stopped,
/// from elsewhere.
pub(crate) fn forecast(
    scenario: &Scenario,
    about: About,
    (threads, record): (usize, bool),
    status: &Status,
    stopped: impl FnOnce() -> Option<Stop>,
) -> Result<Forecasted, SimulationError> {
    let made = Made::now();
    let (began, cpu_before) = (Instant::now(), machine::cpu_seconds());
    let deadline = scenario.time_limit();
    let options = Options {
        threads,
        deadline,
        record,
    };
    let mut forecast = simulator::forecast(scenario, &options, status)?;
    let wall = began.elapsed();
    let difference = match scenario.fidelity {
        // It ends with the forecast's own `status`: who stops the one has not asked for the other.
        Fidelity::Kernel => simulator::kernel_difference(scenario, &options, status)?,
        Fidelity::Faithful => None,
    };
    let stopped = stopped();
    let records = forecast.take_records(scenario, stopped);
    let mut outcome = forecast.outcome(scenario, deadline, stopped);
    let Facts::Forecast(facts) = &mut outcome.facts else {
        unreachable!("a forecast comes to a forecast");
    };
    facts.kernel_difference = difference;
    let seconds = wall.as_secs_f64().max(1e-9);
    let timing = Timing {
        threads,
        cores: machine::cores(),
        wall_seconds: wall.as_secs_f64(),
        cpu_seconds: machine::cpu_seconds() - cpu_before,
        peak_rss_bytes: machine::peak_rss_bytes(),
        transfers_per_second: facts.transfers as f64 / seconds,
        events_per_second: facts.events as f64 / seconds,
        speed_up: facts.virtual_time.as_secs_f64() / seconds,
        made,
    };
    let mut report = Report::new(scenario, &outcome, about);
    if let Some(records) = &records {
        report.explain(records);
    }
    Ok(Forecasted {
        report,
        timing,
        records,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Asked;
    use scenario::LoadOptions;

    #[test]
    fn a_kernel_forecast_that_is_stopped_ends_without_a_faithful_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/smoke.toml");
        let options = LoadOptions {
            overrides: vec!["fidelity=kernel".parse().unwrap()],
            ..LoadOptions::default()
        };
        let scenario = Scenario::load(path.as_ref(), &options).unwrap();
        let compared = |stopped: Option<Stop>| {
            let status = Status::new(&scenario);
            if stopped.is_some() {
                status.stop();
            }
            let asked = Asked::new("plan", path.as_ref(), &options);
            let about = About::new(&scenario, &asked, None);
            let done = forecast(&scenario, about, (1, true), &status, || stopped).unwrap();
            assert!(done.records.is_none(), "the kernel has no protocol to be recorded");
            let report: serde_json::Value = serde_json::from_str(&done.report.to_json()).unwrap();
            report["simulation"]["kernel_difference"].is_object()
        };
        assert!(compared(None));
        assert!(!compared(Some(Stop::Interrupted)));
    }
}
