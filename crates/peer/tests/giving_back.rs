//! What an agent gives back when it has nothing to do. Alone in its process, whose memory it measures.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![cfg(all(target_os = "linux", target_env = "gnu"))]

/// Memory of this process in KiB: its own, and pages of files.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (number("RssAnon:"), number("RssFile:"))
}

#[test]
fn what_was_freed_and_code_that_does_not_run_is_given_back_and_all_else_stays() {
    const PIECE: usize = 16 << 10;
    const PIECES: usize = 4000;
    let mut pieces: Vec<Option<Vec<u8>>> = (0..PIECES).map(|_| Some(vec![1; PIECE])).collect();
    // Every second one is kept, so that the end of the heap stays where it is.
    pieces.iter_mut().step_by(2).for_each(|piece| *piece = None);
    let before = resident();
    peer::give_back_memory();
    let after = resident();
    let freed = (PIECES / 2 * PIECE) as u64 >> 10;
    assert!(after.0 + freed / 2 < before.0, "own: {before:?} and {after:?} KiB");
    assert!(after.1 < before.1, "of files: {before:?} and {after:?} KiB");
    assert!(pieces.iter().flatten().flatten().all(|byte| *byte == 1));
}
