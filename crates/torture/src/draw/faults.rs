//! What goes wrong on a day of each class.

use std::collections::BTreeSet;

use rand::RngExt;
use swarm::HostId;

use super::{Draw, usual};
use crate::class::Class;
use crate::day::{
    Day, FOR_EVER, Fault, FaultKind, Flood, Joins, Leaves, MILLISECOND, Nanos, Role, SECOND, Share, Store, Way,
};
use crate::world::seeder_id;

impl Draw {
    /// Puts into the day what its class says.
    pub(super) fn trouble(&mut self, day: &mut Day) {
        self.trouble_of(day.class, day);
    }

    fn trouble_of(&mut self, class: Class, day: &mut Day) {
        match class {
            Class::Calm | Class::Degenerate | Class::Alone => {}
            Class::Resets => self.resets(day),
            Class::Crash => self.crashes(day),
            Class::Damage => self.damage(day),
            Class::Tracker => self.seeders_restart(day),
            Class::Gone => self.seeders_go(day),
            Class::Flash => self.crowds(day),
            Class::Partition => self.cut(day, false),
            Class::Blackhole => self.cut(day, true),
            Class::OneWay => self.one_way(day),
            Class::Pause => self.pauses(day),
            Class::Slow => self.slow(day, false),
            Class::SlowDown => self.slow(day, true),
            Class::Stall
            | Class::Corrupt
            | Class::Liar
            | Class::BusyLiar
            | Class::Trickle
            | Class::Flood
            | Class::Unsolicited => self.roles(day, class),
            Class::Leavers => self.leavers(day),
            Class::Canary => self.generations(day, 1),
            Class::Rolling => {
                let size = day.hosts.len() / self.one_of(&[2, 3, 6]);
                self.generations(day, size.max(1));
            }
            Class::Chaos => {
                for _ in 0..self.number(2, 4) {
                    let class = self.one_of(&CHAOS);
                    self.trouble_of(class, day);
                }
            }
        }
    }

    fn fault(&mut self, day: &mut Day, at: Nanos, lasts: Nanos, kind: FaultKind) {
        day.faults.push(Fault { at, lasts, kind });
    }

    /// Some time while the build is on its way.
    fn in_mid_run(&mut self, day: &Day) -> Nanos {
        day.seeded_at + self.number(0, usual(day) * 5 / 4)
    }

    fn any_host(&mut self, day: &Day) -> HostId {
        day.hosts[self.chance.random_range(0..day.hosts.len())].id
    }

    /// A part of the hosts, at least one.
    fn some_hosts(&mut self, day: &Day, percent_max: u64) -> BTreeSet<HostId> {
        let percent = self.number(1, percent_max);
        let mut some = BTreeSet::from([self.any_host(day)]);
        for host in &day.hosts {
            if self.number(0, 99) < percent {
                some.insert(host.id);
            }
        }
        some
    }

    fn resets(&mut self, day: &mut Day) {
        for _ in 0..self.one_of(&[1, 1, 2, 3, 6]) {
            let which = match self.number(0, 3) {
                0 => Share::One,
                1 => Share::Percent(self.number32(5, 60)),
                _ => Share::Percent(100),
            };
            let (at, half) = (self.in_mid_run(day), self.one_in(4));
            self.fault(day, at, 0, FaultKind::Reset { which, half });
        }
    }

    fn crashes(&mut self, day: &mut Day) {
        for host in self.some_hosts(day, 30) {
            let store = self.one_of(&[Store::Kept, Store::Half, Store::Lost]);
            let silent = self.one_in(2);
            let at = self.in_mid_run(day);
            let lasts = match self.number(0, 3) {
                0 => FOR_EVER,
                _ => self.spread(20 * MILLISECOND, 60 * SECOND),
            };
            self.fault(day, at, lasts, FaultKind::Crash { host, store, silent });
        }
    }

    fn damage(&mut self, day: &mut Day) {
        let mut members: Vec<HostId> = self.some_hosts(day, 30).into_iter().collect();
        if self.one_in(2) {
            members.push(seeder_id(self.chance.random_range(0..day.seeders.len())));
        }
        for member in members {
            let kind = FaultKind::Damage {
                member,
                percent: self.one_of(&[1, 10, 50, 100]),
                seen: self.one_in(2),
            };
            let at = self.in_mid_run(day) + self.one_of(&[0, 3 * SECOND]);
            let lasts = self.spread(SECOND / 2, 20 * SECOND);
            self.fault(day, at, lasts, kind);
        }
    }

    fn seeders_restart(&mut self, day: &mut Day) {
        for seeder in 0..day.seeders.len() {
            for _ in 0..self.number(u64::from(seeder == 0), 2) {
                let (at, lasts) = (self.in_mid_run(day), self.spread(MILLISECOND, 30 * SECOND));
                self.fault(day, at, lasts, FaultKind::SeederDown { seeder });
            }
        }
        // One that is down cannot go down.
        day.faults.sort_by_key(|fault| fault.at);
    }

    /// They go for good. On some days links break as well, before or after it.
    fn seeders_go(&mut self, day: &mut Day) {
        self.fault(day, 0, FOR_EVER, FaultKind::SeedersGone);
        if self.one_in(2) {
            self.resets(day);
        }
    }

    fn crowds(&mut self, day: &mut Day) {
        let crowds = self.number(1, 4);
        let times: Vec<Nanos> = (0..crowds).map(|_| self.number(0, 3 * usual(day))).collect();
        let early = self.number(0, 60);
        for index in 1..day.hosts.len() {
            if self.number(0, 99) >= early {
                let within = self.number(0, 300 * MILLISECOND);
                day.hosts[index].joins = Joins::At(day.seeded_at + self.one_of(&times) + within);
            }
        }
    }

    fn cut(&mut self, day: &mut Day, silent: bool) {
        for _ in 0..self.one_of(&[1, 1, 2]) {
            let hosts = self.some_hosts(day, 60);
            let kind = FaultKind::Cut {
                hosts,
                seeders: self.one_in(2),
                way: Way::Both,
                silent,
            };
            let (at, lasts) = (self.in_mid_run(day), self.spread(SECOND / 2, 90 * SECOND));
            self.fault(day, at, lasts, kind);
        }
    }

    fn one_way(&mut self, day: &mut Day) {
        for _ in 0..self.one_of(&[1, 2]) {
            let kind = FaultKind::Cut {
                hosts: self.some_hosts(day, 20),
                seeders: self.one_in(2),
                way: self.one_of(&[Way::Out, Way::In]),
                silent: true,
            };
            let (at, lasts) = (self.in_mid_run(day), self.spread(SECOND / 2, 60 * SECOND));
            self.fault(day, at, lasts, kind);
        }
    }

    fn pauses(&mut self, day: &mut Day) {
        for host in self.some_hosts(day, 15) {
            let (at, lasts) = (self.in_mid_run(day), self.spread(800 * MILLISECOND, 600 * SECOND));
            let clock_first = self.one_in(2);
            self.fault(day, at, lasts, FaultKind::Pause { host, clock_first });
        }
    }

    fn slow(&mut self, day: &mut Day, in_mid_run: bool) {
        for host in self.some_hosts(day, 20) {
            let times = u32::try_from(self.spread(4, 1000)).unwrap_or(4);
            let (at, lasts) = if in_mid_run {
                let lasts = if self.one_in(2) {
                    FOR_EVER
                } else {
                    self.spread(SECOND, 60 * SECOND)
                };
                (self.in_mid_run(day), lasts)
            } else {
                (0, FOR_EVER)
            };
            self.fault(day, at, lasts, FaultKind::Slow { host, times });
        }
    }

    /// Up to a third of the hosts are not honest, and the first is.
    fn roles(&mut self, day: &mut Day, class: Class) {
        let role = |draw: &mut Self| match class {
            Class::Stall => Role::Stall,
            Class::Corrupt => Role::Corrupt,
            Class::Liar => Role::Liar,
            Class::BusyLiar => Role::BusyLiar,
            Class::Trickle => Role::Trickle { bytes: draw.one_in(2) },
            Class::Flood => Role::Flood(draw.one_of(&Flood::ALL)),
            _ => Role::Unsolicited,
        };
        let percent = self.number(1, 30);
        let (count, mut bad) = (day.hosts.len(), 0);
        for index in 1..count {
            let is_last = index + 1 == count && bad == 0;
            if is_last || (self.number(0, 99) < percent && (bad + 1) * 3 <= count) {
                day.hosts[index].role = role(self);
                bad += 1;
            }
        }
    }

    fn leavers(&mut self, day: &mut Day) {
        let percent = self.number(20, 100);
        let lingers = self.one_of(&[0, 0, SECOND, 10 * SECOND]);
        self.crowds(day);
        for index in 0..day.hosts.len() {
            if self.number(0, 99) < percent {
                day.hosts[index].leaves = Leaves::Done(lingers);
            }
        }
    }

    /// One group after another, each when the one before is done and leaves.
    fn generations(&mut self, day: &mut Day, size: usize) {
        let lingers = self.one_of(&[0, 0, 0, SECOND / 5, 5 * SECOND]);
        let gap = self.one_of(&[0, SECOND / 10, 3 * SECOND]);
        for (index, host) in day.hosts.iter_mut().enumerate() {
            let generation = u32::try_from(index / size).unwrap_or(0);
            host.leaves = Leaves::Done(lingers);
            host.joins = match generation {
                0 => Joins::At(0),
                generation => Joins::Generation(generation, gap),
            };
        }
    }
}

/// What a day of chaos consists of.
const CHAOS: [Class; 15] = [
    Class::Resets,
    Class::Crash,
    Class::Damage,
    Class::Tracker,
    Class::Flash,
    Class::Partition,
    Class::Blackhole,
    Class::OneWay,
    Class::Pause,
    Class::SlowDown,
    Class::Stall,
    Class::Corrupt,
    Class::Liar,
    Class::Flood,
    Class::Unsolicited,
];
