//! The store of a host on a real file system: two processes at one place, bytes that change, files as people keep them, and
//! the next version beside the last.

use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use peer::{ChunkStore, DiskStore};
use swarm::Manifest;
use tempfile::TempDir;

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
