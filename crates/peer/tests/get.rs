//! `peer get`: one build by its key, for somebody with a shell, with an agent on the machine and without one.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use region::{Host, Region, Seeder, data};
use rustix::process::Signal;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A configuration of an agent of the region, which answers at a socket.
fn configuration(region: &Region, more: &str) -> PathBuf {
    let file = region.home.path().join("host.toml");
    let (address, builds) = (region.address(), region.builds());
    let socket = region.home.path().join("http");
    let said = format!(
        "directory = \"{address}\"\nfolder = {builds:?}\nhttp = \"unix:{}\"\n{more}",
        socket.display()
    );
    std::fs::write(&file, said).unwrap();
    file
}

fn agent(file: &Path) -> Host {
    Host::start(&["--config", text(file)])
}

fn get(key: &str, more: &[&str]) -> Host {
    let arguments: Vec<&str> = ["get", key].into_iter().chain(more.iter().copied()).collect();
    Host::start(&arguments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_is_got_by_its_key_where_no_agent_runs() {
    let region = Region::start().await;
    let build = data(1, 300_000);
    let app = Seeder::start("v1/app.zip", "1", &build).await;
    let other = Seeder::start("other.zip", "1", &data(2, 200_000)).await;
    region.publish(&[&app, &other]);
    let file = configuration(&region, "linger = 5\nlog = true\nkeep = 1\n");
    let flags = ["--config", text(&file)];
    let mut first = get("v1/app.zip", &flags);
    assert_eq!(first.ends().await.0, Some(0), "{}", first.said());
    let place = region.file("v1/app.zip");
    assert_eq!(first.lines(), [format!("v1/app.zip {}", place.display())]);
    assert_eq!(std::fs::read(&place).unwrap(), build);
    assert!(!region.file("other.zip").exists(), "only what was asked for");
    let mut again = get("v1/app.zip", &flags);
    assert_eq!(again.ends().await.0, Some(0), "{}", again.said());
    assert!(
        again.said().contains("in place already, 292.9 KiB verified"),
        "{}",
        again.said()
    );
    // Elsewhere, without a folder, for a program.
    let (address, out) = (region.address().to_string(), region.home.path().join("elsewhere"));
    let flags = [
        "--directory",
        &address,
        "--out",
        text(&out),
        "--format",
        "json",
        "--config",
        "/dev/null",
    ];
    let mut json = get("v1/app.zip", &flags);
    assert_eq!(json.ends().await.0, Some(0), "{}", json.said());
    let got: serde_json::Value = serde_json::from_str(&json.lines()[0]).unwrap();
    assert_eq!(
        (&got["build"], &got["from"], &got["from_seeders_bytes"]),
        (&"v1/app.zip".into(), &"swarm".into(), &300_000.into())
    );
    assert_eq!(std::fs::read(&out).unwrap(), build);
    assert!(region.rows("v1/app.zip").await.is_empty(), "rows are the agent's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_with_what_is_right() {
    let region = Region::start().await;
    let app = Seeder::start("v1/app.zip", "1", &data(1, 1000)).await;
    region.publish(&[&app]);
    let file = configuration(&region, "");
    for (key, more, code, expected) in [
        (
            "v1/ap.zip",
            [].as_slice(),
            2,
            "v1/ap.zip: there is no such build — did you mean v1/app.zip?",
        ),
        ("../app.zip", &[], 2, "../app.zip leads out of"),
        ("v1/app.zip", &["--keep", "3"], 2, "--keep: keep means nothing to get"),
        ("v1/app.zip", &["--free-min", "4611686018427387904"], 4, "are free in"),
    ] {
        let flags: Vec<&str> = ["--config", text(&file)]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let mut asked = get(key, &flags);
        assert_eq!(asked.ends().await.0, Some(code), "{key} {more:?}: {}", asked.said());
        assert!(asked.said().contains(expected), "{}", asked.said());
        assert!(asked.lines().is_empty());
    }
    let nowhere = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let out = region.home.path().join("out");
    let flags = ["--directory", nowhere, "--timeout", "1", "--config", "/dev/null"];
    let mut asked = get("app.zip", &flags);
    assert_eq!(asked.ends().await.0, Some(2));
    assert!(
        asked.said().contains("expected --out FILE, or a folder"),
        "{}",
        asked.said()
    );
    let flags: Vec<&str> = flags.into_iter().chain(["--out", text(&out)]).collect();
    let mut asked = get("app.zip", &flags);
    assert_eq!(asked.ends().await.0, Some(3), "{}", asked.said());
    assert!(
        asked.said().contains("the directory has not answered within 1 s"),
        "{}",
        asked.said()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_has_is_copied_from_it_and_nothing_moves() {
    let region = Region::start().await;
    let build = data(1, 300_000);
    let app = Seeder::start("app.zip", "1", &build).await;
    region.publish(&[&app]);
    let file = configuration(&region, "");
    let mut host = agent(&file);
    host.prints(&["app.zip"]).await;
    let sent = app.node.report().traffic.sent;
    let out = region.home.path().join("copy");
    let mut copied = get(
        "app.zip",
        &["--config", text(&file), "--out", text(&out), "--mode", "0600"],
    );
    assert_eq!(copied.ends().await.0, Some(0), "{}", copied.said());
    assert!(
        copied.said().contains("copied from the agent of this machine"),
        "{}",
        copied.said()
    );
    assert_eq!(std::fs::read(&out).unwrap(), build);
    let mut there = get("app.zip", &["--config", text(&file), "--format", "json"]);
    assert_eq!(there.ends().await.0, Some(0), "{}", there.said());
    let got: serde_json::Value = serde_json::from_str(&there.lines()[0]).unwrap();
    assert_eq!((&got["from"], &got["copied_bytes"]), (&"agent".into(), &0.into()));
    assert_eq!(app.node.report().traffic.sent, sent, "nothing was fetched");
    // One that it has not heard of.
    let mut asked = get("ap.zip", &["--config", text(&file)]);
    assert_eq!(asked.ends().await.0, Some(2), "{}", asked.said());
    assert!(asked.said().contains("did you mean app.zip?"), "{}", asked.said());
    assert_eq!(host.keys(), ["app.zip"]);
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_is_at_is_waited_for_and_taken_up_where_it_dies() {
    let region = Region::start().await;
    let build = data(1, 3_000_000);
    let app = Seeder::slow("app.zip", "1", &build, 500_000).await;
    region.publish(&[&app]);
    let file = configuration(&region, "");
    let host = agent(&file);
    let sent = || app.node.report().traffic.sent;
    host.until("begun", |_| sent() > 500_000).await;
    let out = region.home.path().join("copy");
    let mut waits = get("app.zip", &["--config", text(&file), "--out", text(&out)]);
    let mut goes_on = get("app.zip", &["--config", text(&file)]);
    for waiting in [&waits, &goes_on] {
        waiting.until("it hears signals", |get| get.catches(Signal::TERM)).await;
    }
    // Half of it, or more, is in the part file then.
    host.until("half of it has come", |_| sent() > 1_500_000).await;
    drop(host);
    assert_eq!(goes_on.ends().await.0, Some(0), "{}", goes_on.said());
    assert_eq!(std::fs::read(region.file("app.zip")).unwrap(), build);
    assert_eq!(waits.ends().await.0, Some(0), "{}", waits.said());
    assert_eq!(std::fs::read(&out).unwrap(), build);
}

/// It cannot say yet that there is no such build, however long it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_has_not_reached_its_directory_is_waited_for() {
    let region = Region::start().await;
    let file = configuration(&region, "");
    let said = std::fs::read_to_string(&file).unwrap();
    let (_, peer) = said.lines().next().unwrap().rsplit_once('/').unwrap();
    let (_, others) = said.split_once('\n').unwrap();
    // Nobody listens there.
    std::fs::write(
        &file,
        format!("directory = \"/ip4/127.0.0.1/tcp/1/p2p/{peer}\n{others}"),
    )
    .unwrap();
    let mut host = agent(&file);
    host.until("it keeps the folder", |host| host.said().contains("answers at"))
        .await;
    let mut asked = get("app.zip", &["--config", text(&file), "--timeout", "8"]);
    assert_eq!(asked.ends().await.0, Some(3), "{}", asked.said());
    assert!(asked.said().contains("has not answered yet"), "{}", asked.said());
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_refuses_is_not_waited_for() {
    let region = Region::start().await;
    let app = Seeder::start("app.zip", "1", &data(1, 100_000)).await;
    region.publish(&[&app]);
    let file = configuration(&region, "before-install = \"echo too old; exit 1\"\n");
    let mut host = agent(&file);
    host.until("it keeps the folder", |host| host.said().contains("answers at"))
        .await;
    let mut asked = get("app.zip", &["--config", text(&file)]);
    assert_eq!(asked.ends().await.0, Some(4), "{}", asked.said());
    assert!(
        asked.said().contains("the agent has refused it") && asked.said().contains("too old"),
        "{}",
        asked.said()
    );
    host.stops().await;
    // The same holds where it is fetched to the agent's folder without it.
    let mut alone = get("app.zip", &["--config", text(&file)]);
    assert_eq!(alone.ends().await.0, Some(4), "{}", alone.said());
    assert!(alone.said().contains("too old"), "{}", alone.said());
    assert!(!region.file("app.zip").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_stopped_goes_on_the_next_time() {
    let region = Region::start().await;
    let build = data(1, 2_000_000);
    let app = Seeder::slow("app.zip", "1", &build, 500_000).await;
    region.publish(&[&app]);
    let (address, out) = (region.address().to_string(), region.home.path().join("out"));
    let flags = ["--directory", &address, "--out", text(&out), "--config", "/dev/null"];
    let sent = || app.node.report().traffic.sent;
    let mut first = get("app.zip", &flags);
    first.until("half of it has come", |_| sent() > 1_000_000).await;
    first.signal(Signal::INT);
    let (code, after) = first.ends().await;
    assert_eq!(code, Some(130), "{}", first.said());
    assert!(after < Duration::from_secs(2), "{after:?}");
    assert!(
        first.said().contains("interrupted; run it again to go on"),
        "{}",
        first.said()
    );
    let mut second = get("app.zip", &flags);
    assert_eq!(second.ends().await.0, Some(0), "{}", second.said());
    assert_eq!(std::fs::read(&out).unwrap(), build);
    assert!(sent() < 2_900_000, "what had come was taken up: {}", sent());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_at_a_terminal_sees_how_far_it_is() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("script is not installed: there is no terminal to look at");
        return;
    }
    let region = Region::start().await;
    let app = Seeder::slow("app.zip", "1", &data(1, 2_000_000), 500_000).await;
    region.publish(&[&app]);
    let out = region.home.path().join("out");
    let get = format!(
        "{} get app.zip --directory {} --out {} --config /dev/null",
        region::binary().display(),
        region.address(),
        out.display()
    );
    let mut host = Host::run(Command::new("script").args(["-qec", &get, "/dev/null"]));
    assert_eq!(host.ends().await.0, Some(0), "{:?}", host.lines());
    let seen = host.lines().join("\n");
    assert!(seen.contains(" %, ") && seen.contains(" of 1.9 MiB, "), "{seen:?}");
    // The line that stays is the last one, and nothing of the progress is left in it.
    let last = host.lines().pop().unwrap();
    assert_eq!(last.trim_end(), format!("app.zip {}", out.display()));
}
