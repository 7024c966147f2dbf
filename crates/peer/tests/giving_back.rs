//! What an agent gives back when it has nothing to do. Alone in its process, whose memory it measures.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![cfg(all(target_os = "linux", target_env = "gnu"))]

/// Memory of this process in KiB: `RssAnon` is what no file has, `RssFile` pages of files.
fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_was_freed_is_given_back_and_all_else_stays() {
    const PIECE: usize = 16 << 10;
    const PIECES: usize = 4000;
    let mut pieces: Vec<Option<Vec<u8>>> = (0..PIECES).map(|_| Some(vec![1; PIECE])).collect();
    // Every second one is kept, so that the end of the heap stays where it is.
    pieces.iter_mut().step_by(2).for_each(|piece| *piece = None);
    let before = resident("RssAnon:");
    peer::give_back_memory();
    let after = resident("RssAnon:");
    let freed = (PIECES / 2 * PIECE) as u64 >> 10;
    assert!(after + freed / 2 < before, "{before} and {after} KiB");
    assert!(pieces.iter().flatten().flatten().all(|byte| *byte == 1));
}

/// A part of this program that it has read once.
static PART: [u8; 8 << 20] = [1; 8 << 20];

#[test]
fn pages_of_the_program_are_given_back_and_there_when_they_are_needed() {
    let read = || {
        std::hint::black_box(&PART)
            .iter()
            .step_by(4096)
            .map(|byte| u64::from(*byte))
            .sum::<u64>()
    };
    assert_eq!(read(), 2048);
    let before = resident("RssFile:");
    peer::give_back_memory();
    let after = resident("RssFile:");
    assert!(after + (7 << 10) < before, "{before} and {after} KiB");
    assert_eq!(read(), 2048);
}
