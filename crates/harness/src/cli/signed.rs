//! What keys and signatures are asked for with.

use std::path::PathBuf;

use super::values::whole;
use clap::Args;
use cloud::BuildId;

/// What is said beside what the build is.
#[derive(Debug, Args)]
pub(crate) struct TermArguments {
    /// Grows from one build to the next: where a host has had one, nothing with a lower number comes after it. The milliseconds since
    /// 1970 where absent, so that what is signed later is newer.
    #[arg(long, value_name = "NUMBER", value_parser = whole::<u64, 0, { u64::MAX }>)]
    pub(crate) sequence: Option<u64>,
    /// When the signature ends: after a time such as 90d or 12h, at one such as 2027-01-31T12:00:00Z, or never; after 90 days where absent. A host that comes later does not
    /// get the build until it is signed again.
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    pub(crate) expires: Option<Expiry>,
    /// Bytes of a chunk, where seeders are started with another size than they choose.
    #[arg(long, value_name = "BYTES", value_parser = whole::<u32, 0, 4_294_967_295>)]
    pub(crate) chunk_size: Option<u32>,
}

impl TermArguments {
    /// Whether any of it is said.
    pub(crate) const fn is_given(&self) -> bool {
        self.sequence.is_some() || self.expires.is_some() || self.chunk_size.is_some()
    }
}

/// When a signature ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    After(std::time::Duration),
    At(signing::Moment),
    Never,
}

#[derive(Debug, Args)]
pub(crate) struct KeygenArguments {
    /// Where the secret key goes; the public one goes to FILE.pub. Neither may be there.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct SignArguments {
    /// The build.
    pub(crate) file: PathBuf,
    /// The secret key.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: PathBuf,
    /// Its key in the buckets; the file's name where absent.
    #[arg(long)]
    pub(crate) build_id: Option<BuildId>,
    #[command(flatten)]
    pub(crate) terms: TermArguments,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The build.
    pub(crate) file: PathBuf,
    /// Public keys, one in a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: PathBuf,
    /// What `harness sign` has printed, or a file with it.
    #[arg(long, value_name = "TEXT|FILE")]
    pub(crate) signature: String,
    /// Its key in the buckets; the file's name where absent.
    #[arg(long)]
    pub(crate) build_id: Option<BuildId>,
}

/// `90d`, `12h`, a time, or `never`.
pub(super) fn expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry::Never);
    }
    let seconds = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((days, "d")) => days.parse::<u64>().ok().and_then(|days| days.checked_mul(86_400)),
        Some((hours, "h")) => hours.parse::<u64>().ok().and_then(|hours| hours.checked_mul(3_600)),
        _ => None,
    };
    if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
        return Ok(Expiry::After(std::time::Duration::from_secs(seconds)));
    }
    let at = text.parse().map(Expiry::At);
    at.map_err(|_no_time| format!("{text:?}: expected a time such as 90d, 12h or 2027-01-31T12:00:00Z, or never"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_ends_after_a_time_at_one_or_never() {
        let hour = std::time::Duration::from_secs(3600);
        assert_eq!(expiry("90d"), Ok(Expiry::After(90 * 24 * hour)));
        assert_eq!(expiry("12h"), Ok(Expiry::After(12 * hour)));
        assert_eq!(expiry("never"), Ok(Expiry::Never));
        assert!(matches!(expiry("2027-01-31T12:00:00Z"), Ok(Expiry::At(_))));
        for text in [
            "",
            "d",
            "0d",
            "-1h",
            "90",
            "99999999999999999999d",
            "18446744073709551615h",
            "tomorrow",
            "5ä",
        ] {
            assert!(expiry(text).unwrap_err().contains("expected"), "{text}");
        }
    }
}
