//! A table for each reason to ask: what this host knows, and what it asks of whom.

mod rules;

use std::num::NonZeroU32;
use std::time::Duration;

use rand::SeedableRng;

use super::*;
use crate::bitfield::Bitfield;
use crate::chunk_scheduler::ChunkPolicy;
use crate::neighbours::Neighbours;
use crate::peer::ledger::Ledger;
use crate::units::ZoneId;
use crate::upload_queue::UPLOAD_QUEUE_PER_HOST_MAX;
use crate::wire::Waited;

const SEEDER: u64 = 0;
const CHUNKS: u32 = 130;
/// What a chunk takes in these tests.
const TRANSFER: u64 = 1000;
/// When plans are made.
const NOW: u64 = 10_000;

/// What a host knows. Neighbours are numbers from 1; the seeder is 0, and connected only where it has something.
struct Scene {
    ledger: Ledger,
    neighbours: Neighbours,
    seeders: Vec<Contact>,
    chunks_in_flight_max: usize,
    requests_per_neighbour_max: usize,
    zoned: bool,
    invitations: Vec<(HostId, ChunkIndex)>,
    open: u32,
    parked: Vec<u64>,
    /// Seeders that turned down a request a moment ago.
    refused: Vec<HostId>,
    /// Those that have sent nothing since.
    wary_of: Vec<HostId>,
}

type Asked = Vec<(u64, u32, Why)>;

fn host(number: u64) -> HostId {
    HostId::new(number)
}

fn chunk(index: u32) -> ChunkIndex {
    ChunkIndex::new(index)
}

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

impl Scene {
    /// A host that wants `wanted` of a build, and has seen a dozen chunks come in [`TRANSFER`] and messages in a millisecond.
    fn new(wanted: &[u32], has: &[(u64, &[u32])]) -> Self {
        let held = Bitfield::new(CHUNKS);
        let (patience, round_trip) = (Duration::from_secs(60), Duration::from_millis(1));
        let mut ledger = Ledger::new(ChunkPolicy::LatestUseful, held, patience, round_trip);
        for index in (0..CHUNKS).filter(|index| !wanted.contains(index)) {
            let (host, chunk, why) = (host(99), chunk(index), Why::Want);
            ledger.ask(at(0), Ask { host, chunk, why }, 0);
            ledger.started(at(1), host, chunk, Waited::NONE);
            ledger.stored(at(1 + TRANSFER), host, chunk);
        }
        let mut scene = Self {
            ledger,
            neighbours: Neighbours::default(),
            seeders: vec![Contact {
                host: host(SEEDER),
                address: "".into(),
            }],
            chunks_in_flight_max: 2,
            requests_per_neighbour_max: 2,
            zoned: false,
            invitations: Vec::new(),
            open: 0,
            parked: Vec::new(),
            refused: Vec::new(),
            wary_of: Vec::new(),
        };
        for (number, chunks) in has {
            scene.neighbours.insert(host(*number), CHUNKS, false);
            let neighbour = scene.neighbours.get_mut(host(*number)).unwrap();
            chunks
                .iter()
                .for_each(|index| assert!(neighbour.has.insert(chunk(*index))));
        }
        scene
    }

    /// `asked` of whom at which time, and begun where it was.
    fn asked(mut self, asked: &[(u64, u32, u64, Option<u64>)]) -> Self {
        for (number, index, asked_at, begun_at) in asked.iter().copied() {
            let why = if self.ledger.is_wanted(chunk(index)) {
                Why::Want
            } else {
                Why::Tie
            };
            let ask = Ask {
                host: host(number),
                chunk: chunk(index),
                why,
            };
            self.ledger.ask(at(asked_at), ask, 0);
            if let Some(begun_at) = begun_at {
                self.ledger.started(at(begun_at), ask.host, ask.chunk, Waited::NONE);
            }
        }
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// These neighbours are in another zone; this host has one.
    fn remote(mut self, numbers: &[u64]) -> Self {
        self.zoned = true;
        for number in numbers {
            self.neighbours
                .set_zone(host(*number), ZoneId::new(NonZeroU32::MIN), true);
        }
        self
    }

    fn made(&self) -> Plan {
        let border = Border {
            invitations: &self.invitations,
            open: self.open,
        };
        let known = Known {
            ledger: &self.ledger,
            neighbours: &self.neighbours,
            table: &crate::holdings::Heard,
            limits: Limits {
                refused: &self.refused,
                wary_of: &self.wary_of,
                chunks_in_flight_max: self.chunks_in_flight_max,
                requests_per_neighbour_max: self.requests_per_neighbour_max,
                seeders: &self.seeders,
                zone: self.zoned.then_some(border),
            },
            now: at(NOW),
        };
        plan(&known, 0, &mut Xoshiro256PlusPlus::seed_from_u64(1))
    }

    fn plan(&mut self) -> Asked {
        for number in &self.parked {
            let second = Duration::from_secs(1);
            self.neighbours.park(at(NOW - 1), host(*number), second, second);
        }
        let asks = self.made().asks;
        assert_eq!(asks, self.made().asks, "a plan changes nothing");
        // Each ask is one that the ledger takes.
        asks.iter().for_each(|ask| self.ledger.ask(at(NOW), *ask, 0));
        assert_eq!(self.ledger.check(), Ok(()));
        asks.iter()
            .map(|ask| (ask.host.get(), ask.chunk.get(), ask.why))
            .collect()
    }
}

fn check(table: impl IntoIterator<Item = (&'static str, Scene, Asked)>) {
    for (what, mut scene, expected) in table {
        assert_eq!(scene.plan(), expected, "{what}");
    }
}

#[test]
fn what_is_wanted_is_asked_of_whoever_has_it_and_least_to_do() {
    let all = [1, 2, 3, 4].as_slice();
    let two = [(1, all), (2, all)];
    check([
        ("nobody has anything", Scene::new(all, &[(1, &[])]), vec![]),
        (
            "one of each",
            Scene::new(all, &two),
            vec![(1, 4, Why::Want), (2, 3, Why::Want)],
        ),
        (
            "of one neighbour both",
            Scene::new(all, &[(1, all)]),
            vec![(1, 4, Why::Want), (1, 3, Why::Want)],
        ),
        (
            "no more than the limit",
            Scene::new(all, &two).asked(&[(1, 1, NOW, Some(NOW))]),
            vec![(2, 4, Why::Want)],
        ),
        (
            "nothing at the limit",
            Scene::new(all, &two).asked(&[(1, 1, NOW, Some(NOW)), (2, 2, NOW, Some(NOW))]),
            vec![],
        ),
        (
            "where nothing waits before where something does",
            Scene::new(all, &two).with(|scene| scene.neighbours.set_busy(host(1), true)),
            vec![(2, 4, Why::Want), (1, 3, Why::Want)],
        ),
        (
            "not what is overdue of who may send it yet",
            Scene::new(&[1, 2], &[(1, &[1])])
                .asked(&[(1, 1, 0, None)])
                .with(|scene| drop(scene.ledger.expire(at(200_000)))),
            vec![],
        ),
        (
            "not of who has lost its turn while others have something",
            Scene::new(all, &two).with(|scene| scene.parked = vec![1]),
            vec![(2, 4, Why::Want), (2, 3, Why::Want)],
        ),
        (
            "of who has lost its turn when nobody else has anything",
            Scene::new(all, &[(1, all), (2, &[])]).with(|scene| scene.parked = vec![1]),
            vec![(1, 4, Why::Want), (1, 3, Why::Want)],
        ),
    ]);
}

#[test]
fn what_a_seeder_offers_is_asked_for_beyond_the_limit() {
    let all = [1, 2, 3, 4, 5].as_slice();
    let full: Vec<u32> = (0..CHUNKS).collect();
    let busy = [(1, 1, NOW, Some(NOW)), (1, 2, NOW, Some(NOW))];
    check([
        (
            "two more",
            Scene::new(all, &[(SEEDER, &[3, 4, 5]), (1, all)]).asked(&busy),
            vec![(SEEDER, 5, Why::Want), (SEEDER, 4, Why::Want)],
        ),
        (
            "of one that has shown everything too: it may have nothing better to do",
            Scene::new(all, &[(SEEDER, &full), (1, all)]).asked(&busy),
            vec![(SEEDER, 5, Why::Rescue), (SEEDER, 4, Why::Rescue)],
        ),
        (
            "and one, where it turned some down and has sent nothing since",
            Scene::new(all, &[(SEEDER, &full), (1, all)])
                .asked(&busy)
                .with(|scene| scene.wary_of = vec![host(SEEDER)]),
            vec![(SEEDER, 5, Why::Rescue)],
        ),
        (
            "what it sends takes no room from others",
            Scene::new(all, &[(SEEDER, &full), (1, all)])
                .asked(&[(SEEDER, 1, NOW, Some(NOW)), (SEEDER, 2, NOW, Some(NOW))]),
            vec![(1, 5, Why::Want), (1, 4, Why::Want)],
        ),
        (
            "nothing of one that would turn it down",
            Scene::new(all, &[(SEEDER, &[3, 4, 5]), (1, &[2])]).with(|scene| scene.refused = vec![host(SEEDER)]),
            vec![(1, 2, Why::Want)],
        ),
    ]);
}

#[test]
fn what_is_invited_is_imported_and_what_is_starved_for() {
    let all = [1, 2, 3, 4, 5, 6].as_slice();
    let locals: [(u64, &[u32]); 4] = [(1, &[]), (2, &[]), (3, &[]), (9, all)];
    let scene = || Scene::new(all, &locals).remote(&[9]);
    let invited = |chunks: &[u32]| chunks.iter().map(|index| (host(9), chunk(*index))).collect::<Vec<_>>();
    check([
        ("nothing without invitation", scene(), vec![]),
        (
            "what is invited, beyond the limit of chunks in flight",
            scene()
                .asked(&[(1, 3, NOW, Some(NOW)), (2, 4, NOW, Some(NOW))])
                .with(|scene| scene.invitations = invited(&[1])),
            vec![(9, 1, Why::Import)],
        ),
        (
            "no more than one neighbour takes, and nothing twice",
            scene().with(|scene| scene.invitations = invited(&[1, 1, 2, 3])),
            vec![(9, 1, Why::Import), (9, 2, Why::Import)],
        ),
        (
            "nothing that is held",
            scene().with(|scene| scene.invitations = invited(&[7])),
            vec![],
        ),
        (
            "one chunk by chance where one may be imported",
            scene().with(|scene| scene.open = 1),
            vec![(9, 5, Why::Import)],
        ),
        (
            "as without zones where there are few neighbours of the own zone",
            Scene::new(all, &[(1, &[]), (2, &[]), (9, all)]).remote(&[9]),
            vec![(9, 6, Why::Want), (9, 5, Why::Want)],
        ),
    ]);
}

#[test]
fn what_nobody_has_begun_is_tied_to_one_neighbour_more() {
    let all = [1, 2, 3].as_slice();
    let three = [(1, all), (2, all), (3, all)];
    let waiting = [(1, 3, NOW - 2, None), (1, 2, NOW - 1, None)];
    check([
        (
            "the oldest first, of neighbours that would be idle",
            Scene::new(all, &three).asked(&waiting),
            vec![(2, 3, Why::Tie), (3, 2, Why::Tie)],
        ),
        (
            "what was asked for a moment ago too",
            Scene::new(&[1], &three),
            vec![(1, 1, Why::Want), (2, 1, Why::Tie)],
        ),
        (
            "not what somebody sends",
            Scene::new(all, &three).asked(&[(1, 3, NOW - 2, Some(NOW)), (1, 2, NOW - 1, None)]),
            vec![(2, 2, Why::Tie)],
        ),
        (
            "not what two are asked for",
            Scene::new(all, &[(1, all), (2, all), (3, all), (4, &[3])]).asked(&[
                (1, 3, NOW, None),
                (2, 3, NOW, None),
                (1, 2, NOW, Some(NOW)),
            ]),
            vec![],
        ),
        (
            "not of who does not have it",
            Scene::new(all, &[(1, all), (2, &[])]).asked(&waiting),
            vec![],
        ),
        (
            "not of a seeder",
            Scene::new(&[2, 3], &[(SEEDER, &[2, 3]), (1, all)]).asked(&waiting),
            vec![],
        ),
        (
            "not of another zone",
            Scene::new(&[2, 3], &[(1, all), (2, &[]), (3, &[]), (9, all)])
                .remote(&[9])
                .asked(&waiting),
            vec![],
        ),
        (
            "not of who has lost its turn",
            Scene::new(&[1, 2, 3], &[(1, all), (2, all)])
                .with(|scene| scene.parked = vec![2])
                .asked(&[(1, 1, NOW, Some(NOW)), (1, 2, NOW, None)]),
            vec![],
        ),
        (
            "not where twice the limit is in flight",
            Scene::new(&[2, 3], &three)
                .with(|scene| scene.chunks_in_flight_max = 1)
                .asked(&waiting),
            vec![],
        ),
        (
            "not where payload has come twice",
            Scene::new(all, &three).asked(&waiting).with(|scene| {
                (100..120).for_each(|sender| drop(scene.ledger.received(at(NOW), host(sender), chunk(9))));
            }),
            vec![],
        ),
    ]);
}

#[test]
fn the_last_chunks_that_are_slow_are_asked_of_who_is_idle() {
    let all = [1, 2].as_slice();
    let late = NOW - TRANSFER * 3 / 2;
    let three = [(1, all), (2, all), (3, all)];
    check([
        (
            "the latest first",
            Scene::new(all, &three).asked(&[(1, 1, 0, Some(late)), (1, 2, 0, Some(late - 1))]),
            vec![(2, 2, Why::Hedge), (3, 1, Why::Hedge)],
        ),
        (
            "not before it is late",
            Scene::new(all, &three).asked(&[(1, 1, 0, Some(late + 1)), (1, 2, 0, Some(NOW))]),
            vec![],
        ),
        (
            "not while something is wanted that nobody has yet",
            Scene::new(&[1, 5], &three).asked(&[(1, 1, 0, Some(late))]),
            vec![],
        ),
        (
            "not while something is wanted and there is no room",
            Scene::new(&[1, 2, 5], &three).asked(&[(1, 1, 0, Some(late)), (1, 2, 0, Some(late))]),
            vec![],
        ),
        (
            "not of who is busy",
            Scene::new(all, &[(1, all), (2, all)])
                .asked(&[(1, 1, 0, Some(late)), (1, 2, 0, Some(late))])
                .with(|scene| scene.neighbours.set_busy(host(2), true)),
            vec![],
        ),
        (
            "not of another zone, and not of a seeder",
            Scene::new(all, &[(SEEDER, all), (1, all), (2, &[]), (3, &[]), (9, all)])
                .remote(&[9])
                .asked(&[(1, 1, 0, Some(late)), (1, 2, 0, Some(late))]),
            vec![],
        ),
        (
            "not of who has lost its turn",
            Scene::new(&[1, 2, 3], &[(1, all), (2, all)])
                .with(|scene| scene.parked = vec![2])
                .asked(&[(1, 3, NOW, Some(NOW)), (1, 1, 0, Some(late)), (1, 2, 0, Some(late))]),
            vec![],
        ),
        (
            "no more than a part of the build",
            Scene::new(
                &[1, 2, 3],
                &[(1, &[1, 2, 3]), (2, &[1, 2, 3]), (3, &[1, 2, 3]), (4, &[1, 2, 3])],
            )
            .with(|scene| scene.chunks_in_flight_max = 3)
            .asked(&[(1, 1, 0, Some(late)), (1, 2, 0, Some(late)), (1, 3, 0, Some(late))]),
            vec![(2, 1, Why::Hedge), (3, 2, Why::Hedge)],
        ),
    ]);
}

#[test]
fn what_somebody_is_late_with_is_asked_of_another_neighbour_at_any_time() {
    let all = [1, 2, 3, 4].as_slice();
    let full: Vec<u32> = (0..CHUNKS).collect();
    // Of the first neighbour, who said that it began and of whom nothing has come.
    let late = [(1, 1, 0, Some(0)), (1, 2, 10, Some(10))];
    let mark = |scene: &mut Scene| {
        assert_eq!(scene.ledger.mark_late(at(NOW - 100)).as_slice(), [host(1)]);
        scene.parked = vec![1];
    };
    check([
        (
            "the one that waits for longest first, and more is asked for in their place",
            Scene::new(all, &[(1, all), (2, all), (3, all)]).asked(&late).with(mark),
            vec![
                (2, 4, Why::Want),
                (3, 3, Why::Want),
                (2, 1, Why::Hedge),
                (3, 2, Why::Hedge),
            ],
        ),
        (
            "of who is idle before who is not",
            Scene::new(&[1, 2, 9], &[(1, all), (2, all), (3, &[1]), (4, &[9])])
                .asked(&[(1, 1, 0, Some(0))])
                .with(mark)
                .asked(&[(2, 9, NOW, Some(NOW))]),
            vec![(2, 2, Why::Want), (3, 1, Why::Hedge)],
        ),
        (
            "of a seeder where nobody else has it",
            Scene::new(&[1, 2], &[(SEEDER, &full), (1, all), (2, &[])])
                .asked(&late)
                .with(mark),
            vec![(SEEDER, 1, Why::Hedge), (SEEDER, 2, Why::Hedge)],
        ),
        (
            "not of who has lost its turn too, while somebody is in time",
            Scene::new(&[1, 9], &[(1, all), (2, all), (3, &[9])])
                .asked(&[(1, 1, 0, Some(0))])
                .with(mark)
                .asked(&[(3, 9, NOW, Some(NOW))])
                .with(|scene| scene.parked = vec![1, 2]),
            vec![],
        ),
        (
            "but where nobody is",
            Scene::new(&[1, 2], &[(1, all), (2, all)])
                .asked(&late)
                .with(mark)
                .with(|scene| scene.parked = vec![1, 2]),
            vec![(2, 1, Why::Hedge), (2, 2, Why::Hedge)],
        ),
    ]);
}

/// One late neighbour may have had a bad moment. After that it counts who has shown that it serves, and several are asked at a time.
#[test]
fn who_has_delivered_is_asked_first_for_what_is_late_and_more_of_them_each_time() {
    let full: Vec<u32> = (0..CHUNKS).collect();
    let one = [1].as_slice();
    let late = [(1, 1, 0, Some(0))];
    let mark = |numbers: &'static [u64]| {
        move |scene: &mut Scene| {
            let hosts: Vec<HostId> = numbers.iter().map(|number| host(*number)).collect();
            assert_eq!(scene.ledger.mark_late(at(NOW - 100)).as_slice(), hosts);
        }
    };
    let delivered = |number: u64| {
        move |scene: &mut Scene| {
            scene.ledger.lost(chunk(9));
            let (host, chunk, why) = (host(number), chunk(9), Why::Want);
            scene.ledger.ask(at(0), Ask { host, chunk, why }, 0);
            scene.ledger.stored(at(TRANSFER), host, chunk);
        }
    };
    let all = [(1, one), (2, one), (3, one), (4, one), (5, one)];
    let with_seeder = [(SEEDER, &full[..]), (1, one), (2, one), (3, one), (4, one)];
    check([
        (
            "who has delivered",
            Scene::new(one, &all).with(delivered(4)).asked(&late).with(mark(&[1])),
            vec![(4, 1, Why::Hedge)],
        ),
        (
            "twice as many when two are late",
            Scene::new(one, &all)
                .with(delivered(4))
                .asked(&[(1, 1, 0, Some(0)), (2, 1, 0, None)])
                .with(mark(&[1, 2])),
            vec![(4, 1, Why::Hedge), (3, 1, Why::Hedge)],
        ),
        (
            "a seeder among them",
            Scene::new(one, &with_seeder)
                .asked(&[(1, 1, 0, Some(0)), (2, 1, 0, None)])
                .with(mark(&[1, 2])),
            vec![(3, 1, Why::Hedge), (SEEDER, 1, Why::Hedge)],
        ),
        (
            "what is wanted of who is late where nobody else has it",
            Scene::new(&[1, 2], &[(1, &[1, 2]), (2, &[])])
                .asked(&late)
                .with(mark(&[1])),
            vec![(1, 2, Why::Want)],
        ),
        (
            "else of another",
            Scene::new(&[1, 2], &[(1, &[1, 2]), (2, &[2])])
                .asked(&late)
                .with(mark(&[1])),
            vec![(2, 2, Why::Want)],
        ),
    ]);
}

#[test]
fn what_was_to_come_from_another_zone_may_come_from_another_host_of_one() {
    let one = [1].as_slice();
    let scene = |from: u64| {
        Scene::new(one, &[(1, one), (2, &[]), (3, &[]), (4, &[]), (8, one), (9, one)])
            .remote(&[8, 9])
            .asked(&[(from, 1, 0, Some(0))])
            .with(|scene| assert_eq!(scene.ledger.mark_late(at(NOW - 100)).len(), 1))
    };
    check([
        ("of who has it in this zone", scene(9), vec![(1, 1, Why::Hedge)]),
        (
            "else of another zone",
            scene(9).with(|scene| scene.parked = vec![1]),
            vec![(8, 1, Why::Hedge)],
        ),
        ("not what was to come from this zone", scene(1), vec![]),
        (
            "unless it starves",
            scene(1).with(|scene| scene.open = 1),
            vec![(8, 1, Why::Hedge)],
        ),
    ]);
}

#[test]
fn a_seeder_that_has_everything_rescues_what_nobody_else_has() {
    let all = [1, 2, 3].as_slice();
    let full: Vec<u32> = (0..CHUNKS).collect();
    let stalled = |scene: &mut Scene| drop(scene.ledger.expire(at(200_000)));
    check([
        (
            "when nothing is on its way",
            Scene::new(all, &[(SEEDER, &full), (1, &[])]),
            vec![(SEEDER, 3, Why::Rescue), (SEEDER, 2, Why::Rescue)],
        ),
        (
            "beside what a neighbour has",
            Scene::new(all, &[(SEEDER, &full), (1, &[3])]),
            vec![(1, 3, Why::Want), (SEEDER, 2, Why::Rescue), (SEEDER, 1, Why::Rescue)],
        ),
        (
            "one chunk while something is on its way and nobody else can be asked for more",
            Scene::new(&[1, 2], &[(SEEDER, &full), (1, &[])]).asked(&[(1, 1, NOW, Some(NOW))]),
            vec![(SEEDER, 2, Why::Rescue)],
        ),
        (
            "no more of them than one neighbour is asked for",
            Scene::new(&[1, 2, 3, 4], &[(SEEDER, &full), (1, &[])])
                .with(|scene| scene.chunks_in_flight_max = 3)
                .asked(&[(1, 1, NOW, Some(NOW)), (SEEDER, 2, NOW, Some(NOW))]),
            vec![(SEEDER, 4, Why::Rescue)],
        ),
        (
            "where as much is on its way of others as may be, too",
            Scene::new(&[1, 2], &[(SEEDER, &full), (1, &[])])
                .with(|scene| scene.chunks_in_flight_max = 1)
                .asked(&[(1, 1, NOW, Some(NOW))]),
            vec![(SEEDER, 2, Why::Rescue)],
        ),
        (
            "what only those have that have lost their turn",
            Scene::new(all, &[(SEEDER, &full), (1, all)]).with(|scene| scene.parked = vec![1]),
            vec![(SEEDER, 3, Why::Rescue), (SEEDER, 2, Why::Rescue)],
        ),
        (
            "while others are waited for, when somebody has stalled",
            Scene::new(all, &[(SEEDER, &full), (1, &[]), (2, &[])])
                .asked(&[(1, 1, 0, None)])
                .with(stalled)
                .asked(&[(2, 2, NOW, Some(NOW))]),
            vec![(SEEDER, 3, Why::Rescue), (SEEDER, 1, Why::Rescue)],
        ),
        (
            "not again what it is overdue with",
            Scene::new(all, &[(SEEDER, &full), (1, &[])])
                .asked(&[(SEEDER, 3, 0, Some(1))])
                .with(stalled),
            vec![(SEEDER, 2, Why::Rescue), (SEEDER, 1, Why::Rescue)],
        ),
        (
            "no more than may wait there, with what it is overdue with",
            Scene::new(&(0..40).collect::<Vec<_>>(), &[(SEEDER, &full), (1, &[])])
                .with(|scene| scene.chunks_in_flight_max = 40)
                .asked(
                    &(0..u32::try_from(UPLOAD_QUEUE_PER_HOST_MAX).unwrap() - 1)
                        .map(|index| (SEEDER, index, 0, None))
                        .collect::<Vec<_>>(),
                )
                .with(stalled),
            vec![(SEEDER, 35, Why::Rescue)],
        ),
        (
            "not when it has lost its turn itself and somebody else has it",
            Scene::new(all, &[(SEEDER, &full), (1, all)]).with(|scene| scene.parked = vec![SEEDER]),
            vec![(1, 3, Why::Want), (1, 2, Why::Want)],
        ),
    ]);
}

/// Three seeders are no neighbours of one's own zone: they send only what they offer.
#[test]
fn seeders_do_not_count_as_neighbours_of_ones_own_zone() {
    let scene = |seeders: &[u64]| {
        let mut has: Vec<(u64, &[u32])> = seeders.iter().map(|number| (*number, &[][..])).collect();
        has.extend([(1, &[][..]), (2, &[][..]), (3, &[7][..])]);
        Scene::new(&[7], &has).remote(&[3]).with(|scene| {
            scene.seeders = seeders
                .iter()
                .map(|number| Contact {
                    host: host(*number),
                    address: "".into(),
                })
                .collect();
        })
    };
    assert_eq!(scene(&[20, 21, 22]).plan(), [(3, 7, Why::Want)]);
    let mut three_local = Scene::new(&[7], &[(1, &[]), (2, &[]), (4, &[]), (3, &[7])]).remote(&[3]);
    assert_eq!(three_local.plan(), []);
    let at_strike = |scene: &mut Scene| scene.neighbours.strike(at(0), host(4), Duration::from_millis(1));
    assert_eq!(
        three_local.with(at_strike).plan(),
        [(3, 7, Why::Want)],
        "one of them does not serve"
    );
}
