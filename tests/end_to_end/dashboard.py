#!/usr/bin/env python3
"""Every query of the dashboard returns data: each of its panels, variables and annotations is asked of a real
Prometheus, which scrapes the running demo by the shipped configuration and goes by the shipped rules, after hits,
misses, refusals and every kind of fault. Changed are only the address that is scraped and how often: once a second,
since nobody wants to wait.

PROMETHEUS names the program. Nothing else is needed. All of it is on the loopback interface. The last line is
`N passed, N failed`.
"""

import json
import math
import os
import re
import shutil
import time
import urllib.parse

from harness import ROOT, Demo, Running, ask, check, equal, finish, folder, free_ports, within

PROMETHEUS = os.environ.get("PROMETHEUS", "prometheus")
DASHBOARD = ROOT / "deploy/grafana/dashboard.json"
PATIENCE = 45  # seconds for a query to return data
# What Grafana puts in place of its own variables, for a window that has seen some traffic.
WINDOWS = {"$__rate_interval": "1m", "$__interval": "15s", "$__range": "5m"}


def configuration(where, target):
    """The shipped files, in a folder of their own."""
    for file in (ROOT / "deploy/prometheus").glob("*.yaml"):
        shutil.copy(file, where)
    file = where / "scrape.yaml"
    text, times = re.subn(r"_interval: 30s", "_interval: 1s", file.read_text())
    equal("the scrape configuration says twice how often", 2, times)
    text, times = re.subn(r'targets: \["127\.0\.0\.1:9090"\]', f'targets: ["{target}"]', text)
    equal("the scrape configuration has one target", 1, times)
    file.write_text(text)
    return file


def traffic(demo):
    """Something of everything."""
    for number in range(1, 4):
        for tenant in ("organizations/acme", "organizations/northwind", "instances/globex", "instances/hooli", "instances/josephpinetrees"):
            for endpoint in ("products", "subscriptions", "invoices", "usage/month"):
                for _ in range(3):
                    demo.get(f"/{tenant}/express/{endpoint}?page={number}")
    for tenant in ("instances/initech", "instances/umbrella", "instances/wonka", "organizations/soylent", "instances/nobody"):
        demo.get(f"/{tenant}/express/invoices")
    time.sleep(2)  # so that what follows is a change, and not how it began
    demo.fault(target="api", account="hooli", kind="status", status=503, count=2)
    demo.get("/instances/hooli/express/invoices?per_page=7")
    demo.fault(target="api", account="hooli", kind="status", status=403)
    demo.get("/instances/hooli/express/invoices?per_page=8")
    demo.fault(target="api", account="hooli", kind="malformed_json")
    demo.get("/instances/hooli/express/invoices?per_page=9")
    demo.fault(target="api", account="northwind", kind="revoke")
    demo.get("/organizations/northwind/express/invoices?per_page=7")
    demo.fault(target="api", account="globex", kind="status", status=429, retry_after=30)
    demo.get("/instances/globex/express/invoices?per_page=7")
    demo.fault(target="token", account="stark", kind="status", status=401, count=5)
    demo.get("/organizations/stark/express/products")
    demo.no_faults()
    for _ in range(20):
        demo.get("/organizations/acme/express/invoices?page=1")


class Prometheus(Running):
    def __init__(self, where, target):
        [port] = free_ports(1)
        file = configuration(where, target)
        self.url = f"http://127.0.0.1:{port}"
        super().__init__([PROMETHEUS, f"--config.file={file}", f"--storage.tsdb.path={where / 'data'}",
                          f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"], cwd=where)
        if not within(30, self.is_ready):
            raise SystemExit(f"Prometheus did not start: {self.said()}")

    def is_ready(self):
        try:
            return ask(self.url + "/-/ready", timeout=5).status == 200
        except OSError:
            return False

    def api(self, path, **parameters):
        return ask(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}").json()

    def values(self, expression):
        """What an expression says now, in numbers; the words of the error where it is none."""
        told = self.api("query", query=expression)
        if told["status"] != "success":
            return told["error"]
        result = told["data"]["result"]
        numbers = [result[1]] if told["data"]["resultType"] == "scalar" else [one["value"][1] for one in result]
        return [float(number) for number in numbers if math.isfinite(float(number))]

    def label_values(self, query):
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        if not found:
            return f"not label_values(SERIES, LABEL): {query}"
        return self.api(f"label/{found[2]}/values", **{"match[]": found[1]})["data"]


def filled_in(expression, variables):
    for name, value in WINDOWS.items():
        expression = expression.replace(name, value)
    for name, value in variables.items():
        expression = re.sub(rf"\$({name}\b|\{{{name}\}})", lambda _: value, expression)
    return expression


def has_data(name, look):
    """Until there is some, for what Prometheus has not looked at yet comes with its next look."""
    seen = {}

    def some():
        seen["now"] = look()
        return isinstance(seen["now"], list) and seen["now"]

    check(name, within(PATIENCE, some), seen["now"])


def ask_all(dashboard, prometheus):
    variables = {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        query = filled_in(variable["query"]["query"], variables)
        has_data(f"variable {variable['name']}: {query}", lambda query=query: prometheus.label_values(query))
        variables[variable["name"]] = variable["allValue"]
    equal("the variables", ["endpoint", "instance", "tenant"], sorted(variables))
    for annotation in dashboard["annotations"]["list"]:
        expression = filled_in(annotation["expr"], variables)
        has_data(f"annotation {annotation['name']}: {expression}", lambda expression=expression: prometheus.values(expression))
    asked = 0
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            continue
        check(f"{panel['title']}: has a query, and says what it shows", panel.get("targets") and panel["description"], panel)
        for target in panel.get("targets", []):
            expression = filled_in(target["expr"], variables)
            has_data(f"{panel['title']}: {expression}", lambda expression=expression: prometheus.values(expression))
            check(f"{panel['title']}: {target['refId']} is of the chosen instance", "$instance" in target["expr"], target["expr"])
            check(f"{panel['title']}: {target['refId']} asks the chosen source", target["datasource"]["uid"] == "${datasource}", target)
            asked += 1
    # A query of one value of each variable is read as well.
    one = {name: "organizations/acme" if name == "tenant" else "invoices" if name == "endpoint" else ".*" for name in variables}
    wrong = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])
             if isinstance(prometheus.values(filled_in(target["expr"], one)), str)]
    equal("every query can be read with one tenant and one endpoint chosen", [], wrong)
    return asked


def layout(dashboard):
    taken, twice = set(), []
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if (x, y) in taken or x >= 24:
                    twice.append(panel["title"])
                taken.add((x, y))
    equal("no panel covers another", [], sorted(set(twice)))
    ids = [panel["id"] for panel in dashboard["panels"]]
    equal("each panel has an id of its own", len(ids), len(set(ids)))
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    wanted = ["Traffic", "Hit ratio", "Latency", "Upstream cost", "Tokens", "Limits", "Refusals", "Cache", "Process"]
    equal("the rows", [], [row for row in wanted if row not in rows])


def main():
    dashboard = json.loads(DASHBOARD.read_text())
    layout(dashboard)
    with folder() as where, Demo() as demo:
        demo.settle()
        with Prometheus(where, demo.admin.removeprefix("http://")) as prometheus:
            has_data("Prometheus scrapes the demo", lambda: [one for one in prometheus.values('up{job="billing-insights-proxy"}') if one])
            traffic(demo)
            asked = ask_all(dashboard, prometheus)
            check("the dashboard has many queries", asked >= 40, asked)
            told = prometheus.api("rules")["data"]["groups"]
            unhealthy = [rule["name"] for group in told for rule in group["rules"] if rule["health"] != "ok"]
            equal("every rule can be evaluated", [], unhealthy)
            has_data("a rejected client is told by an alert", lambda: prometheus.values(
                'ALERTS{alertname="BillingInsightsProxyTokenFailing",tenant="organizations/stark",alertstate="firing"}'))
    finish()


main()
