//! What passed in a region while it was going on: from whom chunks came, how old each chunk became, what each host gave. By the chunks that were
//! recorded, which stand for all of them.

use crate::records::{Member, Records, Source};

/// What passed in a region. Times are ticks since the build was complete in the region's bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// When chunks had come, and how many copies of those that were recorded had come by then.
    pub received: Vec<Received>,
    /// Of each recorded chunk that any host stored, in the order of its first copy: when its first and its last copy was stored.
    pub ages: Vec<(i64, i64)>,
    /// Copies that each host gave to others, by index.
    pub given: Vec<u32>,
    /// Of how many chunks each that was recorded is one.
    pub stride: f64,
}

/// How many copies had come by a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The time.
    pub at: i64,
    /// From seeders.
    pub from_seeders: u64,
    /// From other hosts.
    pub from_hosts: u64,
}

impl Records {
    /// What passed in a region, told at so many times, evenly from when the build was there to the last copy. None where it never was
    /// there, or nothing came.
    pub fn flow(&self, region: usize, points: u32) -> Option<Flow> {
        let records = self.regions.get(region)?;
        let hosts = u32::try_from(records.hosts.len()).ok()?;
        let begin = records.complete_at?;
        let mut came: Vec<(i64, bool)> = Vec::new();
        let mut ages = vec![None; self.sample.len()];
        let mut given = vec![0; records.hosts.len()];
        for host in &records.hosts {
            for (age, chunk) in ages.iter_mut().zip(&host.chunks) {
                let Some(source) = chunk.source() else { continue };
                let at = i64::from(chunk.stored) - begin;
                let (first, last) = age.unwrap_or((at, at));
                *age = Some((at.min(first), at.max(last)));
                let Source::Sent(asked) = source else { continue };
                let from = Member(asked.of);
                came.push((at, from.seeder_index(hosts).is_some()));
                let giver = from.host_index(hosts).and_then(|index| given.get_mut(index as usize));
                if let Some(given) = giver {
                    *given += 1;
                }
            }
        }
        came.sort_unstable();
        let end = came.last()?.0.max(1);
        let mut ages: Vec<(i64, i64)> = ages.into_iter().flatten().collect();
        ages.sort_unstable();
        Some(Flow {
            received: told(&came, end, points.max(1)),
            ages,
            given,
            stride: self.sample.stride(),
        })
    }
}

/// Sums of what came, in order, by each of so many times.
fn told(came: &[(i64, bool)], end: i64, points: u32) -> Vec<Received> {
    let mut sum = Received::default();
    let mut rest = came.iter().peekable();
    let point = |number: u32| {
        sum.at = end * i64::from(number) / i64::from(points);
        while let Some((_, is_seeders)) = rest.next_if(|(at, _)| *at <= sum.at) {
            match is_seeders {
                true => sum.from_seeders += 1,
                false => sum.from_hosts += 1,
            }
        }
        sum
    };
    (1..=points).map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;
    use crate::records::{Asked, ChunkRecord, HostRecord, RegionRecords, RunFacts};

    /// A chunk that came from a member at a time.
    fn chunk(of: u32, stored: u32) -> ChunkRecord {
        let asked = Asked { at: 1, of, began: 1 };
        ChunkRecord {
            asked: [asked, Asked::default()],
            stored,
            ..ChunkRecord::default()
        }
    }

    fn records(complete_at: Option<i64>, hosts: Vec<Vec<ChunkRecord>>) -> Records {
        let text = "[regions.a]\nhosts = 3\nseeders = 2\n[build]\nsize = \"4 MiB\"\nchunk_size = \"1 MiB\"\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.toml");
        std::fs::write(&file, text).unwrap();
        let scenario = scenario::Scenario::load(&file, &scenario::LoadOptions::default()).unwrap();
        let hosts = hosts.into_iter().map(|chunks| HostRecord {
            chunks,
            ..HostRecord::default()
        });
        Records {
            scenario,
            facts: RunFacts::default(),
            sample: Sample::of([0, 2], 4),
            regions: vec![RegionRecords {
                complete_at,
                hosts: hosts.collect(),
                ..RegionRecords::default()
            }],
        }
    }

    #[test]
    fn copies_are_told_by_time_by_chunk_and_by_giver() {
        // Members: 0 is the first seeder, 1 to 3 the hosts, 4 the other seeder.
        let never = ChunkRecord::default();
        let found = ChunkRecord {
            from: 9,
            stored: 150,
            ..never
        };
        let flow = records(
            Some(100),
            vec![
                vec![chunk(0, 110), chunk(2, 190)],
                vec![chunk(1, 150), chunk(4, 120)],
                vec![never, found],
            ],
        )
        .flow(0, 9)
        .unwrap();
        let at = |at: i64| *flow.received.iter().find(|received| received.at == at).unwrap();
        assert_eq!(flow.received.len(), 9);
        assert_eq!((at(10).from_seeders, at(10).from_hosts), (1, 0));
        assert_eq!((at(40).from_seeders, at(40).from_hosts), (2, 0));
        assert_eq!((at(50).from_seeders, at(50).from_hosts), (2, 1));
        assert_eq!((at(90).from_seeders, at(90).from_hosts), (2, 2));
        // What a host had already is a copy, and nobody gave it.
        assert_eq!(flow.ages, [(10, 50), (20, 90)]);
        assert_eq!(flow.given, [1, 1, 0]);
        assert!((flow.stride - 2.0).abs() < 1e-9);
    }

    #[test]
    fn where_nothing_came_there_is_nothing_to_tell() {
        let one = || vec![vec![chunk(0, 110), chunk(0, 120)]];
        assert!(records(None, one()).flow(0, 9).is_none());
        assert!(
            records(Some(0), vec![vec![ChunkRecord::default(); 2]])
                .flow(0, 9)
                .is_none()
        );
        assert!(records(Some(0), one()).flow(1, 9).is_none());
        // A single copy that came before the build counted as complete.
        let early = records(Some(500), one()).flow(0, 2).unwrap();
        assert_eq!(early.received.last().unwrap().from_seeders, 2);
    }
}
