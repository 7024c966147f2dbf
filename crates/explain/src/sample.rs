//! Which chunks are recorded: all of a small run's, and some that lie evenly in the build of a large one. Of a chunk that is recorded every
//! host's copy is, so that its way from the seeder to any host is known as a whole.

use std::sync::Arc;

/// Copies of chunks that a run records at most, all hosts together, where that leaves [`CHUNKS_LEAST`] of each host: 32 bytes each in
/// memory, about 11 in the file. So a run takes 8 MiB and a file of 3 MB, and a million hosts 256 MB and a file of 90.
pub const RECORDS_MAX: u64 = 1 << 18;

/// Chunks of each host that are recorded at least, however many hosts there are.
pub const CHUNKS_LEAST: u64 = 8;

/// Copies of chunks of which a forecast records all: it is over in a tenth of a second.
const FORECAST_WHOLE: u64 = 1 << 15;

/// The chunks of a build that are recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The chunks, in order.
    chunks: Arc<[u32]>,
    /// Where each chunk is among them; [`NOWHERE`] where it is not.
    places: Arc<[u32]>,
}

impl Sample {
    /// For a run of so many hosts, and a build of so many chunks.
    pub fn new(hosts: u64, chunks: u32) -> Self {
        let most = (RECORDS_MAX / hosts.max(1)).max(CHUNKS_LEAST);
        let count = u32::try_from(most).unwrap_or(u32::MAX).min(chunks);
        Self::of((0..count).map(|place| chunk_at(place, count, chunks)), chunks)
    }

    /// For a forecast, in which a chunk takes so little that to record each of them would cost a tenth of it: of a large one every sixth at
    /// most.
    pub fn of_forecast(hosts: u64, chunks: u32) -> Self {
        let all = hosts.saturating_mul(chunks.into()) <= FORECAST_WHOLE;
        let most = u32::try_from((RECORDS_MAX / hosts.max(1)).max(CHUNKS_LEAST)).unwrap_or(u32::MAX);
        let part = if all { chunks } else { (chunks / 6).max(1) };
        let count = most.min(part);
        Self::of((0..count).map(|place| chunk_at(place, count, chunks)), chunks)
    }

    /// These chunks, in order, of a build of so many; what is no chunk of it is left out.
    pub fn of(listed: impl IntoIterator<Item = u32>, chunks: u32) -> Self {
        let listed: Vec<u32> = listed.into_iter().filter(|chunk| *chunk < chunks).collect();
        let mut places = vec![NOWHERE; chunks as usize];
        for (place, chunk) in (0..).zip(&listed) {
            places[*chunk as usize] = place;
        }
        Self {
            chunks: listed.into(),
            places: places.into(),
        }
    }

    /// The chunks that are recorded.
    pub fn chunks(&self) -> &[u32] {
        &self.chunks
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Where a chunk is among those that are recorded.
    #[inline]
    pub fn place(&self, chunk: u32) -> Option<usize> {
        match self.places.get(chunk as usize) {
            Some(&place) if place != NOWHERE => Some(place as usize),
            _ => None,
        }
    }

    /// Of how many chunks each that is recorded is one.
    pub fn stride(&self) -> f64 {
        self.places.len() as f64 / self.chunks.len().max(1) as f64
    }
}

/// Evenly, but not in step with anything that counts chunks, as the parts of several seeders do. The last chunk is always one of them.
fn chunk_at(place: u32, count: u32, chunks: u32) -> u32 {
    let at = |place: u32| u64::from(place) * u64::from(chunks) / u64::from(count);
    let (from, to) = (at(place), at(place + 1));
    if place + 1 == count {
        return chunks - 1;
    }
    let within = (u64::from(place).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % (to - from).max(1);
    u32::try_from(from + within).unwrap_or(chunks - 1)
}

const NOWHERE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_run_records_all_and_a_large_one_some_that_are_even() {
        let all = Sample::new(100, 64);
        assert_eq!((all.len(), all.stride()), (64, 1.0));
        assert!((0..64).all(|chunk| all.place(chunk) == Some(chunk as usize)));
        for (hosts, chunks) in [(10_000, 2_560), (1_000_000, 2_560), (1, 1), (7, 3), (1 << 18, 1_000)] {
            let sample = Sample::new(hosts, chunks);
            let most = (RECORDS_MAX / hosts).max(CHUNKS_LEAST).min(chunks.into());
            assert_eq!(sample.len() as u64, most, "{hosts} hosts");
            assert!(sample.chunks().is_sorted_by(|a, b| a < b), "{:?}", sample.chunks());
            assert_eq!(sample.chunks().last(), Some(&(chunks - 1)));
            for seeders in 2..=8 {
                let parts = (0..seeders).map(|part| sample.chunks().iter().filter(|c| *c % seeders == part).count());
                let least = parts.min().unwrap();
                assert!(
                    most < 64 || least * 3 * seeders as usize > sample.len(),
                    "part {least} of {seeders}"
                );
            }
        }
    }

    #[test]
    fn of_a_large_forecast_a_sixth_is_recorded_and_of_a_small_one_all() {
        assert_eq!(Sample::of_forecast(60, 64).len(), 64);
        assert_eq!(Sample::of_forecast(400, 600).len(), 100);
        assert_eq!(Sample::of_forecast(10_000, 2_560).len(), 26);
        assert_eq!(Sample::of_forecast(1_000_000, 2).len(), 1);
    }

    #[test]
    fn chunks_that_are_none_are_left_out() {
        let sample = Sample::of([1, 5, 9], 6);
        assert_eq!(sample.chunks(), [1, 5]);
        assert_eq!(
            (sample.place(5), sample.place(9), sample.place(2)),
            (Some(1), None, None)
        );
        assert!(Sample::default().is_empty());
    }
}
