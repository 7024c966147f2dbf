//! Rows that hosts hand to the seeder whose directory they follow: whose name they are in, and that none is lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cloud::{Cloud, DeploymentLog, DeploymentStatus, EmbeddedCloud};
use peer::{
    Addresses, Directory, DirectoryServer, EndpointConfig, HandedRow, Members, NodeIdentity, Reach, RowFate,
    TransportKind,
};
use region::limit::{Limit, within};
use region::{Host, PATIENCE, Seeder, Seeding, data};
use rustix::process::Signal;
use signing::{Member, MemberTerms, Moment, SecretKey, TrustedKeys};
use tempfile::TempDir;
use tokio::sync::mpsc;

fn certificate(identity: &NodeIdentity, host: &str) -> signing::Certificate {
    let now = Moment::now();
    let terms = MemberTerms {
        peer: identity.peer_id().to_base58(),
        host: host.to_owned(),
        zone: Some(format!("zone-of-{host}")),
        groups: Vec::new(),
        addresses: Vec::new(),
        not_before: now,
        not_after: now.plus(Duration::from_secs(3600)),
    };
    key().certify(Member::new(terms).unwrap())
}

fn key() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

fn members(identity: &NodeIdentity, host: &str) -> Arc<Members> {
    let keys = TrustedKeys::of([key().public()]);
    Arc::new(Members::of(identity.peer_id(), keys, certificate(identity, host)).unwrap())
}

async fn closed_directory(identity: &NodeIdentity, transport: TransportKind) -> DirectoryServer {
    let directory = DirectoryServer::start(EndpointConfig {
        members: Some(members(identity, "seeder-1")),
        ..EndpointConfig::on_loopback(identity.clone(), transport)
    });
    directory.await.unwrap()
}

/// A member of this name that follows the directory, as soon as that answers it.
async fn member(directory: &DirectoryServer, host: &str) -> Directory {
    let identity = NodeIdentity::random();
    let at = directory.endpoint().addresses();
    let followed = Directory::follow_as(
        &identity,
        Some(members(&identity, host)),
        None,
        Addresses::of(&at).unwrap(),
    );
    let followed = followed.unwrap();
    let mut reach = followed.reach();
    let answers = reach.wait_for(|reach| *reach == Reach::Answers);
    drop(within(PATIENCE, "the directory answers", answers).await.unwrap());
    followed
}

fn row(build: &str, host: &str, status: DeploymentStatus) -> DeploymentLog {
    let completed_at = SystemTime::now();
    DeploymentLog {
        build_id: build.to_owned(),
        version: Some("1".to_owned()),
        root: None,
        host_id: host.to_owned(),
        region: "region-a".to_owned(),
        zone: format!("zone-of-{host}"),
        status,
        error: (status == DeploymentStatus::Failed).then(|| "it says so".to_owned()),
        started_at: completed_at - Duration::from_secs(1),
        completed_at,
        duration: Duration::from_secs(1),
        bytes_from_seeder: 1,
        bytes_from_peers: 2,
        bytes_wasted: 0,
        chunks_held: 3,
        chunks_total: 3,
    }
}

/// Takes the next row that is handed over.
async fn next(rows: &mut mpsc::Receiver<HandedRow>) -> HandedRow {
    within(PATIENCE, "a row is handed over", rows.recv()).await.unwrap()
}

/// A member tells of another one that it has failed, as which it then stands there itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_writes_its_own_rows_whatever_name_they_are_in() {
    let _limit = Limit::start(None);
    let home = tempfile::tempdir().unwrap();
    let embedded = EmbeddedCloud::start(home.path()).await.unwrap();
    let cloud = Cloud::connect(embedded.config()).await;
    cloud.bootstrap(&[]).await.unwrap();
    for (transport, build) in [(TransportKind::Tcp, "tcp.zip"), (TransportKind::Quic, "quic.zip")] {
        let directory = closed_directory(&NodeIdentity::random(), transport).await;
        directory.publish(Vec::new());
        let mut handed = directory.take_rows();
        let table = cloud.deployment_logs();
        let writer = tokio::spawn(async move {
            while let Some(row) = handed.recv().await {
                table.write_first(row.row()).await.unwrap();
                row.answer(RowFate::Written);
            }
        });
        let (honest, hostile) = (member(&directory, "web-1").await, member(&directory, "web-2").await);
        let own = row(build, "web-1", DeploymentStatus::Succeeded);
        assert_eq!(honest.rows().hand(&own).await, RowFate::Written);
        let forged = row(build, "web-1", DeploymentStatus::Failed);
        assert_eq!(hostile.rows().hand(&forged).await, RowFate::Written);
        // A newer version would take the place of the older row.
        let newer = DeploymentLog {
            version: Some("2".to_owned()),
            ..forged
        };
        assert_eq!(hostile.rows().hand(&newer).await, RowFate::Written);
        let rows = cloud.deployment_logs().rows(build).await.unwrap();
        let told: Vec<_> = rows.iter().map(|row| (&*row.host_id, &*row.zone, row.status)).collect();
        let expected = [
            ("web-1", "zone-of-web-1", DeploymentStatus::Succeeded),
            ("web-2", "zone-of-web-2", DeploymentStatus::Failed),
        ];
        assert_eq!(told, expected);
        drop(directory);
        within(PATIENCE, "the rows end with the directory", writer)
            .await
            .unwrap();
    }
}

/// One that hands over without end and waits for no answer takes no more than its share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_rows_of_a_host_wait_at_most_and_what_is_no_row_is_refused_for_good() {
    let _limit = Limit::start(None);
    let directory = closed_directory(&NodeIdentity::random(), TransportKind::Tcp).await;
    directory.publish(Vec::new());
    let hostile = member(&directory, "web-2").await;
    let untaken = hostile
        .rows()
        .hand(&row("b.zip", "web-2", DeploymentStatus::Succeeded))
        .await;
    assert!(
        matches!(&untaken, RowFate::NotNow(why) if why.contains("--log")),
        "{untaken:?}"
    );
    let mut handed = directory.take_rows();
    let all = (0..40).map(|n| {
        let (sender, build) = (hostile.rows(), format!("b-{n}.zip"));
        tokio::spawn(async move { sender.hand(&row(&build, "web-2", DeploymentStatus::Succeeded)).await })
    });
    let all: Vec<_> = all.collect();
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(next(&mut handed).await);
    }
    // An honest one has its place all the same, and all that the other has sent before has been looked at by then.
    let honest = member(&directory, "web-1").await;
    let own = row("b.zip", "web-1", DeploymentStatus::Succeeded);
    let sender = honest.rows();
    let told = tokio::spawn(async move { sender.hand(&own).await });
    let of_honest = next(&mut handed).await;
    assert_eq!(of_honest.row().host_id, "web-1");
    of_honest.answer(RowFate::Written);
    assert_eq!(within(PATIENCE, "its answer", told).await.unwrap(), RowFate::Written);
    drop(taken);
    for one in all {
        let fate = within(PATIENCE, "each is answered", one).await.unwrap();
        assert!(matches!(fate, RowFate::NotNow(_)), "{fate:?}");
    }
    let refused = hostile
        .rows()
        .hand(&row("../../x", "web-2", DeploymentStatus::Succeeded))
        .await;
    assert!(
        matches!(&refused, RowFate::Refused(why) if why.contains("no path of a build")),
        "{refused:?}"
    );
}

/// Each row is a write that somebody pays for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_makes_rows_up_has_120_a_minute() {
    let _limit = Limit::start(None);
    let directory = closed_directory(&NodeIdentity::random(), TransportKind::Tcp).await;
    directory.publish(Vec::new());
    let mut handed = directory.take_rows();
    tokio::spawn(async move {
        while let Some(row) = handed.recv().await {
            row.answer(RowFate::Written);
        }
    });
    let (hostile, honest) = (member(&directory, "web-2").await, member(&directory, "web-1").await);
    let mut written = 0;
    for n in 0..200 {
        let made_up = row(&format!("made-up-{n}.zip"), "web-2", DeploymentStatus::Succeeded);
        match hostile.rows().hand(&made_up).await {
            RowFate::Written => written += 1,
            fate => assert!(
                matches!(&fate, RowFate::NotNow(why) if why.contains("120 rows a minute")),
                "{fate:?}"
            ),
        }
    }
    assert_eq!(written, 120);
    let own = row("b.zip", "web-1", DeploymentStatus::Succeeded);
    assert_eq!(honest.rows().hand(&own).await, RowFate::Written);
}

/// A host's folders: builds, and what makes it a member.
struct Home {
    folder: TempDir,
    identity: NodeIdentity,
    directory: NodeIdentity,
    port: u16,
    _limit: Limit,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = NodeIdentity::kept_in(&folder.path().join("peer.key")).unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), format!("{text}\n")).unwrap();
        write("members", key().public().to_string());
        write("certificate", certificate(&identity, "web-7").to_string());
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Self {
            folder,
            identity,
            directory: NodeIdentity::random(),
            port,
            _limit: Limit::start(None),
        }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// The directory of its region, each time at the same place.
    async fn directory(&self, is_closed: bool, seeder: &Seeder) -> DirectoryServer {
        let listen = format!("/ip4/127.0.0.1/tcp/{}", self.port).parse().unwrap();
        let config = EndpointConfig {
            members: is_closed.then(|| members(&self.directory, "seeder-1")),
            ..EndpointConfig::at(self.directory.clone(), TransportKind::Tcp, listen)
        };
        let started = async {
            loop {
                match DirectoryServer::start(config.clone()).await {
                    Ok(directory) => return directory,
                    // The one before lets the port go soon.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        let directory = within(PATIENCE, "a directory at this port", started).await;
        directory.publish(vec![seeder.listed()]);
        directory
    }

    fn host(&self, is_closed: bool, more: &[&str]) -> Host {
        let directory = format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", self.port, self.directory.peer_id());
        let (folder, key) = (self.at("builds"), self.at("peer.key"));
        let (keys, shown) = (self.at("members"), self.at("certificate"));
        let mut arguments = vec![
            "--directory",
            &directory,
            "--folder",
            &folder,
            "--log",
            "--identity",
            &key,
        ];
        if is_closed {
            arguments.extend(["--members", &keys, "--certificate", &shown]);
        }
        arguments.extend(["--region", "region-a"]);
        arguments.extend(more);
        Host::start(&arguments)
    }

    async fn seeder(&self, is_closed: bool) -> Seeder {
        let identity = NodeIdentity::random();
        let seeding = Seeding {
            members: is_closed.then(|| members(&identity, "seeder-1")),
            identity: Some(identity),
            ..Seeding::default()
        };
        Seeder::with("apps/one.zip", "1", &data(1, 300_000), seeding).await
    }

    /// Whether the host knows that its row is in the table.
    fn knows_of_its_row(&self) -> bool {
        let list = PathBuf::from(self.at("builds")).join(".fleetcast-builds.json");
        std::fs::read_to_string(list).is_ok_and(|list| list.contains(r#""row":"Written""#))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_keeps_its_row_until_it_is_told_that_it_is_written() {
    let home = Home::new();
    let seeder = home.seeder(true).await;
    let directory = home.directory(true, &seeder).await;
    let mut rows = directory.take_rows();
    let mut host = home.host(true, &[]);
    host.prints(&["apps/one.zip"]).await;
    let first = next(&mut rows).await;
    let told = first.row().clone();
    assert_eq!((&*told.host_id, &*told.zone), ("web-7", "zone-of-web-7"));
    assert_eq!(
        (&*told.build_id, told.status),
        ("apps/one.zip", DeploymentStatus::Succeeded)
    );
    let root = seeder.node.root().unwrap().to_string();
    assert_eq!(told.root, Some(root), "it says which bytes it has");
    // The table throttles.
    first.answer(RowFate::NotNow("DynamoDB is busy".to_owned()));
    let again = next(&mut rows).await;
    assert_eq!(*again.row(), told);
    host.until("it says why", |host| host.said().contains("DynamoDB is busy"))
        .await;
    // The host is killed before the answer comes.
    host.signal(Signal::KILL);
    host.ends().await;
    again.answer(RowFate::Written);
    assert!(!home.knows_of_its_row());
    let mut host = home.host(true, &[]);
    let again = next(&mut rows).await;
    assert_eq!(*again.row(), told);
    // The seeder ends with the row in its hands, and the next one is asked.
    drop((again, rows, directory));
    let directory = home.directory(true, &seeder).await;
    let mut rows = directory.take_rows();
    let again = next(&mut rows).await;
    assert_eq!(*again.row(), told);
    again.answer(RowFate::Written);
    host.until("it is written down", |_| home.knows_of_its_row()).await;
    host.stops().await;
    // What was answered well is not told again.
    let mut host = home.host(true, &[]);
    let is_connected = |_: &Host| directory.followers() == 1;
    host.until("it follows", is_connected).await;
    host.stops().await;
    assert!(rows.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_an_open_swarm_a_row_is_in_the_name_of_the_host_s_key() {
    let home = Home::new();
    let seeder = home.seeder(false).await;
    let directory = home.directory(false, &seeder).await;
    let mut rows = directory.take_rows();
    let mut host = home.host(false, &["--log-by", "seeder", "--host-id", "somebody-else"]);
    let row = next(&mut rows).await;
    assert_eq!(row.row().host_id, home.identity.peer_id().to_base58());
    row.answer(RowFate::Written);
    host.until("it is written down", |_| home.knows_of_its_row()).await;
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_refused_for_good_holds_up_no_other() {
    let home = Home::new();
    let (one, directory) = (
        home.seeder(true).await,
        home.directory(true, &home.seeder(true).await).await,
    );
    let identity = NodeIdentity::random();
    let seeding = Seeding {
        members: Some(members(&identity, "seeder-1")),
        identity: Some(identity),
        ..Seeding::default()
    };
    let two = Seeder::with("apps/two.zip", "1", &data(2, 1000), seeding).await;
    directory.publish(vec![one.listed(), two.listed()]);
    let mut rows = directory.take_rows();
    let mut host = home.host(true, &[]);
    let mut written = 0;
    for _ in 0..2 {
        let row = next(&mut rows).await;
        if row.row().build_id == "apps/one.zip" {
            row.answer(RowFate::Refused("its table is not for it".to_owned()));
        } else {
            row.answer(RowFate::Written);
            written += 1;
        }
    }
    assert_eq!(written, 1);
    host.until("it says so", |host| {
        host.said()
            .contains("not tried again: the row of apps/one.zip: its table")
    })
    .await;
    host.stops().await;
    assert!(rows.try_recv().is_err());
}
