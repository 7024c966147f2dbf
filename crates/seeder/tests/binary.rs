//! The `seeder` binary for one build: it is killed, started again, started twice and stopped, and costs S3 no byte twice.

mod rig;

use std::time::{Duration, Instant};

use rig::{S3, data};

const SOON: Duration = Duration::from_secs(20);

async fn seeds(s3: &S3, seeder: &rig::Seeder) {
    let began = Instant::now();
    while !seeder.log().contains("seeding") {
        assert!(began.elapsed() < SOON, "{}", seeder.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = s3;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeder_that_is_started_again_reads_nothing_from_s3_again() {
    let s3 = S3::start().await;
    s3.put("dir/build-1.zip", &data(20_000_000, 1)).await;
    let first = s3.seeder("dir/build-1.zip", &[]);
    seeds(&s3, &first).await;
    first.kill();
    let gets = s3.front.gets("dir/build-1.zip");
    assert!(gets > 0);
    let second = s3.seeder("dir/build-1.zip", &[]);
    seeds(&s3, &second).await;
    assert_eq!(s3.front.gets("dir/build-1.zip"), gets, "read again");
    second.kill();
    // And not even when there is nothing to be read from any more.
    s3.front.go_away(true);
    let began = Instant::now();
    let third = s3.seeder("dir/build-1.zip", &[]);
    seeds(&s3, &third).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_was_killed_goes_on_where_it_was() {
    const LENGTH: usize = 64 << 20;
    let s3 = S3::start().await;
    s3.put("build-1.zip", &data(LENGTH, 1)).await;
    let whole = (LENGTH >> 20) as u64;
    s3.front.limit(4 << 20);
    let first = s3.seeder("build-1.zip", &["--chunk-size", "1048576"]);
    // One GET is asked for when another is through.
    let began = Instant::now();
    while s3.front.gets("build-1.zip") < 8 {
        assert!(began.elapsed() < SOON, "{}", first.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.kill();
    s3.front.limit(0);
    let before = s3.front.gets("build-1.zip");
    let second = s3.seeder("build-1.zip", &["--chunk-size", "1048576"]);
    seeds(&s3, &second).await;
    let again = s3.front.gets("build-1.zip") - before;
    let gets_of_all = whole.div_ceil(8) as usize;
    assert!(again < gets_of_all, "{again} of {gets_of_all} GETs again");
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_seeder_in_the_same_folder_names_the_first_and_ends() {
    let s3 = S3::start().await;
    s3.put("build-1.zip", &data(1_000_000, 1)).await;
    let first = s3.seeder("build-1.zip", &[]);
    seeds(&s3, &first).await;
    let mut second = s3.seeder("build-1.zip", &[]);
    assert_eq!(second.exit(SOON), Some(4));
    let said = second.log();
    let holder = format!("in use by process {}", first.process.id());
    assert!(said.contains(&holder) && said.contains("spool"), "{said}");
    first.kill();
    let third = s3.seeder("build-1.zip", &[]);
    seeds(&s3, &third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_stop_is_no_failure_and_a_stopped_pull_is_none_that_succeeded() {
    let s3 = S3::start().await;
    s3.put("build-1.zip", &data(1_000_000, 1)).await;
    for signal in ["TERM", "INT"] {
        let mut seeder = s3.seeder("build-1.zip", &[]);
        seeds(&s3, &seeder).await;
        seeder.signal(signal);
        assert_eq!(seeder.exit(Duration::from_secs(2)), Some(0), "{signal}");
    }
    s3.put("large.zip", &data(32 << 20, 2)).await;
    s3.front.limit(100_000);
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let gets = s3.front.gets("large.zip");
        let mut seeder = s3.seeder("large.zip", &[]);
        let began = Instant::now();
        while s3.front.gets("large.zip") == gets {
            assert!(began.elapsed() < SOON, "{}", seeder.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        seeder.signal(signal);
        assert_eq!(seeder.exit(Duration::from_secs(2)), Some(code), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_queue_is_refused() {
    let s3 = S3::start().await;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_seeder"));
    command.args(["--queue", "builds", "--part", "1/2"]);
    let mut seeder = rig::Seeder::start(&mut command, &s3.front.endpoint, &s3.spool(), s3.folder.path());
    assert_eq!(seeder.exit(SOON), Some(2));
    assert!(seeder.log().contains("--part"), "{}", seeder.log());
}

/// `seeder … | head -1`, or a service whose stdout is closed.
#[test]
fn a_reader_that_is_gone_is_no_reason_to_panic() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_seeder"))
        .arg("--identity")
        .arg(folder.path().join("seeder.key"))
        .arg("--print-id")
        .stdout(writer)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&printed.stderr);
    assert_eq!(printed.status.code(), Some(0), "{said}");
    assert!(said.contains("is not printed"), "{said}");
}
