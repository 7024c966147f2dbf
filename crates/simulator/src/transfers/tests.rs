//! Random sets of transfers against rules that know nothing of how they are kept: no port carries more than it can, rates
//! are those of filling all ports together, and whoever comes back when told sees every chunk leave.

use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::sharing::water_level;
use super::*;

const SECOND: u64 = 1_000_000_000;

/// A driver that does what a region does.
struct Rig {
    transfers: Transfers,
    now: u64,
    alarms: BinaryHeap<std::cmp::Reverse<(u64, MemberId)>>,
    sent: Vec<(u64, Ended)>,
}

impl Rig {
    fn new(links: &[(u64, u64)]) -> Self {
        Self {
            transfers: Transfers::new(links.iter().copied()),
            now: 0,
            alarms: BinaryHeap::new(),
            sent: Vec::new(),
        }
    }

    fn begin(&mut self, from: u32, to: u32, bytes: u64) -> TransferId {
        let [from, to] = [from, to].map(MemberId::new);
        let id = self.transfers.begin(self.now, from, to, 0, bytes);
        self.share_out();
        id
    }

    fn share_out(&mut self) {
        self.transfers.share_out(self.now);
        while let Some(alarm) = self.transfers.poll_alarm() {
            if let Alarm::Sent { member, at } = alarm {
                assert!(at >= self.now, "an alarm for the past");
                self.alarms.push(std::cmp::Reverse((at, member)));
            }
        }
    }

    /// Goes on to the next alarm; tells whether there was one.
    fn step(&mut self) -> bool {
        let Some(std::cmp::Reverse((at, member))) = self.alarms.pop() else {
            return false;
        };
        self.now = at;
        if self.transfers.rings(at, member) {
            while let Some(ended) = self.transfers.take_sent(at, member) {
                assert_eq!(ended.left, 0);
                self.sent.push((at, ended));
            }
            self.share_out();
        }
        true
    }

    fn active(&self) -> Vec<TransferId> {
        let all = (0_u32..).zip(&self.transfers.transfers);
        let active = all.filter(|(_, transfer)| transfer.active);
        active.map(|(index, _)| TransferId(index)).collect()
    }

    fn rate(&self, id: TransferId) -> u64 {
        self.transfers.rates[id.index()]
    }

    fn assert_that_no_port_carries_more_than_it_can(&self) {
        for (index, port) in self.transfers.ports.iter().enumerate() {
            let capacity = &port.capacity;
            let passing = self.transfers.passing[index].iter();
            let sum: u128 = passing.map(|passing| u128::from(self.rate(passing.id))).sum();
            assert!(sum <= u128::from(*capacity), "port {index} carries {sum} of {capacity}");
            let rest = u128::try_from(port.rest).unwrap();
            assert_eq!(sum + rest, u128::from(*capacity), "port {index}");
        }
    }

    /// By how much the rates are off those of [`fill`], at most, as a part of them.
    fn error(&self) -> f64 {
        let active = self.active();
        let ends: Vec<[usize; 2]> = active
            .iter()
            .map(|id| {
                let transfer = &self.transfers.transfers[id.index()];
                [uplink(transfer.from).index(), downlink(transfer.to).index()]
            })
            .collect();
        let rates: Vec<f64> = self.transfers.ports.iter().map(|port| port.capacity as f64).collect();
        let expected = fill(&rates, &ends);
        let errors = active
            .iter()
            .zip(expected)
            .map(|(id, expected)| (self.rate(*id) as f64 / expected - 1.0).abs());
        errors.fold(0.0, f64::max)
    }
}

/// Max-min fair rates by their definition: all rise together until a port is full, which fixes those that pass it; the
/// others go on.
fn fill(ports: &[f64], transfers: &[[usize; 2]]) -> Vec<f64> {
    let mut rates: Vec<Option<f64>> = vec![None; transfers.len()];
    while rates.contains(&None) {
        let tightest = (0..ports.len()).filter_map(|port| {
            let passing = transfers.iter().zip(&rates).filter(|(ends, _)| ends.contains(&port));
            let (mut left, mut rising) = (ports[port], 0.0);
            for (_, rate) in passing {
                match rate {
                    Some(rate) => left -= rate,
                    None => rising += 1.0,
                }
            }
            (rising > 0.0).then_some((left / rising, port))
        });
        let (level, port) = tightest.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        for (ends, rate) in transfers.iter().zip(&mut rates) {
            if rate.is_none() && ends.contains(&port) {
                *rate = Some(level);
            }
        }
    }
    rates.into_iter().map(|rate| rate.unwrap()).collect()
}

/// What may happen to a set of transfers.
#[derive(Clone, Debug)]
enum Step {
    Begin { from: u32, to: u32, bytes: u64 },
    CutShort { which: prop::sample::Index },
    Come { alarms: usize },
}

fn steps(members: u32, bytes: std::ops::Range<u64>) -> impl Strategy<Value = Vec<Step>> {
    let begin = (0..members, 1..members, bytes).prop_map(move |(from, further, bytes)| Step::Begin {
        from,
        to: (from + further) % members,
        bytes,
    });
    let cut_short = any::<prop::sample::Index>().prop_map(|which| Step::CutShort { which });
    let come = (1_usize..4).prop_map(|alarms| Step::Come { alarms });
    prop::collection::vec(prop_oneof![6 => begin, 1 => cut_short, 3 => come], 1..120)
}

/// Links of a fleet: all the same, or of some classes, or nothing like each other.
fn links(members: usize) -> impl Strategy<Value = Vec<(u64, u64)>> {
    let classes = prop::sample::select(vec![1_250_000_u64, 2_500_000, 250_000, 125_000_000]);
    let equal = (1_u64..1 << 38, 1_u64..4).prop_map(|(rate, times)| (rate, rate * times));
    prop_oneof![
        equal.prop_map(move |links| vec![links; members]),
        prop::collection::vec((classes.clone(), classes), members),
        prop::collection::vec((1_u64..1 << 20, 1_u64..1 << 20), members),
        prop::collection::vec(
            (0_u32..38, 0_u32..38).prop_map(|(up, down)| (1 << up, 1 << down)),
            members
        ),
    ]
}

fn fleet() -> impl Strategy<Value = (Vec<(u64, u64)>, Vec<Step>)> {
    (2_u32..14).prop_flat_map(|members| (links(members as usize), steps(members, 1..1 << 28)))
}

proptest! {
    #[test]
    fn ports_carry_what_they_can_and_divide_it_fairly_after_every_event((links, steps) in fleet()) {
        let mut rig = Rig::new(&links);
        let mut begun = 0;
        for step in steps {
            match step {
                Step::Begin { from, to, bytes } => {
                    rig.begin(from, to, bytes);
                    begun += 1;
                }
                Step::CutShort { which } => {
                    let active = rig.active();
                    if !active.is_empty() {
                        rig.transfers.cut_short(rig.now, *which.get(&active));
                        rig.share_out();
                        begun -= 1;
                    }
                }
                Step::Come { alarms } => (0..alarms).for_each(|_| {
                    rig.step();
                    rig.assert_that_no_port_carries_more_than_it_can();
                }),
            }
            rig.assert_that_no_port_carries_more_than_it_can();
            prop_assert!(rig.error() <= 0.001, "{} off", rig.error());
        }
        while rig.step() {}
        prop_assert_eq!(rig.sent.len(), begun, "every chunk leaves, and once");
        prop_assert_eq!(rig.transfers.count(), 0);
    }
}

#[test]
fn what_one_cannot_use_the_others_get() {
    let level = |capacity, caps: &[u64]| {
        let levels = [0, 7, 33, 1_000, u64::MAX].map(|before| water_level(capacity, caps, before));
        assert!(
            levels.iter().all(|level| *level == levels[0]),
            "wherever it begins: {levels:?}"
        );
        levels[0]
    };
    assert_eq!(level(90, &[10, 100, 100]), 40);
    assert_eq!(level(90, &[100, 100]), 45);
    assert_eq!(level(90, &[5]), u64::MAX);
    assert_eq!(level(90, &[5, u64::MAX, 45, 20]), 32);
    assert_eq!(level(90, &[]), u64::MAX);
}

#[test]
fn a_rest_goes_two_steps_and_further_to_whom_it_helps() {
    // 0 and 1 send to 2, which is slow; 1 sends to 3 as well, and 4 too sends to 3.
    let mut rig = Rig::new(&[(100, 100), (100, 100), (100, 20), (100, 100), (100, 100)]);
    let ids = [(0, 2), (1, 2), (1, 3), (4, 3)].map(|(from, to)| rig.begin(from, to, 1 << 20));
    assert_eq!(ids.map(|id| rig.rate(id) >> UNIT_SHIFT), [10, 10, 50, 50]);
    // Two more from 1 to 3 leave 4 no more than a quarter.
    let more = [0; 2].map(|_| rig.begin(1, 3, 1 << 20));
    assert_eq!(ids.map(|id| rig.rate(id) >> UNIT_SHIFT), [10, 10, 25, 25]);
    assert_eq!(more.map(|id| rig.rate(id) >> UNIT_SHIFT), [25, 25]);
}

#[test]
fn a_chunk_leaves_when_its_last_byte_does_whatever_its_rate_was_before() {
    let mut rig = Rig::new(&[(100, 100), (100, 100), (100, 100)]);
    rig.begin(0, 1, 100);
    rig.now = SECOND / 2;
    // Half of it is gone; the rest shares the uplink with 50 bytes, and both end together.
    rig.begin(0, 2, 50);
    while rig.step() {}
    let ends: Vec<u64> = rig.sent.iter().map(|(at, _)| *at).collect();
    assert_eq!(ends, [SECOND * 3 / 2; 2]);
}

#[test]
fn links_that_change_change_what_is_on_its_way() {
    let mut rig = Rig::new(&[(100, 100), (100, 100), (100, 100)]);
    let [slow, other] = [1, 2].map(|to| rig.begin(0, to, 100));
    rig.now = SECOND;
    rig.transfers.set_links(MemberId::new(1), (10, 10));
    rig.share_out();
    assert_eq!(
        [slow, other].map(|id| rig.rate(id) >> UNIT_SHIFT),
        [10, 90],
        "others get the rest"
    );
    rig.now = SECOND * 3 / 2;
    // 45 of 50 bytes have gone to one, 5 of 50 to the other.
    rig.transfers.set_links(MemberId::new(1), (100, 100));
    rig.share_out();
    assert_eq!([slow, other].map(|id| rig.rate(id) >> UNIT_SHIFT), [50, 50]);
    while rig.step() {}
    let ends: Vec<(u64, u32)> = rig.sent.iter().map(|(at, ended)| (*at, ended.to.number())).collect();
    assert_eq!(ends, [(SECOND * 8 / 5, 2), (SECOND * 2, 1)]);
    rig.assert_that_no_port_carries_more_than_it_can();
}

#[test]
fn the_slowest_link_and_the_fastest_are_in_one_fleet() {
    let (slow, fast) = (1, 125_000_000_000);
    let mut rig = Rig::new(&[(slow, slow), (fast, fast), (fast, fast)]);
    // Sixty-four chunks into one byte a second, for years, beside one that takes a millisecond.
    let ids: Vec<TransferId> = (0..64).map(|_| rig.begin(1, 0, 1 << 24)).collect();
    assert!(ids.iter().all(|id| rig.rate(*id) > 0));
    rig.begin(1, 2, 125_000_000);
    while rig.step() {}
    assert_eq!(rig.sent.len(), 65);
    assert!(
        (SECOND / 1000..SECOND / 900).contains(&rig.sent[0].0),
        "{:?}",
        rig.sent[0]
    );
    let years = rig.now / SECOND / 3600 / 24 / 365;
    assert_eq!(years, 34, "2^30 bytes at one a second");
}

#[test]
fn one_that_takes_long_is_told_once() {
    let mut rig = Rig::new(&[(100, 100), (100, 100)]);
    let [from, to] = [0, 1].map(MemberId::new);
    let id = rig.transfers.begin(0, from, to, 0, 200);
    rig.transfers.share_out(0);
    let slow = Alarm::Slow {
        transfer: id,
        generation: 0,
    };
    assert_eq!(rig.transfers.poll_alarm(), Some(slow));
    assert_eq!(rig.transfers.get(id, 0), Some(Moving { from, to, chunk: 0 }));
    rig.transfers.begin(0, from, to, 1, 20);
    rig.transfers.share_out(0);
    while let Some(alarm) = rig.transfers.poll_alarm() {
        assert_ne!(alarm, slow);
    }
    rig.transfers.cut_short(1, id);
    assert_eq!(rig.transfers.get(id, 0), None);
}
