//! A host whose disk is nearly full: it takes nothing new, says so once, and goes on by itself when there is room.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod region;

use region::{Region, Seeder, data};

/// Bytes that are free where the region has its folder.
fn free(region: &Region) -> u64 {
    let there = rustix::fs::statvfs(region.home.path()).unwrap();
    there.f_bavail * there.f_frsize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_watermark_nothing_is_begun_and_above_it_everything_goes_on() {
    let region = Region::start().await;
    let seeder = Seeder::start("app.zip", "v1", &data(1, 300_000)).await;
    region.publish(&[&seeder]);
    // More than there is, as when somebody else has filled the disk: then the configuration gives it back.
    let file = region.home.path().join("host.toml");
    let watermark = |bytes: u64| std::fs::write(&file, format!("free-min = {bytes}\n")).unwrap();
    watermark(free(&region) * 2);
    let host = region.host(&["--config", file.to_str().unwrap()]);
    let mut host = host;
    host.until("told", |host| host.said().contains("nothing new is fetched"))
        .await;
    assert!(host.said().contains("free-min"), "{}", host.said());
    // It is looked at again and again, and said once.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(
        host.said().matches("nothing new is fetched").count(),
        1,
        "{}",
        host.said()
    );
    assert_eq!(host.keys(), [""; 0]);
    watermark(1);
    host.signal(rustix::process::Signal::HUP);
    host.prints(&["app.zip"]).await;
    host.until("told", |host| host.said().contains("there is room for builds again"))
        .await;
    host.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_full_gives_up_the_oldest_that_is_not_listed_and_no_other() {
    let region = Region::start().await;
    let first = Seeder::start("v1/app.zip", "1", &data(1, 400_000)).await;
    let second = Seeder::start("v2/app.zip", "1", &data(2, 400_000)).await;
    let third = Seeder::start("v3/app.zip", "1", &data(3, 400_000)).await;
    let large = Seeder::start("large.zip", "1", &data(4, 2_000_000)).await;
    let mut host = region.host(&["--store-max", "1 MB", "--keep", "9"]);
    for (number, seeder) in [&first, &second, &third].into_iter().enumerate() {
        region.publish(&[seeder]);
        host.until("in place", |host| host.lines().len() == number + 1).await;
    }
    host.until("the oldest has gone", |_| !region.file("v1/app.zip").exists())
        .await;
    assert!(region.file("v2/app.zip").exists() && region.file("v3/app.zip").exists());
    assert!(
        host.said().contains("v1/app.zip: removed, 390.6 KiB; there is no room"),
        "{}",
        host.said()
    );
    // One that does not fit whatever goes makes nothing go.
    region.publish(&[&large, &third]);
    host.until("told", |host| {
        host.said().matches("are more than store-max").count() == 2
    })
    .await;
    assert!(region.file("v2/app.zip").exists() && region.file("v3/app.zip").exists());
    assert_eq!(host.keys().len(), 3);
    // Its row says why it never came.
    region.publish(&[&third]);
    let row = region.row("large.zip").await;
    let error = row.error.unwrap_or_default();
    assert!(
        error.starts_with("delisted: it was not begun: ") && error.contains("are more than store-max, 976.5 KiB"),
        "{error}"
    );
    host.stops().await;
}
