//! Days that once broke a promise: they are played first.

use crate::class::Class;
use crate::day::Only;

/// A day that once broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// Its class.
    pub class: Class,
    /// Its seed.
    pub seed: u64,
    /// Hosts, where they were said.
    pub hosts: Option<u32>,
    /// The part of it that broke the promise.
    pub only: Only,
    /// What was wrong.
    pub reason: String,
}

/// The days of `regressions.txt`.
///
/// # Panics
/// Where the file is not well-formed, which its test finds.
pub fn regressions() -> Vec<Regression> {
    match parse(include_str!("../regressions.txt")) {
        Ok(regressions) => regressions,
        Err(message) => panic!("crates/torture/regressions.txt:{message}"),
    }
}

/// A line each: the class, the seed, then `hosts=N` or `only=…` where they are needed, and after a `#` the reason.
fn parse(text: &str) -> Result<Vec<Regression>, String> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| parse_line(line).map_err(|what| format!("{}: {what}", number + 1)))
        .collect()
}

fn parse_line(line: &str) -> Result<Regression, String> {
    const EXPECTED: &str = "expected a class, a seed, hosts=N or only=… where needed, and a reason after a #";
    let (day, reason) = line.split_once('#').ok_or(EXPECTED)?;
    let mut words = day.split_whitespace();
    let class = words.next().ok_or(EXPECTED)?.parse()?;
    let seed = words.next().ok_or(EXPECTED)?;
    let mut regression = Regression {
        class,
        seed: seed
            .parse()
            .map_err(|_not| format!("{seed:?} is no seed; {EXPECTED}"))?,
        hosts: None,
        only: Only::default(),
        reason: reason.trim().to_owned(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("hosts", hosts)) => {
                regression.hosts = Some(hosts.parse().map_err(|_not| format!("{word:?}; {EXPECTED}"))?);
            }
            Some(("only", only)) => regression.only = only.parse()?,
            _ => return Err(format!("{word:?}; {EXPECTED}")),
        }
    }
    Ok(regression)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_file_is_well_formed() {
        regressions();
    }

    #[test]
    fn a_line_says_which_day_and_why() {
        let found = parse("# a comment\n\ncrash 79 hosts=2 only=hosts=10+11,chunks=8 # hangs\n").unwrap();
        assert_eq!(found[0].class, Class::Crash);
        assert_eq!((found[0].seed, found[0].hosts), (79, Some(2)));
        assert_eq!(found[0].only.to_string(), "hosts=10+11,chunks=8");
        assert_eq!(found[0].reason, "hangs");
        assert!(parse("crash 79\n").unwrap_err().starts_with("1: expected a class"));
        assert!(parse("crush 79 # x\n").unwrap_err().contains("expected one of calm"));
    }
}
