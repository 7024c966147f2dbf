#!/usr/bin/env python3
"""How real TCP shares the links of a swarm: hosts in network namespaces, kernel TCP between them, `tc tbf` on both ends of each link.

    sudo scripts/tcp-sharing.py --hosts 8 --rate 20 --chunk 256 --slots 2 --in-flight 3

Every host asks random others for chunks and keeps so many requests in flight; every host serves so many chunks at a time, in the
order in which they were asked for. Printed is which share of all downlinks the chunks took, beside what two models say of the
same hosts and rules:

  coupled   both ends of a transfer go at one rate, max-min fair
  ahead B   a sender is ahead of its receiver by up to B KiB; each end shares its own link equally

Needs root, iproute2 with `tc`, and veth, bridge and sch_tbf in the kernel. Makes namespaces `fc-*` and removes them.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys

PORT = 7000
REQUEST, DATA = 1, 2
SEGMENT = 16 << 10


def sh(command):
    subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


# ---- The network -------------------------------------------------------------------------------------------------------------


def take_down(hosts):
    for name in [f"fc-{i}" for i in range(hosts)] + ["fc-switch"]:
        subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)


def set_up(options):
    """A switch, and a host at each of its ports; what leaves the host is its uplink, what leaves the port its downlink."""
    take_down(options.hosts)
    sh("ip netns add fc-switch")
    sh("ip -n fc-switch link add br0 type bridge")
    sh("ip -n fc-switch link set br0 up")
    kbit = int(options.rate * 1000)
    # The uplink's queue is the host's own: the socket waits for it, nothing is dropped. The downlink's is the switch's.
    for host in range(options.hosts):
        sh(f"ip netns add fc-{host}")
        sh(f"ip -n fc-{host} link add eth0 type veth peer name p{host} netns fc-switch")
        sh(f"ip -n fc-{host} addr add 10.77.0.{host + 1}/24 dev eth0")
        sh(f"ip -n fc-{host} link set eth0 up")
        sh(f"ip -n fc-switch link set p{host} master br0 up")
        limit = max(int(options.queue * 1024), 16 << 10)
        sh(f"tc -n fc-{host} qdisc add dev eth0 root tbf rate {kbit}kbit burst 16kb limit 1mb")
        sh(f"tc -n fc-switch qdisc add dev p{host} root tbf rate {kbit}kbit burst 16kb limit {limit}")


# ---- A host ------------------------------------------------------------------------------------------------------------------


class Host:
    def __init__(self, options, number):
        self.options, self.number = options, number
        self.random = random.Random(options.seed * 1000 + number)
        self.connections = {}
        self.queue, self.requests, self.serving = [], {}, {}
        self.writing, self.slots = set(), options.slots
        self.received = 0
        self.chunk = bytes(options.chunk * 1024)

    async def run(self):
        loop = asyncio.get_running_loop()
        listener = socket.create_server((f"10.77.0.{self.number + 1}", PORT), backlog=64)
        listener.setblocking(False)
        accepting = loop.create_task(self.accept(loop, listener))
        print("ready", flush=True)
        await self.line(loop)
        for other in range(self.number + 1, self.options.hosts):
            sock = self.prepare(socket.socket())
            await loop.sock_connect(sock, (f"10.77.0.{other + 1}", PORT))
            await loop.sock_sendall(sock, bytes([self.number]))
            self.connections[other] = sock
            loop.create_task(self.read(loop, other, sock))
        print("connected", flush=True)
        await self.line(loop)
        for _ in range(self.options.in_flight):
            await self.ask(loop)
        await asyncio.sleep(self.options.warm_up)
        before = self.received
        began = loop.time()
        await asyncio.sleep(self.options.seconds)
        rate = (self.received - before) / (loop.time() - began)
        print(json.dumps({"bytes_per_second": rate}), flush=True)
        await self.line(loop)
        accepting.cancel()

    @staticmethod
    async def line(loop):
        await loop.run_in_executor(None, sys.stdin.readline)

    def prepare(self, sock):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, self.options.congestion.encode())
        if self.options.unsent:
            sock.setsockopt(socket.IPPROTO_TCP, 25, self.options.unsent * 1024)  # TCP_NOTSENT_LOWAT
        return sock

    async def accept(self, loop, listener):
        while True:
            sock, _ = await loop.sock_accept(listener)
            self.prepare(sock)
            other = (await loop.sock_recv(sock, 1))[0]
            self.connections[other] = sock
            loop.create_task(self.read(loop, other, sock))

    async def ask(self, loop):
        other = self.random.choice([n for n in range(self.options.hosts) if n != self.number])
        while other not in self.connections:
            await asyncio.sleep(0.01)
        self.requests[other] = self.requests.get(other, 0) + 1
        self.serve(loop)

    def serve(self, loop):
        """Gives a free slot to whoever has waited longest, one chunk a connection."""
        for other in list(self.queue):
            if self.slots and other not in self.serving:
                self.queue.remove(other)
                self.slots -= 1
                self.serving[other] = len(self.chunk)
        for other in set(self.serving) | set(self.requests):
            if other not in self.writing and other in self.connections:
                self.writing.add(other)
                loop.create_task(self.write(loop, other))

    async def write(self, loop, other):
        """Requests go between the segments of a chunk."""
        sock = self.connections[other]
        while True:
            if wanted := self.requests.pop(other, 0):
                await loop.sock_sendall(sock, bytes([REQUEST]) * wanted)
            elif self.serving.get(other):
                part = min(SEGMENT, self.serving[other])
                await loop.sock_sendall(sock, bytes([DATA]) + self.chunk[:part])
                self.serving[other] -= part
                if self.serving[other] == 0:
                    del self.serving[other]
                    self.slots += 1
                    self.serve(loop)
            else:
                self.writing.discard(other)
                return

    async def read(self, loop, other, sock):
        buffer = bytearray(1 << 16)
        left, of_chunk = 0, 0
        while True:
            count = await loop.sock_recv_into(sock, memoryview(buffer)[: min(len(buffer), left) or 1])
            if count == 0:
                return
            if left:
                left -= count
                of_chunk += count
                self.received += count
                if of_chunk == len(self.chunk):
                    of_chunk = 0
                    await self.ask(loop)
            elif buffer[0] == DATA:
                left = min(SEGMENT, len(self.chunk) - of_chunk)
            else:
                self.queue.append(other)
                self.serve(loop)


# ---- The models --------------------------------------------------------------------------------------------------------------


class Swarm:
    """The same hosts and rules without a network; `step` moves the bytes."""

    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.queue = [[] for _ in range(options.hosts)]
        self.flows = []
        self.received = 0.0
        self.rate = options.rate * 125_000
        self.size = options.chunk * 1024.0
        for host in range(options.hosts):
            for _ in range(options.in_flight):
                self.ask(host)

    def ask(self, host):
        other = self.random.choice([n for n in range(self.options.hosts) if n != host])
        self.queue[other].append(host)

    def serve(self):
        for sender, queue in enumerate(self.queue):
            sending = [f for f in self.flows if f["from"] == sender and f["sent"] < self.size]
            to = {f["to"] for f in sending}
            for receiver in list(queue):
                if len(to) < self.options.slots and receiver not in to:
                    queue.remove(receiver)
                    to.add(receiver)
                    self.flows.append({"from": sender, "to": receiver, "sent": 0.0, "got": 0.0})

    def utilisation(self, step):
        seconds, done, before = 0.0, 0.0, 0.0
        length = self.size / self.rate / 100
        warm = 20 * self.size / self.rate
        while seconds < warm + 300 * self.size / self.rate:
            self.serve()
            step(self, self.rate * length)
            for flow in [f for f in self.flows if f["got"] >= self.size - 1e-6]:
                self.flows.remove(flow)
                self.received += self.size
                self.ask(flow["to"])
            seconds += length
            if before == 0.0 and seconds >= warm:
                before, done = seconds, self.received
        return (self.received - done) / (seconds - before) / (self.rate * self.options.hosts)


def coupled(swarm, budget):
    """Max-min fair rates, by filling."""
    left = {("up", h): budget for h in range(swarm.options.hosts)}
    left.update({("down", h): budget for h in range(swarm.options.hosts)})
    open_ = list(swarm.flows)
    while open_:
        count = {}
        for f in open_:
            for port in (("up", f["from"]), ("down", f["to"])):
                count[port] = count.get(port, 0) + 1
        port = min(count, key=lambda p: left[p] / count[p])
        share = left[port] / count[port]
        for f in [f for f in open_ if port in (("up", f["from"]), ("down", f["to"]))]:
            open_.remove(f)
            left[("up", f["from"])] -= share
            left[("down", f["to"])] -= share
            f["sent"] = f["got"] = f["got"] + share


def ahead(kib):
    def share_out(budget, flows, room):
        flows = sorted(flows, key=room)
        for index, flow in enumerate(flows):
            part = min(room(flow), budget / (len(flows) - index))
            budget -= part
            yield flow, part

    def step(swarm, budget):
        limit = kib * 1024
        for host in range(swarm.options.hosts):
            mine = [f for f in swarm.flows if f["from"] == host and f["sent"] < swarm.size]
            for flow, part in share_out(
                budget, mine, lambda f: min(swarm.size - f["sent"], f["got"] + limit + budget / 2 - f["sent"])
            ):
                flow["sent"] += part
        for host in range(swarm.options.hosts):
            mine = [f for f in swarm.flows if f["to"] == host and f["got"] < f["sent"]]
            for flow, part in share_out(budget, mine, lambda f: f["sent"] - f["got"]):
                flow["got"] += part

    return step


# ---- All together ------------------------------------------------------------------------------------------------------------


def measure(options):
    set_up(options)
    hosts = []
    try:
        for number in range(options.hosts):
            command = ["ip", "netns", "exec", f"fc-{number}", sys.executable, os.path.abspath(__file__)]
            command += ["--host", str(number), "--options", json.dumps(vars(options))]
            hosts.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        for expected in ("ready", "connected"):
            for host in hosts:
                assert host.stdout.readline().strip() == expected
            for host in hosts:
                host.stdin.write("\n")
                host.stdin.flush()
        rates = [json.loads(host.stdout.readline())["bytes_per_second"] for host in hosts]
        for host in hosts:
            host.stdin.write("\n")
            host.stdin.flush()
        return sum(rates) / options.hosts / (options.rate * 125_000)
    finally:
        for host in hosts:
            host.kill()
        take_down(options.hosts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--rate", type=float, default=20, help="Mbit/s of each uplink and each downlink")
    parser.add_argument("--chunk", type=int, default=256, help="KiB")
    parser.add_argument("--slots", type=int, default=2, help="chunks that a host serves at a time")
    parser.add_argument("--in-flight", type=int, default=3, help="chunks that a host asks for at a time")
    parser.add_argument("--queue", type=float, default=64, help="KiB that wait at a downlink at most")
    parser.add_argument("--unsent", type=int, default=0, help="KiB that a socket takes ahead of sending; 0 for the kernel's choice")
    parser.add_argument("--congestion", default="cubic")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--warm-up", type=float, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models", action="store_true", help="the models alone: needs no network and no root")
    parser.add_argument("--host", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--options", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.host is not None:
        number, options = options.host, argparse.Namespace(**json.loads(options.options))
        asyncio.run(Host(options, number).run())
        return
    row = []
    if not options.models:
        row.append(f"TCP ({options.congestion}) {measure(options):.3f}")
    row.append(f"coupled {Swarm(options).utilisation(coupled):.3f}")
    for kib in (options.chunk / 8, options.chunk / 4, options.chunk / 2, options.chunk):
        row.append(f"ahead {kib:g} KiB {Swarm(options).utilisation(ahead(kib)):.3f}")
    print("; ".join(row))


main()
