//! Folders on file systems that lack what local ones have, as network file systems do: the agent works without it, and says in one
//! sentence what its operator has to know. The system's calls are made to fail in the shipped binary by `strace`; where that is
//! not there or may not be used these tests say that they were left out.

#![expect(clippy::print_stdout, reason = "says what was left out")]

mod region;

use std::path::Path;
use std::process::{Command, Stdio};

use region::{CHUNK, Host, Region, Seeder, data};
use swarm::Manifest;

/// Whether calls can be made to fail here.
fn is_possible() -> bool {
    let injected = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "inject=flock:error=ENOLCK", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let is_possible = injected.is_ok_and(|status| status.success());
    if !is_possible {
        println!("left out: strace is not there, or may not trace");
    }
    is_possible
}

/// A host of the directory whose calls fail as `faults` say, such as `flock:error=ENOLCK`; of files at `path` only where one is
/// given.
fn host(region: &Region, faults: &[&str], path: Option<&Path>) -> Host {
    // With the tracer as a grandchild a signal is the agent's.
    let mut tracer: Vec<String> = ["strace", "-D", "-f", "--quiet=all", "-o", "/dev/null"]
        .map(str::to_owned)
        .into();
    for fault in faults {
        tracer.extend(["-e".to_owned(), format!("inject={fault}")]);
    }
    if let Some(path) = path {
        tracer.extend(["-P".to_owned(), path.display().to_string()]);
    }
    region.traced_host(&tracer, &["--keep", "1000"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_file_system_lacks_is_done_without_and_said_once_where_somebody_has_to_know() {
    if !is_possible() {
        return;
    }
    let no_locks = "this file system has no locks: see to it";
    let no_modes = "this file system keeps no modes: who may read";
    // What fails, of the folder alone or of all files, and what is said of it.
    let cases: [(&[&str], bool, Option<&str>); 11] = [
        (&["flock:error=ENOLCK"], false, Some(no_locks)),
        (&["flock:error=EOPNOTSUPP"], false, Some(no_locks)),
        (&["flock:error=ENOSYS"], false, Some(no_locks)),
        (&["fallocate:error=EOPNOTSUPP"], false, None),
        (&["fallocate:error=ENOSYS"], false, None),
        (&["copy_file_range:error=EXDEV"], false, None),
        (&["copy_file_range:error=EIO"], false, None),
        (&["fchmod:error=EPERM"], false, Some(no_modes)),
        (&["fchmod:error=EOPNOTSUPP"], false, Some(no_modes)),
        (&["fsync:error=EINVAL"], true, None),
        (&["fsync:error=EOPNOTSUPP"], true, None),
    ];
    for (faults, of_folder, sentence) in cases {
        let region = Region::start().await;
        let first = Seeder::start("one.zip", "v1", &data(1, 300_000)).await;
        let mut next = data(1, 300_000);
        next[0] ^= 1;
        let second = Seeder::start("one.zip", "v2", &next).await;
        let other = Seeder::start("other.zip", "v1", &data(2, 1000)).await;
        let builds = region.builds();
        let mut host = host(&region, faults, of_folder.then_some(builds.as_path()));
        region.publish(&[&first, &other]);
        host.prints(&["one.zip", "other.zip"]).await;
        region.publish(&[&second, &other]);
        host.until("the next version", |host| host.lines().len() == 3).await;
        assert!(std::fs::read(region.file("one.zip")).unwrap() == next, "{faults:?}");
        host.stops().await;
        let said = host.said();
        let warned = said.matches(" WARN ").count() + said.matches(" ERROR ").count();
        assert_eq!(warned, usize::from(sentence.is_some()), "{faults:?}\n{said}");
        assert!(sentence.is_none_or(|sentence| said.contains(sentence)), "{said}");
        assert!(said.contains("228.9 KiB copied from older builds"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_that_goes_wrong_is_a_sentence_and_tried_again_until_it_does_not() {
    if !is_possible() {
        return;
    }
    // A handle that the server has forgotten, a server that is away, a rename that is refused.
    for (fault, sentence) in [
        ("pwrite64:error=ESTALE:when=1", "failed to write"),
        ("pwrite64:error=EIO:when=1", "failed to write"),
        ("fsync:error=EIO:when=1", "failed to sync"),
        ("/^rename:error=EIO:when=1", "failed to rename"),
    ] {
        let region = Region::start().await;
        let build = data(1, 300_000);
        let one = Seeder::start("one.zip", "v1", &build).await;
        let manifest = Manifest::of("one.zip", &build, CHUNK as u32).unwrap();
        let part = region.file(&format!(".one.zip.{}.part", &manifest.root().to_string()[..16]));
        let of_part = fault.starts_with("/^rename").then_some(part.as_path());
        let mut host = host(&region, &[fault], of_part);
        region.publish(&[&one]);
        host.prints(&["one.zip"]).await;
        assert!(std::fs::read(region.file("one.zip")).unwrap() == build, "{fault}");
        host.stops().await;
        let said = host.said();
        let begins = format!("not in place: {sentence} {}", region.builds().display());
        assert_eq!(said.matches("it is tried until it is").count(), 1, "{fault}\n{said}");
        assert!(said.contains(&begins), "{fault}\n{said}");
    }
}
