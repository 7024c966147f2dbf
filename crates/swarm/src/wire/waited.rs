//! How long a request has waited, as it is said on the wire.

use std::time::Duration;

/// How long a request has waited for its turn, to a tenth of a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited(u16);

impl Waited {
    /// It was served at once.
    pub const NONE: Self = Self(0);

    /// Rounded down; from 6.5 s on, it is not known how long.
    pub fn of(time: Duration) -> Self {
        Self(u16::try_from(time.as_micros() / u128::from(TENTH_MICROS)).unwrap_or(u16::MAX))
    }

    /// As it is on the wire.
    pub const fn from_tenths(tenths: u16) -> Self {
        Self(tenths)
    }

    /// Tenths of milliseconds.
    pub const fn tenths(self) -> u16 {
        self.0
    }

    /// How long, where that is known.
    pub fn known(self) -> Option<Duration> {
        let time = Duration::from_micros(u64::from(self.0) * TENTH_MICROS);
        (self.0 < u16::MAX).then_some(time)
    }
}

const TENTH_MICROS: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_down_and_those_that_are_too_long_are_not_known() {
        for (micros, known) in [
            (0, Some(0)),
            (199, Some(100)),
            (6_553_499, Some(6_553_400)),
            (6_553_500, None),
            (u64::MAX, None),
        ] {
            let waited = Waited::of(Duration::from_micros(micros));
            assert_eq!(waited.known(), known.map(Duration::from_micros), "{micros}");
            assert_eq!(Waited::from_tenths(waited.tenths()), waited);
        }
    }
}
