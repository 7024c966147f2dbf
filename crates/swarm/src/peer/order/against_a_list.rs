//! The order of neighbours is that of a plain list which is sorted: where this host has the fewest requests and nothing waits first,
//! those of other zones last.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What is known of one neighbour.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    busy: bool,
    far: bool,
    parked: bool,
    shut: bool,
    /// Requests there before the order was first looked at, and after that.
    before: usize,
    after: usize,
}

fn known() -> impl Strategy<Value = Known> {
    let requests = || prop_oneof![4 => 0usize..3, 1 => 6usize..10];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (flags, requests(), prop_oneof![3 => Just(0usize), 1 => 1usize..3]).prop_map(
        |((busy, far, parked, shut), before, after)| Known {
            busy,
            far,
            parked,
            shut,
            before,
            after,
        },
    )
}

/// Neighbours by place from the first, as many as an order knows.
fn by_place(all: &[Known], start: usize) -> Vec<(usize, Known)> {
    let turned = (start..all.len()).chain(0..start);
    turned.map(|index| (index, all[index])).take(ORDERED).collect()
}

fn told_apart(requests: usize) -> usize {
    requests.min(LOADS - 1)
}

/// The classes of those with `own` requests now: near ones before far ones, and each by the load that it had at first.
fn classes(places: &[(usize, Known)], own: usize) -> Vec<BTreeSet<u32>> {
    let mut classes = Vec::new();
    for far in [false, true] {
        for load in 0..=LOADS {
            let is_one = |neighbour: &Known| {
                neighbour.far == far
                    && told_apart(neighbour.before + neighbour.after) == own
                    && told_apart(neighbour.before) + usize::from(neighbour.busy) == load
            };
            let class: BTreeSet<u32> = (0u32..)
                .zip(places)
                .filter(|(_, (_, neighbour))| is_one(neighbour))
                .map(|(place, _)| place)
                .collect();
            if !class.is_empty() {
                classes.push(class);
            }
        }
    }
    classes
}

fn order_of(all: &[Known], start: usize) -> Order {
    let mut order = Order::new(start, all.len());
    order.find_busy(|index| all[index].busy);
    order.find_far(|index| all[index].far);
    order.find_parked(|index| all[index].parked, |index| all[index].shut);
    for (index, neighbour) in all.iter().enumerate() {
        (0..neighbour.before).for_each(|_| order.asked(index));
    }
    order
}

fn set(places: &[(usize, Known)], is_one: impl Fn(&Known) -> bool) -> Vec<u32> {
    let places = (0u32..).zip(places);
    places.filter(|(_, (_, k))| is_one(k)).map(|(place, _)| place).collect()
}

proptest! {
    #[test]
    fn neighbours_are_asked_by_zone_then_load_from_the_one_that_was_drawn(
        all in prop_oneof![
            3 => prop::collection::vec(known(), 1..12),
            1 => prop::collection::vec(known(), 62..67),
        ],
        drawn in any::<prop::sample::Index>(),
    ) {
        let start = drawn.index(all.len());
        let places = by_place(&all, start);
        let mut order = order_of(&all, start);
        prop_assert_eq!(order.len(), places.len());
        for (place, (index, _)) in places.iter().enumerate() {
            prop_assert_eq!(order.index(place), *index);
            prop_assert_eq!(order.offset(*index), place);
        }
        let idle = |k: &Known| k.before == 0;
        let mut free = set(&places, |k| idle(k) && !k.busy && !k.far);
        free.extend(set(&places, |k| idle(k) && !k.busy && k.far));
        prop_assert_eq!(order.idle().collect::<Vec<u32>>(), free, "idle");
        prop_assert_eq!(bits(order.parked).collect::<Vec<u32>>(), set(&places, |k| k.parked));
        prop_assert_eq!(bits(order.shut).collect::<Vec<u32>>(), set(&places, |k| k.shut));
        for (place, (_, neighbour)) in places.iter().enumerate() {
            prop_assert_eq!(order.is_busy(place), neighbour.busy);
            prop_assert_eq!(order.is_idle(place, || 9), idle(neighbour));
        }
        order.by_load(0).for_each(drop);
        for (index, neighbour) in all.iter().enumerate() {
            (0..neighbour.after).for_each(|_| order.asked(index));
        }
        for own in 0..LOADS {
            let found: Vec<BTreeSet<u32>> = order.by_load(own).map(|class| bits(class).collect()).collect();
            prop_assert_eq!(found, classes(&places, own), "with {} requests", own);
        }
    }

    #[test]
    fn who_is_beyond_the_order_is_no_seeder_of_it(count in 1usize..80, start in any::<prop::sample::Index>()) {
        let start = start.index(count);
        for index in 0..count {
            let mut order = Order::new(start, count);
            order.mark_seeder(index);
            let place = (index + count - start) % count;
            let expected: Vec<u32> = u32::try_from(place).ok().filter(|place| *place < 64).into_iter().collect();
            prop_assert_eq!(bits(order.seeders).collect::<Vec<u32>>(), expected);
            prop_assert_eq!(order.is_idle(place, || 0), true);
        }
    }
}
