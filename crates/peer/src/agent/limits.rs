//! What the agent may take of the network: as its operator says or, where a host follows a directory on other machines and nobody has
//! said, half of its slowest network card.
//!
//! A host that is told of a build of 5 GB has other work, for which the card was bought. Half of it is never in the way, and a swarm at
//! half of its rate is still far ahead of any single source.

use std::path::Path;

use peer::{RateLimit, RateSchedule, SharedLink};
use swarm::ByteRate;

use super::Arguments;

/// A limit as a flag has it.
///
/// # Errors
/// What was expected.
pub(crate) fn parse(text: &str) -> Result<RateSchedule, String> {
    RateSchedule::parse(text, RATE_MIN).ok_or_else(|| format!("expected {RATE}"))
}

/// The limits of this process.
#[derive(Clone, Debug)]
pub(crate) struct NetworkLimits {
    pub(crate) up: SharedLink,
    pub(crate) down: SharedLink,
    /// What holds where nobody has said.
    default: RateLimit,
}

/// What is sent and received at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) up: RateLimit,
    pub(crate) down: RateLimit,
}

impl NetworkLimits {
    /// Those of `arguments`. What is `local` moves no bytes through a card, and one build that somebody has asked for is waited for:
    /// both have no limit by default.
    pub(crate) fn new(arguments: &Arguments, is_local: bool) -> Self {
        let is_product = arguments.directory.is_some() && !is_local;
        let default = if is_product { of_cards() } else { RateLimit::None };
        let limits = Self {
            up: SharedLink::new(None),
            down: SharedLink::new(None),
            default,
        };
        let rates = limits.apply(arguments);
        let is_said = arguments.upload_rate.is_some() && arguments.download_rate.is_some();
        if let (RateLimit::At(_), false) = (default, is_said) {
            let Rates { up, down } = rates;
            arguments.say(&format!(
                "sends {up} and receives {down} of builds at most: half of the slowest network card where nobody has said; \
                 --upload-rate and --download-rate say otherwise"
            ));
        }
        limits
    }

    /// From now on those of `arguments` hold, as they are at this time of day.
    pub(crate) fn apply(&self, arguments: &Arguments) -> Rates {
        let rates = self.rates(arguments);
        self.up.set_rate(rates.up.rate());
        self.down.set_rate(rates.down.rate());
        rates
    }

    /// What `arguments` come to.
    pub(crate) fn rates(&self, arguments: &Arguments) -> Rates {
        Rates {
            up: arguments.upload_rate.as_ref().map_or(self.default, RateSchedule::now),
            down: arguments.download_rate.as_ref().map_or(self.default, RateSchedule::now),
        }
    }
}

impl Arguments {
    /// Whether a limit differs by the time of day.
    pub(crate) fn limits_change(&self) -> bool {
        let limits = [&self.upload_rate, &self.download_rate];
        limits.into_iter().flatten().any(RateSchedule::changes)
    }
}

/// Half of what the slowest network card of this machine does that is up and says what it does.
fn of_cards() -> RateLimit {
    let slowest = slowest_card(Path::new("/sys/class/net"));
    let bytes = slowest.map_or(UNKNOWN_CARD, |mbit| mbit * (MBIT as u64) / 2);
    ByteRate::from_bytes_per_second(bytes).map_or(RateLimit::None, RateLimit::At)
}

/// Megabits a second of the slowest card in `folder`. What has no device is a bridge or a tunnel, and says nothing or what is not so.
fn slowest_card(folder: &Path) -> Option<u64> {
    let cards = std::fs::read_dir(folder).ok()?.flatten();
    let speed = |card: std::fs::DirEntry| {
        let read = |file: &str| std::fs::read_to_string(card.path().join(file)).ok();
        let is_up = card.path().join("device").exists() && read("operstate")?.trim() == "up";
        // Virtual cards say -1.
        let speed = read("speed")?.trim().parse::<i64>().ok()?;
        u64::try_from(speed).ok().filter(|speed| is_up && *speed > 0)
    };
    cards.filter_map(speed).min()
}

/// What a rate is.
pub(crate) const RATE: &str = "a rate of at least 512 kbit/s in quotes, such as \"200 Mbit/s\", or \"none\"; with times of UTC: \"none, 08:00-18:00 200 Mbit/s\"";
/// Less, and a neighbour that waits for a chunk takes this host for one that has stalled.
const RATE_MIN: u64 = 64_000;
/// Bytes a second where no card says what it does: half of the 1 Gbit/s that every server has.
const UNKNOWN_CARD: u64 = 62_500_000;
/// Bytes a second.
const MBIT: f64 = 125_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_below_which_neighbours_lose_patience_is_refused_at_any_time() {
        assert!(parse("none, 08:00-18:00 512 kbit/s").is_ok());
        for wrong in ["511 kbit/s", "none, 08:00-18:00 511 kbit/s"] {
            assert!(parse(wrong).unwrap_err().contains("expected a rate"), "{wrong}");
        }
    }

    #[test]
    fn the_slowest_card_that_is_up_counts_and_no_bridge() {
        let folder = tempfile::tempdir().unwrap();
        let card = |name: &str, is_real: bool, state: &str, speed: &str| {
            let card = folder.path().join(name);
            std::fs::create_dir(&card).unwrap();
            std::fs::write(card.join("operstate"), state).unwrap();
            std::fs::write(card.join("speed"), speed).unwrap();
            if is_real {
                std::fs::create_dir(card.join("device")).unwrap();
            }
        };
        assert_eq!(slowest_card(folder.path()), None);
        card("lo", false, "unknown\n", "");
        card("docker0", false, "up\n", "10\n");
        card("eth9", true, "down\n", "100\n");
        card("virtio", true, "up\n", "-1\n");
        assert_eq!(slowest_card(folder.path()), None);
        card("eth0", true, "up\n", "25000\n");
        card("eth1", true, "up\n", "10000\n");
        assert_eq!(slowest_card(folder.path()), Some(10_000));
        assert_eq!(slowest_card(Path::new("/nowhere")), None);
    }
}
