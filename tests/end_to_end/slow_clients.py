#!/usr/bin/env python3
"""Clients that waste time leave the others alone: slowhttptest in its four modes against the demo, while the 99th
percentile of a normal client is held against the same client's own just before.

Rounds alternate between peace and attack, and what counts is the median of their 99th percentiles, so that a slow
machine is slow in both. Below FLOOR nothing is told apart from the noise of a shared machine.

BINARY names the program under test. Nothing but the standard library is needed. The last line is `N passed, N failed`.
"""

import http.client
import os
import statistics
import subprocess
import tempfile
import time
import urllib.parse

from harness import Demo, check, finish

SLOWHTTPTEST = os.environ.get("SLOWHTTPTEST", "slowhttptest")

MODES = {
    "slow heads": ["-H", "-i", "1"],
    "slow bodies": ["-B", "-i", "1", "-s", "8192"],
    "overlapping ranges": ["-R", "-a", "1", "-b", "3000"],
    "slow reading": ["-X", "-w", "1", "-y", "8", "-n", "1", "-z", "1", "-k", "3"],
}
CONNECTIONS = 500
LASTS = 6  # seconds of an attack
ROUNDS = 3  # and as many again where the first ones do not satisfy
REQUESTS = 300
MOST = 1.5
FLOOR = 0.005  # seconds
ASKED = "/organizations/acme/express/invoices?per_page=100"


def normal_client(port):
    """The 99th percentile in seconds of a client that asks for what is stored, on a new connection every tenth time."""
    times, failures = [], 0
    connection = None
    for number in range(REQUESTS):
        if number % 10 == 0:
            if connection:
                connection.close()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        begin = time.perf_counter()
        try:
            connection.request("GET", ASKED)
            answer = connection.getresponse()
            answer.read()
            failures += answer.status != 200
        except OSError:
            failures += 1
            connection.close()
        times.append(time.perf_counter() - begin)
        time.sleep(0.002)
    connection.close()
    return sorted(times)[int(len(times) * 0.99)], failures


def attack(port, mode):
    command = [SLOWHTTPTEST, *MODES[mode], "-c", str(CONNECTIONS), "-r", str(CONNECTIONS), "-l", str(LASTS), "-p", "3"]
    command += ["-u", f"http://127.0.0.1:{port}{ASKED}"]
    folder = tempfile.mkdtemp()
    return subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def connections(port):
    """How many connections to the port are open, from the system's own table."""
    wanted = f":{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return sum(row[1].endswith(wanted) and row[3] == "01" for row in rows)


def main():
    demo = Demo()
    port = urllib.parse.urlsplit(demo.proxy).port
    try:
        normal_client(port)  # what is asked for is in the cache from here on
        for mode in MODES:
            peace, war, failures, most_open = [], [], 0, 0
            for number in range(2 * ROUNDS):
                if number == ROUNDS and statistics.median(war) <= max(MOST * statistics.median(peace), FLOOR):
                    break
                p99, failed = normal_client(port)
                peace.append(p99)
                failures += failed
                attacker = attack(port, mode)
                try:
                    time.sleep(1.5)
                    most_open = max(most_open, connections(port))
                    p99, failed = normal_client(port)
                    war.append(p99)
                    failures += failed
                    under_way = attacker.poll() is None
                    said = attacker.communicate(timeout=4 * LASTS)[0].decode(errors="replace")
                except subprocess.TimeoutExpired:
                    said, under_way = "it does not end", True
                finally:
                    attacker.kill()
                    attacker.wait()
            before, during = statistics.median(peace), statistics.median(war)
            told = f"99th percentile {before * 1e3:.2f} ms before, {during * 1e3:.2f} ms under attack, {most_open} connections"
            print(f"        {mode}: {told}, attack still under way: {under_way}")
            check(f"{mode}: the attack took place", "slow HTTP test status" in said, said[-600:])
            check(f"{mode}: a normal client is answered", failures == 0, f"{failures} failures")
            check(f"{mode}: a normal client is as fast as before", during <= max(MOST * before, FLOOR), told)
        deadline = time.monotonic() + 30
        while connections(port) > 5 and time.monotonic() < deadline:
            time.sleep(0.2)
        left = connections(port)
        check("the connections of the attackers are gone", left <= 5, f"{left} connections")
    finally:
        demo.stop()
    finish()


main()
