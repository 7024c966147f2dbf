#!/usr/bin/env python3
"""Holds forecasts against live runs of the same scenarios, and prints a table of how far they are apart.

    cargo build --release -p harness
    scripts/live-against-forecast.py [--seeds 1,2,3] [--only NAME …] [--harness target/release/harness]

Each case is scenarios/shaped-1k.toml with some keys changed: small enough for two cores, and of every kind that there is. A number is
by how much the forecast is later than the live run, the median over the seeds, in percent. Ends with 1 where one of p50, p99 and
the last host is more than --limit apart.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

EQUAL = ["network.host.uplink=4 Mbit/s", "network.host.downlink=4 Mbit/s", "swarm.upload_slots=2", "swarm.chunks_in_flight=3"]
TWICE = ["network.host.uplink=4 Mbit/s", "network.host.downlink=8 Mbit/s"]
FAST_SEEDER = ["network.seeder.uplink=40 Mbit/s", "network.seeder.downlink=40 Mbit/s"]
MIXED = ["network.host.spread=50%", "network.classes.slow.hosts=5%", "network.classes.slow.uplink=1 Mbit/s", "network.classes.slow.downlink=2 Mbit/s"]
FAULTS = [
    "faults.a.kind=stall", "faults.a.hosts=1%",
    "faults.b.kind=corrupt", "faults.b.hosts=1%",
    "faults.c.kind=leave", "faults.c.hosts=3%", "faults.c.at=4s",
    "faults.d.kind=join-late", "faults.d.hosts=10%", "faults.d.at=4s",
]  # fmt: skip


def case(transport, hosts, latency, *more):
    return [f"network.transport={transport}", f"regions.region-a.hosts={hosts}", f"network.latency={latency}", *sum(more, [])]


CASES = {
    "D=2U in-process": case("in-process", 250, "1ms", TWICE),
    "D=2U tcp": case("tcp", 80, "1ms", TWICE),
    "D=2U tcp 20 ms": case("tcp", 80, "20ms", TWICE),
    "D=2U memory 5 ms": case("memory", 60, "5ms", TWICE),
    "D=U in-process": case("in-process", 250, "1ms", EQUAL),
    "D=U tcp 0 ms": case("tcp", 80, "0s", EQUAL),
    "D=U in-process 20 ms": case("in-process", 150, "20ms", EQUAL),
    "D=U tcp 5 ms": case("tcp", 80, "5ms", EQUAL),
    "D=U slots 6/7": case("in-process", 120, "1ms", EQUAL, ["swarm.upload_slots=6", "swarm.chunks_in_flight=7", "swarm.degree=16"]),
    "D=U seeder 10U": case("in-process", 150, "1ms", EQUAL, FAST_SEEDER),
    "D=2U seeder 10U": case("in-process", 150, "5ms", TWICE, FAST_SEEDER, ["swarm.upload_slots=2", "swarm.chunks_in_flight=3"]),
    "mixed links": case("in-process", 250, "1ms", TWICE, MIXED),
    "mixed links tcp 5 ms": case("tcp", 80, "5ms", TWICE, MIXED),
    "two seeders": case("in-process", 200, "1ms", TWICE, ["regions.region-a.seeders=2", "regions.region-a.zones=2"]),
    "faults": case("in-process", 250, "1ms", TWICE, FAULTS),
    "faults D=U 5 ms": case("in-process", 250, "5ms", EQUAL, FAULTS),
}  # fmt: skip

FIGURES = ["p50", "p99", "max"]


def report(options, command, sets, seed):
    with tempfile.TemporaryDirectory() as folder:
        arguments = [options.harness, command, str(ROOT / "scenarios/shaped-1k.toml"), "--seed", str(seed), "--out", folder]
        for key in [*sets, "build.size=4 MiB", "build.chunk_size=64 KiB"]:
            arguments += ["--set", key]
        ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
        found = Path(folder) / "report.json"
        if not found.exists():
            sys.exit(f"{' '.join(arguments)}: {ended.stderr}")
        return json.loads(found.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", default=str(ROOT / "target/release/harness"))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--only", nargs="*", help="parts of the names of cases")
    parser.add_argument("--limit", type=float, default=3.0, help="percent")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    beyond = False
    print(f"{'forecast later than live by %':30} {'p50':>7} {'p99':>7} {'max':>7}   live p50 and last host, s; busy %")
    for name, sets in CASES.items():
        if options.only and not any(part in name for part in options.only):
            continue
        live = [report(options, "run", sets, seed) for seed in seeds]
        plan = [report(options, "plan", sets, seed) for seed in seeds]
        of = lambda runs, figure: [run["fanout_latency_ms"][figure] or float("inf") for run in runs]  # noqa: E731
        apart = [
            statistics.median(100 * (p / l - 1) for p, l in zip(of(plan, figure), of(live, figure))) for figure in FIGURES
        ]
        beyond |= any(abs(value) > options.limit for value in apart)
        busy = statistics.median(100 * (run["machine"].get("fanout_utilisation") or float("nan")) for run in live)
        seconds = "/".join(f"{statistics.median(of(live, figure)) / 1000:.2f}" for figure in ("p50", "max"))
        print(f"{name:30} {apart[0]:+7.1f} {apart[1]:+7.1f} {apart[2]:+7.1f}   {seconds}; {busy:.0f}", flush=True)
    sys.exit(beyond)


main()
