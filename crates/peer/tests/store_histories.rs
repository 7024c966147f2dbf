//! Histories of several versions at one place on a real file system: fetched, given up, killed, changed on disk, replaced and removed
//! by others. Whatever happens, nothing stands at the place but what somebody put there as a whole, and nothing wrong is served.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use peer::{ChunkStore, DiskOptions, DiskStore, StoreError};
use proptest::prelude::*;
use swarm::{ChunkIndex, Manifest};

const CHUNK: usize = 1024;
const VERSIONS: usize = 3;

/// What happens next. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    /// Begin to fetch a version, or take it up again.
    Open {
        version: usize,
        looks: bool,
    },
    Keep {
        version: usize,
        chunk: u32,
    },
    /// Keep all that is missing.
    Fetch {
        version: usize,
    },
    Finish {
        version: usize,
    },
    /// Read every chunk.
    Read {
        version: usize,
    },
    /// Open, fetch and finish.
    Install {
        version: usize,
    },
    /// Look until there is nothing more to look at.
    Look {
        version: usize,
    },
    /// The process ends; killed, it leaves its lock.
    End {
        version: usize,
        killed: bool,
    },
    SpoilTarget {
        place: usize,
    },
    SpoilPart {
        version: usize,
        place: usize,
    },
    CutTarget {
        length: usize,
    },
    /// Somebody renames a file of his own onto the target.
    Replace {
        length: usize,
    },
    Remove,
    RemovePart {
        version: usize,
    },
    Chmod {
        mode: u32,
    },
}

struct Version {
    data: Vec<u8>,
    manifest: Arc<Manifest>,
    store: Option<DiskStore>,
    /// Chunks of the store's file that somebody has changed.
    spoiled: BTreeSet<u32>,
    is_fetching: bool,
    part_gone: bool,
}

struct World {
    folder: tempfile::TempDir,
    target: PathBuf,
    versions: Vec<Version>,
    /// What is at the target, and whose file that is.
    content: Option<Vec<u8>>,
    stands: Option<usize>,
    mode: Option<u32>,
}

fn versions() -> Vec<Version> {
    let first: Vec<u8> = (0_u32..2400).flat_map(u32::to_le_bytes).collect();
    // One byte is another, and one chunk is two places on.
    let mut second = first.clone();
    second[4 * CHUNK] ^= 1;
    let mut third = first.clone();
    third.extend_from_slice(&first[..2 * CHUNK]);
    third[6 * CHUNK..7 * CHUNK].copy_from_slice(&first[4 * CHUNK..5 * CHUNK]);
    let version = |data: Vec<u8>| Version {
        manifest: Arc::new(Manifest::of("app.zip", &data, CHUNK as u32).unwrap()),
        data,
        store: None,
        spoiled: BTreeSet::new(),
        is_fetching: false,
        part_gone: false,
    };
    [first, second, third].map(version).into()
}

impl Version {
    fn chunk(&self, chunk: u32) -> ChunkIndex {
        self.manifest.chunk(chunk % self.manifest.chunk_count()).unwrap()
    }

    fn bytes(&self, chunk: ChunkIndex) -> &[u8] {
        let start = self.manifest.offset(chunk) as usize;
        &self.data[start..start + self.manifest.length(chunk) as usize]
    }

    fn part(&self) -> String {
        format!(".app.zip.{}.part", &self.manifest.root().to_string()[..16])
    }

    /// Whether these bytes can be what the store has put together.
    fn can_be(&self, content: &[u8]) -> bool {
        content.len() == self.data.len()
            && self.manifest.chunks().all(|chunk| {
                let start = self.manifest.offset(chunk) as usize;
                let right = self.bytes(chunk);
                self.spoiled.contains(&chunk.get()) || &content[start..start + right.len()] == right
            })
    }
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            target: folder.path().join("app.zip"),
            folder,
            versions: versions(),
            content: None,
            stands: None,
            mode: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Whose the lock is.
    fn fetching(&self) -> Option<usize> {
        self.versions.iter().position(|version| version.is_fetching)
    }

    /// Carries out a step. Which version may have come to the target by it.
    fn step(&mut self, step: &Step) -> Option<usize> {
        match *step {
            Step::Open { version, looks } => self.open(version, looks),
            Step::Keep { version, chunk } => {
                let own = &self.versions[version];
                let (store, chunk) = (own.store.as_ref()?, own.chunk(chunk));
                keep(store, chunk, own.bytes(chunk));
                return (self.stands == Some(version)).then_some(version);
            }
            Step::Fetch { version } => {
                let own = &self.versions[version];
                let store = own.store.as_ref()?;
                let held = store.held();
                for chunk in own.manifest.chunks().filter(|chunk| !held.contains(*chunk)) {
                    keep(store, chunk, own.bytes(chunk));
                }
                return (self.stands == Some(version)).then_some(version);
            }
            Step::Finish { version } => return self.finish(version),
            Step::Read { version } => {
                let own = &self.versions[version];
                let store = own.store.as_ref()?;
                own.manifest.chunks().for_each(|chunk| read(store, own, chunk));
            }
            Step::Install { version } => {
                self.open(version, true);
                self.step(&Step::Fetch { version });
                return self.finish(version);
            }
            Step::Look { version } => {
                let own = &self.versions[version];
                let store = own.store.as_ref()?;
                loop {
                    let looked = store.look();
                    for (chunk, _) in &looked.lost {
                        assert!(own.spoiled.contains(&chunk.get()), "lost for nothing");
                    }
                    if !looked.more {
                        break;
                    }
                }
            }
            Step::End { version, killed } => {
                let own = &mut self.versions[version];
                let had_lock = own.store.take().is_some() && own.is_fetching;
                own.is_fetching = false;
                if killed && had_lock {
                    std::fs::write(self.path(".app.zip.lock"), "1\n").unwrap();
                }
            }
            Step::SpoilTarget { .. }
            | Step::CutTarget { .. }
            | Step::SpoilPart { .. }
            | Step::Replace { .. }
            | Step::Remove
            | Step::RemovePart { .. }
            | Step::Chmod { .. } => self.meddle(step)?,
        }
        None
    }

    /// Somebody else changes a file. `None` where there is none to change.
    fn meddle(&mut self, step: &Step) -> Option<()> {
        match *step {
            Step::SpoilTarget { place } => {
                let length = self.content.as_ref().filter(|content| !content.is_empty())?.len();
                let place = place % length;
                flip(&self.target, place);
                self.changed_by_others(place / CHUNK..place / CHUNK + 1);
            }
            Step::CutTarget { length } => {
                let before = self.content.as_ref().filter(|content| !content.is_empty())?.len();
                let file = File::options().write(true).open(&self.target).unwrap();
                file.set_len((length % before) as u64).unwrap();
                self.changed_by_others(length % before / CHUNK..before.div_ceil(CHUNK));
            }
            Step::SpoilPart { version, place } => {
                let path = self.path(&self.versions[version].part());
                let own = &mut self.versions[version];
                let place = place % own.data.len();
                if path.exists() && std::fs::metadata(&path).unwrap().len() > place as u64 {
                    flip(&path, place);
                    own.spoiled.insert((place / CHUNK) as u32);
                }
            }
            Step::Replace { length } => {
                let own = self.path("somebody's");
                std::fs::write(&own, vec![7; length]).unwrap();
                std::fs::rename(&own, &self.target).unwrap();
                self.put_by_others();
            }
            Step::Remove => {
                let _ = std::fs::remove_file(&self.target);
                self.put_by_others();
            }
            Step::RemovePart { version } => {
                let removed = std::fs::remove_file(self.path(&self.versions[version].part()));
                let own = &mut self.versions[version];
                own.part_gone |= removed.is_ok();
            }
            Step::Chmod { mode } => {
                if self.content.is_some() {
                    std::fs::set_permissions(&self.target, Permissions::from_mode(mode)).unwrap();
                    self.mode = Some(mode);
                }
            }
            Step::Open { .. }
            | Step::Keep { .. }
            | Step::Fetch { .. }
            | Step::Finish { .. }
            | Step::Read { .. }
            | Step::Install { .. }
            | Step::Look { .. }
            | Step::End { .. } => unreachable!("a store's own step"),
        }
        Some(())
    }

    fn open(&mut self, version: usize, looks: bool) {
        let fetching = self.fetching();
        if self.versions[version].store.is_some() {
            return;
        }
        let options = DiskOptions {
            look_at_open: if looks {
                DiskOptions::default().look_at_open
            } else {
                Default::default()
            },
            ..DiskOptions::default()
        };
        let is_in_place = self.content.as_ref() == Some(&self.versions[version].data);
        let opened = DiskStore::open_with(&self.target, Arc::clone(&self.versions[version].manifest), &options);
        let own = &mut self.versions[version];
        match opened {
            Ok(store) => {
                assert!(is_in_place || fetching.is_none(), "two write to one place");
                assert!(!is_in_place || store.held().is_full());
                own.store = Some(store);
                own.is_fetching = !is_in_place;
                own.part_gone = false;
                own.spoiled.clear();
                if is_in_place {
                    self.stands = Some(version);
                }
            }
            Err(StoreError::InUse { process, .. }) => {
                // One whose installed file has lost chunks holds the place while it is mended.
                let is_mended = |version: &Version| version.store.as_ref().is_some_and(|store| !store.held().is_full());
                assert!(!is_in_place && (fetching.is_some() || self.versions.iter().any(is_mended)));
                assert_eq!(process, Some(std::process::id()));
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn finish(&mut self, version: usize) -> Option<usize> {
        let own = &mut self.versions[version];
        let store = own.store.as_ref()?;
        let is_full = store.held().is_full();
        match store.finish() {
            Ok(()) => {
                assert!(is_full && !(own.is_fetching && own.part_gone));
                if !std::mem::replace(&mut own.is_fetching, false) {
                    return (self.stands == Some(version)).then_some(version);
                }
                self.stands = Some(version);
                // What was left by versions that nobody is at has gone, and so has the lock.
                let names = self.names();
                assert_eq!(names, BTreeSet::from(["app.zip".to_owned()]), "left behind");
                Some(version)
            }
            Err(StoreError::Incomplete { .. }) => {
                assert!(!is_full);
                None
            }
            Err(StoreError::PartReplaced { .. }) => {
                assert!(own.part_gone, "nobody has touched it");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Somebody has written into the file at the target, here.
    fn changed_by_others(&mut self, chunks: std::ops::Range<usize>) {
        if let Some(version) = self.stands {
            self.versions[version].spoiled.extend(chunks.map(|chunk| chunk as u32));
        }
        self.content = std::fs::read(&self.target).ok();
    }

    /// Another file stands at the target.
    fn put_by_others(&mut self) {
        self.stands = None;
        self.content = std::fs::read(&self.target).ok();
        self.mode = self.content.as_ref().map(|_| mode(&self.target));
    }

    /// What must hold after every step, by which `came` may have come to the target.
    fn check(&mut self, came: Option<usize>) {
        let content = std::fs::read(&self.target).ok();
        if content != self.content {
            let version = came.expect("nobody may have written to the target");
            let content = content.as_ref().expect("nobody removes it");
            assert!(self.versions[version].can_be(content), "what stands there is no build");
        }
        self.content = content;
        if self.content.is_some() {
            let mode = mode(&self.target);
            assert_eq!(mode, *self.mode.get_or_insert(mode), "the mode has changed");
        }
        let parts: Vec<String> = self.versions.iter().map(Version::part).collect();
        for name in self.names() {
            let is_part = parts.contains(&name);
            assert!(is_part || name == "app.zip" || name == ".app.zip.lock", "{name}");
            assert!(
                !is_part || mode(&self.path(&name)) == 0o600,
                "{name} can be read by others"
            );
        }
    }
}

fn read(store: &DiskStore, version: &Version, chunk: ChunkIndex) {
    let was_held = store.held().contains(chunk);
    match store.read(chunk) {
        Ok(bytes) => assert!(was_held && bytes == version.bytes(chunk), "wrong bytes are served"),
        Err(StoreError::NotHeld { .. }) => assert!(!was_held),
        Err(StoreError::Lost { .. }) => {
            assert!(was_held && version.spoiled.contains(&chunk.get()), "lost for nothing");
            assert!(!store.held().contains(chunk));
        }
        Err(error) => panic!("{error}"),
    }
}

fn keep(store: &DiskStore, chunk: ChunkIndex, bytes: &[u8]) {
    match store.keep(chunk, Bytes::copy_from_slice(bytes)) {
        Ok(()) | Err(StoreError::DoesNotStay { .. } | StoreError::PartReplaced { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

fn flip(path: &Path, place: usize) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], place as u64).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

fn step() -> impl Strategy<Value = Step> {
    let version = 0..VERSIONS;
    prop_oneof![
        4 => (version.clone(), any::<bool>()).prop_map(|(version, looks)| Step::Open { version, looks }),
        3 => (version.clone(), any::<u32>()).prop_map(|(version, chunk)| Step::Keep { version, chunk }),
        4 => version.clone().prop_map(|version| Step::Fetch { version }),
        3 => version.clone().prop_map(|version| Step::Finish { version }),
        4 => version.clone().prop_map(|version| Step::Read { version }),
        4 => version.clone().prop_map(|version| Step::Install { version }),
        2 => version.clone().prop_map(|version| Step::Look { version }),
        3 => (version.clone(), any::<bool>()).prop_map(|(version, killed)| Step::End { version, killed }),
        4 => any::<usize>().prop_map(|place| Step::SpoilTarget { place }),
        2 => (version.clone(), any::<usize>()).prop_map(|(version, place)| Step::SpoilPart { version, place }),
        1 => any::<usize>().prop_map(|length| Step::CutTarget { length }),
        1 => (0_usize..20_000).prop_map(|length| Step::Replace { length }),
        1 => Just(Step::Remove),
        1 => version.prop_map(|version| Step::RemovePart { version }),
        1 => prop::sample::select(vec![0o600, 0o644, 0o755, 0o4755]).prop_map(|mode| Step::Chmod { mode }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_happens_the_place_has_a_build_as_it_was_put_there_and_nothing_wrong_is_served(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new();
        for step in &steps {
            // A second fetch at the same place waits for a second before it is refused: in some histories only.
            if let Step::Open { version, .. } | Step::Install { version } = step
                && !steps.len().is_multiple_of(8)
                && world.fetching().is_some_and(|fetching| fetching != *version)
            {
                continue;
            }
            let came = world.step(step);
            world.check(came);
        }
        // In the end any version can be brought to its place.
        world.versions.iter_mut().for_each(|version| {
            version.store = None;
            version.is_fetching = false;
        });
        for version in 0..VERSIONS {
            for step in [Step::Open { version, looks: true }, Step::Fetch { version }, Step::Finish { version }] {
                let came = world.step(&step);
                world.check(came);
            }
            prop_assert_eq!(world.content.as_ref(), Some(&world.versions[version].data));
        }
    }
}
