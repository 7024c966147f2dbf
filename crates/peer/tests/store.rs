//! The store of a host on a real file system: two processes at one place, bytes that change, files as people keep them, and
//! the next version beside the last.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::{File, Permissions};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use peer::{ChunkStore, DiskOptions, DiskStore, StoreError, StoreOpener};
use swarm::Manifest;
use tempfile::TempDir;

/// What takes longer than this on a busy machine does not happen.
const LONG: Duration = Duration::from_secs(60);
const CHUNK: usize = 1024;

/// A build of ten chunks, the last of which is short, whose bytes depend on `version` where `differs` says so.
fn build(version: u8, differs: impl Fn(usize) -> bool) -> (Vec<u8>, Arc<Manifest>) {
    let mut data: Vec<u8> = (0_u32..2400).flat_map(u32::to_le_bytes).collect();
    for (index, chunk) in data.chunks_mut(CHUNK).enumerate() {
        if differs(index) {
            chunk[7] = chunk[7].wrapping_add(version);
        }
    }
    let manifest = Manifest::of("app.zip", &data, CHUNK as u32).unwrap();
    (data, Arc::new(manifest))
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("app.zip");
    (folder, target)
}

/// Keeps all that is missing; tells how many chunks that were.
fn fetch(store: &DiskStore, data: &[u8], manifest: &Manifest) -> usize {
    let held = store.held();
    let missing = manifest.chunks().filter(|chunk| !held.contains(*chunk));
    missing
        .map(|chunk| {
            let start = manifest.offset(chunk) as usize;
            let end = start + manifest.length(chunk) as usize;
            store.keep(chunk, Bytes::copy_from_slice(&data[start..end])).unwrap();
        })
        .count()
}

fn install(target: &Path, data: &[u8], manifest: &Arc<Manifest>) -> DiskStore {
    let store = DiskStore::open(target, Arc::clone(manifest)).unwrap();
    fetch(&store, data, manifest);
    store.finish().unwrap();
    assert_eq!(std::fs::read(target).unwrap(), data);
    store
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    // A network file system keeps a file that is removed while it is open under such a name until it is closed.
    names.retain(|name| !name.starts_with(".nfs") && !name.starts_with(".fuse_hidden"));
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_second_version_at_the_same_place_is_refused_while_the_first_is_fetched_and_not_after() {
    let (folder, target) = folder();
    let (first, of_first) = build(1, |_| true);
    let (second, of_second) = build(2, |_| true);
    let fetching = DiskStore::open(&target, Arc::clone(&of_first)).unwrap();
    for manifest in [&of_second, &of_first] {
        let refused = DiskStore::open(&target, Arc::clone(manifest)).unwrap_err().to_string();
        let expected = format!("in use by process {}", std::process::id());
        assert!(refused.contains(&expected), "{refused}");
    }
    fetch(&fetching, &first, &of_first);
    fetching.finish().unwrap();
    // The first goes on serving.
    let next = install(&target, &second, &of_second);
    assert_eq!(
        fetching.read(of_first.chunk(3).unwrap()).unwrap(),
        first[3 * CHUNK..4 * CHUNK]
    );
    assert_eq!(
        next.read(of_second.chunk(3).unwrap()).unwrap(),
        second[3 * CHUNK..4 * CHUNK]
    );
    assert_eq!(names(folder.path()), ["app.zip"]);
}

#[test]
fn bytes_that_change_are_not_served() {
    let (_folder, target) = folder();
    let (data, manifest) = build(1, |_| true);
    let store = install(&target, &data, &manifest);
    let file = File::options().write(true).open(&target).unwrap();
    file.write_all_at(b"x", 5 * CHUNK as u64 + 100).unwrap();
    let chunk = manifest.chunk(5).unwrap();
    assert!(store.read(chunk).is_err());
    assert!(!store.held().contains(chunk));
    assert_eq!(store.held().count(), manifest.chunk_count() - 1);
}

#[test]
fn mode_and_owner_of_what_stood_there_are_kept() {
    for (stood, owner) in [(0o755, (1000, 1000)), (0o600, (0, 0)), (0o4711, (1000, 0))] {
        let (_folder, target) = folder();
        std::fs::write(&target, b"the last version").unwrap();
        let is_root = chown(&target, Some(owner.0), Some(owner.1)).is_ok();
        std::fs::set_permissions(&target, Permissions::from_mode(stood)).unwrap();
        let (data, manifest) = build(1, |_| true);
        install(&target, &data, &manifest);
        assert_eq!(mode(&target), stood, "{:o} for {stood:o}", mode(&target));
        if is_root {
            let there = std::fs::metadata(&target).unwrap();
            assert_eq!((there.uid(), there.gid()), owner);
        }
    }
}

#[test]
fn a_symbolic_link_stays_and_what_it_points_to_is_replaced() {
    for stands in [true, false] {
        let (folder, link) = folder();
        let releases = folder.path().join("releases");
        std::fs::create_dir(&releases).unwrap();
        if stands {
            std::fs::write(releases.join("7.zip"), b"the last version").unwrap();
        }
        symlink("latest", &link).unwrap();
        symlink("releases/7.zip", folder.path().join("latest")).unwrap();
        let (data, manifest) = build(1, |_| true);
        install(&link, &data, &manifest);
        assert!(link.is_symlink() && folder.path().join("latest").is_symlink());
        assert_eq!(names(&releases), ["7.zip"]);
        assert_eq!(std::fs::read(releases.join("7.zip")).unwrap(), data);
    }
}

#[test]
fn the_next_version_takes_from_the_last_what_is_the_same() {
    let (_folder, target) = folder();
    let (last, of_last) = build(1, |_| true);
    drop(install(&target, &last, &of_last));
    let (next, of_next) = {
        let mut next = last;
        next[4 * CHUNK] ^= 1;
        let manifest = Arc::new(Manifest::of("app.zip", &next, CHUNK as u32).unwrap());
        (next, manifest)
    };
    let store = DiskStore::open(&target, Arc::clone(&of_next)).unwrap();
    assert_eq!(fetch(&store, &next, &of_next), 1);
    store.finish().unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), next);
}

fn is_lost<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Lost { .. }))
}

#[test]
fn a_loss_is_told_once_and_the_file_is_mended_by_a_new_one_at_its_place() {
    let (folder, target) = folder();
    let (data, manifest) = build(1, |_| true);
    std::fs::write(&target, b"the last version").unwrap();
    std::fs::set_permissions(&target, Permissions::from_mode(0o750)).unwrap();
    let store = install(&target, &data, &manifest);
    let reader = File::open(&target).unwrap();
    let spoiled = {
        let mut spoiled = data.clone();
        spoiled[2 * CHUNK] ^= 1;
        spoiled.truncate(9 * CHUNK + 10);
        std::fs::write(&target, &spoiled).unwrap();
        spoiled
    };
    let chunk = |index| manifest.chunk(index).unwrap();
    assert!(is_lost(store.read(chunk(2))));
    assert!(matches!(store.read(chunk(2)), Err(StoreError::NotHeld { .. })));
    // The others that are wrong are found before somebody asks for them.
    let mut lost = Vec::new();
    loop {
        let looked = store.look();
        lost.extend(looked.lost.into_iter().map(|(chunk, _)| chunk.get()));
        if !looked.more {
            break;
        }
    }
    assert_eq!(lost, [9]);
    assert_eq!(fetch(&store, &data, &manifest), 2);
    assert_eq!(std::fs::read(&target).unwrap(), data);
    assert_eq!(mode(&target), 0o750);
    assert_eq!(names(folder.path()), ["app.zip"]);
    // Who has the file open, or runs it, sees no byte of it change.
    let mut seen = vec![0; spoiled.len()];
    reader.read_exact_at(&mut seen, 0).unwrap();
    assert_eq!(seen, spoiled);
    for index in 0..manifest.chunk_count() {
        store.read(chunk(index)).unwrap();
    }
}

#[test]
fn a_build_that_is_mended_does_not_take_the_place_of_the_next_version() {
    let (first, of_first) = build(1, |_| true);
    let (second, of_second) = build(2, |index| index > 5);
    // The next version is in place, or is being fetched and holds the lock.
    for is_in_place in [true, false] {
        let (folder, target) = folder();
        let store = install(&target, &first, &of_first);
        let chunk = of_first.chunk(1).unwrap();
        let file = File::options().write(true).open(&target).unwrap();
        file.write_all_at(b"spoiled", CHUNK as u64).unwrap();
        let next = DiskStore::open(&target, Arc::clone(&of_second)).unwrap();
        if is_in_place {
            fetch(&next, &second, &of_second);
            next.finish().unwrap();
        }
        assert!(is_lost(store.read(chunk)));
        assert_eq!(fetch(&store, &first, &of_first), 1);
        assert_eq!(store.read(chunk).unwrap(), first[CHUNK..2 * CHUNK]);
        fetch(&next, &second, &of_second);
        next.finish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), second);
        assert_eq!(names(folder.path()), ["app.zip"]);
    }
}

#[test]
fn a_chunk_that_does_not_stay_is_an_error_at_last() {
    let (_folder, target) = folder();
    let (data, manifest) = build(1, |_| true);
    let store = install(&target, &data, &manifest);
    let chunk = manifest.chunk(0).unwrap();
    let mut times = 0;
    let error = loop {
        let file = File::options().write(true).open(&target).unwrap();
        file.write_all_at(b"spoiled", 0).unwrap();
        assert!(is_lost(store.read(chunk)));
        match store.keep(chunk, Bytes::copy_from_slice(&data[..CHUNK])) {
            Ok(()) => times += 1,
            Err(error) => break error.to_string(),
        }
        assert!(times < 20, "for ever");
    };
    assert!(
        error.contains("was lost 5 times") && error.contains("app.zip"),
        "{error}"
    );
}

#[test]
fn a_part_file_that_somebody_replaces_or_cuts_does_not_reach_the_target() {
    for replace in [true, false] {
        let (folder, target) = folder();
        let (data, manifest) = build(1, |_| true);
        std::fs::write(&target, b"the last version").unwrap();
        let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
        fetch(&store, &data, &manifest);
        let part = names(folder.path()).into_iter().find(|name| name.ends_with(".part"));
        let part = folder.path().join(part.unwrap());
        if replace {
            std::fs::remove_file(&part).unwrap();
            std::fs::write(&part, vec![0; data.len()]).unwrap();
        } else {
            File::options().write(true).open(&part).unwrap().set_len(10).unwrap();
        }
        let error = store.finish().unwrap_err();
        assert!(matches!(error, StoreError::PartReplaced { .. }), "{error}");
        assert_eq!(std::fs::read(&target).unwrap(), b"the last version");
    }
}

#[test]
fn what_other_versions_left_is_used_and_goes_when_the_build_is_in_place() {
    let (folder, target) = folder();
    let (first, of_first) = build(1, |_| true);
    // The next one differs in the second half.
    let (second, of_second) = build(1, |index| index < 5);
    let given_up = DiskStore::open(&target, Arc::clone(&of_first)).unwrap();
    fetch(&given_up, &first, &of_first);
    drop(given_up);
    assert_eq!(names(folder.path()).len(), 1, "the part, and no lock");
    let store = DiskStore::open(&target, Arc::clone(&of_second)).unwrap();
    assert_eq!(store.reused(), 5 * CHUNK as u64);
    assert_eq!(fetch(&store, &second, &of_second), 5);
    store.finish().unwrap();
    assert_eq!(names(folder.path()), ["app.zip"]);
    assert_eq!(std::fs::read(&target).unwrap(), second);
    // One that was left while nobody looked goes when the build is found in place.
    let part = format!(".app.zip.{}.part", &of_first.root().to_string()[..16]);
    std::fs::write(folder.path().join(part), b"x").unwrap();
    std::fs::write(folder.path().join(".app.zip.lock"), b"1\n").unwrap();
    drop(DiskStore::open(&target, of_second).unwrap());
    assert_eq!(names(folder.path()), ["app.zip"]);
}

#[test]
fn a_part_of_an_earlier_release_is_taken_over_if_it_is_of_this_build() {
    let (folder, target) = folder();
    let (data, manifest) = build(1, |_| true);
    let legacy = folder.path().join("app.zip.part");
    let mut half = data.clone();
    half[5 * CHUNK..].fill(0);
    std::fs::write(&legacy, &half).unwrap();
    let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
    assert_eq!(store.held().count(), 5);
    assert_eq!(fetch(&store, &data, &manifest), 5);
    store.finish().unwrap();
    assert_eq!(names(folder.path()), ["app.zip"]);
    std::fs::write(&legacy, b"of another build").unwrap();
    let (other, of_other) = build(2, |_| true);
    install(&target, &other, &of_other);
    assert_eq!(names(folder.path()), ["app.zip", "app.zip.part"]);
}

#[test]
fn a_mode_as_told_is_given_whatever_stood_there_and_a_part_is_nobody_elses() {
    for stands in [None, Some(0o600), Some(0o755)] {
        let (folder, target) = folder();
        if let Some(mode) = stands {
            std::fs::write(&target, b"the last version").unwrap();
            std::fs::set_permissions(&target, Permissions::from_mode(mode)).unwrap();
        }
        let (data, manifest) = build(1, |_| true);
        let opener = StoreOpener::on_disk(target.clone()).mode(0o640);
        for _ in 0..2 {
            let store = opener.open(Arc::clone(&manifest)).unwrap();
            for name in names(folder.path()).iter().filter(|name| name.ends_with(".part")) {
                assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
            }
            for (chunk, bytes) in manifest.chunks().zip(data.chunks(CHUNK)) {
                store.keep(chunk, Bytes::copy_from_slice(bytes)).unwrap();
            }
            store.finish().unwrap();
            assert_eq!(mode(&target), 0o640);
            // Found in place it is given the mode too.
            std::fs::set_permissions(&target, Permissions::from_mode(0o666)).unwrap();
        }
    }
}

#[test]
fn links_that_lead_in_a_circle_are_refused_with_a_sentence() {
    let (folder, target) = folder();
    symlink("other", &target).unwrap();
    symlink("app.zip", folder.path().join("other")).unwrap();
    let (_, manifest) = build(1, |_| true);
    let error = DiskStore::open(&target, manifest).unwrap_err().to_string();
    assert!(
        error.contains("app.zip is a symbolic link that leads in a circle"),
        "{error}"
    );
}

#[test]
fn a_name_as_long_as_names_may_be_works() {
    let folder = tempfile::tempdir().unwrap();
    let (data, manifest) = build(1, |_| true);
    for name in ["n".repeat(255), "n".repeat(254), format!("{}é", "n".repeat(253))] {
        let target = folder.path().join(&name);
        let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
        assert!(DiskStore::open(&target, Arc::clone(&manifest)).is_err());
        fetch(&store, &data, &manifest);
        store.finish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), data);
    }
    assert_eq!(names(folder.path()).len(), 3);
}

#[test]
fn chunks_are_taken_from_the_files_that_are_named_wherever_they_are_in_them() {
    let (folder, target) = folder();
    let (data, manifest) = build(1, |_| true);
    let mut moved = vec![9; CHUNK];
    moved.extend_from_slice(&data[3 * CHUNK..]);
    std::fs::write(folder.path().join("other-key.zip"), &moved).unwrap();
    let named = ["missing", "other-key.zip", "."].map(|name| folder.path().join(name));
    let opener = StoreOpener::on_disk(target).reusing(named);
    let store = opener.open(Arc::clone(&manifest)).unwrap();
    assert_eq!(
        store.held().iter().map(|chunk| chunk.get()).collect::<Vec<_>>(),
        [3, 4, 5, 6, 7, 8, 9]
    );
    assert_eq!(store.reused(), data.len() as u64 - 3 * CHUNK as u64);
    for (chunk, bytes) in manifest.chunks().zip(data.chunks(CHUNK)) {
        assert_eq!(store.held().contains(chunk), chunk.get() >= 3);
        store.keep(chunk, Bytes::copy_from_slice(bytes)).unwrap();
        assert_eq!(store.read(chunk).unwrap(), bytes);
    }
}

#[test]
fn a_process_that_is_killed_leaves_a_lock_that_does_not_count_and_a_part_that_does() {
    let (folder, target) = folder();
    let (data, manifest) = build(1, |_| true);
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_the_lock_until_it_is_killed", "--include-ignored"])
        .env("FLEETCAST_TEST_TARGET", &target)
        // It ends with this test, however that ends: when its input does.
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let half = |folder: &Path| names(folder).iter().any(|name| name == "half");
    let began = Instant::now();
    while !half(folder.path()) {
        let has_ended = holder.try_wait().unwrap().is_some();
        assert!(
            !has_ended && began.elapsed() < LONG,
            "it is not half there; ended: {has_ended}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    let refused = DiskStore::open(&target, Arc::clone(&manifest)).unwrap_err();
    let process = Some(holder.id());
    assert!(
        matches!(refused, StoreError::InUse { process: p, .. } if p == process),
        "{refused}"
    );
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(names(folder.path()).contains(&".app.zip.lock".to_owned()));
    let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
    assert_eq!(fetch(&store, &data, &manifest), 5);
    store.finish().unwrap();
    assert_eq!(names(folder.path()), ["app.zip", "half"]);
}

/// The other process of the test above.
#[test]
#[ignore = "waits until it is killed"]
fn holds_the_lock_until_it_is_killed() {
    let Some(target) = std::env::var_os("FLEETCAST_TEST_TARGET").map(PathBuf::from) else {
        return;
    };
    let (data, manifest) = build(1, |_| true);
    let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
    for (chunk, bytes) in manifest.chunks().zip(data.chunks(CHUNK)).take(5) {
        store.keep(chunk, Bytes::copy_from_slice(bytes)).unwrap();
    }
    std::fs::write(target.with_file_name("half"), b"").unwrap();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
fn what_there_was_no_time_for_at_the_opening_is_found_afterwards() {
    let (_folder, target) = folder();
    let (last, of_last) = build(1, |_| true);
    drop(install(&target, &last, &of_last));
    let mut next = last;
    next.push(1);
    let manifest = Arc::new(Manifest::of("app.zip", &next, CHUNK as u32).unwrap());
    let options = DiskOptions {
        look_at_open: Duration::ZERO,
        ..DiskOptions::default()
    };
    let store = DiskStore::open_with(&target, Arc::clone(&manifest), &options).unwrap();
    assert!(store.held().is_empty());
    // One of them comes meanwhile.
    store
        .keep(
            manifest.chunk(3).unwrap(),
            Bytes::copy_from_slice(&next[3 * CHUNK..4 * CHUNK]),
        )
        .unwrap();
    let mut found = Vec::new();
    loop {
        let looked = store.look();
        assert!(looked.lost.is_empty());
        found.extend(looked.found.into_iter().map(|chunk| chunk.get()));
        if !looked.more {
            break;
        }
    }
    found.sort_unstable();
    assert_eq!(found, [0, 1, 2, 4, 5, 6, 7, 8]);
    assert_eq!(fetch(&store, &next, &manifest), 1);
    store.finish().unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), next);
}
