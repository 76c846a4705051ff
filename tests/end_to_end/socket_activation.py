#!/usr/bin/env python3
"""Starting and stopping under systemd, which this script plays: it opens the sockets, hands them to the proxy
(LISTEN_FDS), listens to what the proxy tells (NOTIFY_SOCKET), and restarts it again and again under clients that never
stop. None of them may see a request fail.
"""

import http.client
import os
import pathlib
import random
import signal
import socket
import stat
import tempfile
import threading
import time

from harness import BINARY, Running, Simulator, check, equal, finish, within

RESTARTS = 6
SERVES = 1.2  # seconds between two restarts
PATH = "/organizations/acme/express/products"
FIRST_FD = 100  # where the sockets lie until the child moves them to 3 and following


def listening(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.bind(address)
    opened.listen(4096)
    return opened


class Manager:
    """The service manager: its sockets outlive the service."""

    def __init__(self, folder, sockets):
        self.folder = folder
        self.environment = {}
        self.told = []
        self.program = None
        self.descriptors = []
        for index, opened in enumerate(sockets):
            os.dup2(opened.fileno(), FIRST_FD + index)
            self.descriptors.append(FIRST_FD + index)
        # Nobody but the proxy has them from here on: a connection that is refused is seen as refused.
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            self.told.append(self.notify.recv(65536).decode().splitlines())

    def start(self, configuration, names=""):
        moved = " ".join(f"{3 + index}<&{fd} {fd}<&-" for index, fd in enumerate(self.descriptors))
        script = f'exec {moved}; LISTEN_PID=$$ LISTEN_FDS={len(self.descriptors)} exec "$@"'
        environment = os.environ | self.environment | {"NOTIFY_SOCKET": str(self.folder / "notify")}
        environment["LISTEN_FDNAMES"] = names
        command = ["bash", "-c", script, "-", BINARY, "serve", "--config", configuration]
        self.program = Running(command, env=environment, pass_fds=self.descriptors)
        return self.program

    def heard(self, word, since=0):
        """The first message since then with that line or its beginning."""
        return next((told for told in self.told[since:] if any(line.startswith(word) for line in told)), None)


class Client(threading.Thread):
    """Asks without end. What counts as a failure is what a program written against the proxy would have to tell its
    user: anything but a whole 200."""

    def __init__(self, name, address, pause=0.0, hesitation=0.0, keeps=False, may_retry=False):
        super().__init__(daemon=True)
        self.name, self.address = name, address
        self.pause, self.hesitation, self.keeps, self.may_retry = pause, hesitation, keeps, may_retry
        self.answered, self.retried, self.told_to_leave, self.failures, self.slowest = 0, 0, 0, [], 0.0
        self.going = True
        self.connection = None

    def connect(self):
        connection = http.client.HTTPConnection("localhost", timeout=30)
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        connection.sock = socket.socket(family, socket.SOCK_STREAM)
        connection.sock.settimeout(30)
        connection.sock.connect(self.address)
        if self.hesitation:
            time.sleep(random.uniform(0, self.hesitation))
        return connection

    def ask(self):
        is_reused = self.connection is not None
        if not is_reused:
            self.connection = self.connect()
        try:
            self.connection.request("GET", PATH, headers={} if self.keeps else {"Connection": "close"})
            answer = self.connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            # A connection at rest may be closed at any time. A client that sends on one at that moment, and hears
            # nothing, asks again on another (RFC 9112, section 9.3.1): only then, and only once.
            self.connection.close()
            self.connection = None
            if not (is_reused and self.may_retry):
                raise
            self.retried += 1
            return self.ask()
        body = answer.read()
        if self.keeps and answer.will_close:
            self.told_to_leave += 1
        if not self.keeps or answer.will_close:
            self.connection.close()
            self.connection = None
        if answer.status != 200 or not body.endswith(b"}"):
            raise ValueError(f"{answer.status} {body[:200]}")

    def run(self):
        while self.going:
            begin = time.monotonic()
            try:
                self.ask()
                self.answered += 1
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                self.connection = None
            self.slowest = max(self.slowest, time.monotonic() - begin)
            if self.pause:
                time.sleep(random.uniform(0, self.pause))


def configured(folder, simulator, server, name="config.yaml"):
    file = folder / name
    file.write_text(
        f"server: {{ admin: '127.0.0.1:0', drain_delay: 0s, {server} }}\n{simulator.upstream()}"
        "log: { format: text, access: false }\n"
        "organizations:\n"
        "  - { id: acme, credential: { account: acme, client_id: 2f1c9a0e5b7d4c31,\n"
        "      client_secret: { file: acme-client-secret } } }\n"
        "instances:\n"
        "  - { name: initech, organization: Somebody Else }\n"
    )
    return file


def restarts(folder, simulator):
    path = str(folder / "proxy.sock")
    tcp, unix = listening(("127.0.0.1", 0)), listening(path)
    os.chmod(path, 0o600)
    address = tcp.getsockname()
    at = f"{address[0]}:{address[1]}"
    listeners = f"listeners: [{{ listen: 'unix:{path}', tenants: [organizations/acme] }}]"
    configuration = configured(folder, simulator, f"listen: '{at}', {listeners}")
    manager = Manager(folder, [tcp, unix])
    tcp.close()
    unix.close()
    inode = os.stat(path).st_ino

    proxy = manager.start(configuration)
    ready = within(20, lambda: manager.heard("READY=1"))
    check("it says that it is ready", ready, manager.program.said()[-2000:])
    status = next((line for line in ready or [] if line.startswith("STATUS=")), "")
    check(
        "its status has every address, and how many tenants are entitled and refused",
        status.startswith(f"STATUS=serving at {at}, unix:{path}, admin 127.0.0.1:")
        and status.endswith("; 1 tenants entitled, 1 refused"),
        status,
    )
    check("nobody waits for signs of life, and none are given", not manager.heard("WATCHDOG=1"), manager.told)

    clients = [
        Client("new connections", address),
        Client("new connections whose request comes later", address, hesitation=0.08),
        Client("a kept-alive connection that is always busy, by a client that never tries again", address, keeps=True),
        Client("kept-alive connections that rest now and then", address, pause=0.06, keeps=True, may_retry=True),
        Client("kept-alive connections that rest for long", address, pause=1.5, keeps=True, may_retry=True),
        Client("new connections to the Unix socket", path),
    ]
    # Hesitation and rest meet the moment of stopping only now and then, so there are several of each.
    clients += [Client(one.name, address, one.pause, one.hesitation, one.keeps, one.may_retry)
                for one in clients[1:5] for _ in range(5)]
    for client in clients:
        client.start()
    codes, stopping, longest = [], 0, 0.0
    for _ in range(RESTARTS):
        time.sleep(SERVES)
        since = len(manager.told)
        begin = time.monotonic()
        proxy.process.send_signal(signal.SIGTERM)
        codes.append(proxy.ended(30))
        longest = max(longest, time.monotonic() - begin)
        stopping += manager.heard("STOPPING=1", since) is not None
        proxy = manager.start(configuration)
        if not within(20, lambda: manager.heard("READY=1", since)):
            break
    time.sleep(SERVES)
    for client in clients:
        client.going = False
    for client in clients:
        client.join(40)
    equal("every restart ends with exit code 0", [0] * RESTARTS, codes)
    equal("every one says that it stops", RESTARTS, stopping)
    check("none takes longer than two seconds", longest < 2, f"{longest:.2f} s")
    for name in dict.fromkeys(client.name for client in clients):
        those = [client for client in clients if client.name == name]
        answered, failures = sum(one.answered for one in those), sum((one.failures for one in those), [])
        retried, left = sum(one.retried for one in those), sum(one.told_to_leave for one in those)
        slowest = max(one.slowest for one in those)
        told = f"{answered} answered, {len(failures)} failed, {retried} asked again, {left} told to leave"
        print(f"        {name}: {told}, the slowest after {slowest:.2f} s")
        check(f"{RESTARTS} restarts, {name}: 0 failed requests", not failures and answered > 2 * RESTARTS, failures[:5])
    equal("the Unix socket's file is the one that was opened", inode, os.stat(path).st_ino)

    since = len(manager.told)
    proxy.process.send_signal(signal.SIGHUP)
    check("a reload is announced", within(10, lambda: manager.heard("RELOADING=1", since)), manager.told[since:])
    check("with its moment", manager.heard("MONOTONIC_USEC=", since), manager.told[since:])
    check("and is ready again", within(10, lambda: manager.heard("READY=1", since)), manager.told[since:])
    configuration.write_text("server: [\n")
    since = len(manager.told)
    proxy.process.send_signal(signal.SIGHUP)
    ready = within(10, lambda: manager.heard("READY=1", since)) or []
    check("one that is refused is told as well", any("reload was refused" in line for line in ready), ready)
    proxy.process.send_signal(signal.SIGTERM)
    equal("it ends", 0, proxy.ended(20))


def watched(folder, simulator):
    manager = Manager(folder, [])
    manager.environment = {"WATCHDOG_USEC": "400000"}
    proxy = manager.start(configured(folder, simulator, "listen: '127.0.0.1:0'"))
    check("signs of life are given where they are waited for", within(20, lambda: manager.heard("WATCHDOG=1")), "none")
    count = lambda: sum("WATCHDOG=1" in told for told in manager.told)
    before = count()
    time.sleep(2)
    check("twice as often as they are waited for", 5 <= count() - before <= 11, count() - before)
    check("a listener for which nothing was passed is bound", manager.heard("READY=1"), manager.told)
    proxy.process.send_signal(signal.SIGTERM)
    proxy.ended(20)


def through_a_link(folder, simulator):
    """`/var/run/x.sock` in the unit and `/run/x.sock` in the configuration are one file."""
    (folder / "run").mkdir()
    (folder / "link").symlink_to(folder / "run")
    opened = listening(str(folder / "link" / "proxy.sock"))
    os.chmod(folder / "run" / "proxy.sock", 0o600)
    manager = Manager(folder, [opened])
    opened.close()
    proxy = manager.start(configured(folder, simulator, f"listen: 'unix:{folder}/run/proxy.sock'"))
    check("a path is the same through a link", within(20, lambda: manager.heard("READY=1")), manager.program.said()[-900:])
    proxy.process.send_signal(signal.SIGTERM)
    proxy.ended(20)
    (folder / "notify").unlink()


def refused(folder, simulator):
    def attempt(sockets, server, names=""):
        manager = Manager(pathlib.Path(tempfile.mkdtemp(dir=folder)), sockets)
        configuration = configured(manager.folder, simulator, server)
        (manager.folder / "acme-client-secret").write_text((folder / "acme-client-secret").read_text())
        process = manager.start(configuration, names)
        code = process.ended(20)
        for opened in sockets:
            opened.close()
        return code, manager.program.said()

    stray = listening(("127.0.0.1", 0))
    at = "127.0.0.1:%d" % stray.getsockname()[1]
    code, said = attempt([stray], "listen: '127.0.0.1:18080'", "billing.socket")
    equal("a socket that no listener has is refused: exit code 2", 2, code)
    for part in (f"socket 1 (billing.socket) at {at}", f"`server.listen: {at}`", "`ListenStream=127.0.0.1:18080`"):
        check(f"it is told: {part.replace(at, 'ADDRESS')}", part in said, said[-1500:])

    path = str(folder / "open.sock")
    opened = listening(path)
    os.chmod(path, 0o666)
    code, said = attempt([opened], f"listen: 'unix:{path}'")
    equal("a Unix socket that is open to all is refused: exit code 2", 2, code)
    check("what to write is told", "`SocketMode=0600`" in said, said[-1500:])
    check("its file is left alone", stat.S_ISSOCK(os.stat(path).st_mode), path)

    twice = listening(("127.0.0.1", 0))
    at = "127.0.0.1:%d" % twice.getsockname()[1]
    code, said = attempt([twice, twice.dup()], f"listen: '{at}'", "one:two")
    check("one of two sockets at one address is refused", code == 2 and "socket 2 (two) is a second one" in said, said)

    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagram.bind(("127.0.0.1", 0))
    code, said = attempt([datagram], "listen: '127.0.0.1:0'")
    check("a socket of datagrams is refused", code == 2 and "`ListenStream=`" in said, said[-1500:])

    here, there = socket.socketpair()
    code, said = attempt([here], "listen: '127.0.0.1:0'")
    check("a connection is refused", code == 2 and "`Accept=no`" in said, said[-1500:])
    there.close()


def main():
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith(("LISTEN_", "WATCHDOG_")):
            del os.environ[name]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        simulator = Simulator(folder)
        restarts(folder, simulator)
        (folder / "notify").unlink()
        through_a_link(folder, simulator)
        watched(folder, simulator)
        refused(folder, simulator)
        simulator.stop()
    finish()


main()
