#!/usr/bin/env python3
"""Reload under load: at 2,000 requests a second, hits and misses, the configuration is read again 20 times, two of them
from a broken file. No request fails, no token is fetched anew, and no entry is lost.

The requests come at a fixed rate, whether or not the ones before are answered. Where the debug build does not keep up on
the machine, the release build is made and asked instead, and that is said.

BINARY names the program under test. Nothing but the standard library is needed. The last line is `N passed, N failed`.
"""

import asyncio
import collections
import multiprocessing
import os
import subprocess
import sys
import time

from harness import BINARY, ROOT, Served, Simulator, ask, check, equal, finish, folder

RATE = 2_000  # requests per second, of all workers
SECONDS = 12
WORKERS = 2
CONNECTIONS = 16  # of each worker
MISSES = 5  # of 100 requests
RELOADS = 20
BROKEN = (7, 14)  # which of them
KEPT = [f"/{tenant}/express/{endpoint}?per_page=2" for tenant in ("organizations/acme", "organizations/northwind", "instances/globex", "instances/hooli")
        for endpoint in ("products", "subscriptions", "invoices")]


class Connection(asyncio.Protocol):
    """One request at a time, and what its answer is."""

    def __init__(self, worker):
        self.worker, self.buffer, self.sent, self.transport = worker, b"", None, None

    def connection_made(self, transport):
        self.transport = transport
        self.worker.free.append(self)

    def send(self, target):
        self.sent = target
        self.transport.write(f"GET {target} HTTP/1.1\r\nHost: {self.worker.host}\r\n\r\n".encode())

    def data_received(self, data):
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.partition(b"\r\ncontent-length: ")[2].split(b"\r", 1)[0] or 0)
        if len(body) >= length:
            self.buffer = b""
            target, self.sent = self.sent, None
            self.worker.answered(target, head, len(body) == length)
            self.worker.free.append(self)

    def connection_lost(self, _):
        if self.worker.under_way:
            self.worker.problems.append(f"a connection was lost, with {self.sent} under way")


class Worker:
    def __init__(self, number, address):
        self.number, self.address = number, address
        self.host = f"{address[0]}:{address[1]}"
        self.free, self.problems, self.counts = collections.deque(), [], collections.Counter()
        self.under_way = True

    def answered(self, target, head, whole):
        status = head[9:12].decode()
        wanted = b"; fwd=" if "&of=" in target else b"; hit"
        self.counts["answered"] += 1
        if status != "200" or not whole:
            self.problems.append(f"{status} {target} {head[:500]}")
        elif wanted not in head.partition(b"\r\ncache-status: ")[2].split(b"\r", 1)[0]:
            self.problems.append(f"not {wanted}: {target} {head[:600]}")

    async def run(self):
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            await loop.create_connection(lambda: Connection(self), *self.address)
        rate, begin, sent = RATE / WORKERS, time.monotonic(), 0
        total = int(rate * SECONDS)
        while sent < total:
            due = min(total, int((time.monotonic() - begin) * rate) + 1)
            while sent < due and self.free:
                miss = sent % 100 < MISSES
                target = f"/organizations/acme/express/invoices?per_page=2&of={self.number}-{sent}" if miss else KEPT[sent % len(KEPT)]
                self.counts["misses" if miss else "hits"] += 1
                self.free.popleft().send(target)
                sent += 1
            await asyncio.sleep(0.002)
        deadline = time.monotonic() + 10
        while self.counts["answered"] < sent and time.monotonic() < deadline:
            await asyncio.sleep(0.001)
        seconds = time.monotonic() - begin
        if self.counts["answered"] < sent:
            self.problems.append(f"{sent - self.counts['answered']} requests had no answer")
        self.under_way = False
        return {"seconds": seconds, "problems": self.problems[:20], "failed": len(self.problems), **self.counts}


def work(number, address, results):
    results.put(asyncio.run(Worker(number, address).run()))


def configuration(where, simulator, change):
    sample = (ROOT / "src/cli/demo.yaml").read_text()
    for name, value in {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "api_url": simulator.api_url, "token_url": simulator.token_url}.items():
        sample = sample.replace(f"{{{name}}}", value)
    sample = sample.replace("format: text", "access: false")
    limits = f"limits: {{ upstream: {{ rate: 10000/s, burst: 10000, concurrency: {500 + change} }} }}\n"
    (where / "config.yaml").write_text(sample + limits)
    return where / "config.yaml"


def counted(proxy):
    """Token ids, entries, and what the cache did, as far as it may only grow."""
    numbers = {one["credential"]: one["token_number"] for one in proxy.api("/api/credentials")["credentials"]}
    series = proxy.series()
    results = {result: sum(float(value) for name, value in series.items() if name.startswith("cache_requests_total") and f'result="{result}"' in name)
               for result in ("hit", "miss", "stale", "collapsed", "revalidated", "bypass")}
    return {"tokens": numbers, "entries": proxy.api("/api/cache")["entries"], "results": results, "calls": proxy.calls()}


def reload(proxy, where, simulator, problems):
    """Reads it again so often, while the workers ask."""
    for number in range(1, RELOADS + 1):
        file = configuration(where, simulator, number)
        if number in BROKEN:
            file.write_text(file.read_text() + "nonsense: [\n")
        answer = ask(proxy.admin + "/api/reload", "POST")
        wanted = 422 if number in BROKEN else 200
        told = answer.json()
        if answer.status != wanted or (wanted == 200 and not told.get("changed")):
            problems.append((number, answer.status, answer.body[:500]))
        time.sleep(SECONDS * 0.9 / RELOADS)


def attempt(binary):
    """One round with a build; what came of it."""
    with folder() as where, Simulator(where) as simulator:
        with Served(configuration(where, simulator, 0), simulator, binary) as proxy:
            proxy.settle()
            for path in KEPT:
                proxy.get(path)
            before = counted(proxy)
            host, port = proxy.proxy.removeprefix("http://").split(":")
            results = multiprocessing.Queue()
            workers = [multiprocessing.Process(target=work, args=(number, (host, int(port)), results)) for number in range(WORKERS)]
            for worker in workers:
                worker.start()
            problems = []
            reload(proxy, where, simulator, problems)
            told = [results.get(timeout=60) for _ in workers]
            for worker in workers:
                worker.join(10)
            after = counted(proxy)
            return before, after, told, problems


def main():
    before, after, told, problems = attempt(BINARY)
    build = "the build under test"
    rate = sum(one["answered"] for one in told) / max(one["seconds"] for one in told)
    if rate < 0.98 * RATE:
        print(f"        {build} makes {rate:.0f} requests a second here, so the release build is asked")
        build = "the release build"
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
        before, after, told, problems = attempt(f"{os.environ.get('CARGO_TARGET_DIR', 'target')}/release/billing-insights-proxy")
        rate = sum(one["answered"] for one in told) / max(one["seconds"] for one in told)
    hits, misses = sum(one["hits"] for one in told), sum(one["misses"] for one in told)
    print(f"        {build}: {rate:.0f} requests a second, {hits} hits and {misses} misses, {RELOADS} reloads")
    check(f"{RATE} requests a second were sent and answered", rate >= 0.98 * RATE, f"{rate:.0f}")
    equal(f"{RELOADS} reloads: all but the {len(BROKEN)} of a broken file changed something, and those were refused", [], problems)
    equal("not one request failed, or was not the hit or miss that it should be", (0, []),
          (sum(one["failed"] for one in told), [problem for one in told for problem in one["problems"]][:3]))
    check("tokens were in use", sum(before["tokens"].values()) >= 4, before["tokens"])
    equal("no token was lost: each has the number that it had", before["tokens"], after["tokens"])
    equal("nor fetched anew", before["calls"][0], after["calls"][0])
    equal("no entry was lost: there are as many more as there were misses", before["entries"] + misses, after["entries"])
    grown = {result: after["results"][result] - before["results"][result] for result in before["results"]}
    equal("the counts of the cache went on", {"hit": hits, "miss": misses, "stale": 0, "collapsed": 0, "revalidated": 0, "bypass": 0}, grown)
    equal("each miss was one request to Talkdesk", misses, after["calls"][1] - before["calls"][1])
    finish()


if __name__ == "__main__":
    sys.exit(main())
