//! A limit of what is sent or received, which may differ by the time of day.
//!
//! People write it in one line: what holds, and after commas what holds at other times, such as
//! `"1 Gbit/s, 08:00-18:00 200 Mbit/s, 22:00-06:00 none"`. Times are of UTC: machines of a fleet are in many places, and no clock of theirs goes back
//! an hour in the night. The first time that is now counts.

use std::fmt;
use std::time::SystemTime;

use swarm::ByteRate;

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// None.
    None,
    /// This.
    At(ByteRate),
}

/// A limit by the time of day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateSchedule {
    otherwise: RateLimit,
    times: Vec<(Times, RateLimit)>,
}

/// From a minute of the day to before another, perhaps over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    from: u16,
    until: u16,
}

impl RateLimit {
    /// The rate, where there is one.
    pub const fn rate(self) -> Option<ByteRate> {
        match self {
            Self::None => None,
            Self::At(rate) => Some(rate),
        }
    }

    /// As people write it, of so many bytes a second at least.
    fn parse(text: &str, least: u64) -> Option<Self> {
        if text == "none" {
            return Some(Self::None);
        }
        let rate = settings::parse_rate(text).ok().filter(|rate| *rate >= least)?;
        ByteRate::from_bytes_per_second(rate).map(Self::At)
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::At(rate) => write!(f, "{} Mbit/s", rate.bytes_per_second() as f64 / MBIT),
        }
    }
}

impl RateSchedule {
    /// As people write it; no rate is less than so many bytes a second. `None` where it is not right.
    pub fn parse(text: &str, least: u64) -> Option<Self> {
        let mut parts = text.split(',').map(str::trim);
        let otherwise = RateLimit::parse(parts.next()?, least)?;
        let times = parts.map(|part| {
            let (times, rate) = part.split_once(' ')?;
            Some((Times::parse(times)?, RateLimit::parse(rate.trim(), least)?))
        });
        Some(Self {
            otherwise,
            times: times.collect::<Option<_>>()?,
        })
    }

    /// What holds now.
    pub fn now(&self) -> RateLimit {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let minutes = since.unwrap_or_default().as_secs() / 60 % u64::from(DAY);
        self.at(u16::try_from(minutes).unwrap_or_default())
    }

    /// Whether it differs by the time of day.
    pub fn changes(&self) -> bool {
        !self.times.is_empty()
    }

    /// What holds in a minute of the day.
    fn at(&self, minute: u16) -> RateLimit {
        let now = self.times.iter().find(|(times, _)| times.has(minute));
        now.map_or(self.otherwise, |(_, limit)| *limit)
    }
}

impl Times {
    fn parse(text: &str) -> Option<Self> {
        let (from, until) = text.split_once('-')?;
        let (from, until) = (minute_of(from)?, minute_of(until)?);
        // Nobody means no time by that, and not everybody all day.
        (from != until && from < DAY).then_some(Self { from, until })
    }

    const fn has(self, minute: u16) -> bool {
        if self.from < self.until {
            self.from <= minute && minute < self.until
        } else {
            self.from <= minute || minute < self.until
        }
    }
}

/// The minute of the day of a time such as 08:30; 24:00 is the end of it.
fn minute_of(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':').filter(|_| text.len() == "08:30".len())?;
    let number = |text: &str| -> Option<u16> {
        let are_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| are_digits)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= DAY).then_some(hours * 60 + minutes)
}

/// Minutes.
const DAY: u16 = 24 * 60;
/// Bytes a second.
const MBIT: f64 = 125_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(schedule: &RateSchedule, time: &str) -> String {
        schedule.at(minute_of(time).unwrap()).to_string()
    }

    #[test]
    fn what_holds_goes_by_the_time_of_day() {
        let text = "1 Gbit/s, 08:00-18:00 200 Mbit/s, 22:00-06:00 none,  12:00-13:00 9 Mbit/s";
        let schedule = RateSchedule::parse(text, 0).unwrap();
        assert!(schedule.changes());
        for (time, limit) in [
            ("00:00", "none"),
            ("05:59", "none"),
            ("06:00", "1000 Mbit/s"),
            ("07:59", "1000 Mbit/s"),
            ("08:00", "200 Mbit/s"),
            ("12:30", "200 Mbit/s"),
            ("17:59", "200 Mbit/s"),
            ("18:00", "1000 Mbit/s"),
            ("22:00", "none"),
            ("23:59", "none"),
        ] {
            assert_eq!(shown(&schedule, time), limit, "{time}");
        }
        let all_day = RateSchedule::parse("none, 00:00-24:00 8 Mbit/s", 0).unwrap();
        assert_eq!(shown(&all_day, "23:59"), "8 Mbit/s");
    }

    #[test]
    fn rates_are_what_people_write() {
        let shown = |text| RateSchedule::parse(text, 64_000).map(|schedule| schedule.at(0).to_string());
        assert_eq!(shown("200 Mbit/s").unwrap(), "200 Mbit/s");
        assert_eq!(shown("1 MB/s").unwrap(), "8 Mbit/s");
        assert_eq!(shown("none").unwrap(), "none");
        assert!(!RateSchedule::parse("none", 0).unwrap().changes());
        for wrong in [
            "",
            "0 B/s",
            "511 kbit/s",
            "200",
            "200 Mbit",
            "None",
            "none,",
            "none, 08:00-18:00",
            "none, 8:00-18:00 1 MB/s",
            "none, 08:00-08:00 1 MB/s",
            "none, 24:00-06:00 1 MB/s",
            "none, 08:60-09:00 1 MB/s",
            "none, 08:00-24:01 1 MB/s",
            "none, 08:00-18:00 1 kbit/s",
            "none, +8:00-18:00 1 MB/s",
            "08:00-18:00 1 MB/s",
        ] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }
}
