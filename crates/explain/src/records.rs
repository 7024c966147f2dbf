//! What a run keeps of what was recorded.

use scenario::{HostState, Scenario};
use serde::{Deserialize, Serialize};

use crate::Sample;
use crate::recorder::NOBODY;

/// A member of a region by its number: 0 is the first seeder, then come the hosts, then the other seeders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(pub u32);

impl Member {
    /// A host by its index in the region.
    pub const fn host(index: u32) -> Self {
        Self(index + 1)
    }

    /// Its index among `hosts` hosts; none where it is a seeder.
    pub const fn host_index(self, hosts: u32) -> Option<u32> {
        match self.0 {
            0 => None,
            number if number <= hosts => Some(number - 1),
            _ => None,
        }
    }

    /// Its index among seeders beside `hosts` hosts; none where it is a host or nobody.
    pub const fn seeder_index(self, hosts: u32) -> Option<u32> {
        match self.0 {
            0 => Some(0),
            u32::MAX => None,
            number if number > hosts => Some(number - hosts),
            _ => None,
        }
    }
}

/// A request for a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// When, in ticks; 0 where it was not made.
    pub at: u32,
    /// The number of the member that was asked.
    pub of: u32,
    /// When that one began to send, as far as the host saw; 0 where it did not.
    pub began: u32,
}

/// What became of a chunk at a host. Times are ticks of the run's clock, 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkRecord {
    /// The first request, and the last but for that.
    pub asked: [Asked; 2],
    /// When it was stored.
    pub stored: u32,
    /// Which of the two requests brought it; more than 1 where it was there already.
    pub from: u8,
    /// Requests in all.
    pub asks: u8,
    /// How many of them were turned down.
    pub refused: u8,
    /// How many of them brought nothing of use.
    pub failed: u8,
}

/// Where a stored chunk came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From a member that was asked so.
    Sent(Asked),
    /// It was there: no neighbour has sent it in this run.
    Found,
}

impl ChunkRecord {
    /// Where it came from; none where it is not stored.
    pub fn source(&self) -> Option<Source> {
        match (self.stored, self.from) {
            (0, _) => None,
            (_, from) if from >= NOBODY => Some(Source::Found),
            (_, from) => Some(Source::Sent(self.asked[usize::from(from)])),
        }
    }

    /// The request that was made last; none where none was.
    pub fn last_ask(&self) -> Option<Asked> {
        self.asked.into_iter().rev().find(|asked| asked.at != 0)
    }
}

/// What was recorded of a host. Times are ticks of the run's clock, 0 for never.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostRecord {
    /// How it ended.
    pub state: State,
    /// When it was started; 0 where it was there from the beginning.
    pub started: u32,
    /// When a seeder told it of the build.
    pub learned: u32,
    /// When it had the build's manifest.
    pub opened: u32,
    /// When it held the last chunk.
    pub complete: u32,
    /// When its driver had the build in place.
    pub done: u32,
    /// By place in the sample; empty where it has asked for nothing.
    pub chunks: Vec<ChunkRecord>,
}

impl HostRecord {
    /// Gives the members that it names other numbers; whoever has none is nobody.
    pub fn renumber(&mut self, number: impl Fn(u32) -> Option<u32>) {
        let asked = self.chunks.iter_mut().flat_map(|chunk| &mut chunk.asked);
        for asked in asked.filter(|asked| asked.at != 0) {
            asked.of = number(asked.of).unwrap_or(NO_MEMBER);
        }
    }
}

/// Number of nobody.
pub(crate) const NO_MEMBER: u32 = u32::MAX;

/// How a host ended, without the words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not done when the run ended.
    #[default]
    Pending,
    /// It has the build.
    Verified,
    /// It gave up.
    Failed,
    /// Nothing was expected of it.
    Excused,
}

impl From<&HostState> for State {
    fn from(state: &HostState) -> Self {
        match state {
            HostState::Verified => Self::Verified,
            HostState::Failed(_) => Self::Failed,
            HostState::Pending | HostState::Lost => Self::Pending,
            HostState::Excused => Self::Excused,
        }
    }
}

/// What was recorded of a region. Times are ticks of the run's clock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionRecords {
    /// When the build was complete in the region's bucket: what latencies count from. Below 0 where that was before the clock's zero; none
    /// where it did not come to that.
    pub complete_at: Option<i64>,
    /// When the seeders could send.
    pub seeding_at: Option<i64>,
    /// When the region ended.
    pub ended_at: i64,
    /// By index.
    pub hosts: Vec<HostRecord>,
}

/// What was recorded of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Records {
    /// What was run.
    pub scenario: Scenario,
    /// What was not the scenario's doing.
    pub facts: RunFacts,
    /// Which chunks were recorded.
    pub sample: Sample,
    /// By region, in the scenario's order.
    pub regions: Vec<RegionRecords>,
}

/// What a run knows beside its hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// Whether real peers ran.
    pub is_live: bool,
    /// Why the run ended early, as a word; none where it did not.
    pub stopped: Option<String>,
    /// Why the machine was what limited it, as a sentence; none where it was not.
    pub machine: Option<String>,
    /// How long the table of deployment logs took to have the last row, after the last host had the build, in ticks.
    pub rows_after: Option<i64>,
    /// Why hosts gave up, some of them: region, index, and the reason.
    pub errors: Vec<(usize, u32, String)>,
}
