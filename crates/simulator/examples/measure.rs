#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason="scratch")]
use std::time::{Duration, Instant};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let mut overrides = Vec::new();
    for a in &args[2..] { overrides.push(a.parse().unwrap()); }
    let scenario = scenario::Scenario::load(std::path::Path::new(&args[1]), &scenario::LoadOptions{overrides, ..Default::default()}).unwrap_or_else(|e| panic!("{e}"));
    let status = simulator::Status::new(&scenario);
    let t = Instant::now();
    let f = simulator::forecast(&scenario, &simulator::Options{threads: 2, deadline: Duration::from_secs(3600)}, &status).unwrap();
    let wall = t.elapsed().as_secs_f64();
    for (i, r) in f.regions.iter().enumerate() {
        let mut l: Vec<f64> = r.hosts.iter().filter(|h| h.state != scenario::HostState::Excused).map(|h| h.verified_after.map_or(f64::INFINITY, |d| d.as_secs_f64())).collect();
        l.sort_by(f64::total_cmp);
        let b = scenario.lower_bound(&scenario.regions[i]).unwrap().as_secs_f64();
        let p = |q: f64| l[((l.len() as f64*q).ceil() as usize).max(1)-1]/b;
        let wasted: u64 = r.hosts.iter().map(|h| h.bytes_wasted).sum();
        println!("{:?} p50 {:.3} p90 {:.3} p99 {:.3} p999 {:.3} max {:.3} bound {b:.2} | seeder {:.2} wasted {:.2}% msgs/t {:.2} ev/t {:.2} tied {:.2} overdue {} transfers {:.2}M wall {wall:.2} => {:.0}k/s", r.end, p(0.5), p(0.9), p(0.99), p(0.999), p(1.0),
            r.seeder_bytes as f64/scenario.build_size().get() as f64, wasted as f64*100.0/(l.len() as f64*scenario.build_size().get() as f64), r.messages as f64/r.transfers as f64, r.events as f64/r.transfers as f64, r.protocol.requests_tied as f64/r.transfers as f64, r.protocol.requests_overdue, r.transfers as f64/1e6, r.transfers as f64/wall/1e3);
    }
}
