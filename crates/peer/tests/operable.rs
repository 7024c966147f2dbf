//! The agent as those who look after it meet it: the service manager, a scraper, a probe, and somebody with a shell.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use peer::{Multiaddr, NodeIdentity};
use region::{Host, Region, Seeder, binary, data, directory};
use rustix::process::Signal;

/// The status line and the body of an answer.
fn get(socket: &Path, path: &str) -> (String, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
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

fn metric(metrics: &str, name: &str) -> f64 {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name}: {metrics}")).parse().unwrap()
}

/// What `peer status` prints and says, and its exit code.
fn status(flags: &[&str]) -> (String, String, Option<i32>) {
    let ended = Command::new(binary()).arg("status").args(flags).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(ended.stdout), text(ended.stderr), ended.status.code())
}

/// A service manager, of which nobody but the agent knows.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, path }
    }

    /// What it hears next that is none of `but`.
    fn hears(&self, but: &[&str]) -> String {
        loop {
            let mut buffer = [0; 512];
            let count = self.socket.recv(&mut buffer).unwrap();
            let told = String::from_utf8(buffer[..count].to_vec()).unwrap();
            if but.iter().all(|but| !told.starts_with(but)) {
                return told;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_manager_hears_when_the_directory_was_reached_and_that_the_loop_turns() {
    let region = Region::start().await;
    let manager = Manager::new(region.home.path());
    // A directory that is not there yet.
    let identity = NodeIdentity::random();
    let first = directory(&identity, "/ip4/127.0.0.1/tcp/0").await;
    let address = first.endpoint().addresses().remove(0).to_string();
    drop(first);
    let (builds, socket) = (region.builds(), region.home.path().join("http"));
    let http = format!("unix:{}", socket.display());
    let file = region.home.path().join("host.toml");
    std::fs::write(&file, "").unwrap();
    let arguments = [
        "--directory",
        &address,
        "--folder",
        builds.to_str().unwrap(),
        "--http",
        &http,
        "--config",
        file.to_str().unwrap(),
    ];
    let notify = manager.path.to_str().unwrap();
    let mut host = Host::in_environment(&arguments, &[("NOTIFY_SOCKET", notify), ("WATCHDOG_USEC", "300000")]);
    assert_eq!(manager.hears(&["STATUS="]), "WATCHDOG=1");
    host.until("told", |host| host.said().contains("the directory does not answer"))
        .await;
    let (line, why) = get(&socket, "/readyz");
    assert!(
        line.contains(" 503 ") && why.contains("does not answer"),
        "{line} {why}"
    );
    assert!(get(&socket, "/healthz").0.contains(" 200 "));
    let listen = address.rsplit_once("/p2p/").unwrap().0.to_owned();
    let second = directory(&identity, &listen).await;
    second.publish(Vec::new());
    assert_eq!(manager.hears(&["STATUS=", "WATCHDOG="]), "READY=1");
    let (line, why) = get(&socket, "/readyz");
    assert!(line.contains(" 200 "), "{line} {why}");
    assert_eq!(manager.hears(&["STATUS="]), "WATCHDOG=1", "it goes on turning");
    host.signal(Signal::HUP);
    assert!(
        manager
            .hears(&["STATUS=", "WATCHDOG="])
            .starts_with("RELOADING=1\nMONOTONIC_USEC=")
    );
    assert_eq!(manager.hears(&["STATUS=", "WATCHDOG="]), "READY=1");
    host.signal(Signal::TERM);
    assert_eq!(manager.hears(&["STATUS=", "WATCHDOG="]), "STOPPING=1");
    assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
    assert!(!socket.exists(), "its socket goes with it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_status_say_what_has_come_and_why_something_waits() {
    let region = Region::start().await;
    let seeder = Seeder::start("app.zip", "v1", &data(1, 300_000)).await;
    let nobody = peer::SeededBuild {
        key: "huge.zip".to_owned(),
        size: 1 << 60,
        ..seeder.listed()
    };
    region.directory.publish(vec![seeder.listed(), nobody]);
    let socket = region.home.path().join("http");
    let http = format!("unix:{}", socket.display());
    let mut host = region.host_logging_to("http://127.0.0.1:9", &["--http", &http, "--http", "127.0.0.1:0"]);
    host.prints(&["app.zip"]).await;
    let (_, metrics) = get(&socket, "/metrics");
    for (name, value) in [
        ("fleetcast_received_bytes_total{source=\"seeders\"}", 300_000.0),
        ("fleetcast_received_bytes_total{source=\"hosts\"}", 0.0),
        ("fleetcast_chunks_verified_total", 5.0),
        ("fleetcast_chunks_refused_total", 0.0),
        ("fleetcast_builds{state=\"in_place\"}", 1.0),
        ("fleetcast_builds{state=\"waiting\"}", 1.0),
        ("fleetcast_builds_installed_total", 1.0),
        ("fleetcast_rows_waiting", 1.0),
        ("fleetcast_store_bytes", 300_000.0),
        ("fleetcast_directory_up", 1.0),
    ] {
        assert!((metric(&metrics, name) - value).abs() < 0.5, "{name}: {metrics}");
    }
    assert!(metric(&metrics, "fleetcast_disk_free_bytes") > 0.0);
    assert!(get(&socket, "/nowhere").0.contains(" 404 "));
    let (text, said, code) = status(&["--http", &http]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let line = |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(
        line("app.zip").contains("in place") && line("app.zip").contains("5/5"),
        "{text}"
    );
    assert!(
        line("huge.zip").contains("waiting") && line("huge.zip").contains("free-min"),
        "{text}"
    );
    assert!(text.contains("1 rows wait") && text.contains(": answers"), "{text}");
    let (json, _, code) = status(&["--http", &http, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["store_bytes"]), (Some(0), &serde_json::json!(300_000)));
    host.stops().await;
    // By its configuration, when nobody answers there.
    let file = region.home.path().join("host.toml");
    std::fs::write(
        &file,
        format!(
            "http = {http:?}\ndirectory = \"{}\"\nfolder = \"f\"\n",
            region.address()
        ),
    )
    .unwrap();
    let (_, said, code) = status(&["--config", file.to_str().unwrap()]);
    assert_eq!(code, Some(4));
    assert!(
        said.contains(&http) && said.contains("is the agent running there?"),
        "{said}"
    );
    std::fs::write(&file, "").unwrap();
    let (_, said, code) = status(&["--config", file.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(said.contains("does not say where the agent answers"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_moved_is_counted_when_the_build_has_gone() {
    let region = Region::start().await;
    let first = Seeder::start("v1/app.zip", "1", &data(1, 300_000)).await;
    let second = Seeder::start("v2/app.zip", "1", &data(2, 200_000)).await;
    let socket = region.home.path().join("http");
    let http = format!("unix:{}", socket.display());
    let mut host = region.host(&["--keep", "0", "--http", &http]);
    region.publish(&[&first]);
    host.prints(&["v1/app.zip"]).await;
    region.publish(&[&second]);
    host.prints(&["v2/app.zip"]).await;
    host.until("the first has gone", |_| !region.file("v1/app.zip").exists())
        .await;
    let (_, metrics) = get(&socket, "/metrics");
    let received = metric(&metrics, "fleetcast_received_bytes_total{source=\"seeders\"}");
    let copied = metric(&metrics, "fleetcast_received_bytes_total{source=\"older_builds\"}");
    assert!((received + copied - 500_000.0).abs() < 0.5, "{metrics}");
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_what_can_change_and_says_what_cannot() {
    let region = Region::start().await;
    let slow = Seeder::slow("slow.zip", "v1", &data(1, 4_000_000), 500_000).await;
    region.publish(&[&slow]);
    let file = region.home.path().join("host.toml");
    let socket = region.home.path().join("http");
    let write = |more: &str| {
        let http = format!("http = \"unix:{}\"", socket.display());
        std::fs::write(&file, format!("{http}\n{more}")).unwrap();
    };
    write("keep = 5\nupload-rate = \"8 Mbit/s\"\n");
    let mut host = region.host(&["--config", file.to_str().unwrap()]);
    let sent = || slow.node.report().traffic.sent;
    host.until("begun", |_| sent() > 500_000).await;
    write("keep = 6\nupload-rate = \"9 Mbit/s, 00:00-24:00 16 Mbit/s\"\nregion = \"b\"\nconnections-max = 5\n");
    host.signal(Signal::HUP);
    host.until("told", |host| host.said().contains("was read again:")).await;
    let said = host.said();
    assert!(
        said.contains("upload-rate, keep has changed") || said.contains("keep, upload-rate has changed"),
        "{said}"
    );
    assert!(
        said.contains("connections-max has changed, which an agent that runs does not take up"),
        "{said}"
    );
    let (_, metrics) = get(&socket, "/metrics");
    let up = metric(&metrics, "fleetcast_limit_bytes_per_second{direction=\"up\"}");
    assert!((up - 2_000_000.0).abs() < 0.5, "{up}");
    // What is wrong changes nothing.
    write("keep = \"many\"\n");
    host.signal(Signal::HUP);
    host.until("told", |host| host.said().contains("the one before holds"))
        .await;
    assert!(
        host.said().contains("host.toml:2: keep = \"many\" — expected 0 to"),
        "{}",
        host.said()
    );
    host.prints(&["slow.zip"]).await;
    assert!(sent() < 4_300_000, "the transfer went on: {}", sent());
    host.stops().await;
}

/// The classes of traffic of the connections of a process, by the port that they lead to; none where the system does not let us look.
fn classes(process: u32) -> Option<Vec<(u16, u32)>> {
    use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
    let pid = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    let process_fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let mut classes = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{process}/fd")).ok()?.flatten() {
        let is_socket =
            std::fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("socket:"));
        if !is_socket {
            continue;
        }
        let number = entry.file_name().to_string_lossy().parse().unwrap();
        let socket = pidfd_getfd(&process_fd, number, PidfdGetfdFlags::empty());
        match socket {
            Ok(socket) => {
                let socket = socket2::SockRef::from(&socket);
                let port = socket.peer_addr().ok().and_then(|to| Some(to.as_socket_ipv4()?.port()));
                classes.extend(port.zip(socket.tos_v4().ok().map(|bits| bits >> 2)));
            }
            // It was closed meanwhile.
            Err(rustix::io::Errno::BADF) => {}
            Err(_) => return None,
        }
    }
    Some(classes)
}

/// The port of an address of a host on this machine.
fn port(address: &Multiaddr) -> u16 {
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    port.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_over_tcp_is_of_the_class_that_was_said() {
    let region = Region::start().await;
    let slow = Seeder::slow("slow.zip", "v1", &data(1, 2_000_000), 500_000).await;
    region.publish(&[&slow]);
    let mut host = region.host(&["--traffic-class", "cs1"]);
    host.until("begun", |_| slow.node.report().traffic.sent > 100_000).await;
    let Some(classes) = classes(host.id()) else {
        eprintln!("this system does not let a test look at the sockets of another process");
        return;
    };
    for (whose, address) in [("seeder", slow.node.address()), ("directory", region.address())] {
        let to = port(&address);
        let of_its = classes.iter().filter(|(port, _)| *port == to).map(|(_, class)| *class);
        let of_its: Vec<u32> = of_its.collect();
        assert!(
            !of_its.is_empty(),
            "no connection leads to the {whose} at {address}: {classes:?}"
        );
        assert!(of_its.iter().all(|class| *class == 8), "{whose}: {of_its:?}");
    }
    host.stops().await;
}
