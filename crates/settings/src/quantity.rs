//! Values with their units: durations, sizes, rates.

use std::time::Duration;

/// A value that is no quantity of the kind that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct QuantityError {
    /// What would have been right, with an example.
    pub expected: &'static str,
}

/// A duration such as `150ms`, `2s`, `1m30s`, `1.5 h`.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let error = QuantityError {
        expected: "a duration with its unit (us, ms, s, m, h), such as \"150ms\"",
    };
    let mut rest = text.trim();
    let mut total = 0.0;
    if rest.is_empty() {
        return Err(error);
    }
    while !rest.is_empty() {
        let (number, after) = number(rest).ok_or_else(|| error.clone())?;
        let unit_length = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, left) = after.split_at(unit_length);
        let seconds = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(error),
        };
        total += number * seconds;
        rest = left.trim_start();
    }
    match Duration::try_from_secs_f64(total) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        _ => Err(error),
    }
}

/// A size in bytes such as `64 KiB`, `4MiB`, `10 GB`.
pub fn parse_size(text: &str) -> Result<u64, QuantityError> {
    let expected = "a size with its unit (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB), such as \"64 MiB\"";
    scaled(text, expected, |unit| match unit {
        "B" => Some(1.0),
        _ => prefix(unit.strip_suffix('B')?),
    })
}

/// Bytes as people say them.
pub fn shown_bytes(bytes: u64) -> String {
    const UNITS: [(u32, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match UNITS.iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

/// A rate in bytes a second such as `1.5 Mbit/s`, `300 MB/s`, `1 Gbit/s`.
pub fn parse_rate(text: &str) -> Result<u64, QuantityError> {
    let expected = "a rate with its unit (kbit/s, Mbit/s, Gbit/s, MB/s, MiB/s), such as \"1 Gbit/s\"";
    scaled(text, expected, |unit| {
        let amount = unit.strip_suffix("/s")?;
        match amount {
            "bit" => return Some(0.125),
            "B" => return Some(1.0),
            _ => {}
        }
        match amount.strip_suffix("bit") {
            Some(multiple) => Some(prefix(multiple)? / 8.0),
            None => prefix(amount.strip_suffix('B')?),
        }
    })
}

fn scaled(text: &str, expected: &'static str, scale: impl Fn(&str) -> Option<f64>) -> Result<u64, QuantityError> {
    let value = number(text.trim()).and_then(|(number, unit)| Some(number * scale(unit.trim())?));
    match value {
        // Above 2^53 a double is no exact number of bytes any more.
        Some(value) if value <= 9e15 => Ok(value.round() as u64),
        _ => Err(QuantityError { expected }),
    }
}

fn prefix(text: &str) -> Option<f64> {
    Some(match text {
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    })
}

/// The number at the front of `text`, not negative, and what follows it.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let value: f64 = number.replace('_', "").parse().ok()?;
    Some((value, rest.trim_start()))
}

/// What the core's time holds, 584 years: beyond it, adding a duration to a clock fails.
const DURATION_MAX: Duration = Duration::from_nanos(u64::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_what_people_write() {
        assert_eq!(parse_duration("150ms"), Ok(Duration::from_millis(150)));
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1.5 h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_size("64 KiB"), Ok(65_536));
        assert_eq!(parse_size("10GB"), Ok(10_000_000_000));
        assert_eq!(parse_size("12 B"), Ok(12));
        assert_eq!(parse_rate("1.5 Mbit/s"), Ok(187_500));
        assert_eq!(parse_rate("300 MB/s"), Ok(300_000_000));
        assert_eq!(parse_rate("1 GiB/s"), Ok(1 << 30));
    }

    #[test]
    fn a_quantity_without_its_unit_or_with_another_is_refused() {
        for bad in [
            "",
            "5",
            "5 parsecs",
            "-5s",
            "s",
            "5 KiB",
            "6000000h",
            "99999999999999999999h",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "4", "4 Mbit/s", "-1 MiB", "MiB", "4 mib", "99999999 TB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for bad in ["", "4", "4 MiB", "4 Mbit", "Mbit/s"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }
}
