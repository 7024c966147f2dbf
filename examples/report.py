#!/usr/bin/env python3
"""Reads what a run has left: report.json and hosts.csv.

    report.py RUN        the folder of a run or of a forecast
"""

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path


def main(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    print(f"{report['scenario']} ({report['mode']}): {report['hosts']['verified']} of {report['hosts']['total']} hosts")

    # Times are milliseconds, and null where they were not reached.
    for region in report["regions"]:
        last, bound = region["fanout_latency_ms"]["max"], region["lower_bound_ms"]
        used = region["link_use"]["host_uplinks"]
        print(f"{region['name']}: last after {last} ms, bound {bound} ms, {percent(used)} of the hosts' uplinks used")

    # What passed over time; empty with --no-records.
    for flow in report["flows"]:
        _, seeders, hosts = flow["received"][-1]
        print(f"{flow['region']}: {percent(seeders / (seeders + hosts))} of the bytes came from the seeders")

    # A row a host.
    late = defaultdict(list)
    with (folder / "hosts.csv").open(newline="") as rows:
        for row in csv.DictReader(rows):
            if row["verified_after_ms"]:
                late[row["region"]].append((float(row["verified_after_ms"]), row["host"]))
    for region, hosts in late.items():
        ms, host = max(hosts)
        print(f"{region}: {host} was the last, after {ms} ms")

    for threshold in report["thresholds"]:
        if threshold["ok"] is not True:
            print(f"not met: {threshold['name']}: {threshold['expression']} (it is {threshold['actual']})")


def percent(share: float | None) -> str:
    return "an unknown part" if share is None else f"{share:.0%}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
