//! What the machines of a run over several of them cost on AWS, as far as that is known here.

use std::fmt::Write;
use std::time::Duration;

use scenario::Scenario;
use serde::Serialize;

use crate::cli::DollarsArguments;
use crate::cost::{GB, Prices, PricesError};

/// What they cost.
#[derive(Debug, Serialize)]
pub(super) struct Dollars {
    node_zones: u32,
    /// At most: chunks come from whoever has them, and hosts know the scenario's zones and not where their machine is.
    cross_zone_gb: f64,
    cross_zone_usd: f64,
    /// Of which day.
    prices_of: String,
    /// The workers and the run.
    machines: u32,
    /// For which they are paid; unknown where no lower bound is.
    machine_seconds: Option<f64>,
    /// Unknown where nobody has said what one costs, likewise.
    machines_usd: Option<f64>,
}

impl Dollars {
    /// Of a run over so many workers, whose last host is done after `bound` at the earliest.
    ///
    /// # Errors
    /// Where there are no prices.
    pub(super) fn of(
        scenario: &Scenario,
        workers: u32,
        bound: Option<Duration>,
        arguments: &DollarsArguments,
    ) -> Result<Self, PricesError> {
        let prices = Prices::load(arguments.prices.as_deref())?;
        let zones = f64::from(arguments.node_zones);
        let payload = f64::from(scenario.host_count()) * scenario.build_size().get() as f64;
        let cross_zone_gb = payload * (zones - 1.0) / zones / GB;
        let machines = workers + 1;
        let price = &prices.everywhere.cross_zone;
        let machine_seconds = bound.map(|bound| (bound.as_secs_f64() * SLOWER + AROUND).max(PAID_LEAST));
        let of_machine = |usd: f64| Some(usd * machine_seconds? / 3600.0);
        Ok(Self {
            node_zones: arguments.node_zones,
            cross_zone_gb,
            cross_zone_usd: cross_zone_gb * price.price / price.per,
            prices_of: prices.date,
            machines,
            machine_seconds,
            machines_usd: arguments
                .node_price
                .and_then(of_machine)
                .map(|usd| usd * f64::from(machines)),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = match self.node_zones {
            1 => "  dollars      bytes within one zone cost nothing".to_owned(),
            zones => format!(
                "  dollars      up to {:.1} GB between {zones} zones: ${:.2} (prices of {})",
                self.cross_zone_gb, self.cross_zone_usd, self.prices_of
            ),
        };
        // Writing to a String does not fail.
        let _ = match (self.machine_seconds, self.machines_usd) {
            (Some(seconds), Some(usd)) => write!(text, "; {} machines for {seconds:.0} s: ${usd:.2}", self.machines),
            (Some(seconds), None) => write!(
                text,
                "; {} machines for some {seconds:.0} s, --node-price says at what price",
                self.machines
            ),
            (None, _) => write!(
                text,
                "; {} machines for as long as it takes, since links are not limited",
                self.machines
            ),
        };
        text.push('\n');
        text
    }
}

/// A live run's last host against its lower bound (`10k-hosts.toml`).
const SLOWER: f64 = 1.3;
/// Seconds in which workers come together, the build is uploaded, and the report is made. Assumed.
const AROUND: f64 = 60.0;
/// AWS asks for no less.
const PAID_LEAST: f64 = 60.0;
