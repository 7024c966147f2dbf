//! The limits of a plan, each at the edge where it begins to hold.

mod hedges;

use super::*;

fn full() -> Vec<u32> {
    (0..CHUNKS).collect()
}

#[test]
fn of_what_a_seeder_offers_two_chunks_are_asked_for_beyond_the_limit_however_many_are_in_flight() {
    let all = [1, 2, 3, 4, 5, 6, 7, 8].as_slice();
    let in_flight = [
        (1, 1, NOW, Some(NOW)),
        (1, 2, NOW, Some(NOW)),
        (2, 3, NOW, Some(NOW)),
        (2, 4, NOW, Some(NOW)),
    ];
    let scene = |count: usize, offered: &[u32]| {
        Scene::new(all, &[(SEEDER, offered), (1, all), (2, all), (3, all)]).asked(&in_flight[..count])
    };
    let of_seeder = |chunks: &[u32]| {
        chunks
            .iter()
            .map(|index| (SEEDER, *index, Why::Want))
            .collect::<Vec<_>>()
    };
    check([
        ("at the limit two", scene(2, &[6, 7, 8]), of_seeder(&[8, 7])),
        ("one beyond it one", scene(3, &[6, 7, 8]), of_seeder(&[8])),
        ("two beyond it none", scene(4, &[6, 7, 8]), vec![]),
        ("at the limit none where it offers nothing", scene(2, &[]), vec![]),
        (
            "nor where it would turn it down",
            scene(2, &[6, 7, 8]).with(|scene| scene.refused = vec![host(SEEDER)]),
            vec![],
        ),
    ]);
}

#[test]
fn while_others_send_a_seeder_that_has_everything_is_asked_for_as_much_as_one_neighbour() {
    let full = full();
    let wide = |scene: &mut Scene| scene.chunks_in_flight_max = 3;
    check([
        (
            "one that nobody else has",
            Scene::new(&[1, 5], &[(SEEDER, &full), (1, &[1])])
                .with(wide)
                .asked(&[(1, 1, NOW, Some(NOW))]),
            vec![(SEEDER, 5, Why::Rescue)],
        ),
        (
            "none while two are asked of it",
            Scene::new(&[1, 5, 6, 7], &[(SEEDER, &full), (1, &[1])])
                .with(wide)
                .asked(&[
                    (1, 1, NOW, Some(NOW)),
                    (SEEDER, 6, NOW, Some(NOW)),
                    (SEEDER, 7, NOW, Some(NOW)),
                ]),
            vec![],
        ),
        (
            "one that others have where they have no room",
            Scene::new(&[1, 2, 5], &[(SEEDER, &full), (1, &[1, 2, 5])])
                .with(wide)
                .asked(&[(1, 1, NOW, Some(NOW)), (1, 2, NOW, Some(NOW))]),
            vec![(SEEDER, 5, Why::Rescue)],
        ),
        (
            "at the limit too",
            Scene::new(&[1, 2, 5], &[(SEEDER, &full), (1, &[1, 2])])
                .asked(&[(1, 1, NOW, Some(NOW)), (1, 2, NOW, Some(NOW))]),
            vec![(SEEDER, 5, Why::Rescue)],
        ),
        (
            "nothing where nothing is wanted",
            Scene::new(&[1], &[(SEEDER, &full), (1, &[1])]).asked(&[(1, 1, NOW, Some(NOW))]),
            vec![],
        ),
    ]);
}

#[test]
fn of_seeders_that_have_everything_the_next_one_that_may_be_asked_is() {
    let full = full();
    let scene = || {
        Scene::new(&[5], &[(SEEDER, &full), (50, &full), (1, &[])]).with(|scene| {
            let address = "".into();
            scene.seeders.push(Contact {
                host: host(50),
                address,
            });
        })
    };
    check([
        ("the first", scene(), vec![(SEEDER, 5, Why::Rescue)]),
        (
            "not who has lost its turn",
            scene().with(|scene| scene.parked = vec![SEEDER]),
            vec![(50, 5, Why::Rescue)],
        ),
        (
            "not who would turn it down",
            scene().with(|scene| scene.refused = vec![host(SEEDER)]),
            vec![(50, 5, Why::Rescue)],
        ),
        (
            "nobody where neither may be",
            scene().with(|scene| scene.refused = [SEEDER, 50].map(host).to_vec()),
            vec![],
        ),
        (
            "not who has shown a part only",
            Scene::new(&[5], &[(SEEDER, &[7]), (50, &full)]).with(|scene| {
                let address = "".into();
                scene.seeders.push(Contact {
                    host: host(50),
                    address,
                });
            }),
            vec![(50, 5, Why::Rescue)],
        ),
    ]);
    // Where the plan begins with the second one, that is the first.
    let scene = scene();
    let known = Known {
        ledger: &scene.ledger,
        neighbours: &scene.neighbours,
        table: &crate::holdings::Heard,
        limits: Limits {
            refused: &[],
            wary_of: &[],
            chunks_in_flight_max: 2,
            requests_per_neighbour_max: 2,
            seeders: &scene.seeders,
            zone: None,
        },
        now: at(NOW),
    };
    let asks = plan(&known, 1, &mut Xoshiro256PlusPlus::seed_from_u64(1)).asks;
    assert_eq!(asks.first().map(|ask| ask.host), Some(host(50)));
}

#[test]
fn what_is_late_is_not_asked_of_who_has_as_many_requests_as_one_neighbour_may_or_is_busy() {
    let late = [(1, 1, 0, Some(0))];
    let mark = |scene: &mut Scene| {
        assert_eq!(scene.ledger.mark_late(at(NOW - 100)).as_slice(), [host(1)]);
        scene.parked = vec![1];
    };
    let scene = |of_two: &[(u64, u32, u64, Option<u64>)]| {
        Scene::new(&[1, 8, 9], &[(1, &[1]), (2, &[1, 8, 9]), (3, &[1])])
            .asked(&late)
            .with(mark)
            .asked(of_two)
            .with(|scene| scene.chunks_in_flight_max = 2)
    };
    let one = [(2, 9, NOW, Some(NOW))];
    let two = [(2, 9, NOW, Some(NOW)), (2, 8, NOW, Some(NOW))];
    check([
        ("of the one that is idle", scene(&two), vec![(3, 1, Why::Hedge)]),
        (
            "nor of one that is about to have",
            scene(&one).with(|scene| scene.parked.push(3)),
            vec![(2, 8, Why::Want)],
        ),
        (
            "of nobody where the only other one is asked for two",
            scene(&two).with(|scene| scene.parked.push(3)),
            vec![],
        ),
    ]);
}

#[test]
fn a_seeder_offers_two_beyond_a_limit_of_one_too() {
    let scene = |count: usize| {
        let in_flight = [(1, 1, NOW, Some(NOW)), (1, 2, NOW, Some(NOW)), (1, 3, NOW, Some(NOW))];
        Scene::new(&[1, 2, 3, 6, 7], &[(SEEDER, &[6, 7]), (1, &[1, 2, 3])])
            .with(|scene| scene.chunks_in_flight_max = 1)
            .asked(&in_flight[..count])
    };
    check([
        ("one while two are in flight", scene(2), vec![(SEEDER, 7, Why::Want)]),
        ("none while three are", scene(3), vec![]),
    ]);
}

#[test]
fn no_neighbour_is_asked_for_more_than_it_lets_wait_whatever_the_limits() {
    let many: Vec<u32> = (0..40).collect();
    let mut scene = Scene::new(&many, &[(1, &many)]).with(|scene| {
        (scene.chunks_in_flight_max, scene.requests_per_neighbour_max) = (100, 100);
    });
    assert_eq!(scene.plan().len(), UPLOAD_QUEUE_PER_HOST_MAX);
}

#[test]
fn of_those_that_have_lost_their_turn_who_has_missed_the_fewest_requests_is_asked() {
    let all = [1, 2, 3, 4].as_slice();
    let missed_twice = |scene: &mut Scene| {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        scene.neighbours.park(at(0), host(1), second, minute);
        scene.parked = vec![1, 2];
    };
    check([
        (
            "and nobody else where it has enough",
            Scene::new(all, &[(1, all), (2, all)]).with(missed_twice),
            vec![(2, 4, Why::Want), (2, 3, Why::Want)],
        ),
        (
            "the next where it has nothing",
            Scene::new(all, &[(1, all), (2, &[])]).with(missed_twice),
            vec![(1, 4, Why::Want), (1, 3, Why::Want)],
        ),
        (
            "all of those that have missed as many",
            Scene::new(all, &[(1, all), (2, all)]).with(|scene| scene.parked = vec![1, 2]),
            vec![(1, 4, Why::Want), (2, 3, Why::Want)],
        ),
    ]);
}

/// Where it is asked for as much as one neighbour already. There is room, since what a seeder sends takes none.
#[test]
fn a_seeder_is_asked_for_more_than_one_neighbour_only_in_need() {
    let full = full();
    let two = [(SEEDER, 3, NOW, Some(NOW)), (SEEDER, 4, NOW, Some(NOW))];
    let scene = |wanted: &[u32]| Scene::new(wanted, &[(SEEDER, &full), (1, &[1]), (2, &[2])]);
    let others = [(1, 1, NOW, Some(NOW)), (2, 2, NOW, Some(NOW))];
    check([
        (
            "not while all is well",
            scene(&[2, 3, 4, 5]).asked(&two).asked(&others[1..]),
            vec![],
        ),
        (
            "when somebody has stalled",
            scene(&[1, 2, 3, 4, 5])
                .asked(&[(1, 1, 0, None)])
                .with(|scene| drop(scene.ledger.expire(at(200_000))))
                .asked(&two)
                .asked(&others[1..]),
            vec![(SEEDER, 5, Why::Rescue)],
        ),
        (
            "when somebody has lost its turn",
            scene(&[2, 3, 4, 5])
                .asked(&two)
                .asked(&others[1..])
                .with(|scene| scene.parked = vec![1]),
            vec![(SEEDER, 5, Why::Rescue)],
        ),
        (
            "when everybody is late",
            scene(&[3, 4, 5])
                .asked(&[(SEEDER, 3, 0, Some(0)), (SEEDER, 4, 0, Some(0))])
                .with(|scene| drop(scene.ledger.mark_late(at(NOW - 100)))),
            vec![(SEEDER, 5, Why::Rescue)],
        ),
        (
            "not where as much is on its way of others as may be",
            scene(&[1, 2, 3, 4, 5]).asked(&two).asked(&others).with(|scene| {
                scene.neighbours.insert(host(3), CHUNKS, false);
                scene.parked = vec![3];
            }),
            vec![],
        ),
    ]);
}

/// One chunk is asked of the seeder, since it has turned some down. Twenty are with a neighbour that has no room.
#[test]
fn what_nobody_else_sends_is_asked_of_the_seeder_first() {
    const RARE: u32 = 30;
    let full = full();
    let common: Vec<u32> = (0..20).collect();
    let wanted: Vec<u32> = (0..22).chain([RARE]).collect();
    let had_by_2 = |change: fn(&mut Scene)| {
        let others: &[(u64, &[u32])] = &[(SEEDER, &full), (1, &[&common[..], &[20, 21]].concat()), (2, &[RARE])];
        Scene::new(&wanted, others)
            .asked(&[(1, 20, NOW, Some(NOW)), (1, 21, NOW, Some(NOW))])
            .with(|scene| scene.wary_of = vec![host(SEEDER)])
            .with(change)
    };
    let rescued = vec![(SEEDER, RARE, Why::Rescue)];
    check([
        (
            "what nobody has",
            had_by_2(|scene| assert!(scene.neighbours.get_mut(host(2)).unwrap().has.remove(chunk(RARE)))),
            rescued.clone(),
        ),
        (
            "what somebody has that has lost its turn",
            had_by_2(|scene| scene.parked = vec![2]),
            rescued.clone(),
        ),
        (
            "what somebody has that does not serve",
            had_by_2(|scene| (0..3).for_each(|_| scene.neighbours.strike(at(0), host(2), Duration::from_millis(1)))),
            rescued.clone(),
        ),
        (
            "what only another seeder offers, that would turn it down",
            had_by_2(|scene| {
                let (host, address) = (host(2), "".into());
                scene.seeders.push(Contact { host, address });
                scene.refused = vec![host];
            }),
            rescued,
        ),
    ]);
}

#[test]
fn who_is_late_has_lost_its_turn_but_for_a_seeder() {
    let mark = |scene: &mut Scene| assert_eq!(scene.ledger.mark_late(at(NOW - 100)).len(), 1);
    check([
        (
            "a member",
            Scene::new(&[1, 2, 3], &[(1, &[1, 3]), (2, &[2])])
                .asked(&[(1, 1, 0, Some(0))])
                .with(mark),
            vec![(2, 2, Why::Want)],
        ),
        (
            "a seeder, where many wait",
            Scene::new(&[5, 6, 7], &[(SEEDER, &[5, 6]), (1, &[7])])
                .asked(&[(SEEDER, 5, 0, Some(0))])
                .with(mark)
                .asked(&[(1, 7, NOW, Some(NOW))]),
            vec![(SEEDER, 6, Why::Want)],
        ),
    ]);
}

#[test]
fn what_a_seeder_sends_that_has_shown_a_part_counts_towards_the_limit() {
    let mut scene = Scene::new(&[1, 3, 4, 5], &[(SEEDER, &[3, 4, 5]), (1, &[1])])
        .asked(&[(SEEDER, 3, NOW, Some(NOW)), (SEEDER, 4, NOW, Some(NOW))]);
    assert_eq!(scene.plan(), []);
}
