//! Looks for chunks of a build in files that are here already: an older build at the same place, or others.
//!
//! Chunks are compared where files of the same chunk size have theirs, at multiples of it, and found whatever their index is
//! now. Bytes that moved by anything else are not found: a manifest has one hash a chunk and no way to look between them.
//! Finding costs reading; it is done a step at a time, so that whoever looks can do so for a moment or beside the transfer.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use swarm::{Bitfield, ChunkIndex, Hash, Manifest};

/// A search through some files, in order.
#[derive(Debug)]
pub(super) struct Search {
    chunk_size: u32,
    wanted: HashMap<Hash, Vec<ChunkIndex>>,
    /// Where the last chunk is and how long, where it is shorter than the others.
    short: Option<(u64, usize)>,
    sources: VecDeque<PathBuf>,
    current: Option<Source>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Source {
    file: File,
    path: PathBuf,
    length: u64,
    next: u64,
}

/// A place in a file whose bytes are those of some chunks.
pub(super) struct Match<'a> {
    /// The file they are in.
    pub(super) file: &'a File,
    /// Where in it.
    pub(super) offset: u64,
    /// What was read there.
    pub(super) bytes: &'a [u8],
    /// The chunks with these bytes.
    pub(super) chunks: Vec<ChunkIndex>,
}

impl Search {
    /// A search in `sources` for what is not `held` of the build of `manifest`.
    pub(super) fn new(manifest: &Manifest, held: &Bitfield, sources: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut wanted: HashMap<Hash, Vec<ChunkIndex>> = HashMap::new();
        for chunk in manifest.chunks().filter(|chunk| !held.contains(*chunk)) {
            wanted.entry(manifest.hash(chunk)).or_default().push(chunk);
        }
        let last = manifest.chunks().last();
        let last = last.filter(|last| manifest.length(*last) < manifest.chunk_size());
        Self {
            chunk_size: manifest.chunk_size(),
            wanted,
            short: last.map(|last| (manifest.offset(last), manifest.length(last) as usize)),
            sources: sources.into_iter().collect(),
            current: None,
            buffer: Vec::new(),
        }
    }

    /// Looks at the next place, one chunk long, and gives what is there to `take`. `false` where there is nothing more to look at.
    ///
    /// A file that cannot be read is passed over: it would have been a help and is no more than that.
    pub(super) fn step(&mut self, take: impl FnOnce(Match<'_>)) -> bool {
        if self.wanted.is_empty() {
            return false;
        }
        let Some(source) = self.current.as_mut().filter(|source| source.next < source.length) else {
            self.current = None;
            let Some(path) = self.sources.pop_front() else {
                return false;
            };
            match open(path.clone()) {
                Ok(source) => self.current = Some(source),
                Err(error) => tracing::debug!(path = %path.display(), %error, "not looked at for chunks"),
            }
            return true;
        };
        let offset = source.next;
        let length = (source.length - offset).min(self.chunk_size.into());
        source.next += length;
        self.buffer.resize(length as usize, 0);
        if let Err(error) = source.file.read_exact_at(&mut self.buffer, offset) {
            tracing::debug!(path = %source.path.display(), %error, "no longer looked at for chunks");
            self.current = None;
            return true;
        }
        let mut bytes = &self.buffer[..];
        let mut chunks = self.wanted.remove(&Hash::of(bytes));
        // The short chunk at the end of the build may stand where an older one goes on, or where it ended.
        if chunks.is_none()
            && let Some((place, short)) = self.short
            && short < bytes.len()
            && (offset == place || source.next == source.length)
        {
            bytes = &bytes[..short];
            chunks = self.wanted.remove(&Hash::of(bytes));
        }
        if let Some(chunks) = chunks {
            take(Match {
                file: &source.file,
                offset,
                bytes,
                chunks,
            });
        }
        true
    }
}

/// Copies bytes from one file into another, by the file system itself where it can, which may share them. `false` where it cannot
/// or the source has become shorter: then not all is copied.
pub(super) fn copy(from: &File, from_offset: u64, to: &File, to_offset: u64, length: u64) -> bool {
    let (mut from_offset, mut to_offset, mut left) = (from_offset, to_offset, length);
    while left > 0 {
        let step = usize::try_from(left.min(COPY_STEP)).expect("a step fits");
        match rustix::fs::copy_file_range(from, Some(&mut from_offset), to, Some(&mut to_offset), step) {
            Ok(copied) if copied > 0 => left -= copied as u64,
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

fn open(path: PathBuf) -> io::Result<Source> {
    // A pipe would wait for its writer.
    let file = OpenOptions::new().read(true).custom_flags(super::NO_WAIT).open(&path)?;
    let there = file.metadata()?;
    if !there.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(Source {
        length: there.len(),
        file,
        path,
        next: 0,
    })
}

/// Bytes that the kernel is asked to copy at a time.
const COPY_STEP: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = 1024;

    fn find(build: &[u8], files: &[&[u8]]) -> Vec<u32> {
        let folder = tempfile::tempdir().unwrap();
        let manifest = Manifest::of("b", build, CHUNK as u32).unwrap();
        let paths = files.iter().enumerate().map(|(number, content)| {
            let path = folder.path().join(number.to_string());
            std::fs::write(&path, content).unwrap();
            path
        });
        let missing = [folder.path().join("missing"), folder.path().to_owned()];
        let sources: Vec<PathBuf> = missing.into_iter().chain(paths).collect();
        let held = Bitfield::new(manifest.chunk_count());
        let mut search = Search::new(&manifest, &held, sources);
        let mut found = Vec::new();
        while search.step(|found_here| {
            for chunk in &found_here.chunks {
                assert_eq!(Hash::of(found_here.bytes), manifest.hash(*chunk));
                found.push(chunk.get());
            }
        }) {}
        found.sort_unstable();
        found
    }

    fn block(content: u8) -> Vec<u8> {
        vec![content; CHUNK]
    }

    #[test]
    fn chunks_are_found_at_any_index_and_once() {
        let build = [block(1), block(2), block(1), block(4), vec![5; 100]].concat();
        assert_eq!(find(&build, &[&[block(9), block(2), block(1)].concat()]), [0, 1, 2]);
        assert_eq!(find(&build, &[&build, &build]), [0, 1, 2, 3, 4]);
        assert_eq!(find(&build, &[]), [0; 0]);
        assert_eq!(find(&build, &[&[], &[1; 1023]]), [0; 0]);
    }

    #[test]
    fn the_short_chunk_at_the_end_is_found_where_an_older_build_goes_on_or_ended() {
        let build = [block(1), vec![5; 100]].concat();
        assert_eq!(find(&build, &[&[block(2), block(5)].concat()]), [1]);
        assert_eq!(find(&build, &[&[block(2), block(3), vec![5; 100]].concat()]), [1]);
        assert_eq!(find(&build, &[&[block(2), block(3), vec![5; 99]].concat()]), [0; 0]);
    }
}
