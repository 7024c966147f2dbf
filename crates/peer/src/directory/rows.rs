//! Rows of hosts on their way through the region's seeder, over the connection by which a host follows the directory.
//!
//! Invariant: a row that comes out here is in the name that its host has proven: that of its certificate, or its peer id where the swarm is
//! open. What the row itself says of that is not looked at. And what is in it any reader of the table can read: no time, length or
//! character of a hostile row spoils the rows of others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cloud::{DeploymentLog, check_key};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::request_response::{Config as RequestConfig, ProtocolSupport, ResponseChannel, json};
use libp2p::{PeerId, StreamProtocol};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use swarm::Hash;
use tokio::sync::{mpsc, oneshot};

use crate::members::{Members, Refusal};
use crate::node::numbers_of;

/// A host's row.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) row: DeploymentLog,
    /// What makes the one who tells it a member, where the swarm is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) proof: Option<String>,
}

/// What has become of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowFate {
    /// It is in the table, or one that says more is.
    Written,
    /// It is not, as far as is known; told again it may be.
    NotNow(String),
    /// It never will be.
    Refused(String),
}

pub(super) type Behaviour = json::Behaviour<Told, RowFate>;

pub(super) fn behaviour() -> Behaviour {
    let config = RequestConfig::default()
        .with_request_timeout(PATIENCE)
        .with_max_concurrent_streams(ROWS_OF_ONE_MAX);
    let codec = json::codec::Codec::default().set_request_size_maximum(ROW_BYTES_MAX);
    Behaviour::with_codec(codec, [(PROTOCOL, ProtocolSupport::Full)], config)
}

/// A row in the name that its host has proven, to be written to the table. The host keeps it until it is answered well; dropped it counts
/// as not written.
#[derive(Debug)]
pub struct HandedRow {
    row: DeploymentLog,
    came: Instant,
    answer: oneshot::Sender<RowFate>,
}

impl HandedRow {
    /// A row that came then, and its answer.
    pub fn new(row: DeploymentLog, came: Instant) -> (Self, oneshot::Receiver<RowFate>) {
        let (answer, answered) = oneshot::channel();
        (Self { row, came, answer }, answered)
    }

    /// How much longer its host waits for the answer; zero where it tells the row again in any case.
    pub fn waited_for(&self) -> Duration {
        PATIENCE.saturating_sub(self.came.elapsed())
    }

    /// The row.
    pub const fn row(&self) -> &DeploymentLog {
        &self.row
    }

    /// Tells the host what has become of it.
    pub fn answer(self, fate: RowFate) {
        // The host may have gone, or may have stopped waiting: then it tells the row again.
        let _ = self.answer.send(fate);
    }
}

/// Where a directory's rows go, if anywhere: whoever writes them may come later than the directory.
pub(super) type Taker = Arc<Mutex<Option<mpsc::Sender<HandedRow>>>>;

/// Somebody takes the directory's rows from now on.
pub(super) fn taken_from(taker: &Taker) -> mpsc::Receiver<HandedRow> {
    let (rows, handed) = mpsc::channel(ROWS_WAITING_MAX);
    *taker.lock() = Some(rows);
    handed
}

/// Rows that have come and are not answered yet.
#[derive(Default)]
pub(super) struct Desk {
    answers: FuturesUnordered<BoxFuture<'static, (PeerId, ResponseChannel<RowFate>, RowFate)>>,
    of_each: HashMap<PeerId, Account>,
}

/// What of a host's rows was taken.
struct Account {
    under_way: usize,
    /// Those that were handed over since then, which is no longer than a minute ago.
    handed: u32,
    since: Instant,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            under_way: 0,
            handed: 0,
            since: Instant::now(),
        }
    }
}

impl Desk {
    /// A host tells its row.
    ///
    /// # Errors
    /// The answer, where it is known already.
    pub(super) fn take(
        &mut self,
        (peer, told): (PeerId, Told),
        members: Option<&Arc<Members>>,
        taker: &Taker,
        channel: ResponseChannel<RowFate>,
    ) -> Result<(), (ResponseChannel<RowFate>, RowFate)> {
        let handed = match self.hand(peer, told.row, members, taker) {
            Ok(handed) => handed,
            Err(fate) => return Err((channel, fate)),
        };
        let account = self.of_each.entry(peer).or_default();
        account.under_way += 1;
        account.handed += 1;
        let answered = async move {
            let dropped = || RowFate::NotNow("the seeder is ending".to_owned());
            let fate = handed.await.unwrap_or_else(|_| dropped());
            (peer, channel, fate)
        };
        self.answers.push(Box::pin(answered));
        Ok(())
    }

    fn hand(
        &self,
        peer: PeerId,
        row: DeploymentLog,
        members: Option<&Arc<Members>>,
        taker: &Taker,
    ) -> Result<oneshot::Receiver<RowFate>, RowFate> {
        let not_now = |why: &str| RowFate::NotNow(why.to_owned());
        let taker = taker.lock().clone();
        let taker = taker.ok_or_else(|| not_now("this seeder writes no rows of hosts; start it with --log"))?;
        if let Some(account) = self.of_each.get(&peer) {
            if account.under_way >= ROWS_OF_ONE_MAX {
                return Err(not_now("as many rows of this host wait as may"));
            }
            // Each is a write that somebody pays for.
            if account.handed >= ROWS_A_MINUTE && account.since.elapsed() < MINUTE {
                return Err(RowFate::NotNow(format!("a host has {ROWS_A_MINUTE} rows a minute")));
            }
        }
        let proven = Proven::of(peer, members).map_err(|why| RowFate::NotNow(why.to_string()))?;
        let row = proven.row(row, SystemTime::now()).map_err(RowFate::Refused)?;
        let (row, answered) = HandedRow::new(row, Instant::now());
        taker.try_send(row).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => not_now("as many rows wait at the seeder as may"),
            mpsc::error::TrySendError::Closed(_) => not_now("the seeder is ending"),
        })?;
        Ok(answered)
    }

    /// The next row whose fate is known; waits while none is. Cancel-safe.
    pub(super) async fn next(&mut self) -> (ResponseChannel<RowFate>, RowFate) {
        let Some((peer, channel, fate)) = self.answers.next().await else {
            return std::future::pending().await;
        };
        if let Some(account) = self.of_each.get_mut(&peer) {
            account.under_way -= 1;
        }
        (channel, fate)
    }

    /// Forgets what was a minute ago; to be called now and then.
    pub(super) fn tick(&mut self) {
        self.of_each.retain(|_, account| {
            if account.since.elapsed() >= MINUTE {
                (account.handed, account.since) = (0, Instant::now());
            }
            account.under_way > 0 || account.handed > 0
        });
    }
}

/// Who somebody has proven to be.
struct Proven {
    host: String,
    /// Known where the swarm is closed; of one that has none the certificate says nothing.
    zone: Option<Option<String>>,
}

impl Proven {
    fn of(peer: PeerId, members: Option<&Arc<Members>>) -> Result<Self, Refusal> {
        let Some(members) = members else {
            let host = peer.to_base58();
            return Ok(Self { host, zone: None });
        };
        let certificate = members.standing_now(numbers_of(peer))?;
        let member = certificate.member();
        Ok(Self {
            host: member.host().to_owned(),
            zone: Some(member.zone().map(str::to_owned)),
        })
    }

    /// The row in its name, as of `now`, or why it can be none.
    fn row(self, told: DeploymentLog, now: SystemTime) -> Result<DeploymentLog, String> {
        check_key(&told.build_id).map_err(|error| error.to_string())?;
        let name = |what: &str, text: &str| match text.len() <= NAME_LENGTH_MAX && !text.chars().any(char::is_control) {
            true => Ok(()),
            false => Err(format!(
                "its {what} is no name: expected at most {NAME_LENGTH_MAX} bytes without control characters"
            )),
        };
        let zone = match self.zone {
            Some(zone) => zone.unwrap_or_else(|| "unknown".to_owned()),
            None => told.zone,
        };
        if told.root.as_deref().is_some_and(|root| Hash::from_hex(root).is_none()) {
            return Err("its root is none: expected 64 hexadecimal digits".to_owned());
        }
        name("version", told.version.as_deref().unwrap_or_default())?;
        name("region", &told.region)?;
        name("zone", &zone)?;
        // A host whose clock goes ahead is done now.
        let completed_at = told.completed_at.clamp(SystemTime::UNIX_EPOCH, now);
        let age = completed_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let error = told.error.map(|error| {
            let shown = error.chars().take(ERROR_LENGTH_MAX);
            shown.map(|c| if c.is_control() { ' ' } else { c }).collect()
        });
        Ok(DeploymentLog {
            host_id: self.host,
            zone,
            error,
            started_at: told.started_at.clamp(SystemTime::UNIX_EPOCH, completed_at),
            completed_at,
            duration: told.duration.min(age),
            ..told
        })
    }
}

/// A row as it comes from the bytes of a host that has proven to be called `host`. For those who try bytes.
#[doc(hidden)]
pub fn read_row(bytes: &[u8], host: &str) -> Option<DeploymentLog> {
    let told: Told = serde_json::from_slice(bytes).ok()?;
    let proven = Proven {
        host: host.to_owned(),
        zone: Some(None),
    };
    proven.row(told.row, SystemTime::now()).ok()
}

/// A host's end: rows are handed to the directory that it follows, while it is connected with that.
#[derive(Clone, Debug)]
pub struct RowSender(pub(super) mpsc::Sender<Handing>);

/// A row on its way to the connection.
#[derive(Debug)]
pub(super) struct Handing {
    pub(super) row: Box<DeploymentLog>,
    pub(super) answer: oneshot::Sender<RowFate>,
}

impl RowSender {
    /// Hands a row over, and waits until it is in the table or will not be. The host that it names is not believed: it is written for the
    /// one that hands it over. Where the future is dropped it may be written or not.
    pub async fn hand(&self, row: &DeploymentLog) -> RowFate {
        let gone = || RowFate::NotNow("the directory is not followed any more".to_owned());
        let (answer, answered) = oneshot::channel();
        let mut row = Box::new(row.clone());
        // The table would keep no more of it.
        if let Some(error) = &mut row.error {
            *error = error.chars().take(ERROR_LENGTH_MAX).collect();
        }
        if self.0.send(Handing { row, answer }).await.is_err() {
            return gone();
        }
        answered.await.unwrap_or_else(|_| gone())
    }
}

const PROTOCOL: StreamProtocol = StreamProtocol::new("/fleetcast/rows/1");
/// Bytes of a row and a certificate: an error of 1,000 characters may take six bytes each.
const ROW_BYTES_MAX: u64 = 16 << 10;
/// Rows of one host that may be under way.
const ROWS_OF_ONE_MAX: usize = 4;
/// Rows that one host has taken in a minute: a build brings one, and a host that was without a seeder for long has some to catch up with.
const ROWS_A_MINUTE: u32 = 120;
const MINUTE: Duration = Duration::from_secs(60);
/// Rows that wait for whoever writes them. Where more come their hosts tell them again later.
const ROWS_WAITING_MAX: usize = 1024;
/// A row that is not answered after this is told again.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a version, region or zone.
const NAME_LENGTH_MAX: usize = 256;
/// Characters of an error.
const ERROR_LENGTH_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use cloud::DeploymentStatus;

    use super::*;

    fn told() -> DeploymentLog {
        let completed_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        DeploymentLog {
            build_id: "apps/b.zip".to_owned(),
            version: Some("v1".to_owned()),
            root: Some("0a".repeat(32)),
            host_id: "somebody-else".to_owned(),
            region: "region-a".to_owned(),
            zone: "zone-of-somebody-else".to_owned(),
            status: DeploymentStatus::Succeeded,
            error: None,
            started_at: completed_at - Duration::from_secs(5),
            completed_at,
            duration: Duration::from_secs(5),
            bytes_from_seeder: 1,
            bytes_from_peers: 2,
            bytes_wasted: 3,
            chunks_held: 4,
            chunks_total: 4,
        }
    }

    fn proven(zone: Option<&str>) -> Proven {
        Proven {
            host: "web-1".to_owned(),
            zone: Some(zone.map(str::to_owned)),
        }
    }

    #[test]
    fn name_and_zone_are_those_that_were_proven_and_the_rest_is_what_was_told() {
        let row = proven(Some("zone-b")).row(told(), SystemTime::now()).unwrap();
        let expected = DeploymentLog {
            host_id: "web-1".to_owned(),
            zone: "zone-b".to_owned(),
            ..told()
        };
        assert_eq!(row, expected);
        assert_eq!(proven(None).row(told(), SystemTime::now()).unwrap().zone, "unknown");
        let open = Proven {
            zone: None,
            ..proven(None)
        };
        assert_eq!(open.row(told(), SystemTime::now()).unwrap().zone, told().zone);
    }

    #[test]
    fn times_that_no_reader_of_the_table_could_read_are_made_plain() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        let row = proven(None).row(
            DeploymentLog {
                started_at: far,
                completed_at: far,
                duration: Duration::MAX,
                ..told()
            },
            now,
        );
        let row = row.unwrap();
        assert_eq!((row.started_at, row.completed_at), (now, now));
        assert_eq!(row.duration, Duration::from_secs(1_800_000_000));
    }

    #[test]
    fn names_that_are_none_are_refused_and_errors_lose_what_moves_a_cursor() {
        let now = SystemTime::now();
        for key in ["../../x", "/x", "a\nb", "x/", ""] {
            let build_id = key.to_owned();
            assert!(
                proven(None).row(DeploymentLog { build_id, ..told() }, now).is_err(),
                "{key:?}"
            );
        }
        let version = Some("v".repeat(257));
        assert!(proven(None).row(DeploymentLog { version, ..told() }, now).is_err());
        for root in ["", "v1", &"0A".repeat(32), &"0a".repeat(33)] {
            let root = Some(root.to_owned());
            assert!(proven(None).row(DeploymentLog { root, ..told() }, now).is_err());
        }
        let region = "a\u{1b}[2J".to_owned();
        assert!(proven(None).row(DeploymentLog { region, ..told() }, now).is_err());
        let error = Some("a\u{1b}[2J\nb".to_owned() + &"x".repeat(5000));
        let error = proven(None)
            .row(DeploymentLog { error, ..told() }, now)
            .unwrap()
            .error
            .unwrap();
        assert!(error.starts_with("a [2J b") && error.len() == 1000, "{error}");
    }
}
