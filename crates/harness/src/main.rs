//! Command line: runs scenarios and reports fan-out latency
fn main() {}
