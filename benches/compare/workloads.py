"""What is asked of the contestants, and what is measured meanwhile."""

import contextlib
import itertools
import json
import random
import time

import machine
from contestants import ORGANIZATIONS, REFUSED, Bare, Nginx, Proxy, Varnish
from machine import Failure, ask

ONE = "/organizations/organization-1"
INVOICES = f"{ONE}/express/invoices"
PASSING = f"{ONE}/passing/invoices?size=2048"
CONNECTIONS = 64
SIZES = {"2k": 2048, "32k": 32 * 1024, "1m": 1024 * 1024}

SERVERS = ["proxy", "proxy-log", "proxy-before", "bare", "nginx", "nginx-log", "nginx-open", "haproxy", "varnish"]
PROXIES = ["proxy", "proxy-log", "proxy-before", "bare-pass", "nginx", "haproxy", "varnish"]

MIX_ENTRIES = 10_000
MIX_MISSES = 0.05


class Bench:
    """What the workloads have in common: the programs, the origin, and how long a slot takes."""

    def __init__(self, programs, folder, seconds, quick, chosen, seed):
        self.programs = programs
        self.folder = folder
        self.seconds = seconds
        self.quick = quick
        self.chosen = chosen
        self.seed = seed
        self.random = random.Random(seed)
        self.numbers = itertools.count(self.random.randrange(1 << 30) * 1000)
        self.contestants = {}
        self.saturation = None
        self.origin = f"127.0.0.1:{machine.free_port()}"
        process = machine.start([programs["origin"], "--listen", self.origin], machine.LOAD_CORE, folder / "origin.log")
        machine.wait_until_it_answers(self.origin, "/count", process)

    def load(self, *arguments):
        return machine.load(self.programs, *arguments)

    def origin_requests(self):
        return int(ask(self.origin, "/count").body)

    def wrk(self, contestant, path, connections=CONNECTIONS, fields=(), paths="-", seconds=None):
        """Runs wrk against a contestant, and adds what the contestant's processes used."""
        command = [machine.find_program("wrk"), "-t1", f"-c{connections}", f"-d{seconds or self.seconds}s", "--latency",
                   "-s", str(machine.FOLDER / "load.lua")]
        for field in fields:
            command += ["-H", field]
        command += [f"http://{contestant.address}{path}", "--", str(paths)]
        asked_before, used_before, began = self.origin_requests(), contestant.processor_seconds(), time.monotonic()
        done = machine.on_load_core(command)
        took, used = time.monotonic() - began, contestant.processor_seconds() - used_before
        if done.returncode != 0:
            raise Failure(f"wrk failed: {done.stdout[-500:]}{done.stderr[-500:]}")
        said = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
        if said["requests"] == 0 or said["broken"] > 0:
            raise Failure(f"{said['broken']} connections were broken, {said['requests']} requests answered")
        return {
            "requests": said["requests"],
            "requests_per_second": said["requests"] / said["microseconds"] * 1e6,
            "p50": said["p50"],
            "p99": said["p99"],
            "processor": used / said["requests"] * 1e6,
            "busy": used / took,
            "bytes": said["bytes"] / said["requests"],
            "bad_status": said["bad_status"],
            "origin_requests": self.origin_requests() - asked_before,
        }


def checked(contestant, path, status=200, length=None, fields=()):
    """Asks once, and holds the answer against what it must be."""
    answer = ask(contestant.address, path, fields)
    if answer.status != status:
        raise Failure(f"{path} is answered {answer.status} instead of {status}: {answer.body[:300]!r}")
    if length is not None and len(answer.body) != length:
        raise Failure(f"{path} is answered {len(answer.body)} bytes instead of {length}")
    return answer


class Workload:
    unit = "steady"
    reference = "bare"

    def __init__(self, name, title, contestants):
        self.name, self.title, self.contestants = name, title, contestants

    def prepare(self, bench):
        """Once, before the first round."""

    def before_round(self, bench):
        """Before each round."""

    def finish(self, bench):
        """After the last round."""

    def measure(self, bench, contestant):
        raise NotImplementedError


class Steady(Workload):
    """One URL over and over, which is answered from memory, refused, or passed on."""

    def __init__(self, name, title, contestants, path, *, status=200, length=None, kept=True, connections=CONNECTIONS):
        super().__init__(name, title, contestants)
        self.path, self.status, self.length, self.kept = path, status, length, kept
        self.connections = connections
        if not kept:
            self.reference = "bare-pass"

    def measure(self, bench, contestant):
        fields = []
        if self.status == 304:
            tag = checked(contestant, self.path).fields.get("etag")
            if tag is None:
                raise Failure("there is no ETag to ask with")
            fields = [f"If-None-Match: {tag}"]
        for _ in range(2):
            answer = checked(contestant, self.path, self.status, self.length, fields)
        figures = bench.wrk(contestant, self.path, self.connections, fields)
        # wrk does not tell a 200 from a 304, but their sizes do.
        if abs(figures["bytes"] - answer.size) > max(80, answer.size / 50):
            raise Failure(f"{figures['bytes']:.0f} bytes for each answer instead of {answer.size}")
        bad = figures["bad_status"]
        if bad != (figures["requests"] if self.status >= 400 else 0):
            raise Failure(f"{bad} of {figures['requests']} answers have another status than {self.status}")
        asked = figures["origin_requests"]
        if self.kept and asked > 0:
            raise Failure(f"{asked} requests went to the origin, which should have been answered from memory")
        if not self.kept and asked < figures["requests"]:
            raise Failure(f"of {figures['requests']} requests only {asked} went to the origin")
        if self.name == "hit-2k" and contestant.name == "nginx":
            bench.saturation = figures["requests_per_second"]
        return figures


def path_of(entry, organizations=ORGANIZATIONS, instances=True):
    """An entry's URL; the entries are dealt out to the tenants in turn."""
    tenant = entry % (2 * organizations if instances else organizations)
    if tenant < organizations:
        name = f"organizations/organization-{tenant + 1}"
    else:
        name = f"instances/instance-{tenant - organizations + 1}"
    return f"/{name}/express/invoices?size=2048&entry={entry}"


def write_lines(path, lines):
    path.write_text("\n".join(lines) + "\n")


class Mix(Workload):
    """Many entries and tenants, some much more asked for than others, and what was never asked for before."""

    def prepare(self, bench):
        self.weights = list(itertools.accumulate(1 / rank for rank in range(1, MIX_ENTRIES + 1)))
        self.paths = [path_of(entry) for entry in range(MIX_ENTRIES)]
        write_lines(bench.folder / "mix-entries", self.paths)
        self.filled = set()

    def before_round(self, bench):
        # More than can be asked in a slot: asked for a second time, what should miss would hit.
        count = int(120_000 * bench.seconds)
        drawn = bench.random.choices(self.paths, cum_weights=self.weights, k=count)
        for place in range(count):
            if bench.random.random() < MIX_MISSES:
                drawn[place] = path_of(next(bench.numbers))
        self.draws = bench.folder / "mix-draws"
        write_lines(self.draws, drawn)

    def measure(self, bench, contestant):
        if contestant.name not in self.filled:
            bench.load("fill", "--address", contestant.address, "--paths", bench.folder / "mix-entries", "--length", 2048)
            self.filled.add(contestant.name)
        checked(contestant, self.paths[0], length=2048)
        figures = bench.wrk(contestant, "/", paths=self.draws)
        if figures["bad_status"] > 0:
            raise Failure(f"{figures['bad_status']} answers have another status than 200")
        share = figures["origin_requests"] / figures["requests"]
        if contestant.name != "bare" and not 0.8 * MIX_MISSES < share < 1.2 * MIX_MISSES:
            raise Failure(f"{share:.1%} of the requests went to the origin instead of {MIX_MISSES:.0%}")
        return figures


class Paced(Workload):
    """Hits at the same rate for everybody: 70 % of what nginx can do."""

    def before_round(self, bench):
        if bench.saturation is None:
            nginx = bench.contestants.get("nginx")
            if nginx is None:
                raise Failure("the rate is a part of nginx's, which is not among the contestants")
            checked(nginx, f"{INVOICES}?size=2048", length=2048)
            bench.saturation = bench.wrk(nginx, f"{INVOICES}?size=2048")["requests_per_second"]
        self.rate = 0.7 * bench.saturation

    def measure(self, bench, contestant):
        for _ in range(2):
            checked(contestant, f"{INVOICES}?size=2048", length=2048)
        used_before = contestant.processor_seconds()
        said = bench.load("paced", "--address", contestant.address, "--path", f"{INVOICES}?size=2048", "--length", 2048,
                          "--rate", self.rate, "--seconds", bench.seconds, "--seed", next(bench.numbers))
        used = contestant.processor_seconds() - used_before
        return {
            "requests_per_second": said["rate"],
            "p50": said["latency"]["p50"],
            "p99": said["latency"]["p99"],
            "p999": said["latency"]["p999"],
            "processor": used / said["requests"] * 1e6,
            "busy": used / said["seconds"],
            "starved": said["starved"],
        }


class Cold(Workload):
    """200 clients at once for something that nobody has yet, and that takes half a second."""

    unit = "cold"
    reference = None

    def measure(self, bench, contestant):
        checked(contestant, f"{INVOICES}?size=2048", length=2048)
        before = bench.origin_requests()
        path = f"{INVOICES}?size=2048&delay=500&entry={next(bench.numbers)}"
        said = bench.load("burst", "--address", contestant.address, "--path", path, "--length", 2048)
        return {"origin_requests": bench.origin_requests() - before, "all_within": said["latency"]["most"] / 1e3,
                "p50": said["latency"]["p50"] / 1e3}


class Probe(Workload):
    """One request after the other, each for something new, beside the same asked of the origin."""

    unit = "probe"
    reference = None

    def __init__(self, name, title, contestants, path, count):
        super().__init__(name, title, contestants)
        self.path, self.count = path, count

    def measure(self, bench, contestant):
        count = 3 if bench.quick else self.count
        first = next(bench.numbers)
        for _ in range(count):
            next(bench.numbers)
        said = bench.load("probe", "--address", contestant.address, "--path", self.path + "&entry={}", "--from", first,
                          "--count", count, "--length", 1024 * 1024)
        return {"last_byte": said["latency"]["p50"]}


class Growth(Workload):
    """Hits of a proxy with much of something, beside those of one with little."""

    reference = None

    def __init__(self, name, title, sizes, organizations=lambda size: 1, entries=lambda size: 1, idle=lambda size: 0,
                 maker=Proxy):
        super().__init__(name, title, [f"{name}-{size}" for size in sizes])
        self.sizes, self.organizations, self.entries, self.idle, self.maker = sizes, organizations, entries, idle, maker
        self.baseline = self.contestants[0]

    def prepare(self, bench):
        self.started, self.paths, self.held = {}, {}, []
        for name, size in zip(self.contestants, self.sizes):
            organizations, entries = self.organizations(size), self.entries(size)
            contestant = start_alone(bench, name, self.maker, organizations)
            self.started[name] = contestant
            every = [path_of(entry, organizations, instances=False) for entry in range(entries)]
            fill = bench.folder / f"{name}-entries"
            write_lines(fill, every)
            bench.load("fill", "--address", contestant.address, "--paths", fill, "--length", 2048)
            drawn = bench.folder / f"{name}-draws"
            write_lines(drawn, bench.random.choices(every, k=100_000))
            self.paths[name] = drawn
            self.held += hold(contestant, self.idle(size), every[0])

    def measure(self, bench, contestant):
        figures = bench.wrk(contestant, "/", paths=self.paths[contestant.name])
        if figures["bad_status"] > 0 or figures["origin_requests"] > 0:
            raise Failure(f"{figures['bad_status']} bad answers, {figures['origin_requests']} requests to the origin")
        return figures

    def finish(self, bench):
        for client in self.held:
            client.close()
        for contestant in self.started.values():
            contestant.stop()


def start_alone(bench, name, maker, organizations=1):
    arguments = (name, bench.programs, bench.folder, bench.origin)
    contestant = maker(*arguments, organizations=organizations) if maker is Proxy else maker(*arguments)
    contestant.start()
    return contestant


def hold(contestant, count, path):
    """Opens connections that have asked once, and now only stay."""
    held = []
    for _ in range(count):
        client = machine.Client(contestant.address)
        if client.ask(path).status != 200:
            raise Failure("a connection to be held is not answered 200")
        held.append(client)
    return held


class Memory(Workload):
    """What a program takes that does nothing, for each entry, and for each idle connection."""

    unit = "memory"
    reference = None
    once = True
    # HAProxy is not among them: its cache takes all of its memory at the start.
    makers = {"proxy": Proxy, "bare": Bare, "nginx": Nginx, "varnish": Varnish}

    def __init__(self, name, title):
        super().__init__(name, title, list(self.makers))

    def measure(self, bench, contestant):
        entries, connections = (2_000, 500) if bench.quick else (100_000, 5_000)
        path = f"{INVOICES}?size=2048"
        alone = start_alone(bench, f"memory-{contestant}", self.makers[contestant])
        try:
            time.sleep(1)
            idle = alone.memory_kib()
            with contextlib.ExitStack() as held:
                for client in hold(alone, connections, path):
                    held.callback(client.close)
                time.sleep(1)
                figures = {"idle": idle / 1024, "connection": (alone.memory_kib() - idle) / connections}
        finally:
            alone.stop()
        if contestant == "bare":
            return figures
        # In a process of its own: memory that connections have left would be taken for entries.
        alone = start_alone(bench, f"memory-{contestant}", self.makers[contestant])
        try:
            time.sleep(1)
            before = alone.memory_kib()
            fill = bench.folder / "memory-entries"
            write_lines(fill, (path_of(entry, 1, instances=False) for entry in range(entries)))
            asked = bench.origin_requests()
            bench.load("fill", "--address", alone.address, "--paths", fill, "--length", 2048)
            if bench.origin_requests() - asked != entries:
                raise Failure("not every entry was fetched once")
            time.sleep(2)
            figures["entry"] = (alone.memory_kib() - before) / entries
            asked = bench.origin_requests()
            bench.load("fill", "--address", alone.address, "--paths", fill, "--length", 2048)
            missed = bench.origin_requests() - asked
            if missed > 0:
                raise Failure(f"{missed} of {entries} entries were not kept")
            return figures
        finally:
            alone.stop()


class StartAndReload(Workload):
    """A thousand tenants: until the first answer, and a reload while hits go on."""

    unit = "start"
    reference = None

    def __init__(self, name, title):
        super().__init__(name, title, ["proxy"])

    def measure(self, bench, _contestant):
        proxy = start_alone(bench, "start", Proxy, organizations=500)
        try:
            checked(proxy, f"{INVOICES}?size=2048", length=2048)
            figures = {"start": proxy.started_within * 1e3}
            for when in ("without", "during"):
                seconds = max(2, bench.seconds)
                load = machine.start_load([
                    bench.programs["load"], "paced", "--address", proxy.address, "--path", f"{INVOICES}?size=2048",
                    "--length", "2048", "--rate", "5000", "--seconds", str(seconds)])
                time.sleep(0.5)
                if when == "during":
                    began = time.monotonic()
                    answer = ask(proxy.admin, "/api/reload", method="POST")
                    figures["reload"] = (time.monotonic() - began) * 1e3
                    if answer.status != 200:
                        raise Failure(f"the reload is answered {answer.status}: {answer.body[:300]!r}")
                done = machine.finish_load(load)
                if done.returncode != 0:
                    raise Failure(done.stderr)
                latency = json.loads(done.stdout)["latency"]
                figures[f"p99_{when}"], figures[f"most_{when}"] = latency["p99"], latency["most"]
            return figures
        finally:
            proxy.stop()


def all_workloads():
    hits = [
        Steady(f"hit-{name}", f"Hits of {size:,} bytes", SERVERS, f"{INVOICES}?size={size}", length=size)
        for name, size in SIZES.items()
    ]
    growing = [
        Growth("entries", "Growth: hits over so many entries", [10, 1_000, 100_000], entries=lambda size: size),
        Growth("tenants", "Growth: hits of 1,000 entries over so many Organizations", [1, 1_000],
               organizations=lambda size: size, entries=lambda size: 1_000),
        Growth("idle", "Growth: hits beside so many idle connections", [1, 5_000], idle=lambda size: size),
        Growth("idle-bare", "For comparison: bare hyper beside so many idle connections", [1, 5_000],
               idle=lambda size: size, maker=Bare),
    ]
    return [
        *hits,
        Steady("hit-2k-links", "Hits of 2,048 bytes with three links, which the proxy leads back to itself",
               ["proxy", "proxy-log", "bare", "nginx"], f"{INVOICES}?size=2048&links=1"),
        Steady("304", "If-None-Match that matches: 304", SERVERS, f"{INVOICES}?size=2048", status=304, length=0),
        Steady("denied", "Refused: 403", SERVERS, REFUSED, status=403),
        Steady("pass-2k", "Passed through, 2,048 bytes", PROXIES, PASSING, length=2048, kept=False),
        Steady("pass-1", "Passed through, 2,048 bytes, 1 connection", [*PROXIES, "direct"], PASSING, length=2048,
               kept=False, connections=1),
        Steady("hit-1", "Hits of 2,048 bytes, 1 connection", SERVERS, f"{INVOICES}?size=2048", length=2048, connections=1),
        Mix("mix", "95 % hits over 10,000 entries of 200 tenants (Zipf)",
            ["proxy", "proxy-log", "bare", "nginx", "nginx-log", "haproxy", "varnish"]),
        Paced("paced", "Hits of 2,048 bytes at 70 % of nginx's saturation", SERVERS),
        Cold("cold", "200 requests at once for one new URL that takes 500 ms",
             ["proxy", "bare-pass", "nginx", "haproxy", "varnish"]),
        Probe("miss-1m", "A miss of 1 MiB, 1 connection", ["direct", "proxy", "bare-pass", "nginx", "haproxy", "varnish"],
              f"{INVOICES}?size=1048576", 40),
        *growing,
        Memory("memory", "Memory (PSS)"),
        StartAndReload("start", "Start and reload with 1,000 tenants (hits at 5,000 a second meanwhile)"),
    ]
