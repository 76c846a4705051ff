#!/usr/bin/env python3
"""What the README and the pages of docs/ tell people to type works as it stands there: every block of sh, console,
python and javascript is run against a proxy before the simulated Talkdesk with its sample tenants, in a folder with its
configuration. Ports are the only thing that is changed. Output that a page shows is what is seen; `…` stands for
anything. Links between pages lead somewhere.

A block of `console` has commands after `$ ` and what they say; one of `text` after another block is what that one says.
BINARY names the program under test. Node and jq are needed. The last line is `N passed, N failed`.
"""

import json
import os
import re
import subprocess
import sys
import urllib.parse

from harness import BINARY, ROOT, Served, Simulator, check, environment, equal, finish, folder

RUN = ("sh", "console", "python", "javascript")
# Not commands: configuration, pictures, and what is checked elsewhere.
SHOWN = {
    "": "configuration of other programs, and a part of one of ours",
    "rust": "tests/shipped.rs compares it with the code",
    "yaml": "tests/shipped.rs reads the configurations",
    "json": "tests/shipped.rs reads the line of the log",
    "text": "a picture, or what the block before says",
    "promql": "the metrics in it are those of its page, which tests/shipped.rs holds against the code",
    "powerquery": "Excel and Power BI are for Windows; what the query asks is asked below, page by page",
}
# Blocks that can't be run here, by their page and first line, with the reason and what checks them instead.
NOT_RUN = {
    ("README.md", "cargo run --release -- demo"): "tests/end_to_end/first_command.sh runs it",
    ("README.md", "cargo test"): ".ci/run runs it",
    ("README.md", "cargo build --profile dist"): "it takes long, and installs for everybody on the machine; what it makes is what benches/compare runs",
    ("docs/simulator.md", "billing-insights-proxy simulate --write-credentials ."): "`example` runs it, and what the page says of it",
    ("docs/operating.md", "systemctl reload billing-insights-proxy                # as on SIGHUP; `systemctl status` says so where it was refused"):
        "there is no systemd to run a unit; socket_activation.py plays its part",
    ("docs/rotation.md", "install -m 600 new-secret /etc/billing-insights-proxy/secrets/acme-client-secret.new"):
        "there is no systemd to run a unit; rotation.py restarts the proxy on a folder of secrets",
    ("docs/rotation.md", "kubectl create secret generic billing-insights-proxy-secrets --from-file=acme-client-secret=new-secret "
                         "--dry-run=client -o yaml | kubectl apply -f -"):
        "there is no cluster; rotation.py swaps the links of a mounted Secret as a kubelet does",
    ("docs/rotation.md", "kubectl port-forward deployment/billing-insights-proxy 9090"): "likewise; its second line is run in other blocks",
}
# One of the sample tenants lacks a scope on purpose, and that is what it says: the exit code, and what is in the output.
FINDS = {("README.md", "billing-insights-proxy check --online --config config.yaml"): (1, "fails: 1,")}
SERVES = re.compile(r"^billing-insights-proxy serve .*$", re.MULTILINE)


class Block:
    def __init__(self, page, language, text, line):
        self.page, self.language, self.text, self.line = page, language, text, line
        self.says = None

    def name(self):
        return f"{self.page}:{self.line} {self.language}: {self.text.strip().splitlines()[0][:70]}"


def blocks(page):
    """The fenced blocks of a page, each with what it is shown to say."""
    found, inside = [], None
    for number, line in enumerate((ROOT / page).read_text().splitlines(keepends=True), start=1):
        if inside is not None:
            if line.startswith("```"):
                if inside.language == "text" and found and found[-1].language in RUN and found[-1].says is None:
                    found[-1].says = inside.text
                else:
                    found.append(inside)
                inside = None
            else:
                inside.text += line
        elif fence := re.match(r"```(\w*)$", line.rstrip()):
            inside = Block(page, fence[1], "", number)
    return found


def fits(wanted, seen):
    pattern = "\n".join(".*".join(re.escape(part) for part in line.split("…")) for line in wanted.strip().splitlines())
    return re.fullmatch(pattern, seen.strip().replace("\r", "")) is not None


class Stage:
    """A proxy before the simulated Talkdesk, and a folder as a reader has it."""

    def __init__(self, where, simulator):
        self.where, self.simulator = where, simulator
        sample = (ROOT / "src/cli/demo.yaml").read_text()
        for name, value in {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "api_url": simulator.api_url, "token_url": simulator.token_url}.items():
            sample = sample.replace(f"{{{name}}}", value)
        (where / "config.yaml").write_text(sample.replace("format: text", "format: json\n  audit: audit.jsonl"))
        (where / "bin").mkdir()
        (where / "bin/billing-insights-proxy").symlink_to((ROOT / BINARY).resolve())
        # What answers with an error is one, where nothing else is shown.
        (where / "strict").mkdir()
        (where / "strict/.curlrc").write_text("fail-with-body\n")
        self.proxy = Served(where / "config.yaml", simulator)
        self.proxy.settle()

    def here(self, text):
        ports = {"127.0.0.1:8080": self.proxy.proxy, "127.0.0.1:9090": self.proxy.admin, "127.0.0.1:9480": self.simulator.api_url}
        for shipped, url in ports.items():
            text = text.replace(shipped, url.removeprefix("http://"))
        return text

    def run(self, *command, strict=False):
        lines = [line for line in self.proxy.said().splitlines(keepends=True) if '"event.name"' in line]
        (self.where / "access.jsonl").write_text("".join(lines))
        path = f"{self.where / 'bin'}:{os.environ['PATH']}"
        env = environment(PATH=path, CURL_HOME=str(self.where / "strict" if strict else self.where), HOME=str(self.where))
        return subprocess.run(command, cwd=self.where, env=env, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)

    def restore(self):
        self.proxy.no_faults()

    def new_secret(self):
        """Another secret at Talkdesk, in a file as an operator has it, and the old one where it was."""
        place = self.where / "acme-client-secret"
        old = place.read_text()
        self.proxy.fault(target="token", account="acme", kind="rotate_secret", write=True)
        (self.where / "new-secret").write_text(place.read_text())
        place.write_text(old)


def run_sh(stage, block):
    text = block.text
    for command in SERVES.findall(text):
        served = re.sub("billing-insights-proxy", str((ROOT / BINARY).resolve()), command).split()
        serving = subprocess.Popen(served, cwd=stage.where, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = ""
        for line in serving.stderr:
            said += line
            if '"message":"serving"' in line:
                break
        serving.terminate()
        code = serving.wait(30)
        check(f"{block.name()}: {command} serves, and ends well", '"message":"serving"' in said and code == 0, (code, said))
        text = text.replace(command, "")
    seen = stage.run("bash", "-euo", "pipefail", "-c", stage.here(text), strict=True)
    code, words = FINDS.get((block.page, text.strip().splitlines()[-1] if text.strip() else ""), (0, ""))
    as_it_should = seen.returncode == code and words in seen.stdout
    check(block.name(), as_it_should, (seen.returncode, seen.stdout[-500:], seen.stderr[-500:]))
    if block.says is not None:
        check(f"{block.name()}: says what is shown", fits(block.says, seen.stdout), seen.stdout)


def run_console(stage, block):
    commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    check(f"{block.name()}: has commands after $", commands, block.text)
    parted = [command.split("\n", 1) for command in commands]
    script = "".join(f"{stage.here(command)}\nprintf '\\n=== end of a command\\n'\n" for command, _ in parted)
    seen = stage.run("bash", "-uo", "pipefail", "-c", script)
    said = seen.stdout.split("\n=== end of a command\n")[:-1]
    equal(f"{block.name()}: every command came to its end", len(parted), len(said))
    for (command, wanted), heard in zip(parted, said):
        check(f"{block.page}:{block.line} $ {command[:90]}", fits(wanted, heard), f"{heard!r} {seen.stderr[-300:]}\n        wanted: {wanted!r}")


def run_program(stage, block):
    command = [sys.executable, "-c"] if block.language == "python" else ["node", "--input-type=module", "-e"]
    seen = stage.run(*command, stage.here(block.text))
    check(block.name(), seen.returncode == 0, (seen.stdout[-500:], seen.stderr[-800:]))
    check(f"{block.name()}: is shown with what it says", block.says, "nothing is shown")
    check(f"{block.name()}: says what is shown", block.says and fits(block.says, seen.stdout), seen.stdout)


def power_query(stage, block):
    """Asks what the query asks: the same address and path, page by page, to the number of pages that the first one tells."""
    base = re.search(r'Base = "([^"]+)"', block.text)[1]
    path = re.search(r'RelativePath = "([^"]+)"', block.text)[1]
    chosen, size = re.search(r'filter = "([^"]+)".*per_page = "(\d+)"', block.text).groups()
    first, outer, inner = re.search(r"First\[(\w+)\].*?_\[(\w+)\]\[(\w+)\]", block.text, re.DOTALL).groups()

    def page(number):
        query = urllib.parse.urlencode({"filter": chosen, "page": number, "per_page": size})
        return json.loads(stage.run("curl", "-s", stage.here(f"{base}/{path}?{query}")).stdout)

    pages = [page(1)]
    pages += [page(number) for number in range(2, pages[0][first] + 1)]
    ids = [record["id"] for one in pages for record in one[outer][inner]]
    equal(f"{block.name()}: each record once, as many as there are", (pages[0]["total"], len(set(ids))), (len(ids), len(ids)))


def example():
    """The example of a configuration works before the simulator, with the two lines that its page has changed."""
    page = (ROOT / "docs/simulator.md").read_text()
    lines = re.findall(r"^  (api_url|token_url): (\S+)$", page, re.MULTILINE)
    equal("the page has the two lines", ["api_url", "token_url"], [key for key, _ in lines])
    with folder() as where, Simulator(where) as simulator:
        text = (ROOT / "config.example.yaml").read_text()
        for key, value in lines:
            text = re.sub(rf"^  # {key}: .*$", f"  {key}: {value.replace('http://127.0.0.1:9480', simulator.api_url)}", text, flags=re.MULTILINE)
        (where / "config.yaml").write_text(text)
        for flags, wanted in (((), "can be served: 1 organization, 3 instances, 2 credentials, 5 endpoints"), (("--online",), "works: 15, fails: 0, unproven: 0, not asked: 0")):
            command = [str((ROOT / BINARY).resolve()), "check", *flags, "--config", "config.yaml"]
            seen = subprocess.run(command, cwd=where, env=environment(), capture_output=True, text=True, timeout=120, check=False)
            name = " ".join(["the example before the simulator: check", *flags])
            check(name, seen.returncode == 0 and wanted in seen.stdout, (seen.returncode, seen.stdout[-300:], seen.stderr[-500:]))
        (where / "acme-client-secret").unlink()
        seen = subprocess.run(command[:2] + command[3:], cwd=where, env=environment(), capture_output=True, text=True, timeout=60, check=False)
        place = where.resolve() / "acme-client-secret"
        check("a secret that is missing is told with the folder where it was looked for", f"file {place}: there is no such file" in seen.stderr, seen.stderr)


def links(pages):
    anchors = {}

    def of(file):
        if file not in anchors:
            titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", file.read_text(), flags=re.DOTALL), re.MULTILINE)
            anchors[file] = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
        return anchors[file]

    broken = []
    for page in pages:
        for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text()):
            if re.match(r"https?:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (ROOT / page).parent / path if path else ROOT / page
            if not file.exists() or (anchor and anchor not in of(file.resolve())):
                broken.append(f"{page}: {target}")
    equal("every link between pages leads somewhere", [], broken)


def main():
    docs = sorted(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md"))
    pages = ["README.md", *docs]
    links([*pages, "SECURITY.md", "CHANGELOG.md", "deploy/README.md"])
    found = [block for page in pages for block in blocks(page)]
    unknown = sorted({f"{block.page}:{block.line} {block.language}" for block in found if block.language not in (*RUN, *SHOWN)})
    equal("every block is of a language that is run, or known not to be", [], unknown)
    exempt = {(block.page, block.text.splitlines()[0]) for block in found}
    equal("what is not run is still there", set(), set(NOT_RUN) - exempt)
    ran = 0
    with folder() as where, Simulator(where) as simulator:
        stage = Stage(where, simulator)
        with stage.proxy:
            for block in found:
                if reason := NOT_RUN.get((block.page, block.text.splitlines()[0])):
                    print(f"        not run: {block.name()}: {reason}")
                    continue
                if block.page == "docs/rotation.md" and not (where / "new-secret").exists():
                    stage.proxy.get("/organizations/acme/express/products")
                    stage.new_secret()
                if block.language == "powerquery":
                    try:
                        power_query(stage, block)
                    except (KeyError, ValueError) as error:
                        check(f"{block.name()}: the members that it reads are there", False, repr(error))
                if block.language in RUN:
                    {"sh": run_sh, "console": run_console}.get(block.language, run_program)(stage, block)
                    stage.restore()
                    ran += 1
    check("there were blocks to run", ran >= 20, ran)
    example()
    finish()


main()
