//! Rows on their way to `host-deployment-logs`. Whoever has rows to write keeps them until they are told to be there: nothing is
//! kept here.

use std::time::Duration;

use clap::ValueEnum;
use cloud::{Backoff, Cloud, CloudConfig, DeploymentLog, DeploymentLogTable, fnv1a};
use peer::{RowFate, RowSender};
use tokio::sync::OnceCell;

use super::{Arguments, Failure};
use program::Exit;

/// Who writes a host's rows to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogBy {
    /// The region's seeder, for who has proven to be the host.
    Seeder,
    /// The host, with credentials of its own.
    Host,
}

/// Where rows go.
pub(crate) enum Rows {
    /// To the table.
    Table(Box<Table>),
    /// To the seeder whose directory is followed.
    Seeder(RowSender),
}

/// The table, connected to when the first row is written.
pub(crate) struct Table {
    config: CloudConfig,
    table: OnceCell<DeploymentLogTable>,
}

/// Why a row is not written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotWritten {
    /// As far as is known; to write it again does no harm.
    Now(String),
    /// Nor ever will be.
    Ever(String),
}

impl Rows {
    /// To the table that the arguments name.
    pub(crate) fn to_table(arguments: &Arguments) -> Self {
        Self::Table(Box::new(Table {
            config: arguments.cloud(),
            table: OnceCell::new(),
        }))
    }

    /// What it is called by who looks for the cause of a failure.
    pub(crate) const fn where_to(&self) -> &'static str {
        match self {
            Self::Table(_) => "DynamoDB",
            Self::Seeder(_) => "the seeder that writes rows",
        }
    }

    /// Writes a row that is to be the first of its version. When this returns well it is there, or an earlier one is.
    ///
    /// # Errors
    /// A sentence with the build where it is not there. Not cancel-safe in the sense that a row whose write was cancelled may be there.
    pub(crate) async fn write(&self, row: &DeploymentLog) -> Result<(), NotWritten> {
        match self {
            Self::Table(table) => table.write(row).await.map_err(NotWritten::Now),
            Self::Seeder(sender) => {
                let build = &row.build_id;
                match sender.hand(row).await {
                    RowFate::Written => Ok(()),
                    RowFate::NotNow(why) => Err(NotWritten::Now(format!("the row of {build}: {why}"))),
                    RowFate::Refused(why) => Err(NotWritten::Ever(format!("the row of {build}: {why}"))),
                }
            }
        }
    }
}

impl Table {
    async fn write(&self, row: &DeploymentLog) -> Result<(), String> {
        let write = async {
            let connect = async || Cloud::connect(&self.config).await.deployment_logs();
            let table = self.table.get_or_init(connect).await;
            table.write_first(row).await.map_err(|error| program::chain(&error))
        };
        match tokio::time::timeout(PATIENCE, write).await {
            Ok(written) => written.map(|_| ()),
            Err(_) => {
                let (build, seconds) = (&row.build_id, PATIENCE.as_secs());
                Err(format!(
                    "the row of {build}: no answer from DynamoDB within {seconds} s"
                ))
            }
        }
    }
}

impl Arguments {
    /// Who writes the rows of a host that follows a directory: its seeder where the swarm is closed, since that knows then which host it
    /// is; the host where the swarm is open, or somebody has named the table.
    ///
    /// # Errors
    /// Exit code and sentence where what was said is not possible.
    pub(crate) fn logged_by(&self, is_closed: bool) -> Result<LogBy, Failure> {
        let names_table = [
            ("--endpoint-url", self.endpoint_url.is_some()),
            ("--stage", !self.stage.is_empty()),
            ("--log-region", self.log_region.is_some()),
        ];
        let named = names_table
            .iter()
            .find(|(_, is_named)| *is_named)
            .map(|(flag, _)| *flag);
        match (self.log_by, named) {
            (Some(LogBy::Host), _) | (None, Some(_)) => Ok(LogBy::Host),
            (Some(LogBy::Seeder), Some(flag)) => Err((
                Exit::Usage,
                format!("{flag} names the table that a host writes to itself; expected it at the seeder, or --log-by host"),
            )),
            (Some(LogBy::Seeder), None) if !is_closed && self.belonging.identity.is_none() => Err((
                Exit::Usage,
                "--log-by seeder: in an open swarm rows are in the name of the host's key; expected --identity, so that it stays the same"
                    .to_owned(),
            )),
            (Some(LogBy::Seeder), None) => Ok(LogBy::Seeder),
            (None, None) if is_closed => Ok(LogBy::Seeder),
            (None, None) => Ok(LogBy::Host),
        }
    }
}

/// How long until the row of a host that could not be written is tried again, after so many failures, the first being 1. Hosts that were
/// turned away together come back apart: else a table that takes 4,000 rows a second takes so many each time that all of them come, and
/// nothing between.
pub(crate) fn again_after(failures: u32, host_id: &str) -> Duration {
    let delay = AGAIN.seeded(fnv1a(host_id).into()).delay(failures);
    delay.unwrap_or(AGAIN.max)
}

/// A write that has not been answered by then is tried again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Waits before a row is tried again, for as long as it takes. The longest is what a fleet's last rows are late at most: of 100,000 hosts
/// that wait for so long each second has some 17,000, more than most tables take.
const AGAIN: Backoff = Backoff {
    first: Duration::from_millis(250),
    factor: 2,
    max: Duration::from_secs(8),
    attempts: u32::MAX,
    seed: 0,
};

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use clap::Parser as _;

    use super::*;

    /// When the last of so many rows is in a table that takes so many a second, and how often a host has told its own, where all hosts are
    /// done at the same moment and a question takes 20 ms. What is not taken in a second is lost, but for that second's.
    fn all_written(hosts: u32, rows_per_second: f64) -> (Duration, f64) {
        let ids: Vec<String> = (0..hosts).map(|host| format!("region-a-{host:06}")).collect();
        let mut told: BinaryHeap<_> = (0..hosts).map(|host| Reverse((Duration::ZERO, host, 0))).collect();
        let (mut room, mut last, mut questions) = (rows_per_second, Duration::ZERO, 0_u32);
        while let Some(Reverse((now, host, failures))) = told.pop() {
            questions += 1;
            room = (room + (now - last).as_secs_f64() * rows_per_second).min(rows_per_second);
            last = now;
            if room >= 1.0 {
                room -= 1.0;
                continue;
            }
            let again = again_after(failures + 1, &ids[host as usize]);
            told.push(Reverse((now + Duration::from_millis(20) + again, host, failures + 1)));
        }
        (last, f64::from(questions) / f64::from(hosts))
    }

    #[test]
    fn a_hundred_thousand_hosts_that_are_done_together_are_in_a_new_table_in_little_more_than_the_least_time() {
        // 4,000 at once, and the others in as many seconds as that takes.
        let least = (100_000.0 - 4_000.0) / 4_000.0;
        let (took, questions) = all_written(100_000, 4_000.0);
        assert!(
            took.as_secs_f64() < 1.3 * least,
            "{took:?}, and {least} s are the least"
        );
        assert!(questions < 8.0, "{questions} questions for a row");
    }

    #[test]
    fn waits_grow_up_to_a_limit_and_never_end() {
        for (failures, most) in [(1, 250), (2, 500), (6, 8_000), (1_000_000, 8_000), (u32::MAX, 8_000)] {
            let wait = again_after(failures, "web-1").as_millis();
            assert!((most / 2..=most).contains(&wait), "{failures}: {wait} ms");
        }
        assert_ne!(again_after(9, "web-1"), again_after(9, "web-2"));
    }

    #[test]
    fn the_seeder_writes_where_it_knows_who_the_host_is_and_nobody_has_named_the_table() {
        let logged_by = |more: &[&str], is_closed: bool| {
            let fixed = ["peer", "--directory", "/ip4/127.0.0.1/tcp/1", "--folder", "f", "--log"];
            let arguments = Arguments::try_parse_from(fixed.iter().chain(more)).unwrap();
            arguments.logged_by(is_closed)
        };
        assert_eq!(logged_by(&[], true), Ok(LogBy::Seeder));
        assert_eq!(logged_by(&[], false), Ok(LogBy::Host));
        for table in [
            ["--stage", "prod"],
            ["--log-region", "us-east-1"],
            ["--endpoint-url", "http://a"],
        ] {
            assert_eq!(logged_by(&table, true), Ok(LogBy::Host));
            let [flag, value] = table;
            let (code, why) = logged_by(&["--log-by", "seeder", flag, value], true).unwrap_err();
            assert!(code == Exit::Usage && why.contains(flag), "{why}");
        }
        assert_eq!(logged_by(&["--log-by", "host"], true), Ok(LogBy::Host));
        let (code, why) = logged_by(&["--log-by", "seeder"], false).unwrap_err();
        assert!(code == Exit::Usage && why.contains("--identity"), "{why}");
        let known = ["--log-by", "seeder", "--identity", "key"];
        assert_eq!(logged_by(&known, false), Ok(LogBy::Seeder));
    }
}
