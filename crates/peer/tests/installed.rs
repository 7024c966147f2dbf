//! What a package or an image brings, as it is installed: the program in its root, with the configuration that came with it and one line
//! edited, follows a directory and has its build.
//!
//! `packaging/verify.sh` unpacks what it has built and names the folder in `FLEETCAST_INSTALLED_ROOT`. Ports and the socket are given by the
//! environment, since others may be on this machine. Without the folder, or without root for chroot, it says so and passes.

mod region;

use std::path::PathBuf;
use std::process::Command;

use region::{Host, Region, Seeder, data};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_installed_follows_the_directory_with_one_line_edited() {
    let Some(root) = std::env::var_os("FLEETCAST_INSTALLED_ROOT").map(PathBuf::from) else {
        eprintln!("nothing is installed: packaging/verify.sh names a folder in FLEETCAST_INSTALLED_ROOT");
        return;
    };
    if !rustix::process::geteuid().is_root() {
        eprintln!("chroot is for root: what is installed stays unstarted");
        return;
    }
    let file = root.join("etc/fleetcast/host.toml");
    let shipped = std::fs::read_to_string(&file).unwrap();
    let region = Region::start().await;
    let build = data(1, 3_000_000);
    let app = Seeder::start("v1/app.zip", "1", &build).await;
    region.publish(&[&app]);
    let line = shipped.lines().find(|line| line.starts_with("#directory = ")).unwrap();
    let edited = shipped.replace(line, &format!("directory = \"{}\"", region.address()));
    std::fs::write(&file, edited).unwrap();
    let user = std::env::var("FLEETCAST_INSTALLED_USER").unwrap_or_else(|_unset| "65532:65532".to_owned());
    let mut command = Command::new("chroot");
    command.arg(format!("--userspec={user}")).arg(&root);
    command.args(["/usr/bin/fleetcast-host", "--config", "/etc/fleetcast/host.toml"]);
    command.env("FLEETCAST_LISTEN", "/ip4/127.0.0.1/tcp/0");
    command.env("FLEETCAST_HTTP", "unix:/run/fleetcast/host.sock");
    let mut host = Host::run(&mut command);
    host.prints(&["v1/app.zip"]).await;
    let place = root.join("var/lib/fleetcast/builds");
    assert_eq!(std::fs::read(place.join("v1/app.zip")).unwrap(), build);
    assert_eq!(
        std::fs::read_link(place.join("current")).unwrap(),
        PathBuf::from("v1/app.zip")
    );
    let status = Command::new("chroot")
        .arg(&root)
        .args(["/usr/bin/fleetcast-host", "status", "--format", "json"])
        .output();
    let status = status.unwrap();
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(status.status.success() && text.contains("\"in_place\""), "{text}");
    host.stops().await;
    std::fs::write(&file, shipped).unwrap();
}
