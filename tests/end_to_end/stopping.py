#!/usr/bin/env python3
"""Who is told to stop in the very moment in which it says that it works ends well: `serve`, `demo` and `simulate`, each some
times over, because what is looked for is a race.

BINARY names the program under test. Nothing but the standard library is needed. The last line is `N passed, N failed`.
"""

import signal
import subprocess

from harness import BINARY, ROOT, Simulator, environment, equal, finish, folder

ROUNDS = 15


def codes(arguments, last_words):
    """The exit codes of as many rounds, by signals in turn."""
    found = []
    for number in range(ROUNDS):
        process = subprocess.Popen([BINARY, *arguments], cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            for line in process.stdout:
                if last_words in line:
                    break
            process.send_signal(signal.SIGINT if number % 2 else signal.SIGTERM)
            process.stdout.read()
            found.append(process.wait(20))
        finally:
            process.kill()
            process.wait()
    return found


def main():
    with folder() as where, Simulator(where) as simulator:
        sample = (ROOT / "src/cli/demo.yaml").read_text()
        for name, value in {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "api_url": simulator.api_url, "token_url": simulator.token_url}.items():
            sample = sample.replace(f"{{{name}}}", value)
        file = where / "config.yaml"
        file.write_text(sample.replace("format: text", "format: json"))
        anywhere = "--listen 127.0.0.1:0 --admin 127.0.0.1:0 --simulator 127.0.0.1:0".split()
        for name, arguments, last_words in (
            ("serve", ["serve", "--config", str(file)], '"message":"serving"'),
            ("demo", ["demo", *anywhere], "Ctrl-C ends it"),
            ("simulate", ["simulate", "--listen", "127.0.0.1:0"], "counters and faults"),
        ):
            equal(f"{name}, told to stop as it begins to work: exit code 0, {ROUNDS} times", [0] * ROUNDS, codes(arguments, last_words))
    finish()


main()
