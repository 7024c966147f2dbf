//! The binaries of seeder and host in a closed region: the host has no credentials, and its row is in the table all the same, once, in
//! the name of its certificate.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "rig/mod.rs"]
mod rig;
#[path = "../../lambdas/tests/rig/mod.rs"]
mod stack;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cloud::{Cloud, CloudConfig, Credentials, DeploymentLog, DeploymentStatus};
use pipeline::PipelineClients as _;
use rig::limit::Limit;
use rig::{Seeder, data};
use signing::{Member, MemberTerms, Moment, SecretKey};
use stack::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const BUCKET: &str = "region-a-builds";
const SOON: Duration = Duration::from_secs(60);

fn key() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

/// What a machine needs to be a member.
fn member(folder: &Path, program: &str, name: &str) -> Vec<String> {
    let at = |file: &str| folder.join(format!("{name}.{file}")).to_str().unwrap().to_owned();
    let printed = Command::new(program)
        .args(["--identity", &at("key"), "--print-id"])
        .output()
        .unwrap();
    let now = Moment::now();
    let terms = MemberTerms {
        peer: String::from_utf8(printed.stdout).unwrap().trim().to_owned(),
        host: name.to_owned(),
        zone: Some("zone-1".to_owned()),
        groups: Vec::new(),
        addresses: Vec::new(),
        not_before: now,
        not_after: now.plus(Duration::from_secs(3600)),
    };
    let certificate = key().certify(Member::new(terms).unwrap());
    std::fs::write(at("certificate"), format!("{certificate}\n")).unwrap();
    std::fs::write(at("members"), format!("{}\n", key().public())).unwrap();
    ["identity", "members", "certificate"]
        .into_iter()
        .zip(["key", "members", "certificate"])
        .flat_map(|(flag, file)| [format!("--{flag}"), at(file)])
        .collect()
}

/// A process that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same services, as far away as another continent.
async fn far_away(endpoint: &str) -> String {
    let there = endpoint.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let there = there.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(there).await.unwrap();
                let ((mut asks, mut hears), (mut answers, mut takes)) = (near.split(), far.split());
                let back = async {
                    let mut bytes = vec![0; 64 << 10];
                    while let Ok(length @ 1..) = answers.read(&mut bytes).await {
                        tokio::time::sleep(Duration::from_millis(400)).await;
                        if hears.write_all(&bytes[..length]).await.is_err() {
                            break;
                        }
                    }
                };
                futures::join!(back, async {
                    // Whoever has gone asks nothing more.
                    let _ = tokio::io::copy(&mut asks, &mut takes).await;
                    let _ = takes.shutdown().await;
                });
            });
        }
    });
    format!("http://{address}")
}

/// The one row of the build, as soon as it is there.
async fn row(cloud: &Cloud) -> DeploymentLog {
    eventually("the row is in the table", || async {
        let rows = cloud.deployment_logs().rows("apps/one.zip").await.unwrap();
        assert!(rows.len() <= 1, "{rows:#?}");
        rows.into_iter().next()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_credentials_has_its_row_written_once_whichever_seeder_runs() {
    let (endpoint, process, folder) = stack::start_bare().await;
    let _stack = Ends(process);
    let _limit = Limit::start(Some(folder.path()));
    let config = CloudConfig {
        credentials: Some(Credentials {
            access_key_id: "fleetcast".to_owned(),
            secret_access_key: "embedded".to_owned(),
            session_token: None,
        }),
        ..CloudConfig::at(&endpoint)
    };
    let cloud = Cloud::connect(&config.clone().in_stage("prod")).await;
    // No table yet: what a seeder is told then waits at its host.
    let shared = cloud.shared().clone().into_builder().endpoint_url(&endpoint).build();
    let queues = aws_sdk_sqs::Client::new(&shared);
    let queue = "region-a-builds-events-prod";
    queues.create_queue().queue_name(queue).send().await.unwrap();
    let plain = Cloud::connect(&config).await;
    plain.buckets().create_if_missing(BUCKET).await.unwrap();
    plain
        .buckets()
        .put_bytes(BUCKET, "apps/one.zip", data(300_000, 1).into())
        .await
        .unwrap();
    let message = format!(r#"{{"bucket": "{BUCKET}", "key": "apps/one.zip"}}"#);
    plain.queues().named(queue).await.unwrap().send(&message).await.unwrap();

    let of_seeder = member(folder.path(), env!("CARGO_BIN_EXE_seeder"), "seeder-1");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let far = far_away(&endpoint).await;
    let seeder = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seeder"));
        command
            .args(["--queue", queue, "--log", "--stage", "prod"])
            .args(&of_seeder);
        Seeder::start_at(&mut command, &listen, &far, &folder.path().join("spool"), folder.path())
    };
    let first = seeder();
    let directory = first.line(SOON).unwrap();
    let peer = Path::new(env!("CARGO_BIN_EXE_seeder")).with_file_name("peer");
    let log = folder.path().join("host.log");
    let host = Command::new(&peer)
        .args([
            "--directory",
            &directory,
            "--log",
            "--region",
            "region-of-its-own",
            "--folder",
        ])
        .arg(folder.path().join("builds"))
        .args(member(folder.path(), peer.to_str().unwrap(), "web-1"))
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn();
    let _host = Ends(host.unwrap());
    eventually("the host says that there is no such table", || async {
        let said = std::fs::read_to_string(&log).unwrap();
        said.contains("not logged yet: the row of apps/one.zip").then_some(())
    })
    .await;
    // The seeder dies, and the next one finds a table.
    first.kill();
    cloud.deployment_logs().create_if_missing().await.unwrap();
    let mut second = seeder();
    let row = row(&cloud).await;
    // It is asked to end as soon as the row is there, before it is told that it is.
    second.signal("TERM");
    assert_eq!(second.exit(Duration::from_secs(2)), Some(0), "{}", second.log());
    assert_eq!(
        (&*row.host_id, &*row.zone, &*row.region),
        ("web-1", "zone-1", "region-a")
    );
    assert_eq!(
        (row.status, row.chunks_held),
        (DeploymentStatus::Succeeded, row.chunks_total)
    );
    let counts = cloud.deployment_logs().counts("apps/one.zip").await.unwrap();
    let succeeded: u64 = counts.regions.iter().map(|region| region.succeeded).sum();
    assert!(counts.is_certain() && succeeded == 1, "{counts:?}");
}
