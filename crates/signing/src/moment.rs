//! A moment by the wall clock, as it stands in a signature and as people read it.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970, in UTC. One that is not within the years to 9999 is no moment of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// A moment that has this many milliseconds since 1970 before it; `None` beyond the year 9999.
    pub const fn from_millis(millis: u64) -> Option<Self> {
        if millis > LAST {
            return None;
        }
        Some(Self(millis))
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// What the machine's clock says. One that was never set says 1970.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// So much later; the last moment there is where that is none.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(LAST);
        Self(self.0.saturating_add(millis).min(LAST))
    }

    /// How long after `earlier` it is; nothing where it is before.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(LAST).min(LAST))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0 / 1000).unwrap_or_default();
        let text = OffsetDateTime::from_unix_timestamp(seconds)
            .ok()
            .and_then(|time| time.format(&Rfc3339).ok());
        f.write_str(&text.unwrap_or_else(|| format!("{} ms after 1970", self.0)))
    }
}

impl FromStr for Moment {
    type Err = String;

    /// RFC 3339, such as `2027-01-31T12:00:00Z`.
    fn from_str(text: &str) -> Result<Self, String> {
        let millis = OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .map(|time| time.unix_timestamp_nanos() / 1_000_000);
        let moment = millis
            .and_then(|millis| u64::try_from(millis).ok())
            .and_then(Self::from_millis);
        moment.ok_or_else(|| format!("{text:?} is no time; expected one such as 2027-01-31T12:00:00Z"))
    }
}

/// A time for people: the largest unit of it, and the next.
pub(crate) fn in_words(duration: Duration) -> String {
    const UNITS: [(u64, &str); 5] = [
        (31_557_600, "years"),
        (86_400, "days"),
        (3_600, "h"),
        (60, "min"),
        (1, "s"),
    ];
    let seconds = duration.as_secs();
    let largest = UNITS
        .iter()
        .position(|(unit, _)| seconds >= *unit)
        .unwrap_or(UNITS.len() - 1);
    let (unit, name) = UNITS[largest];
    let rest = UNITS
        .get(largest + 1)
        .map(|(next, name)| (seconds % unit / next, *name));
    match rest.filter(|(count, _)| *count > 0) {
        Some((count, next)) => format!("{} {name} {count} {next}", seconds / unit),
        None => format!("{} {name}", seconds / unit),
    }
}

/// The last millisecond of the year 9999.
const LAST: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_it_is_read() {
        let text = "2027-01-31T12:00:00Z";
        assert_eq!(text.parse::<Moment>().unwrap().to_string(), text);
        let east: Moment = "2027-01-31T13:00:00+01:00".parse().unwrap();
        assert_eq!(east.to_string(), text);
        for none in ["", "tomorrow", "2027-01-31", "1969-12-31T23:59:59Z"] {
            assert!(none.parse::<Moment>().unwrap_err().contains("expected one such as"));
        }
        assert_eq!(Moment::from_millis(LAST).unwrap().to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(Moment::from_millis(LAST + 1), None);
        assert_eq!(Moment::from_millis(LAST).unwrap().plus(Duration::MAX).as_millis(), LAST);
    }

    #[test]
    fn times_are_told_in_two_units_at_most() {
        let told = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!(told(0), "0 s");
        assert_eq!(told(61), "1 min 1 s");
        assert_eq!(told(3_600), "1 h");
        assert_eq!(told(90_061), "1 days 1 h");
        assert_eq!(told(10 * 31_557_600), "10 years");
    }
}
