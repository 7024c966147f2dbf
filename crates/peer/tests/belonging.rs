//! The `peer` binary in a closed swarm: key, certificate, keys that certify; and what it says where one of them is wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;
mod stranger;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use peer::{DirectoryServer, EndpointConfig, Members, NodeIdentity, PeerId, TransportKind};
use region::limit::Limit;
use region::{Host, Seeder, Seeding, data};
use signing::{Member, MemberTerms, Moment, SecretKey, TrustedKeys};
use stranger::come_silently;
use swarm::SwarmId;
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32])
}

fn certificate(key: &SecretKey, peer: PeerId, from: Moment) -> signing::Certificate {
    let terms = MemberTerms {
        peer: peer.to_base58(),
        host: "host-1".to_owned(),
        zone: Some("zone-b".to_owned()),
        groups: vec!["web".to_owned()],
        addresses: Vec::new(),
        not_before: from,
        not_after: from.plus(HOUR),
    };
    key.certify(Member::new(terms).unwrap())
}

/// Those whom the first key certifies, as a seeder with this identity lets them in.
fn members(identity: &NodeIdentity) -> Arc<Members> {
    let keys = TrustedKeys::of([key(1).public()]);
    let shown = certificate(&key(1), identity.peer_id(), Moment::now());
    Arc::new(Members::of(identity.peer_id(), keys, shown).unwrap())
}

/// A folder of a host, with its key and what it needs to be a member.
struct Home {
    folder: TempDir,
    peer: PeerId,
    _limit: Limit,
}

impl Home {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("peer.key");
        let mut host = Host::start(&["--identity", key_file.to_str().unwrap(), "--print-id"]);
        assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
        let peer = host.lines()[0].parse().unwrap();
        let home = Self {
            folder,
            peer,
            _limit: Limit::start(None),
        };
        home.write("members", &format!("{}\n", key(1).public()));
        home.certified_by(&key(1), Moment::now());
        home
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.at(name), text).unwrap();
    }

    fn certified_by(&self, key: &SecretKey, from: Moment) {
        self.write("certificate", &format!("{}\n", certificate(key, self.peer, from)));
    }

    fn arguments(&self) -> Vec<String> {
        let files = [
            ("--identity", "peer.key"),
            ("--members", "members"),
            ("--certificate", "certificate"),
        ];
        let arguments = files.iter().flat_map(|(option, file)| {
            let file = self.at(file).to_str().unwrap().to_owned();
            [(*option).to_owned(), file]
        });
        arguments.collect()
    }

    fn single(&self, seeder: &Seeder, more: &[&str]) -> Host {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        Host::single(&[seeder], &self.at("app.zip"), &arguments)
    }
}

async fn closed_seeder(transport: TransportKind, build: &[u8]) -> Seeder {
    let identity = NodeIdentity::random();
    let seeding = Seeding {
        transport: Some(transport),
        swarm: Some(SwarmId::ONLY),
        members: Some(members(&identity)),
        identity: Some(identity),
        ..Seeding::default()
    };
    Seeder::with("app.zip", "only", build, seeding).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certified_host_fetches_from_a_closed_seeder_and_one_without_a_certificate_does_not() {
    for transport in [TransportKind::Tcp, TransportKind::Quic] {
        let home = Home::new().await;
        let build = data(1, 700_001);
        let seeder = closed_seeder(transport, &build).await;
        let mut host = home.single(&seeder, &[]);
        assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
        assert!(std::fs::read(home.at("app.zip")).unwrap() == build);
        assert!(!host.said().contains("this swarm is open"), "{}", host.said());
        let other = home.at("other.zip");
        let mut stranger = Host::single(&[&seeder], &other, &["--timeout", "4"]);
        assert_eq!(stranger.ends().await.0, Some(3), "{}", stranger.said());
        let said = stranger.said();
        assert!(said.contains("this swarm is open"), "{said}");
        assert!(said.contains("0 of 0 chunks"), "{said}");
        assert!(!said.contains("app.zip") && !other.exists(), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_a_host_is_no_member_is_said_at_its_start() {
    let home = Home::new().await;
    let seeder = closed_seeder(TransportKind::Tcp, &data(1, 1000)).await;
    let refused = async |why: &str| {
        let mut host = home.single(&seeder, &[]);
        assert_eq!(host.ends().await.0, Some(2), "{}", host.said());
        assert!(host.said().contains(why), "{} and not {why}", host.said());
    };
    home.certified_by(&key(2), Moment::now());
    refused("whose word on members is not taken here").await;
    let ago = Moment::from_millis(Moment::now().as_millis() - 10 * 3_600_000).unwrap();
    home.certified_by(&key(1), ago);
    refused("9 h ago by this machine's clock").await;
    home.certified_by(&key(1), Moment::now().plus(HOUR));
    refused("from now by this machine's clock").await;
    let another = NodeIdentity::random().peer_id();
    home.write("certificate", &certificate(&key(1), another, Moment::now()).to_string());
    refused("is of another peer").await;
    home.write("certificate", "nonsense");
    refused("certificate:1: it does not begin with").await;
    home.certified_by(&key(1), Moment::now());
    home.write("members", "# nobody\n");
    refused("has no key in it").await;
    home.write("members", &format!("{}\n", key(1).public()));
    // What is certified is what it is called, and where it is.
    let mut host = home.single(&seeder, &["--zone", "zone-a"]);
    assert_eq!(host.ends().await.0, Some(2));
    assert!(host.said().contains("the certificate says zone-b"), "{}", host.said());
    let mut host = home.single(&seeder, &["--host-id", "somebody"]);
    assert_eq!(host.ends().await.0, Some(2));
    assert!(host.said().contains("the certificate says host-1"), "{}", host.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_let_in_is_told_why() {
    let home = Home::new().await;
    let seeder = closed_seeder(TransportKind::Tcp, &data(1, 1000)).await;
    home.write("members", &format!("{}\n{}\n", key(1).public(), key(2).public()));
    home.certified_by(&key(2), Moment::now());
    let mut host = home.single(&seeder, &["--timeout", "4"]);
    assert_eq!(host.ends().await.0, Some(3), "{}", host.said());
    let why = "not let in there: its certificate is of a key that is not in the file of --members there";
    assert!(host.said().contains(why), "{}", host.said());
    // A seeder of an open swarm, and one of another group.
    home.certified_by(&key(1), Moment::now());
    let open = Seeding {
        swarm: Some(SwarmId::ONLY),
        ..Seeding::default()
    };
    let open = Seeder::with("app.zip", "only", &data(1, 1000), open).await;
    let mut host = home.single(&open, &["--timeout", "4"]);
    assert_eq!(host.ends().await.0, Some(3), "{}", host.said());
    assert!(host.said().contains("--members"), "{}", host.said());
    let mut host = home.single(&seeder, &["--timeout", "4", "--group", "batch"]);
    assert_eq!(host.ends().await.0, Some(2), "{}", host.said());
    assert!(
        host.said().contains("is of none of the groups batch"),
        "{}",
        host.said()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_directory_answers_members_and_nobody_else() {
    for transport in [TransportKind::Tcp, TransportKind::Quic] {
        let home = Home::new().await;
        let identity = NodeIdentity::random();
        let directory = DirectoryServer::start(EndpointConfig {
            members: Some(members(&identity)),
            ..EndpointConfig::on_loopback(identity, transport.clone())
        });
        let directory = directory.await.unwrap();
        let build = data(1, 300_000);
        let of_build = NodeIdentity::random();
        let seeding = Seeding {
            transport: Some(transport),
            members: Some(members(&of_build)),
            identity: Some(of_build),
            ..Seeding::default()
        };
        let seeder = Seeder::with("apps/one.zip", "1", &build, seeding).await;
        let address = directory.endpoint().addresses().remove(0).to_string();
        let builds = home.at("builds");
        let start = |more: &[String]| {
            let mut arguments = vec!["--directory", &address, "--folder", builds.to_str().unwrap()];
            arguments.extend(more.iter().map(String::as_str));
            Host::start(&arguments)
        };
        directory.publish(vec![seeder.listed()]);
        let mut stranger = start(&[]);
        stranger
            .until("it hears nothing", |host| host.said().contains("does not answer"))
            .await;
        assert!(stranger.lines().is_empty() && !stranger.said().contains("one.zip"));
        assert_eq!(directory.followers(), 0);
        stranger.stops().await;
        let mut host = start(&home.arguments());
        host.prints(&["apps/one.zip"]).await;
        assert!(std::fs::read(builds.join("apps/one.zip")).unwrap() == build);
        assert_eq!(directory.followers(), 1);
        host.stops().await;
        // Its key is never among what is fetched.
        let within = builds.join("peer.key");
        let mut host = start(&["--identity".to_owned(), within.to_str().unwrap().to_owned()]);
        assert_eq!(host.ends().await.0, Some(2));
        assert!(host.said().contains("is in the folder of builds"), "{}", host.said());
    }
}

/// A stranger is a connection, and no more than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_costs_a_host_no_more_than_64_kib() {
    const STRANGERS: usize = 200;
    let home = Home::new().await;
    let seeder = closed_seeder(TransportKind::Tcp, &data(1, 300_000)).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let host = home.single(&seeder, &["--listen", &listen, "--linger", "600"]);
    host.until("it is in place", |host| host.said().contains("in place"))
        .await;
    let address = format!("{listen}/p2p/{}", home.peer).parse().unwrap();
    let before = memory(&host);
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        strangers.push(come_silently(&address).await);
    }
    let after = memory(&host);
    let each = after.saturating_sub(before) / STRANGERS as u64;
    println!("{each} KiB a stranger that is through with its handshake");
    assert!(each <= 64, "{each} KiB for each of {STRANGERS}");
}

/// Memory of a process of its own, in KiB.
fn memory(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Whoever raises no limit is told how many connections there may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_fits_its_connections_to_its_files_and_says_so() {
    let home = Home::new().await;
    let seeder = closed_seeder(TransportKind::Tcp, &data(1, 1000)).await;
    let mut host = Host::limited(256, &[&seeder], &home.at("app.zip"), &home.arguments());
    assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
    let told = "the limit of 256 open files leaves room for 32 connections of others";
    assert!(host.said().contains(told), "{}", host.said());
    let mut host = home.single(&seeder, &[]);
    assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
    assert!(!host.said().contains("open files"), "{}", host.said());
}
