//! What an operator has run when builds come: it decides what is put in place, is told once, and never hangs the agent.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;

use std::path::Path;

use cloud::DeploymentStatus;
use region::{Region, Seeder, data};
use rustix::process::Signal;

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Whether any process sleeps for so many seconds.
fn runs(seconds: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        line == format!("sleep\0{seconds}\0").as_bytes()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_are_told_what_has_come_and_the_link_leads_to_it() {
    let region = Region::start().await;
    let first = Seeder::start("v1/app.zip", "1", &data(1, 300_000)).await;
    let second = Seeder::start("v2/app.zip", "7", &data(2, 200_000)).await;
    let told = region.home.path().join("told");
    let said = format!(
        "echo seen $FLEETCAST_BUILD; test -f $FLEETCAST_PATH && test ! -e $FLEETCAST_TARGET && echo before $FLEETCAST_BUILD $FLEETCAST_ROOT >>{0}",
        told.display()
    );
    let installed = format!(
        "cmp $FLEETCAST_PATH {1}/current && echo installed $FLEETCAST_BUILD $FLEETCAST_VERSION $FLEETCAST_ROOT >>{0}",
        told.display(),
        region.builds().display()
    );
    let flags = [
        "--before-install",
        &said,
        "--installed",
        &installed,
        "--current",
        "current",
    ];
    let mut host = region.host(&flags);
    for (number, seeder) in [&first, &second].into_iter().enumerate() {
        region.publish(&[seeder]);
        host.until("both hooks", |_| lines(&told).len() == 2 * (number + 1))
            .await;
    }
    let told = lines(&told);
    let root = first.node.root().unwrap().to_string();
    assert_eq!(told[0], format!("before v1/app.zip {root}"));
    assert_eq!(told[1], format!("installed v1/app.zip 1 {root}"));
    assert!(told[3].starts_with("installed v2/app.zip 7 "), "{told:?}");
    let link = region.file("current");
    assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("v2/app.zip"));
    assert!(
        host.said().contains("seen v1/app.zip"),
        "output is in the log: {}",
        host.said()
    );
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hook_refuses_is_not_put_in_place_and_its_row_says_why() {
    let region = Region::start().await;
    let seeder = Seeder::start("app.zip", "v1", &data(1, 300_000)).await;
    let told = region.home.path().join("told");
    let allowed = region.home.path().join("allowed");
    let asks = format!(
        "echo asked >>{}; test -e {} || {{ echo not on a Friday; exit 3; }}",
        told.display(),
        allowed.display()
    );
    let failed = format!("echo \"$FLEETCAST_BUILD: $FLEETCAST_ERROR\" >>{}", told.display());
    region.publish(&[&seeder]);
    let mut host = region.host(&["--before-install", &asks, "--failed", &failed]);
    let row = region.row("app.zip").await;
    let why = "hook before-install ended with 3: not on a Friday";
    assert_eq!(
        (row.status, row.error.as_deref()),
        (DeploymentStatus::Failed, Some(why))
    );
    host.until("told", |_| lines(&told).len() == 2).await;
    assert_eq!(lines(&told), ["asked".to_owned(), format!("app.zip: {why}")]);
    assert!(!region.file("app.zip").exists());
    assert!(
        host.said().contains("refused: hook before-install ended with 3"),
        "{}",
        host.said()
    );
    // It is not asked again by itself, and is when it is told to.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(lines(&told).len(), 2);
    std::fs::write(&allowed, "").unwrap();
    host.signal(Signal::HUP);
    host.prints(&["app.zip"]).await;
    assert!(std::fs::read(region.file("app.zip")).unwrap() == data(1, 300_000));
    assert_eq!(region.row("app.zip").await.status, DeploymentStatus::Succeeded);
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_hangs_is_killed_with_all_that_it_has_started() {
    let region = Region::start().await;
    let seeder = Seeder::start("app.zip", "v1", &data(1, 300_000)).await;
    region.publish(&[&seeder]);
    let hangs = "sleep 98765 & echo waits; sleep 98764";
    let mut host = region.host(&["--before-install", hangs, "--hook-timeout", "1"]);
    let row = region.row("app.zip").await;
    assert_eq!(
        row.error.as_deref(),
        Some("hook before-install was killed after 1 s: waits")
    );
    host.until("all are gone", |_| !runs("98765") && !runs("98764")).await;
    host.stops().await;
    // Nor does one outlive the agent.
    let mut host = region.host(&["--before-install", "sleep 98763", "--hook-timeout", "3600"]);
    host.until("it runs", |_| runs("98763")).await;
    host.stops().await;
    host.until("it is gone", |_| !runs("98763")).await;
    // That it was cut off is no refusal: the next start asks again, and the build comes.
    assert!(!host.said().contains("refused"), "{}", host.said());
    let mut host = region.host(&["--before-install", "true"]);
    host.prints(&["app.zip"]).await;
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pinned_stays_when_others_of_its_age_go() {
    let region = Region::start().await;
    let mut host = region.host(&["--keep", "1", "--pin", "v1/app.zip"]);
    for number in 1..=4 {
        let seeder = Seeder::start(&format!("v{number}/app.zip"), "1", &data(number, 100_000)).await;
        region.publish(&[&seeder]);
        host.until("in place", |host| host.lines().len() == number as usize)
            .await;
    }
    let there = |number: u32| region.file(&format!("v{number}/app.zip")).exists();
    host.until("the others have gone", |_| !there(2)).await;
    assert!(there(1) && there(4));
    host.stops().await;
}
