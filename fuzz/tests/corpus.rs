//! The corpus is replayed, whole and changed: what a fuzzer has found once is not to come back, and a change of the code meets, in
//! seconds, inputs that once led everywhere. Changes are drawn from a seed, which a failure names.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

use std::fs;
use std::path::{Path, PathBuf};

use fleetcast_fuzz::{TARGETS, seeds};
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Names and bytes, in order.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: PathBuf| (path.file_name().unwrap().display().to_string(), fs::read(path).unwrap());
    let of_files = files.into_iter().map(read);
    let of_code = seeds(target).into_iter().map(|bytes| ("a seed".to_owned(), bytes));
    of_code.chain(of_files).collect()
}

/// Says what was played when a target panics, so that it can be played again.
struct Playing<'a> {
    what: String,
    data: &'a [u8],
}

impl Drop for Playing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("played: {}, {:?}", self.what, self.data);
        }
    }
}

#[test]
fn every_target_lets_its_corpus_pass() {
    for &(target, run) in TARGETS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{target} has no corpus");
        for (name, data) in &corpus {
            let what = format!("{target} {name}");
            let playing = Playing { what, data };
            run(playing.data);
        }
    }
}

#[test]
fn every_target_lets_changes_of_its_corpus_pass() {
    for &(target, run) in TARGETS {
        let corpus = corpus(target);
        for seed in 0..CHANGES {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let (name, data) = &corpus[rng.random_range(0..corpus.len())];
            let (_, other) = &corpus[rng.random_range(0..corpus.len())];
            let data = changed(data, other, &mut rng);
            let what = format!("{target} {name} changed by seed {seed}");
            let playing = Playing { what, data: &data };
            run(playing.data);
        }
    }
}

/// Bits turned, bytes put in and taken out, and ends of another input.
fn changed(data: &[u8], other: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    let mut data = data.to_vec();
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=data.len());
        match rng.random_range(0..5) {
            0 if at < data.len() => data[at] ^= 1 << rng.random_range(0..8),
            1 if at < data.len() => data[at] = rng.random(),
            2 => data.insert(at, rng.random()),
            3 if at < data.len() => {
                data.remove(at);
            }
            _ => {
                data.truncate(at);
                data.extend_from_slice(&other[rng.random_range(0..=other.len())..]);
            }
        }
    }
    data
}

/// Inputs that may be long cost time and bring nothing: the corpus is what everybody clones.
#[test]
fn the_corpus_is_small() {
    for &(target, _) in TARGETS {
        let corpus = corpus(target);
        let bytes: usize = corpus.iter().map(|(_, data)| data.len()).sum();
        assert!(
            bytes <= 200 << 10,
            "{target} has {bytes} bytes of corpus; `scripts/fuzz.sh merge {target}` makes it small"
        );
    }
}

/// Of each target: seconds in all.
const CHANGES: u64 = 2000;
