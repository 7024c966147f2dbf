//! `records.bin` of a run's folder: a line that says what it is and of which version, a line of JSON, and the hosts' records.

use scenario::Scenario;
use serde::{Deserialize, Serialize};

use crate::packed::{Reader, put_host};
use crate::records::{Records, RegionRecords, RunFacts};
use crate::{Sample, TICK_NANOS};

/// Why a file is no use.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It does not begin as one.
    #[error("it is no file of a run's records; expected records.bin of a run's folder")]
    Other,
    /// It was written by another version of the program.
    #[error(
        "its format is {found} and this program reads {VERSION}; expected the program that made the run, or a run of this one"
    )]
    Version {
        /// The format that it says.
        found: String,
    },
    /// What it says of the run cannot be read.
    #[error("what it says of the run cannot be read")]
    Head(#[source] serde_json::Error),
    /// It ends too early, or was changed.
    #[error("it was cut off or changed: the records of host {host} of region {region} cannot be read")]
    Broken {
        /// Of the region.
        region: String,
        /// Its index.
        host: usize,
    },
}

#[derive(Serialize, Deserialize)]
struct Head {
    tick_nanos: u64,
    scenario: Scenario,
    facts: RunFacts,
    chunks: u32,
    recorded: Vec<u32>,
    regions: Vec<RegionHead>,
}

#[derive(Serialize, Deserialize)]
struct RegionHead {
    complete_at: Option<i64>,
    seeding_at: Option<i64>,
    ended_at: i64,
    hosts: usize,
}

impl Records {
    /// Name of the file in a run's folder.
    pub const FILE: &'static str = "records.bin";

    /// As a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = Head {
            tick_nanos: TICK_NANOS,
            scenario: self.scenario.clone(),
            facts: self.facts.clone(),
            chunks: self.chunks(),
            recorded: self.sample.chunks().to_vec(),
            regions: self
                .regions
                .iter()
                .map(|region| RegionHead {
                    complete_at: region.complete_at,
                    seeding_at: region.seeding_at,
                    ended_at: region.ended_at,
                    hosts: region.hosts.len(),
                })
                .collect(),
        };
        let mut bytes = format!("{MAGIC}{VERSION}\n").into_bytes();
        bytes.extend(serde_json::to_vec(&head).expect("a scenario has only keys that are text"));
        bytes.push(b'\n');
        for host in self.regions.iter().flat_map(|region| &region.hosts) {
            put_host(&mut bytes, host);
        }
        bytes
    }

    /// From a file.
    ///
    /// # Errors
    /// Where it is of another version, cut off, or something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FileError> {
        let (version, rest) = line(bytes).ok_or(FileError::Other)?;
        let version = version.strip_prefix(MAGIC.as_bytes()).ok_or(FileError::Other)?;
        if version != VERSION.to_string().as_bytes() {
            return Err(FileError::Version {
                found: String::from_utf8_lossy(version).chars().take(20).collect(),
            });
        }
        let (head, rest) = line(rest).ok_or(FileError::Other)?;
        let head: Head = serde_json::from_slice(head).map_err(FileError::Head)?;
        let mut reader = Reader(rest);
        let mut regions = Vec::new();
        for (index, of_region) in head.regions.into_iter().enumerate() {
            let mut region = RegionRecords {
                complete_at: of_region.complete_at,
                seeding_at: of_region.seeding_at,
                ended_at: of_region.ended_at,
                hosts: Vec::new(),
            };
            for host in 0..of_region.hosts {
                let name = head.scenario.regions.get(index).map(|region| region.name.clone());
                region.hosts.push(reader.host().map_err(|_broken| FileError::Broken {
                    region: name.unwrap_or_default(),
                    host,
                })?);
            }
            regions.push(region);
        }
        Ok(Self {
            scenario: head.scenario,
            facts: head.facts,
            sample: Sample::of(head.recorded, head.chunks),
            regions,
        })
    }

    /// Chunks of the build.
    pub fn chunks(&self) -> u32 {
        let chunks = self
            .scenario
            .build_size()
            .get()
            .div_ceil(self.scenario.chunk_size().into());
        u32::try_from(chunks).unwrap_or(u32::MAX)
    }
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

const MAGIC: &str = "fleetcast records ";
/// Of the format: it grows where a file of before cannot be read any more.
const VERSION: u32 = 1;
