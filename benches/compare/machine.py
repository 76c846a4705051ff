"""Programs, processes and what the system says about them."""

import fcntl
import json
import os
import pathlib
import platform
import resource
import shutil
import signal
import socket
import subprocess
import time

FOLDER = pathlib.Path(__file__).resolve().parent
PROJECT = FOLDER.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target"))
TOOLS = TARGET / "compare"
PACKAGES = TOOLS / "packages"

SERVER_CORE = 0
LOAD_CORE = 1


class Failure(Exception):
    """A contestant that does not do what is measured."""


# --- Programs ----------------------------------------------------------------------------------------------------

# The program that is looked for, and the package of Debian that it comes with.
DEBIAN = {"nginx": "nginx", "haproxy": "haproxy", "varnishd": "varnish", "wrk": "wrk"}


def find_program(name):
    """Where a program is: unpacked by us, or installed on the machine."""
    for folder in ("usr/sbin", "usr/bin"):
        path = PACKAGES / folder / name
        if path.exists():
            return str(path)
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def fetch_packages():
    """Unpacks, from Debian's packages, what is missing. Nothing is installed, so that no service is started."""
    missing = [package for program, package in DEBIAN.items() if find_program(program) is None]
    if not missing:
        return
    print("fetching from Debian:", *missing, flush=True)
    downloads = TOOLS / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    PACKAGES.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
    # What would be installed with them. Upgrades, which name an older version in brackets, are left alone.
    plan = subprocess.run(
        ["apt-get", "--simulate", "install", "--no-install-recommends", *missing],
        check=True, capture_output=True, text=True,
    ).stdout
    words = [line.split() for line in plan.splitlines() if line.startswith("Inst ")]
    wanted = [line[1] for line in words if not line[2].startswith("[")]
    subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *wanted],
                   cwd=downloads, check=True, stdout=subprocess.DEVNULL)
    for package in sorted(downloads.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(PACKAGES)], check=True)


def environment():
    """The environment in which unpacked programs find their libraries."""
    libraries = [str(path) for path in PACKAGES.glob("usr/lib/*-linux-gnu")]
    inherited = os.environ.get("LD_LIBRARY_PATH")
    joined = ":".join(libraries + ([inherited] if inherited else []))
    return {**os.environ, **({"LD_LIBRARY_PATH": joined} if joined else {})}


def build():
    """Builds the proxy and the programs beside it, and says where they are."""
    subprocess.run(["cargo", "build", "--profile", "dist", "--locked", "--bins", "--example", "compare-server",
                    "--example", "compare-origin", "--example", "compare-load"], cwd=PROJECT, check=True)
    built = TARGET / "dist"
    return {
        "proxy": str(built / "billing-insights-proxy"),
        "server": str(built / "examples" / "compare-server"),
        "origin": str(built / "examples" / "compare-origin"),
        "load": str(built / "examples" / "compare-load"),
    }


def output_of(*command):
    """What a command prints, on either stream; nothing if it can't be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip()


def first_line(*command):
    lines = output_of(*command).splitlines()
    return lines[0] if lines else "?"


def versions(programs):
    model = "?"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "?")
    return {
        "proxy": first_line(programs["proxy"], "--version"),
        "revision": first_line("git", "-C", str(PROJECT), "describe", "--always", "--dirty"),
        "rustc": first_line("rustc", "--version"),
        "nginx": first_line(find_program("nginx"), "-v"),
        "haproxy": first_line(find_program("haproxy"), "-v"),
        "varnish": first_line(find_program("varnishd"), "-V"),
        "wrk": first_line(find_program("wrk"), "-v"),
        "kernel": platform.release(),
        "system": system,
        "processor": f"{model}, {os.cpu_count()} cores",
    }


# --- Processes ---------------------------------------------------------------------------------------------------

running = []


def check_cores():
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit(f"the cores {SERVER_CORE} and {LOAD_CORE} are needed, for the servers and for the load")


def raise_limits():
    """As many open files as this user may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def start(command, core, log, output=None):
    """Starts a program on one core. It ends with us, at the latest."""
    errors = open(log, "ab")
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output if output is not None else errors,
        stderr=errors,
        env=environment(),
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        start_new_session=True,
    )
    errors.close()
    running.append(process)
    return process


def stop(process):
    """Ends a program that was started here, and what it started."""
    if process.poll() is None:
        family = descendants(process.pid)
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            for identity in family:
                try:
                    os.kill(identity, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            process.wait()
    if process in running:
        running.remove(process)


def stop_all():
    for process in list(running):
        stop(process)


def descendants(parent):
    """The identities of a process and of all below it."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, left = [], [parent]
    while left:
        identity = left.pop()
        found.append(identity)
        left.extend(children.get(identity, []))
    return found


def processor_seconds(identity):
    """The processor time of a process, all its threads and those that ended included, to the nanosecond.

    It is the clock that clock_getcpuclockid(3) gives for a process: its scheduler's time, user and system.
    """
    return time.clock_gettime((~identity << 3) | 2)


def memory_kib(identities):
    """The memory that processes have to themselves, and their part of what they share (PSS)."""
    total = 0
    for identity in identities:
        try:
            lines = pathlib.Path(f"/proc/{identity}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # It has ended.
        for line in lines:
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def load(programs, *arguments):
    """Runs the load program on the load's core, and reads what it says."""
    command = [programs["load"], *map(str, arguments)]
    done = on_load_core(command)
    if done.returncode != 0:
        raise Failure(done.stderr.strip())
    return json.loads(done.stdout)


def on_load_core(command):
    process = start_load(command)
    return finish_load(process)


def start_load(command):
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(), preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}), start_new_session=True,
    )
    running.append(process)
    return process


def finish_load(process):
    output, errors = process.communicate(timeout=600)
    running.remove(process)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def only_one():
    """Two comparisons at once would measure each other."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    lock = open(TOOLS / "lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit("a comparison is running already") from None
    return lock


# --- A client for checks -----------------------------------------------------------------------------------------


class Answer:
    def __init__(self, status, fields, body, size):
        self.status, self.fields, self.body, self.size = status, fields, body, size


class Client:
    """One connection, which reads answers as they are on the wire."""

    def __init__(self, address, timeout=20):
        self.address = address
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.rest = b""

    def ask(self, path, fields=(), method="GET"):
        head = [f"{method} {path} HTTP/1.1", f"Host: {self.address}", *fields]
        if method == "POST":
            head.append("Content-Length: 0")
        self.socket.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.rest:
            self.more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        fields = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            fields[name.lower()] = value.strip()
        if "chunked" in fields.get("transfer-encoding", ""):
            raise Failure(f"{path} came in chunks")
        length = 0 if status == 304 else int(fields.get("content-length", 0))
        while len(self.rest) < length:
            self.more()
        body, self.rest = self.rest[:length], self.rest[length:]
        return Answer(status, fields, body, len(head) + 4 + length)

    def more(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise Failure("the connection ended within an answer")
        self.rest += data

    def close(self):
        self.socket.close()


def ask(address, path, fields=(), method="GET", timeout=20):
    try:
        client = Client(address, timeout)
        try:
            return client.ask(path, fields, method)
        finally:
            client.close()
    except (OSError, ValueError, IndexError) as error:
        raise Failure(f"{path}: {error}") from error


def wait_until_it_answers(address, path, process, seconds=30):
    """Waits for a program to answer anything, and says how long that took."""
    began = time.monotonic()
    while True:
        try:
            ask(address, path, timeout=5)
            return time.monotonic() - began
        except Failure:
            if process.poll() is not None:
                raise Failure(f"it ended at once, with exit code {process.returncode}") from None
            if time.monotonic() - began > seconds:
                raise Failure("it does not answer") from None
            time.sleep(0.002)
