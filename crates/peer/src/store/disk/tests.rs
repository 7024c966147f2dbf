//! What one store does; histories of several are in the crate's `tests/`.

use super::super::tests::build;
use super::super::{ChunkSink, Received};
use super::*;
use std::fs::OpenOptions;

fn keep(store: &DiskStore, data: &[u8], manifest: &Manifest, index: u32) {
    let chunk = manifest.chunk(index).unwrap();
    let start = manifest.offset(chunk) as usize;
    let bytes = Bytes::copy_from_slice(&data[start..start + manifest.length(chunk) as usize]);
    store.keep(chunk, bytes).unwrap();
}

#[test]
fn the_target_appears_only_when_the_build_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("out/build.zip");
    let (data, manifest) = build();
    let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
    for index in 0..manifest.chunk_count() {
        assert!(!target.exists());
        keep(&store, &data, &manifest, index);
    }
    store.finish().unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), data);
    assert_eq!(std::fs::read_dir(folder.path().join("out")).unwrap().count(), 1);
    drop(store);
    let again = DiskStore::open(&target, manifest).unwrap();
    assert!(again.held().is_full());
    again.finish().unwrap();
}

#[test]
fn a_restart_keeps_what_verifies_and_only_that() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("build.zip");
    let (data, manifest) = build();
    let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
    keep(&store, &data, &manifest, 0);
    keep(&store, &data, &manifest, 2);
    let part = store.place.part();
    drop(store);
    let part = OpenOptions::new().write(true).open(part).unwrap();
    part.write_all_at(b"x", manifest.offset(manifest.chunk(2).unwrap()))
        .unwrap();
    let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
    assert_eq!(store.held().iter().map(ChunkIndex::get).collect::<Vec<_>>(), [0]);
}

#[test]
fn another_build_under_the_same_name_stands_until_ours_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("build.zip");
    std::fs::write(&target, b"the old build").unwrap();
    let (data, manifest) = build();
    let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
    assert!(store.held().is_empty());
    assert_eq!(std::fs::read(&target).unwrap(), b"the old build");
    keep(&store, &data, &manifest, 1);
    drop(store);
    // The old build in the way does not keep a restart from going on.
    let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
    assert_eq!(store.held().iter().map(ChunkIndex::get).collect::<Vec<_>>(), [1]);
    assert_eq!(std::fs::read(&target).unwrap(), b"the old build");
    (0..manifest.chunk_count()).for_each(|index| keep(&store, &data, &manifest, index));
    store.finish().unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), data);
}

#[test]
fn a_build_with_chunks_missing_does_not_reach_the_target() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("build.zip");
    let (data, manifest) = build();
    let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
    (1..manifest.chunk_count()).for_each(|index| keep(&store, &data, &manifest, index));
    assert!(matches!(store.finish(), Err(StoreError::Incomplete { missing: 1, .. })));
    assert!(!target.exists());
}

#[test]
fn a_corrupt_chunk_is_not_written_and_a_right_one_after_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("build.zip");
    let (data, manifest) = build();
    let store = Arc::new(DiskStore::open(&target, Arc::clone(&manifest)).unwrap());
    let chunk = manifest.chunk(0).unwrap();
    let sink = || ChunkSink::new(Arc::<DiskStore>::clone(&store), &manifest, chunk);
    let mut wrong = sink();
    assert!(wrong.write(&[7; 1024]));
    assert!(matches!(wrong.finish(), Received::Corrupt));
    assert!(matches!(store.read(chunk), Err(StoreError::NotHeld { .. })));
    assert_eq!(std::fs::read(store.place.part()).unwrap(), vec![0; data.len()]);
    let mut right = sink();
    assert!(right.write(&data[..1024]));
    assert!(matches!(right.finish(), Received::Stored));
    assert_eq!(store.read(chunk).unwrap(), data[..1024]);
}

#[test]
fn a_part_file_of_another_length_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("build.zip");
    let (data, manifest) = build();
    let mut longer = data;
    longer.push(0);
    std::fs::write(Place::of(&target, &manifest).unwrap().part(), &longer).unwrap();
    let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
    assert!(store.held().is_empty());
    assert_eq!(store.file().0.metadata().unwrap().len(), manifest.size().get());
}

#[test]
fn a_build_that_is_in_place_is_served_and_finishing_it_again_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("build.zip");
    let (data, manifest) = build();
    std::fs::write(&target, &data).unwrap();
    let store = DiskStore::open(&target, Arc::clone(&manifest)).unwrap();
    assert!(store.held().is_full());
    keep(&store, &data, &manifest, 0);
    assert_eq!(store.read(manifest.chunk(0).unwrap()).unwrap(), data[..1024]);
    store.finish().unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), data);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn devices_and_nameless_targets_are_refused() {
    let (_, manifest) = build();
    for target in ["/dev/null", "", "no-such-folder/.."] {
        let refused = DiskStore::open(Path::new(target), Arc::clone(&manifest));
        assert!(matches!(refused, Err(StoreError::TargetIsNotFile { .. })), "{target}");
    }
}

#[test]
fn errors_name_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let (_, manifest) = build();
    let error = DiskStore::open(folder.path(), Arc::clone(&manifest)).unwrap_err();
    assert!(error.to_string().contains("is a folder"), "{error}");
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = DiskStore::open(&file.join("below"), manifest).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn a_note_stands_beside_a_build_from_before_it_is_in_place_until_it_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("build.zip");
    let (data, manifest) = build();
    let options = DiskOptions {
        label: Some("v1".to_owned()),
        ..DiskOptions::default()
    };
    let store = DiskStore::open_with(&target, Arc::clone(&manifest), &options).unwrap();
    (0..manifest.chunk_count()).for_each(|index| keep(&store, &data, &manifest, index));
    // Not in place, so the note is of nothing.
    std::fs::create_dir(&target).unwrap();
    store.finish().unwrap_err();
    let note = folder.path().join(".build.zip.placed");
    assert!(note.exists() && Placed::at(&target).is_none());
    std::fs::remove_dir(&target).unwrap();
    store.finish().unwrap();
    let placed = Placed::at(&target).unwrap();
    assert_eq!((&*placed.label, placed.root), ("v1", Some(manifest.root().to_string())));
    // One of a release that wrote no root.
    let mut old: serde_json::Value = serde_json::from_slice(&std::fs::read(&note).unwrap()).unwrap();
    old.as_object_mut().unwrap().remove("root");
    std::fs::write(&note, old.to_string()).unwrap();
    assert_eq!(Placed::at(&target).unwrap().root, None);
    Placed::forget(&target);
    assert!(!note.exists());
    // What is mended came before.
    std::fs::write(&target, vec![0; data.len()]).unwrap();
    assert!(store.read(manifest.chunk(0).unwrap()).is_err());
    while store.look().more {}
    (0..manifest.chunk_count()).for_each(|index| keep(&store, &data, &manifest, index));
    assert_eq!(std::fs::read(&target).unwrap(), data);
    assert!(!note.exists());
    // What somebody else has put there is not what the note is of.
    Placed::write("v1", manifest.root(), &File::open(&target).unwrap(), &target).unwrap();
    assert!(Placed::at(&target).is_some());
    std::fs::write(&target, b"something else").unwrap();
    assert!(Placed::at(&target).is_none());
}
