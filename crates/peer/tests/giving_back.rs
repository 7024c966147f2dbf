//! What an agent gives back when it has nothing to do. Alone in its process, whose memory it measures.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![cfg(all(target_os = "linux", target_env = "gnu"))]

/// Memory of this process in KiB that no file has.
fn own() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_was_freed_is_given_back_and_all_else_stays() {
    const PIECE: usize = 16 << 10;
    const PIECES: usize = 4000;
    let mut pieces: Vec<Option<Vec<u8>>> = (0..PIECES).map(|_| Some(vec![1; PIECE])).collect();
    // Every second one is kept, so that the end of the heap stays where it is.
    pieces.iter_mut().step_by(2).for_each(|piece| *piece = None);
    let before = own();
    peer::give_back_memory();
    let after = own();
    let freed = (PIECES / 2 * PIECE) as u64 >> 10;
    assert!(after + freed / 2 < before, "{before} and {after} KiB");
    assert!(pieces.iter().flatten().flatten().all(|byte| *byte == 1));
}
