//! Values as they are written on the command line.

/// A whole number, the least and the most among those that are taken.
pub(super) fn whole<N: TryFrom<u64>, const LEAST: u64, const MOST: u64>(text: &str) -> Result<N, String> {
    let number = text.trim().replace('_', "").parse::<u64>().ok();
    let number = number.filter(|number| (LEAST..=MOST).contains(number));
    let number = number.and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| match MOST {
        u64::MAX => format!("expected a whole number, {LEAST} or more"),
        _ => format!("expected a whole number, {LEAST} to {MOST}"),
    })
}

/// One that a report has to its last digit in every reader of JSON.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    let seed = text
        .trim()
        .parse::<u64>()
        .ok()
        .filter(|seed| *seed <= scenario::SEED_MAX);
    seed.ok_or_else(|| format!("expected 0 to {}", scenario::SEED_MAX))
}

/// `64MiB` and `64 MiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    scenario::parse_size(text).map_err(|error| error.to_string())
}

/// A size as it is written, if it is one.
pub(super) fn written_size(text: &str) -> Result<String, String> {
    size(text).map(|_| text.to_owned())
}

/// Likewise a rate.
pub(super) fn written_rate(text: &str) -> Result<String, String> {
    scenario::parse_rate(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

/// `0..1000`, the last not among them.
pub(super) fn seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = text
        .split_once("..")
        .and_then(|(from, to)| Some(number(from)?..number(to)?))
        .filter(|range| !range.is_empty())
        .ok_or_else(|| format!("{text:?}: expected FROM..TO with FROM below TO, such as 0..1000"))?;
    if range.end - range.start > DAYS_MAX {
        return Err(format!("{text:?}: expected at most {DAYS_MAX} days at a time"));
    }
    Ok(range)
}

/// Likewise, of seeds that are forecast one by one.
pub(super) fn few_seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let range = seeds(text)?;
    if range.end > scenario::SEED_MAX + 1 {
        return Err(format!("{text:?}: expected seeds up to {}", scenario::SEED_MAX));
    }
    if range.end - range.start > SEEDS_MAX {
        return Err(format!("{text:?}: expected at most {SEEDS_MAX} seeds at a time"));
    }
    Ok(range)
}

/// Each has a report, all of which are kept until the end.
const SEEDS_MAX: u64 = 1000;
/// Days of one course of torture: some hours of work, and what each is drawn from is kept in memory.
const DAYS_MAX: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_told_with_its_range() {
        assert_eq!(whole::<u16, 2, 1000>("1_000"), Ok(1000));
        for text in ["1", "1001", "x", "", "2.5", "18446744073709551616"] {
            let expected = "expected a whole number, 2 to 1000".to_owned();
            assert_eq!(whole::<u16, 2, 1000>(text), Err(expected), "{text}");
        }
        assert_eq!(
            whole::<u64, 0, { u64::MAX }>("x"),
            Err("expected a whole number, 0 or more".to_owned())
        );
    }

    #[test]
    fn seeds_are_a_range_that_is_neither_empty_nor_without_end() {
        assert_eq!(seeds("3..5"), Ok(3..5));
        for text in ["", "5", "5..5", "5..3", "-1..3", "a..b", "0..18446744073709551615"] {
            let error = seeds(text).unwrap_err();
            assert!(error.contains("expected"), "{text}: {error}");
        }
    }
}
