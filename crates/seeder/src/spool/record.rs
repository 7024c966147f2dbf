//! What the spool writes down of a build: the record of one that is whole, and the journal of one that is being pulled.
//!
//! Invariant: a record or a journal that can be read says of every chunk what hash S3's bytes had. Neither says that the file
//! still has these bytes: who reads a chunk hashes it.

use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use cloud::ObjectInfo;
use serde::{Deserialize, Serialize};
use swarm::{Bytes as ByteCount, Hash, Manifest};

/// Name of one version of one object, the same in every process: two buckets, keys or versions never share one, and no key can
/// lead out of the folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildName(String);

impl BuildName {
    /// The name of a version of an object.
    pub fn of(object: &ObjectInfo) -> Self {
        let mut text = Vec::new();
        for part in [&object.bucket, &object.key, &object.etag] {
            text.extend_from_slice(&(part.len() as u64).to_le_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        let mut name = Hash::of(&text).to_string();
        name.truncate(NAME_LENGTH);
        Self(name)
    }

    /// A name and what follows it in the name of a file, where it is one of ours.
    pub(super) fn parse(file_name: &str) -> Option<(Self, &str)> {
        let (name, ending) = file_name.split_once('.')?;
        let is_name = name.len() == NAME_LENGTH && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_name.then(|| (Self(name.to_owned()), ending))
    }

    pub(super) fn with(&self, ending: &str) -> String {
        format!("{}.{ending}", self.0)
    }
}

/// A build whose bytes are all there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    format: u32,
    bucket: String,
    key: String,
    etag: String,
    size: u64,
    chunk_size: u32,
    /// Of the manifest: a record that was changed on its way does not go through.
    root: String,
    hashes: Vec<String>,
    /// Who vouches for it, as it came with the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signature: Option<String>,
    /// The file as it was when it was last known to be right.
    pub(super) file: FileSeen,
    /// Seconds since 1970.
    pub(super) pulled_at: u64,
}

/// By what a file is known again without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileSeen {
    length: u64,
    inode: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl FileSeen {
    pub(super) fn of(file: &Metadata) -> Self {
        Self {
            length: file.len(),
            inode: file.ino(),
            modified_s: file.mtime(),
            modified_ns: file.mtime_nsec(),
        }
    }
}

impl Record {
    pub(super) fn new(object: &ObjectInfo, manifest: &Manifest, file: FileSeen, pulled_at: u64) -> Self {
        Self {
            format: FORMAT,
            bucket: object.bucket.clone(),
            key: object.key.clone(),
            etag: object.etag.clone(),
            size: object.size,
            chunk_size: manifest.chunk_size(),
            root: manifest.root().to_string(),
            hashes: manifest.hashes().iter().map(Hash::to_string).collect(),
            signature: None,
            file,
            pulled_at,
        }
    }

    /// Reads a record, and what is wrong with it where it is none.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| error.to_string())?;
        let record: Self = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        if record.format != FORMAT {
            return Err(format!("format {}; expected {FORMAT}", record.format));
        }
        Ok(record)
    }

    pub(super) fn object(&self) -> ObjectInfo {
        ObjectInfo {
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            size: self.size,
            etag: self.etag.clone(),
        }
    }

    /// The manifest, and what is wrong with the record where it has none.
    pub(super) fn manifest(&self) -> Result<Manifest, String> {
        let hashes: Option<Vec<Hash>> = self.hashes.iter().map(|text| Hash::from_hex(text)).collect();
        let hashes = hashes.ok_or("a hash is none; expected 64 hexadecimal digits")?;
        let manifest = Manifest::new(&self.key, ByteCount::new(self.size), self.chunk_size, hashes);
        let manifest = manifest.map_err(|error| error.to_string())?;
        if manifest.root().to_string() != self.root {
            return Err(format!("its root is {}; expected {}", manifest.root(), self.root));
        }
        Ok(manifest)
    }
}

/// First line of a journal: what is being pulled, and how it is cut.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    bucket: String,
    key: String,
    etag: String,
    size: u64,
    chunk_size: u32,
}

/// Every other line: chunks that have been written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    first: u32,
    hashes: Vec<String>,
}

/// What is there of a build that is being pulled.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
}

/// A journal of before: the object, how it is cut, and the hash of each chunk that was written.
pub(super) struct Found {
    pub(super) object: ObjectInfo,
    pub(super) chunk_size: u32,
    pub(super) chunks: Vec<(u32, Hash)>,
}

impl Journal {
    /// Begins an empty one.
    pub(super) fn begin(path: &Path, object: &ObjectInfo, chunk_size: u32) -> io::Result<Self> {
        let file = File::options().write(true).create(true).truncate(true).open(path)?;
        let header = Header {
            format: FORMAT,
            bucket: object.bucket.clone(),
            key: object.key.clone(),
            etag: object.etag.clone(),
            size: object.size,
            chunk_size,
        };
        let mut journal = Self { file };
        journal.write(serde_json::to_vec(&header)?)?;
        Ok(journal)
    }

    /// Writes down chunks that are in the file.
    pub(super) fn add(&mut self, first: u32, hashes: &[Hash]) -> io::Result<()> {
        let hashes = hashes.iter().map(Hash::to_string).collect();
        self.write(serde_json::to_vec(&Line { first, hashes })?)
    }

    /// In one call, so that a process that dies leaves whole lines.
    fn write(&mut self, mut line: Vec<u8>) -> io::Result<()> {
        line.push(b'\n');
        self.file.write_all(&line)
    }

    /// What a journal says; `None` where it does not say what it is of. A last line that was cut off is left out.
    pub(super) fn read(path: &Path) -> Option<Found> {
        let text = String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned();
        let mut lines = text.lines();
        let header: Header = serde_json::from_str(lines.next()?).ok()?;
        if header.format != FORMAT {
            return None;
        }
        let mut chunks = Vec::new();
        for line in lines.map_while(|line| serde_json::from_str::<Line>(line).ok()) {
            for (chunk, text) in (line.first..).zip(&line.hashes) {
                chunks.push((chunk, Hash::from_hex(text)?));
            }
        }
        Some(Found {
            object: ObjectInfo {
                bucket: header.bucket,
                key: header.key,
                size: header.size,
                etag: header.etag,
            },
            chunk_size: header.chunk_size,
            chunks,
        })
    }
}

/// Of records and journals; one of another format is pulled again.
const FORMAT: u32 = 2;
/// Hexadecimal digits of a name: 128 bits, so that two objects never share one.
const NAME_LENGTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn object(bucket: &str, key: &str, etag: &str) -> ObjectInfo {
        ObjectInfo {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            size: 5000,
            etag: etag.to_owned(),
        }
    }

    #[test]
    fn names_differ_wherever_bucket_key_or_version_does_and_stay_in_the_folder() {
        let long = "k".repeat(1024);
        let objects = [
            object("a", "b", "c"),
            object("ab", "", "c"),
            object("a", "bc", ""),
            object("a", "../../etc/passwd", "c"),
            object("a", &long, "c"),
        ];
        let names: std::collections::BTreeSet<BuildName> = objects.iter().map(BuildName::of).collect();
        assert_eq!(names.len(), objects.len());
        for name in names {
            let file = name.with("data");
            assert_eq!(BuildName::parse(&file), Some((name, "data")));
        }
        assert_eq!(BuildName::parse("app.zip"), None);
    }

    #[test]
    fn a_record_comes_back_and_one_that_was_changed_does_not_go_through() {
        let folder = tempfile::tempdir().unwrap();
        let object = object("a", "b", "c");
        let manifest = Manifest::of("b", &[7; 5000], 1024).unwrap();
        let record = Record::new(&object, &manifest, FileSeen::default(), 1);
        let text = serde_json::to_string(&record).unwrap();
        let path = folder.path().join("r");
        std::fs::write(&path, &text).unwrap();
        let read = Record::read(&path).unwrap();
        assert_eq!(read.object(), object);
        assert_eq!(read.manifest().unwrap(), manifest);
        let changed = text.replace("\"chunk_size\":1024", "\"chunk_size\":1025");
        for wrong in [changed.as_str(), "", "{}", &text[..100]] {
            std::fs::write(&path, wrong).unwrap();
            assert!(
                Record::read(&path).and_then(|record| record.manifest()).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_journal_whose_last_line_was_cut_off_is_read_up_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let object = object("a", "b", "c");
        let mut journal = Journal::begin(&path, &object, 1024).unwrap();
        let hashes: Vec<Hash> = (0..4_u8).map(|n| Hash::of(&[n])).collect();
        journal.add(0, &hashes[..2]).unwrap();
        journal.add(3, &hashes[3..]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let found = Journal::read(&path).unwrap();
        assert_eq!((found.object, found.chunk_size), (object, 1024));
        assert_eq!(found.chunks, [(0, hashes[0]), (1, hashes[1]), (3, hashes[3])]);
        std::fs::write(&path, &whole[..whole.len() - 10]).unwrap();
        assert_eq!(Journal::read(&path).unwrap().chunks.len(), 2);
        std::fs::write(&path, &whole[..20]).unwrap();
        assert!(Journal::read(&path).is_none());
    }
}
