//! Who is connected and what each of them has, as far as this host knows. Invariant: nobody is in it twice, and
//! as many are struck as are counted.

use smallvec::SmallVec;

use crate::bitfield::Bitfield;
use crate::units::{ChunkIndex, HostId, ZoneId};

/// A connected member.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub(crate) host: HostId,
    /// Whether it can send the manifest.
    pub(crate) knows_manifest: bool,
    /// What it has; empty and of length 0 until the manifest is known here.
    pub(crate) has: Bitfield,
    /// What it said it has before the manifest was known here.
    pub(crate) said_early: Option<Box<EarlyHave>>,
    /// Times that it let requests become overdue since it last delivered.
    strikes: u32,
    /// Times that it gave up on a chunk since it last delivered.
    pub(crate) aborts: u32,
    /// How much of the log of acquired chunks it has been told.
    pub(crate) told: usize,
    /// Where it says it is.
    pub(crate) zone: Option<ZoneId>,
}

/// Where a host's knowledge of what its neighbours hold comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HoldingsSource {
    /// From their HAVE messages.
    #[default]
    Messages,
    /// From the driver, by [`Views`]: in virtual time the HAVE messages would be sixteen events for each transfer. What
    /// the seeder offers is still said by message, because it is said to one host.
    Supplied,
}

/// What a driver supplies of neighbours' holdings.
pub trait Views {
    /// What `host` has published by now, as far as its neighbours can know.
    fn held_by(&self, host: HostId) -> Option<&Bitfield>;

    /// Whether requests waited at `host` when it published that.
    fn is_busy(&self, host: HostId) -> Option<bool>;

    /// [`Views::held_by`] this host will be looked at in a moment.
    fn fetch(&self, _host: HostId) {}
}

/// A driver that supplies nothing: all knowledge comes by message.
impl Views for () {
    fn held_by(&self, _host: HostId) -> Option<&Bitfield> {
        None
    }

    #[inline]
    fn is_busy(&self, _host: HostId) -> Option<bool> {
        None
    }
}

impl Neighbour {
    /// Whether it has let a request become overdue since it last delivered.
    #[inline]
    pub(crate) const fn is_struck(&self) -> bool {
        self.strikes > 0
    }

    /// What it holds as far as is known here.
    #[inline]
    pub(crate) fn holdings<'a>(&'a self, views: &'a impl Views) -> &'a Bitfield {
        views.held_by(self.host).unwrap_or(&self.has)
    }
}

/// What a neighbour said it has while the number of chunks was not known here.
#[derive(Clone, Debug, Default)]
pub(crate) struct EarlyHave {
    pub(crate) all: bool,
    pub(crate) chunks: Vec<u32>,
}

/// The connected members, few enough to be searched one by one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Neighbours {
    list: Vec<Neighbour>,
    /// The hosts of `list`, apart: looking somebody up is what happens most, and reads two cache lines instead of twenty.
    hosts: SmallVec<[HostId; 20]>,
    /// Likewise, whether they are in another zone.
    remote: SmallVec<[bool; 20]>,
    /// Likewise, whether requests waited there when they last said so.
    busy: SmallVec<[bool; 20]>,
    /// How many of them are struck: most often nobody, and then nobody is looked at for it.
    struck: usize,
}

impl Neighbours {
    /// `remote` until it says where it is.
    pub(crate) fn insert(&mut self, host: HostId, chunk_count: u32, remote: bool) -> bool {
        if self.contains(host) {
            return false;
        }
        self.hosts.push(host);
        self.remote.push(remote);
        self.busy.push(false);
        self.list.push(Neighbour {
            host,
            knows_manifest: false,
            has: Bitfield::new(chunk_count),
            said_early: None,
            strikes: 0,
            aborts: 0,
            told: 0,
            zone: None,
        });
        true
    }

    pub(crate) fn remove(&mut self, host: HostId) -> Option<Neighbour> {
        let index = self.position(host)?;
        self.hosts.remove(index);
        self.remote.remove(index);
        self.busy.remove(index);
        let gone = self.list.remove(index);
        self.struck -= usize::from(gone.is_struck());
        Some(gone)
    }

    #[inline]
    pub(crate) fn contains(&self, host: HostId) -> bool {
        self.position(host).is_some()
    }

    #[inline]
    pub(crate) fn get(&self, host: HostId) -> Option<&Neighbour> {
        self.position(host).map(|index| &self.list[index])
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, host: HostId) -> Option<&mut Neighbour> {
        self.position(host).map(|index| &mut self.list[index])
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Neighbour> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Neighbour> {
        self.list.iter_mut()
    }

    #[inline]
    pub(crate) fn hosts(&self) -> &[HostId] {
        &self.hosts
    }

    #[inline]
    pub(crate) fn is_remote(&self, index: usize) -> bool {
        self.remote[index]
    }

    pub(crate) fn is_remote_host(&self, host: HostId) -> bool {
        self.position(host).is_some_and(|index| self.remote[index])
    }

    pub(crate) fn local_count(&self) -> usize {
        self.remote.iter().filter(|remote| !**remote).count()
    }

    /// `host` says that it is in `zone`, which is that of this host where not `remote`.
    pub(crate) fn set_zone(&mut self, host: HostId, zone: ZoneId, remote: bool) {
        if let Some(index) = self.position(host) {
            self.list[index].zone = Some(zone);
            self.remote[index] = remote;
        }
    }

    #[inline]
    pub(crate) fn at(&self, index: usize) -> &Neighbour {
        &self.list[index]
    }

    /// What the neighbour at `index` holds as far as is known here.
    #[inline]
    pub(crate) fn holdings<'a>(&'a self, index: usize, views: &'a impl Views) -> &'a Bitfield {
        views
            .held_by(self.hosts[index])
            .unwrap_or_else(|| &self.list[index].has)
    }

    /// Whether requests wait at the neighbour at `index` as far as is known here.
    #[inline]
    pub(crate) fn is_busy(&self, index: usize, views: &impl Views) -> bool {
        views.is_busy(self.hosts[index]).unwrap_or(self.busy[index])
    }

    /// `host` has let requests become overdue once more; tells how often since it last delivered.
    pub(crate) fn strike(&mut self, host: HostId) -> u32 {
        let Some(index) = self.position(host) else {
            return 0;
        };
        let neighbour = &mut self.list[index];
        self.struck += usize::from(!neighbour.is_struck());
        neighbour.strikes += 1;
        neighbour.strikes
    }

    /// `host` has delivered.
    #[inline]
    pub(crate) fn delivered(&mut self, host: HostId) {
        if let Some(index) = self.position(host) {
            let neighbour = &mut self.list[index];
            self.struck -= usize::from(neighbour.is_struck());
            neighbour.strikes = 0;
            neighbour.aborts = 0;
        }
    }

    /// Whether anybody has let requests become overdue since it last delivered.
    #[inline]
    pub(crate) const fn any_struck(&self) -> bool {
        self.struck > 0
    }

    /// `host` says whether requests wait there.
    pub(crate) fn set_busy(&mut self, host: HostId, waiting: bool) {
        if let Some(index) = self.position(host) {
            self.busy[index] = waiting;
        }
    }

    #[inline]
    fn position(&self, host: HostId) -> Option<usize> {
        self.hosts.iter().position(|other| *other == host)
    }
}

impl EarlyHave {
    /// Keeps at most as many chunks as a build can have.
    pub(crate) fn add(&mut self, chunks: &[u32]) {
        let room = (crate::manifest::CHUNKS_MAX as usize).saturating_sub(self.chunks.len());
        self.chunks.extend(chunks.iter().take(room));
    }
}

/// The chunk numbers as chunks of a build of `chunk_count`; `None` where one is beyond it.
pub(crate) fn checked(chunks: &[u32], chunk_count: u32) -> Option<Vec<ChunkIndex>> {
    let in_range = |&chunk: &u32| (chunk < chunk_count).then(|| ChunkIndex::new(chunk));
    chunks.iter().map(in_range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_struck_until_all_who_are_have_delivered_or_gone() {
        let mut neighbours = Neighbours::default();
        let [a, b, nobody] = [1, 2, 3].map(HostId::new);
        assert!(neighbours.insert(a, 1, false) && neighbours.insert(b, 1, false));
        assert_eq!(
            (neighbours.strike(a), neighbours.strike(a), neighbours.strike(b)),
            (1, 2, 1)
        );
        assert_eq!(neighbours.strike(nobody), 0);
        neighbours.delivered(a);
        neighbours.delivered(a);
        assert!(neighbours.any_struck() && neighbours.get(b).unwrap().is_struck());
        neighbours.remove(b);
        neighbours.delivered(nobody);
        assert!(!neighbours.any_struck());
        assert_eq!(neighbours.strike(a), 1, "what it has delivered since counts");
    }
}
