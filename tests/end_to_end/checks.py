"""What the end-to-end checks in Python share: checks that are counted, programs that end with the script, and waiting.

BINARY names the program under test; the debug build unless set. A script ends with `finish`, whose last line is
`N passed, N failed`. Nothing but the standard library is needed.
"""

import atexit
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = str(ROOT / os.environ.get("BINARY", "target/debug/billing-insights-proxy"))

counts = {"passed": 0, "failed": 0}
running = []


def check(name, holds, seen):
    counts["passed" if holds else "failed"] += 1
    print(f"ok      {name}" if holds else f"FAILED  {name}\n        seen: {seen}", flush=True)


def equal(name, wanted, seen):
    check(name, wanted == seen, f"{seen!r}\n        wanted: {wanted!r}")


def finish():
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    sys.exit(0 if counts["failed"] == 0 and counts["passed"] > 0 else 1)


def within(seconds, condition):
    """The first answer of `condition` that is something, or the last one that is nothing."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer


def start(command, log, **options):
    """A program in the background, all that it says in the file `log`."""
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **options
        )
    running.append(process)
    return process


def ended(process, seconds):
    """The exit code; a word where it has not ended by then."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"still running after {seconds} s"


@atexit.register
def end_all():
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))


class Simulator:
    """The simulated Talkdesk alone, with its secrets in a folder."""

    def __init__(self, folder):
        log = folder / "simulator.log"
        start([BINARY, "simulate", "--listen", "127.0.0.1:0", "--write-credentials", folder], log)
        if not within(20, lambda: "counters and faults" in log.read_text()):
            raise SystemExit(f"the simulated Talkdesk did not start: {log.read_text()}")
        said = dict(line.split(": ", 1) for line in log.read_text().splitlines() if ": " in line)
        self.api_url, self.token_url = said["upstream.api_url"].strip(), said["upstream.token_url"].strip()

    def upstream(self):
        return f'upstream: {{ api_url: "{self.api_url}", token_url: "{self.token_url}" }}\n'
