//! What a host tells of its builds, it tells once: a line and a row of each version, which say when it came the first time,
//! whatever is restarted, killed, broken or away meanwhile.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;

use std::path::Path;
use std::time::{Duration, SystemTime};

use cloud::DeploymentStatus;
use region::{Host, Region, Seeder, data};
use rustix::process::Signal;

/// Long enough for a host that found its builds in place to do what it should not do.
const A_WHILE: Duration = Duration::from_millis(1500);

fn list(folder: &Path) -> std::path::PathBuf {
    folder.join(".fleetcast-builds.json")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_prints_no_line_again_and_writes_no_row_again() {
    let region = Region::start().await;
    let one = Seeder::start("one.zip", "v1", &data(1, 300_000)).await;
    let two = Seeder::start("apps/two.zip", "v1", &data(2, 200_000)).await;
    region.publish(&[&one, &two]);
    let mut host = region.host(&[]);
    host.prints(&["one.zip", "apps/two.zip"]).await;
    let before = [region.row("one.zip").await, region.row("apps/two.zip").await];
    assert!(
        before
            .iter()
            .all(|row| row.status == DeploymentStatus::Succeeded && row.bytes_from_seeder > 0)
    );
    assert!(
        host.said().contains("apps/two.zip: in place, 195.3 KiB in"),
        "{}",
        host.said()
    );
    host.stops().await;
    let mut host = region.host(&[]);
    let three = Seeder::start("three.zip", "v1", &data(3, 1000)).await;
    region.publish(&[&one, &two, &three]);
    host.prints(&["three.zip"]).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(host.keys(), ["three.zip"]);
    assert_eq!([region.row("one.zip").await, region.row("apps/two.zip").await], before);
    region.row("three.zip").await;
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stood_in_the_folder_is_no_news_and_a_broken_list_makes_none() {
    let region = Region::start().await;
    let build = data(1, 300_000);
    let one = Seeder::start("one.zip", "v1", &build).await;
    std::fs::create_dir_all(region.builds()).unwrap();
    std::fs::write(region.file("one.zip"), &build).unwrap();
    for broken in [None, Some("{\"builds\":[{\"key\""), Some("[1]")] {
        if let Some(broken) = broken {
            std::fs::write(list(&region.builds()), broken).unwrap();
        }
        region.publish(&[&one]);
        let mut host = region.host(&[]);
        host.until("found", |host| {
            host.said().contains("one.zip: in place already, 292.9 KiB verified in")
        })
        .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        host.stops().await;
        assert_eq!(host.lines(), [""; 0]);
        assert_eq!(region.rows("one.zip").await, []);
        assert_eq!(
            host.said().contains("cannot be read and begins anew"),
            broken.is_some(),
            "{}",
            host.said()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_next_version_is_news_and_so_is_the_one_before_when_it_comes_back() {
    let region = Region::start().await;
    let first = Seeder::start("app.zip", "v1", &data(1, 300_000)).await;
    let second = Seeder::start("app.zip", "v2", &data(2, 300_000)).await;
    let mut host = region.host(&[]);
    region.publish(&[&first]);
    host.prints(&["app.zip"]).await;
    let of_first = region.row("app.zip").await;
    assert_eq!(of_first.version.as_deref(), Some("v1"));
    region.publish(&[&second]);
    host.until("second line", |host| host.lines().len() == 2).await;
    assert!(std::fs::read(region.file("app.zip")).unwrap() == data(2, 300_000));
    let begun = std::time::Instant::now();
    let of_second = loop {
        let row = region.row("app.zip").await;
        if row.version.as_deref() == Some("v2") {
            break row;
        }
        assert!(begun.elapsed() < region::PATIENCE);
    };
    // What is in place has changed, so it is told; that this host has had it before, its row says.
    region.publish(&[&first]);
    host.until("third line", |host| host.lines().len() == 3).await;
    assert!(std::fs::read(region.file("app.zip")).unwrap() == data(1, 300_000));
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(host.lines().len(), 3);
    assert_eq!(region.row("app.zip").await, of_second);
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_could_not_be_written_is_written_after_the_restart_with_its_first_time() {
    let region = Region::start().await;
    let one = Seeder::start("one.zip", "v1", &data(1, 300_000)).await;
    region.publish(&[&one]);
    // Nothing listens there.
    let mut host = region.host_logging_to("http://127.0.0.1:9", &[]);
    host.prints(&["one.zip"]).await;
    host.until("warned", |host| host.said().contains("not logged yet"))
        .await;
    let in_place = SystemTime::now();
    host.stops().await;
    assert_eq!(host.said().matches("not logged yet").count(), 1, "{}", host.said());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut host = region.host(&[]);
    let row = region.row("one.zip").await;
    assert!(
        row.completed_at <= in_place && row.bytes_from_seeder == 300_000,
        "{row:?}"
    );
    host.stops().await;
    assert_eq!(host.lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_set_back_makes_no_row_that_ends_before_it_begins() {
    let region = Region::start().await;
    let one = Seeder::start("one.zip", "v1", &data(1, 300_000)).await;
    region.publish(&[&one]);
    std::fs::create_dir_all(region.builds()).unwrap();
    let tomorrow = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis()
        + 86_400_000;
    let heard = format!(r#"{{"builds": [{{"key": "one.zip", "version": "v1", "heard_at": {tomorrow}}}]}}"#);
    std::fs::write(list(&region.builds()), heard).unwrap();
    let mut host = region.host(&["--host-id", "h1"]);
    host.prints(&["one.zip"]).await;
    let row = region.row("one.zip").await;
    assert_eq!((row.host_id.as_str(), row.region.as_str()), ("h1", "region-a"));
    assert!(
        row.started_at <= row.completed_at && row.duration < region::PATIENCE,
        "{row:?}"
    );
    assert!(row.completed_at <= SystemTime::now(), "{row:?}");
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_has_one_name_in_all_its_rows_without_being_told_one() {
    let region = Region::start().await;
    let one = Seeder::only("one.zip", &data(1, 1000), 1 << 30).await;
    let two = Seeder::start("two.zip", "v1", &data(2, 1000)).await;
    let endpoint = region.dynamodb();
    for place in ["here.zip", "there.zip"] {
        let out = region.home.path().join(place);
        let mut host = Host::single(&[&one], &out, &["--log", "--endpoint-url", &endpoint]);
        assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
    }
    region.publish(&[&two]);
    let mut host = region.host(&[]);
    let of_two = region.row("two.zip").await;
    host.stops().await;
    assert_eq!(region.row("one.zip").await.host_id, of_two.host_id);
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(of_two.host_id.starts_with(name.trim()), "{}", of_two.host_id);
}

/// What a process has beside a file that it has put in place a minute ago, when it is killed before it writes anything down.
fn note_beside(file: &Path, label: &str) -> SystemTime {
    use std::os::unix::fs::MetadataExt as _;
    let there = std::fs::metadata(file).unwrap();
    let at = SystemTime::now() - Duration::from_secs(60);
    let at = SystemTime::UNIX_EPOCH
        + Duration::from_millis(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64);
    let note = serde_json::json!({
        "label": label,
        "at": at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64,
        "size": there.len(),
        "modified": [there.mtime(), there.mtime_nsec()],
    });
    std::fs::write(note_of(file), note.to_string()).unwrap();
    at
}

fn note_of(file: &Path) -> std::path::PathBuf {
    file.with_file_name(format!(".{}.placed", file.file_name().unwrap().to_str().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_in_place_just_before_a_kill_is_told_once_also_if_nobody_lists_it_any_more() {
    let region = Region::start().await;
    let other = Seeder::start("other.zip", "v1", &data(2, 1000)).await;
    std::fs::create_dir_all(region.builds()).unwrap();
    let heard = SystemTime::now() - Duration::from_secs(90);
    let heard = heard.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let mut records = Vec::new();
    let mut at = SystemTime::now();
    for key in ["one.zip", "changed.zip", "older.zip"] {
        std::fs::write(region.file(key), data(1, 300_000)).unwrap();
        at = note_beside(&region.file(key), if key == "older.zip" { "v0" } else { "v1" });
        records.push(format!(
            r#"{{"key": "{key}", "version": "v1", "heard_at": {heard}, "is_begun": true}}"#
        ));
    }
    // Its process was killed when it had written that down, and before it took the note away.
    std::fs::write(region.file("told.zip"), data(1, 300_000)).unwrap();
    note_beside(&region.file("told.zip"), "v1");
    records.push(format!(
        r#"{{"key": "told.zip", "version": "v1", "heard_at": {heard}, "is_begun": true, "came_at": {heard}, "is_printed": true}}"#
    ));
    let records = records.join(",");
    std::fs::write(
        list(&region.builds()),
        format!(r#"{{"host_id": "h1", "builds": [{records}]}}"#),
    )
    .unwrap();
    // Somebody else has written there since.
    std::fs::write(region.file("changed.zip"), data(9, 300_000)).unwrap();
    region.publish(&[&other]);
    for lines in [&["one.zip", "other.zip"][..], &[]] {
        let mut host = region.host(&[]);
        host.prints(lines).await;
        let row = region.row("one.zip").await;
        assert_eq!((row.status, row.host_id.as_str()), (DeploymentStatus::Succeeded, "h1"));
        assert!(row.completed_at <= at && row.completed_at + A_WHILE >= at, "{row:?}");
        assert_eq!(row.duration.as_secs(), 30, "{row:?}");
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(host.lines().len(), lines.len(), "{:?}", host.lines());
        host.stops().await;
        for key in ["one.zip", "told.zip"] {
            assert!(!note_of(&region.file(key)).exists(), "{key}");
        }
    }
    for key in ["changed.zip", "older.zip", "told.zip"] {
        assert_eq!(region.rows(key).await, [], "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_build_that_was_put_in_place_just_before_a_kill_has_its_row() {
    let region = Region::start().await;
    let one = Seeder::only("one.zip", &data(1, 300_000), 1 << 30).await;
    let out = region.home.path().join("one.zip");
    std::fs::write(&out, data(1, 300_000)).unwrap();
    let begun = SystemTime::now() - Duration::from_secs(90);
    let begun = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let at = note_beside(&out, &begun.to_string());
    let endpoint = region.dynamodb();
    for _ in 0..2 {
        let arguments = ["--log", "--endpoint-url", &endpoint, "--host-id", "h1"];
        let mut host = Host::single(&[&one], &out, &arguments);
        assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
        let row = region.row("one.zip").await;
        assert_eq!((row.completed_at, row.duration.as_secs()), (at, 30), "{row:?}");
        assert!(!note_of(&out).exists());
    }
}

/// Stops the host at moments of all kinds until all builds are in place. Of SIGTERM nothing may get lost; SIGKILL may cost the
/// line that was about to be printed, and nothing else.
async fn a_host_that_is_stopped_again_and_again(signal: Signal) {
    let region = Region::start().await;
    let mut seeders = Vec::new();
    for number in 0..6_u64 {
        let build = data(number, 400_000 + 70_000 * number as usize);
        seeders.push(Seeder::slow(&format!("{number}.zip"), "v1", &build, 600_000).await);
    }
    region.publish(&seeders.iter().collect::<Vec<_>>());
    let mut printed = Vec::new();
    let mut moment = 7_u64;
    for round in 0..25 {
        moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut host = region.host(&["--fetches-max", "2", "--host-id", "h1"]);
        let all = 6 - printed.len();
        if signal == Signal::TERM {
            // Before that it ends as any process does.
            host.until("it listens to signals", |host| host.catches(signal)).await;
        }
        if round < 24 {
            tokio::time::sleep(Duration::from_millis((moment >> 33) % 500)).await;
        } else if signal == Signal::TERM {
            host.until("the rest printed", |host| host.lines().len() == all).await;
        } else {
            let in_place = |number| region.file(&format!("{number}.zip")).exists();
            host.until("all in place", |_| (0..6).all(in_place)).await;
        }
        if round == 24 {
            for number in 0..6 {
                region.row(&format!("{number}.zip")).await;
            }
        }
        host.signal(signal);
        let (code, _) = host.ends().await;
        assert_eq!(code, (signal == Signal::TERM).then_some(0), "{}", host.said());
        assert!(!host.said().contains("in place already"), "{}", host.said());
        printed.extend(host.keys());
    }
    printed.sort();
    let count = printed.len();
    printed.dedup();
    assert_eq!(printed.len(), count, "no line twice");
    assert!(count == 6 || signal == Signal::KILL && count >= 5, "{printed:?}");
    for number in 0..6 {
        let key = format!("{number}.zip");
        assert_eq!(region.row(&key).await.status, DeploymentStatus::Succeeded);
        let build = data(number, 400_000 + 70_000 * number as usize);
        assert!(std::fs::read(region.file(&key)).unwrap() == build, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_terminated_again_and_again_tells_each_build_once() {
    a_host_that_is_stopped_again_and_again(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_again_and_again_tells_no_build_twice() {
    a_host_that_is_stopped_again_and_again(Signal::KILL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_build_that_is_in_place_has_its_first_row_and_a_lost_one_is_written_later() {
    let region = Region::start().await;
    let one = Seeder::only("one.zip", &data(1, 300_000), 1 << 30).await;
    let out = region.home.path().join("one.zip");
    let log = |endpoint: &str, more: &[&str]| {
        let mut arguments = vec!["--log", "--endpoint-url", endpoint, "--host-id", "h1"];
        arguments.extend(more);
        Host::single(&[&one], &out, &arguments)
    };
    // The row cannot be written: it is kept, and that it is not there is the result.
    let mut host = log("http://127.0.0.1:9", &[]);
    host.until("in place", |host| host.said().contains("in place, ")).await;
    host.signal(Signal::TERM);
    let (code, after) = host.ends().await;
    assert_eq!(code, Some(143), "{}", host.said());
    assert!(
        after < Duration::from_secs(2) && host.said().contains("it is kept in"),
        "{after:?} {}",
        host.said()
    );
    let in_place = SystemTime::now();
    // The next run writes it, with its first time.
    let endpoint = region.dynamodb();
    let mut host = log(&endpoint, &["--quiet"]);
    assert_eq!(host.ends().await.0, Some(0), "{}", host.said());
    assert_eq!(host.said(), "");
    let row = region.row("one.zip").await;
    assert!(
        row.completed_at <= in_place && row.bytes_from_seeder == 300_000,
        "{row:?}"
    );
    assert!(!region.home.path().join("one.zip.row").exists());
    // And the one after that has nothing to write.
    let mut host = log(&endpoint, &[]);
    assert_eq!(host.ends().await.0, Some(0));
    assert!(
        host.said().contains("in place already, 292.9 KiB verified"),
        "{}",
        host.said()
    );
    assert_eq!(region.row("one.zip").await, row);
    // Nor has one that fetches the same build once more.
    std::fs::remove_file(&out).unwrap();
    let mut host = log(&endpoint, &[]);
    assert_eq!(host.ends().await.0, Some(0));
    assert_eq!(region.row("one.zip").await, row);
}
