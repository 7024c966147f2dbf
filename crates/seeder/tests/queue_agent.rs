//! The `seeder` binary of a queue: it takes no more than it can seed, stops when it is told to, and survives what kills it.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "rig/mod.rs"]
mod rig;
#[path = "../../lambdas/tests/rig/mod.rs"]
mod stack;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use cloud::{Cloud, CloudConfig, Credentials};
use pipeline::{PipelineClients as _, Queue};
use rig::limit::Limit;
use rig::{Front, Seeder, data};
use stack::eventually;

const BUCKET: &str = "region-a-builds";
const SOON: Duration = Duration::from_secs(30);

struct Region {
    /// Dropped first: while the logs are there.
    _limit: Limit,
    cloud: Cloud,
    queue: Queue,
    front: Front,
    folder: tempfile::TempDir,
    process: Child,
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Region {
    async fn start() -> Self {
        Self::giving_up_after(None).await
    }

    /// One whose queue makes a dead letter of what was received so often.
    async fn giving_up_after(receives_max: Option<u32>) -> Self {
        let (endpoint, process, folder) = stack::start_bare().await;
        let config = CloudConfig {
            credentials: Some(Credentials {
                access_key_id: "fleetcast".to_owned(),
                secret_access_key: "embedded".to_owned(),
                session_token: None,
            }),
            ..CloudConfig::at(&endpoint)
        };
        make_queue(&endpoint, "dead", None).await;
        let redrive = receives_max.map(|max| {
            format!(
                r#"{{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": "{max}"}}"#
            )
        });
        make_queue(&endpoint, "builds", redrive.as_deref()).await;
        let cloud = Cloud::connect(&config).await;
        cloud.buckets().create_if_missing(BUCKET).await.unwrap();
        Self {
            queue: cloud.queues().named("builds").await.unwrap(),
            front: Front::start(endpoint.trim_start_matches("http://").to_owned()).await,
            cloud,
            _limit: Limit::start(Some(folder.path())),
            folder,
            process,
        }
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.cloud.buckets().put_bytes(BUCKET, key, bytes.into()).await.unwrap();
    }

    async fn tell(&self, key: &str) {
        let message = format!(r#"{{"bucket": "{BUCKET}", "key": "{key}"}}"#);
        self.queue.send(&message).await.unwrap();
    }

    fn seeder(&self, more: &[&str]) -> Seeder {
        self.seeder_in(more, &[])
    }

    /// With these variables in its environment.
    fn seeder_in(&self, more: &[&str], variables: &[(&str, &str)]) -> Seeder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seeder"));
        command
            .args(["--queue", "builds"])
            .args(more)
            .envs(variables.iter().copied());
        let spool = self.folder.path().join("spool");
        Seeder::start(&mut command, &self.front.endpoint, &spool, self.folder.path())
    }
}

async fn make_queue(endpoint: &str, name: &str, redrive: Option<&str>) {
    let shared = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region("us-east-1")
        .endpoint_url(endpoint)
        .credentials_provider(aws_sdk_sqs::config::Credentials::new(
            "fleetcast",
            "embedded",
            None,
            None,
            "test",
        ))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .load()
        .await;
    let mut request = aws_sdk_sqs::Client::new(&shared).create_queue().queue_name(name);
    if let Some(redrive) = redrive {
        request = request.attributes(aws_sdk_sqs::types::QueueAttributeName::RedrivePolicy, redrive);
    }
    request.send().await.unwrap();
}

/// The keys that it says it seeds, as many as are wanted.
fn seeded(seeder: &Seeder, wanted: usize) -> BTreeSet<String> {
    let (began, mut keys) = (Instant::now(), BTreeSet::new());
    while keys.len() < wanted {
        let line = seeder.line(SOON.saturating_sub(began.elapsed()));
        let line = line.unwrap_or_else(|| panic!("{keys:?} of {wanted}: {}", seeder.log()));
        if let Some((key, _)) = line.split_once(' ') {
            keys.insert(key.to_owned());
        }
    }
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_place_stays_the_queue_s_and_a_stop_gives_it_back() {
    let region = Region::start().await;
    for n in 0..8 {
        let key = format!("build-{n}.zip");
        region.put(&key, data(100_000, n)).await;
        region.tell(&key).await;
    }
    // Nobody else would see the messages for an hour if they were not given back.
    let mut seeder = region.seeder(&["--builds-max", "2", "--visible-after", "3600"]);
    assert_eq!(seeded(&seeder, 2).len(), 2);
    assert_eq!(
        seeder.line(Duration::from_secs(3)),
        None,
        "no host has come for the first two"
    );
    let (waiting, taken) = region.queue.depth().await.unwrap();
    assert_eq!(waiting + taken, 6);
    seeder.signal("TERM");
    assert_eq!(seeder.exit(Duration::from_secs(2)), Some(0), "{}", seeder.log());
    eventually("all six are told of again", || async {
        (region.queue.depth().await.unwrap() == (6, 0)).then_some(())
    })
    .await;
    // Started again with more places it seeds all, and pulls nothing that was here.
    let gets = region.front.gets_of_all();
    let seeder = region.seeder(&["--builds-max", "8"]);
    assert_eq!(seeded(&seeder, 8).len(), 8);
    assert!(region.front.gets_of_all() <= 8.max(gets), "{gets}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_a_pull_is_planned_and_takes_no_time() {
    let region = Region::start().await;
    region.put("large.zip", data(64 << 20, 1)).await;
    region.front.limit(200_000);
    region.tell("large.zip").await;
    for signal in ["INT", "TERM"] {
        let gets = region.front.gets("large.zip");
        let mut seeder = region.seeder(&[]);
        eventually("it is pulled", || async {
            (region.front.gets("large.zip") > gets).then_some(())
        })
        .await;
        let began = Instant::now();
        seeder.signal(signal);
        assert_eq!(seeder.exit(Duration::from_secs(5)), Some(0), "{}", seeder.log());
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    eventually("the message is there", || async {
        (region.queue.depth().await.unwrap() == (1, 0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_can_never_fit_is_told_once_costs_nothing_and_holds_up_nobody() {
    let region = Region::start().await;
    region.put("never.zip", data(3_000_000, 1)).await;
    region.put("small.zip", data(1000, 2)).await;
    region.tell("never.zip").await;
    region.tell("never.zip").await;
    region.tell("small.zip").await;
    let seeder = region.seeder(&["--spool-max", "1000000"]);
    assert!(seeded(&seeder, 1).contains("small.zip"));
    eventually("it is told", || async {
        seeder
            .log()
            .contains("never.zip of bucket region-a-builds does not fit")
            .then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let log = seeder.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("never.zip")).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].contains("needs 3000000 bytes") && told[0].contains("WARN"),
        "{told:#?}"
    );
    assert_eq!(region.front.gets("never.zip"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_who_is_trusted_has_signed_ends_in_the_dead_letter_queue_and_holds_up_nobody() {
    let region = Region::giving_up_after(Some(2)).await;
    let key = signing::SecretKey::from_bytes(&[1; 32]);
    let trust = region.folder.path().join("trusted");
    std::fs::write(&trust, format!("{}\n", key.public())).unwrap();
    region.put("forged.zip", data(300_000, 1)).await;
    let build = data(300_000, 2);
    let terms = signing::Terms {
        sequence: 1,
        signed: signing::Moment::now(),
        expires: None,
    };
    let signature = key.sign(&swarm::Manifest::of("signed.zip", &build, 64 << 10).unwrap(), terms);
    let buckets = region.cloud.buckets().signed(signature.to_string());
    buckets.put_bytes(BUCKET, "signed.zip", build.into()).await.unwrap();
    region.tell("forged.zip").await;
    region.tell("signed.zip").await;
    let seeder = region.seeder(&["--trust", trust.to_str().unwrap()]);
    assert!(seeded(&seeder, 1).contains("signed.zip"));
    let dead = region.cloud.queues().named("dead").await.unwrap();
    eventually("its message is a dead letter", || async {
        (dead.depth().await.unwrap().0 == 1).then_some(())
    })
    .await;
    let log = seeder.log();
    assert!(log.contains("forged.zip") && log.contains("it is not signed"), "{log}");
    assert_eq!(region.front.gets("forged.zip"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_of_the_cloud_away_a_seeder_that_is_started_again_seeds_what_it_has() {
    let region = Region::start().await;
    for n in 0..5 {
        let key = format!("build-{n}.zip");
        region.put(&key, data(3_000_000, n)).await;
        region.tell(&key).await;
    }
    // What the last request of one that was killed has taken comes back soon.
    let seeder = region.seeder(&["--visible-after", "2"]);
    let keys = seeded(&seeder, 5);
    eventually("the queue is empty", || async {
        (region.queue.depth().await.unwrap() == (0, 0)).then_some(())
    })
    .await;
    seeder.kill();
    region.front.go_away(true);
    let began = Instant::now();
    let seeder = region.seeder(&[]);
    assert_eq!(seeded(&seeder, 5), keys);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // When it is back the queue is listened to.
    region.front.go_away(false);
    region.put("after.zip", data(1000, 7)).await;
    region.tell("after.zip").await;
    assert!(seeded(&seeder, 1).contains("after.zip"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_is_killed_again_and_again_seeds_every_build_and_pulls_none_anew() {
    const BUILDS: usize = 12;
    let region = Region::start().await;
    for n in 0..BUILDS {
        let key = format!("build-{n}.zip");
        region.put(&key, data(200_000 << (n % 6), n as u64 * 1_000_003)).await;
        region.tell(&key).await;
    }
    region.front.limit(8 << 20);
    let more = ["--visible-after", "2"];
    let mut kills = 0;
    for lives_ms in [150, 400, 250, 900, 600] {
        let seeder = region.seeder(&more);
        tokio::time::sleep(Duration::from_millis(lives_ms)).await;
        seeder.kill();
        kills += 1;
    }
    let seeder = region.seeder(&more);
    assert_eq!(seeded(&seeder, BUILDS).len(), BUILDS);
    for n in 0..BUILDS {
        // All come with one GET, which is made again only if it was under way when the process was killed.
        let gets = region.front.gets(&format!("build-{n}.zip"));
        assert!(gets <= 1 + kills, "{gets} GETs of build {n}");
    }
    let gets = region.front.gets_of_all();
    drop(seeder);
    assert_eq!(seeded(&region.seeder(&more), BUILDS).len(), BUILDS);
    assert_eq!(region.front.gets_of_all(), gets, "all of it was here");
}

/// The status line and the body of an answer.
fn get(socket: &Path, path: &str) -> (String, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn metric(socket: &Path, name: &str) -> f64 {
    let (_, metrics) = get(socket, "/metrics");
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name}: {metrics}")).parse().unwrap()
}

/// A service manager, of which nobody but the seeder knows. It reads all the time: what finds no room is not sent again.
struct Manager(Receiver<String>);

impl Manager {
    fn new(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        let (told, heard) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok(count) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                if told.send(text).is_err() {
                    return;
                }
            }
        });
        Self(heard)
    }

    /// What it hears next that is none of `but`.
    fn hears(&self, but: &[&str]) -> String {
        loop {
            let told = self
                .0
                .recv_timeout(SOON)
                .expect("the service manager is told something");
            if but.iter().all(|but| !told.starts_with(but)) {
                return told;
            }
        }
    }
}

/// What `seeder status` prints and says, and its exit code.
fn status(flags: &[&str]) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seeder"));
    let ended = command.arg("status").args(flags).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(ended.stdout), text(ended.stderr), ended.status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_look_after_it_hear_how_it_is() {
    let region = Region::start().await;
    region.put("app.zip", data(300_000, 1)).await;
    region.tell("app.zip").await;
    let (notify, socket) = (region.folder.path().join("notify"), region.folder.path().join("http"));
    let manager = Manager::new(&notify);
    let http = format!("unix:{}", socket.display());
    let seeder = region.seeder_in(
        &["--http", &http, "--http", "127.0.0.1:0"],
        &[("NOTIFY_SOCKET", notify.to_str().unwrap()), ("WATCHDOG_USEC", "300000")],
    );
    assert_eq!(manager.hears(&["WATCHDOG="]), "READY=1");
    assert_eq!(manager.hears(&[]), "WATCHDOG=1", "its loop turns");
    assert_eq!(seeded(&seeder, 1).len(), 1);
    assert!(get(&socket, "/healthz").0.contains(" 200 "));
    assert!(get(&socket, "/readyz").0.contains(" 200 "));
    assert!(get(&socket, "/nowhere").0.contains(" 404 "));
    for (name, value) in [
        ("fleetcast_received_bytes_total{source=\"s3\"}", 300_000.0),
        ("fleetcast_builds{state=\"seeding\"}", 1.0),
        ("fleetcast_builds{state=\"waiting\"}", 0.0),
        ("fleetcast_builds_seeded_total", 1.0),
        ("fleetcast_queue_up", 1.0),
        ("fleetcast_directory_up", 1.0),
        ("fleetcast_store_bytes", 300_000.0),
        ("fleetcast_followers", 0.0),
    ] {
        let said = metric(&socket, name);
        assert!((said - value).abs() < 0.5, "{name}: {said}");
    }
    let (text, said, code) = status(&["--http", &http]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(text.contains("queue builds: answers"), "{text}");
    let line = text.lines().find(|line| line.starts_with("app.zip")).unwrap();
    assert!(line.contains("seeding") && line.contains("292.9 KiB"), "{text}");
    // Nobody hears from its queue any more, and it seeds what it has.
    region.front.go_away(true);
    eventually("the queue is said to be silent", || async {
        (metric(&socket, "fleetcast_queue_up") < 0.5).then_some(())
    })
    .await;
    let (line, why) = get(&socket, "/readyz");
    assert!(
        line.contains(" 200 ") && why.contains("does not answer"),
        "{line} {why}"
    );
    let mut seeder = seeder;
    seeder.signal("TERM");
    assert_eq!(manager.hears(&["WATCHDOG=", "STATUS="]), "STOPPING=1");
    assert_eq!(seeder.exit(Duration::from_secs(3)), Some(0), "{}", seeder.log());
    let (_, said, code) = status(&["--http", &http]);
    assert_eq!(code, Some(4));
    assert!(said.contains("is the agent running there?"), "{said}");
    let (_, said, code) = status(&["--config", "/dev/null"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("does not say where the agent answers"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_can_change_and_drops_nothing() {
    let region = Region::start().await;
    for n in 0..3 {
        let key = format!("build-{n}.zip");
        region.put(&key, data(100_000, n)).await;
        region.tell(&key).await;
    }
    let (file, socket) = (
        region.folder.path().join("seeder.toml"),
        region.folder.path().join("http"),
    );
    let write = |more: &str| {
        let text = format!("http = \"unix:{}\"\n{more}", socket.display());
        std::fs::write(&file, text).unwrap();
    };
    write("builds-max = 1\nupload-rate = \"8 Mbit/s\"\n");
    let seeder = region.seeder(&["--config", file.to_str().unwrap()]);
    assert_eq!(seeded(&seeder, 1).len(), 1);
    let limit = "fleetcast_limit_bytes_per_second{direction=\"up\"}";
    assert!((metric(&socket, limit) - 1_000_000.0).abs() < 0.5);
    write("builds-max = 3\nupload-rate = \"9 Mbit/s, 00:00-24:00 16 Mbit/s\"\nhosts-max = 5\n");
    seeder.signal("HUP");
    assert_eq!(seeded(&seeder, 2).len(), 2, "there are places for all now");
    assert!((metric(&socket, limit) - 2_000_000.0).abs() < 0.5);
    let log = seeder.log();
    assert!(
        log.contains("was read again: upload-rate, builds-max has changed"),
        "{log}"
    );
    assert!(
        log.contains("hosts-max has changed, which a seeder that runs does not take up"),
        "{log}"
    );
    write("builds-max = \"many\"\n");
    seeder.signal("HUP");
    eventually("it is said to be wrong", || async {
        seeder.log().contains("the one before holds").then_some(())
    })
    .await;
    assert!(
        seeder
            .log()
            .contains("seeder.toml:2: builds-max = \"many\" — expected 1 to 64"),
        "{}",
        seeder.log()
    );
    assert!((metric(&socket, "fleetcast_builds{state=\"seeding\"}") - 3.0).abs() < 0.5);
}
