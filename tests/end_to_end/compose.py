#!/usr/bin/env python3
"""deploy/compose: it fits the Compose specification (check-jsonschema has its schema), no service of it may write or gain
rights, all files that it names are there, its configurations are accepted, and its health check tells a proxy that
works from one that does not.

No container is started: there is nothing to start one with here. PROMTOOL names Prometheus's own tool, PyYAML is needed.
The last line is `N passed, N failed`.
"""

import os
import re
import shutil
import subprocess
import sys

import yaml

from harness import BINARY, ROOT, Served, Simulator, check, environment, equal, finish, folder, free_ports

PROMTOOL = os.environ.get("PROMTOOL", "promtool")
FOLDER = ROOT / "deploy/compose"


def done(*command, **more):
    return subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL, **more)


def holds(name, *command, **more):
    seen = done(*command, **more)
    check(name, seen.returncode == 0, seen.stdout + seen.stderr)


def the_file(compose):
    holds("compose.yaml fits the Compose specification", sys.executable, "-m", "check_jsonschema",
          "--builtin-schema", "vendor.compose-spec", FOLDER / "compose.yaml")
    for name, service in compose["services"].items():
        equal(f"{name}: read-only, without capabilities, and stays so", (True, ["ALL"], ["no-new-privileges:true"]),
              (service.get("read_only"), service.get("cap_drop"), service.get("security_opt")))
        strays = [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
        equal(f"{name}: its ports are the machine's own", [], strays)
        given = [item if isinstance(item, str) else item["source"] for kind in ("configs", "secrets") for item in service.get(kind, [])]
        equal(f"{name}: what it is given is declared", [], [item for item in given if item not in compose["configs"] | compose["secrets"]])
        values = service.get("environment", {})
        equal(f"{name}: no secret in its environment", [], [key for key in values if re.search("PASSWORD|SECRET|TOKEN", key) and not key.endswith("__FILE")])
    missing = [one["file"] for one in compose["configs"].values() if not (FOLDER / one["file"]).is_file()]
    equal("every file of a configuration is there", [], missing)
    proxy = compose["services"]["billing-insights-proxy"]
    check("the Dockerfile is there", (FOLDER / proxy["build"]["context"] / proxy["build"]["dockerfile"]).is_file(), proxy["build"])
    config = yaml.safe_load((FOLDER / "config.yaml").read_text())
    wanted = {one["credential"]["client_secret"]["file"] for one in config["organizations"]}
    place = re.search(r"^ENV CREDENTIALS_DIRECTORY=(\S+)", (ROOT / proxy["build"]["dockerfile"]).read_text(), re.MULTILINE)[1]
    equal("each secret of the configuration is where the image looks for it", {f"{place}/{name}" for name in wanted},
          {secret["target"] for secret in proxy["secrets"]})


def prometheus(compose, where):
    shipped = (ROOT / "deploy/prometheus/scrape.yaml").read_text()
    ours = (FOLDER / "prometheus.yaml").read_text()
    config = yaml.safe_load(ours)
    target = config["scrape_configs"][0]["static_configs"][0]["targets"][0]
    equal("the scrape configuration is the shipped one, but for its target", yaml.safe_load(shipped.replace("127.0.0.1:9090", target)), config)
    metrics = yaml.safe_load((FOLDER / "config.yaml").read_text())["server"]["metrics"].rsplit(":", 1)[1]
    equal("the target is the proxy's listener for metrics", f"billing-insights-proxy:{metrics}", target)
    for one in compose["services"]["prometheus"]["configs"]:
        shutil.copy(FOLDER / compose["configs"][one["source"]]["file"], where / one["target"].rsplit("/", 1)[1])
    holds("promtool check config, with the files as they are mounted", PROMTOOL, "check", "config", where / "prometheus.yaml")


def grafana(compose):
    mounted = {one["target"] for one in compose["services"]["grafana"]["configs"]}
    provider = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/billing-insights-proxy.yaml").read_text())
    path = provider["providers"][0]["options"]["path"]
    check("the dashboard is mounted where Grafana is told to look", any(target.startswith(path) and target.endswith(".json") for target in mounted), (path, mounted))
    source = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    name, port = re.fullmatch(r"http://([\w-]+):(\d+)", source["url"]).groups()
    check("the data source is the Prometheus of the file", name in compose["services"] and compose["services"][name]["ports"][0].endswith(f":{port}"), source)


def health(compose, where):
    command = compose["services"]["billing-insights-proxy"]["healthcheck"]["test"][1:]
    with Simulator(where / "secrets") as simulator:
        env = environment(CREDENTIALS_DIRECTORY=str(simulator.folder))
        text = (FOLDER / "config.yaml").read_text()
        file = where / "config.yaml"
        file.write_text(text)
        holds("config.yaml passes check", BINARY, "check", "--config", file, env=env)
        ports = dict(zip(("8080", "9090", "9091"), free_ports(3)))
        for port, free in ports.items():
            text = text.replace(f":{port}", f":{free}").replace("0.0.0.0", "127.0.0.1")
        text += f"upstream:\n  api_url: {simulator.api_url}\n  token_url: '{simulator.token_url}'\n"
        file.write_text(text)
        equal("the health check is the image's own program", "/usr/local/bin/billing-insights-proxy", command[0])
        ask = [BINARY, *command[1:]]
        ask = [word.replace(":9091", f":{ports['9091']}") for word in ask]
        seen = done(*ask)
        equal("the health check fails while nothing runs", 1, seen.returncode)
        os.environ["CREDENTIALS_DIRECTORY"] = str(simulator.folder)
        with Served(file, simulator) as proxy:
            seen = done(*ask)
            equal("the health check passes once it runs", (0, "ready"), (seen.returncode, seen.stdout.strip()))
            equal("and so does that of the image, at the admin listener", 0, done(BINARY, "health", "--address", proxy.admin.removeprefix("http://")).returncode)
            equal("and the one for the process alone", 0, done(*ask, "--live").returncode)
            seen = done(BINARY, "health", "--address", simulator.api_url.removeprefix("http://"))
            equal("what is no proxy is not taken for a healthy one", 1, seen.returncode)


def main():
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    with folder() as where:
        the_file(compose)
        prometheus(compose, where)
        grafana(compose)
        health(compose, where)
    finish()


main()
