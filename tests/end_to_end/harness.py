"""What the end-to-end checks in Python share: counting, waiting, asking over HTTP, and programs that are started and
stopped by their own process ids. A script checks with `check` and `equal`, and ends with `finish`, whose last line is
`N passed, N failed`. Nothing but the standard library is needed.

BINARY names the program under test; the debug build unless set.
"""

import atexit
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("BINARY", "target/debug/billing-insights-proxy")
PREFIX = "billing_insights_proxy_"

counts = {"passed": 0, "failed": 0}
running = []


@atexit.register
def end_all():
    for program in running:
        program.kill()


# So that what was started ends with a script that is told to end.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))


def check(name, holds, seen):
    counts["passed" if holds else "failed"] += 1
    print(f"ok      {name}" if holds else f"FAILED  {name}\n        seen: {seen}", flush=True)


def equal(name, wanted, seen):
    check(name, wanted == seen, f"{seen!r}\n        wanted: {wanted!r}")


def finish():
    print("{passed} passed, {failed} failed".format(**counts))
    sys.exit(0 if counts["failed"] == 0 and counts["passed"] else 1)


def within(seconds, condition):
    """The first true result of the condition, or its last at the deadline."""
    deadline = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return result


def free_ports(number):
    """Ports of the loopback interface that nobody listens at, all different."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def environment(**more):
    """This process's, without an outgoing proxy of the machine: everything here is on the loopback interface."""
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    return {name: value for name, value in os.environ.items() if name.lower() not in proxies} | more


class Answer:
    """Status, fields (by their names in small letters) and body."""

    def __init__(self, response):
        self.status = response.status
        self.fields = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


def ask(url, method="GET", fields=None, body=None, timeout=40):
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=timeout)
    target = where.path + (f"?{where.query}" if where.query else "")
    try:
        connection.request(method, target or "/", body=body, headers=fields or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Running:
    """A program that was started. What it writes is kept, line by line, so that it fills no pipe."""

    def __init__(self, command, env=None, cwd=ROOT, **options):
        self.lines = []
        self.process = subprocess.Popen(
            [str(word) for word in command], cwd=cwd, env=env or environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", **options,
        )
        running.append(self)
        pipes = (self.process.stdout, self.process.stderr)
        self.listeners = [threading.Thread(target=self.listen, args=(pipe,), daemon=True) for pipe in pipes]
        for listener in self.listeners:
            listener.start()

    def listen(self, pipe):
        for line in pipe:
            self.lines.append(line)

    def said(self):
        return "".join(list(self.lines))

    def heard(self, pattern, seconds=30):
        """What was written, once it has the pattern."""
        if not within(seconds, lambda: re.search(pattern, self.said()) or self.process.poll() is not None):
            raise SystemExit(f"{self.process.args} did not say {pattern!r} but: {self.said()}")
        if not re.search(pattern, self.said()):
            raise SystemExit(f"{self.process.args} ended: {self.said()}")
        return self.said()

    def ended(self, patience):
        """Its exit code, once it has ended by itself and all that it wrote is heard; else words."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            return f"still running after {patience} s"
        for listener in self.listeners:
            listener.join(5)
        return code

    def stop(self, patience=15):
        """Ends it and gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.ended(patience)
        self.kill()
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Proxy(Running):
    """A proxy whose addresses are known: `proxy`, `admin` and, of what it asks, `simulator`, as URLs."""

    proxy = admin = simulator = ""

    def get(self, path, **options):
        return ask(self.proxy + path, **options)

    def api(self, path, **options):
        return ask(self.admin + path, **options).json()

    def calls(self):
        """How many requests the simulated Talkdesk has had: for tokens, and for its API."""
        counters = ask(self.simulator + "/_simulator/counters").json()
        return counters["tokens"]["total"], counters["api"]["total"]

    def fault(self, **fault):
        answer = ask(self.simulator + "/_simulator/faults", "POST", body=json.dumps(fault))
        if answer.status != 201:
            raise SystemExit(f"no fault was installed: {answer.body}")

    def no_faults(self):
        ask(self.simulator + "/_simulator/faults", "DELETE")

    def metrics(self):
        return ask(self.admin + "/metrics").body.decode()

    def series(self):
        """Every series of the proxy's own metrics, by name with labels."""
        return dict(re.findall(rf"^{PREFIX}(\S+) (\S+)$", self.metrics(), re.MULTILINE))

    def metric(self, series):
        return float(self.series().get(series, 0))

    def settle(self):
        """Waits until the accounts are learned, so that nothing moves but what is asked for."""
        before = None
        while (now := self.calls()) != before:
            before = now
            time.sleep(0.5)


class Demo(Proxy):
    """The demo, at ports of the system's choice unless they are given."""

    def __init__(self, listen=0, admin=0, simulator=0):
        command = [BINARY, "demo", "--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}"]
        super().__init__([*command, "--simulator", f"127.0.0.1:{simulator}"])
        banner = self.heard("Ctrl-C ends it")
        self.proxy, self.admin = re.findall(r"http://127\.0\.0\.1:\d+", banner)[:2]
        self.simulator = re.search(r"simulated Talkdesk: (http://[^/]+)/", banner)[1]


class Simulator(Running):
    """The simulated Talkdesk alone, with its secrets in `folder`."""

    def __init__(self, folder):
        super().__init__([BINARY, "simulate", "--write-credentials", folder, "--listen", "127.0.0.1:0"])
        said = self.heard("counters and faults")
        self.folder = pathlib.Path(folder)
        self.api_url = re.search(r"^upstream\.api_url: *(\S+)", said, re.MULTILINE)[1]
        self.token_url = re.search(r"^upstream\.token_url: *(\S+)", said, re.MULTILINE)[1]

    def upstream(self):
        """That part of a configuration."""
        return f'upstream: {{ api_url: "{self.api_url}", token_url: "{self.token_url}" }}\n'


class Served(Proxy):
    """`serve` with a configuration file."""

    def __init__(self, file, simulator, binary=BINARY):
        super().__init__([binary, "serve", "--config", file])
        serving = re.search(r'^\{.*"message":"serving".*$', self.heard('"message":"serving"'), re.MULTILINE)
        addresses = json.loads(serving[0])
        self.proxy, self.admin = f"http://{addresses['data']}", f"http://{addresses['admin']}"
        self.simulator = simulator.api_url


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield pathlib.Path(name)
