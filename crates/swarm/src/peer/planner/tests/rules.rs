//! The limits of a plan, each at the edge where it begins to hold.

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
