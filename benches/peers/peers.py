#!/usr/bin/env python3
"""What a byte, a host and a connection cost between processes of their own: one `seeder` and N `peer` on loopback.

    cargo build --release -p peer -p seeder
    benches/peers/peers.py --hosts 8 --size 64 --chunk 256

Every host has joined before the build can be pulled, so what is timed is the transfer alone: from when the seeder is let at its
bucket (a folder of this script's, behind HTTP) until the last host has the file in place. CPU seconds are user and system time of the
seeder and all hosts, from their start to their end. With `--idle` the same processes move a build of one byte before, and what that costs is
taken off: what is left is what the bytes cost, and what was taken off is the cost of a host.

Prints one line for each run, and the median of them. Needs nothing but Python. No part of CI: what it prints is of this machine.
"""

import argparse
import http.server
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20


class Bucket(http.server.BaseHTTPRequestHandler):
    """As much of S3 as a seeder asks for: HEAD and ranged GET of one object."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, send_body):
        self.server.is_open.wait()
        body = self.server.body
        first, last = 0, len(body) - 1
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2]), last)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("ETag", '"one"')
        self.send_header("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT")
        self.end_headers()
        if send_body:
            self.wfile.write(memoryview(body)[first : last + 1])

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def log_message(self, *_arguments):
        pass


def bucket_of(body):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    server.body, server.is_open = body, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def connections_at(port):
    """How many TCP connections of this machine have one end at `port`."""
    wanted = f":{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return sum(field[1].endswith(wanted) and field[3] == "01" for field in fields)


def wait_until(what, holds, patience=120):
    until = time.monotonic() + patience
    while not holds():
        if time.monotonic() > until:
            sys.exit(f"waited {patience} s in vain until {what}")
        time.sleep(0.01)


class Agents:
    """The processes of a run. What they have cost is known when they have ended."""

    def __init__(self):
        self.running, self.cpu, self.rss = [], [], []

    def start(self, command, **options):
        process = subprocess.Popen(command, **options)
        self.running.append(process)
        return process

    def stop(self):
        for process in self.running:
            status = Path(f"/proc/{process.pid}/status").read_text()
            self.rss.append(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024)
            process.terminate()
        for process in self.running:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu.append(used.ru_utime + used.ru_stime)


def run(arguments, body, folder):
    """One transfer of `body`: seconds until half of the hosts and the last have it, CPU seconds of all, MiB of the largest host."""
    bucket = bucket_of(body)
    environment = dict(os.environ, AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_REGION="us-east-1")
    agents = Agents()
    quic = arguments.transport == "quic"
    listen = "/ip4/127.0.0.1/udp/0/quic-v1" if quic else "/ip4/127.0.0.1/tcp/0"
    endpoint = f"http://127.0.0.1:{bucket.server_port}"
    command = [arguments.bin / "seeder", "--bucket", "b", "--key", "k", "--folder", folder / "spool", "--listen", listen]
    command += ["--endpoint-url", endpoint]
    if arguments.chunk:
        command += ["--chunk-size", str(arguments.chunk << 10)]
    with open(folder / "seeder.log", "w") as log:
        seeder = agents.start(command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
    address = seeder.stdout.readline().strip()
    times, lines = [], threading.Condition()

    def listen_to(host):
        for line in host.stderr:
            if ": in place" in line:
                with lines:
                    times.append(time.monotonic())
                    lines.notify()
            else:
                print(line, end="", file=sys.stderr)

    for number in range(arguments.hosts):
        out = folder / f"host-{number}"
        command = [arguments.bin / "peer", "--seeder", address, "--out", out, "--listen", listen, "--linger", "3600"]
        host = agents.start(command, stderr=subprocess.PIPE, env=environment, text=True)
        threading.Thread(target=listen_to, args=(host,), daemon=True).start()
    if quic:
        time.sleep(2 + arguments.hosts / 20)
    else:
        port = int(re.search(r"/tcp/(\d+)", address)[1])
        wait_until("all hosts have joined", lambda: connections_at(port) >= arguments.hosts)
        time.sleep(1.5)
    began = time.monotonic()
    bucket.is_open.set()
    with lines:
        came = lines.wait_for(lambda: len(times) == arguments.hosts, timeout=arguments.timeout)
    agents.stop()
    bucket.shutdown()
    if not came:
        sys.exit(f"{len(times)} of {arguments.hosts} hosts had the build after {arguments.timeout} s; see {folder}")
    for number in range(arguments.hosts):
        if (folder / f"host-{number}").read_bytes() != body:
            sys.exit(f"host {number} has something else than the build")
    taken = sorted(at - began for at in times)
    return taken[len(taken) // 2], taken[-1], sum(agents.cpu), max(agents.rss[1:])


def in_folder(arguments, body):
    folder = Path(tempfile.mkdtemp(prefix="peers-", dir=arguments.folder))
    try:
        return run(arguments, body, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--size", type=int, default=64, help="MiB of the build")
    parser.add_argument("--chunk", type=int, default=256, help="KiB of a chunk; 0 for what the seeder chooses")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--transport", choices=["tcp", "quic"], default="tcp")
    parser.add_argument("--idle", action="store_true", help="take off what processes without a build cost")
    parser.add_argument("--bin", type=Path, default=ROOT / "target" / "release", help="folder of `peer` and `seeder`")
    parser.add_argument("--folder", type=Path, default=None, help="where the hosts' files go")
    parser.add_argument("--timeout", type=int, default=300, help="seconds")
    arguments = parser.parse_args()
    gib = arguments.hosts * arguments.size / 1024
    idle = 0.0
    if arguments.idle:
        idle = statistics.median(in_folder(arguments, b"x")[2] for _ in range(arguments.runs))
        print(f"{arguments.hosts} hosts without a build: {idle:.2f} CPU s, {idle / arguments.hosts * 1000:.1f} ms a host")
    body = os.urandom(arguments.size * MIB)
    results = []
    for _ in range(arguments.runs):
        results.append(in_folder(arguments, body))
        half, last, cpu, rss = results[-1]
        print(f"half {half:.2f} s, last {last:.2f} s, {cpu:.2f} CPU s, {(cpu - idle) / gib:.2f} CPU s/GiB, {rss:.0f} MiB a host")
    half, last, cpu, rss = (statistics.median(column) for column in zip(*results))
    rate = (cpu - idle) / gib
    print(
        f"median of {arguments.runs}, {arguments.hosts} hosts × {arguments.size} MiB over {arguments.transport}: half {half:.2f} s, "
        f"last {last:.2f} s, {rate:.2f} CPU s/GiB ({rate / 1.073741824:.2f} ns a byte), {rss:.0f} MiB a host"
    )


if __name__ == "__main__":
    main()
