#!/usr/bin/env python3
"""The rules of deploy/prometheus: Prometheus's own tool accepts and tests them, each alert is tested both ringing and
silent with the metrics that it looks at, says how bad it is, whom it is about and where docs/operating.md tells what to
do, and every name in them exists.

PROMTOOL names Prometheus's own tool. PyYAML is needed. The last line is `N passed, N failed`.
"""

import os
import re
import subprocess

import yaml

from harness import PREFIX, ROOT, check, equal, finish

PROMTOOL = os.environ.get("PROMTOOL", "promtool")
FOLDER = ROOT / "deploy/prometheus"
METRIC = re.compile(rf"(?<![:\w]){PREFIX}\w+(?![:\w])")
RECORDED = re.compile(r"\w*:billing_insights_proxy_\w+:\w+|billing_insights_proxy:\w+:\w+")


def load(name):
    return yaml.safe_load((FOLDER / name).read_text())


def base_name(metric):
    return re.sub(r"_(bucket|sum|count)$", "", metric)


def metrics_in(expression, recorded):
    """The metrics that an expression goes by in the end: what is recorded is made of others."""
    found = {base_name(metric) for metric in METRIC.findall(expression)} | set(re.findall(r"\bup\b", expression))
    for name in RECORDED.findall(expression):
        found |= metrics_in(recorded[name], recorded) if name in recorded else {f"unknown {name}"}
    return found


def promtool(name, *arguments):
    done = subprocess.run([PROMTOOL, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    check(name, done.returncode == 0, (done.stdout + done.stderr)[-3000:])


def anchors(page):
    titles = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def main():
    promtool("promtool check config", "check", "config", "deploy/prometheus/scrape.yaml")
    promtool("promtool check rules", "check", "rules", "deploy/prometheus/recording.yaml", "deploy/prometheus/alerts.yaml")
    promtool("promtool test rules", "test", "rules", "deploy/prometheus/alerts.test.yaml")

    recorded = {rule["record"]: rule["expr"] for group in load("recording.yaml")["groups"] for rule in group["rules"]}
    alerts = {rule["alert"]: rule for group in load("alerts.yaml")["groups"] for rule in group["rules"]}
    documented = {PREFIX + name for name in re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)}
    texts = {name: (FOLDER / name).read_text() for name in ("recording.yaml", "alerts.yaml", "alerts.test.yaml")}
    dashboard = ROOT / "deploy/grafana/dashboard.json"
    texts["dashboard.json"] = dashboard.read_text() if dashboard.exists() else ""
    for name, text in texts.items():
        equal(f"every metric in {name} exists", set(), {base_name(metric) for metric in METRIC.findall(text)} - documented)
        equal(f"every recorded name in {name} exists", set(), set(RECORDED.findall(text)) - set(recorded))
    used = set(RECORDED.findall(texts["alerts.yaml"] + texts["dashboard.json"]))
    equal("everything that is recorded is used by an alert or the dashboard", set(), set(recorded) - used)

    tests = {alert: {"rings": [], "is silent": []} for alert in alerts}
    for test in load("alerts.test.yaml")["tests"]:
        for case in test["alert_rule_test"]:
            kind = "rings" if case.get("exp_alerts") else "is silent"
            tests.setdefault(case["alertname"], {"rings": [], "is silent": []})[kind].append(test)
    equal("every alert that is tested exists", set(), set(tests) - set(alerts))
    sections = (ROOT / "docs/operating.md").read_text().split("## Alerts")[1].split("\n## ")[0]
    equal("docs/operating.md has a section for each alert, and for no other", set(alerts),
          set(re.findall(r"^### (.+)$", sections, re.MULTILINE)))
    for alert, rule in alerts.items():
        for kind, cases in tests[alert].items():
            check(f"{alert}: there is a test in which it {kind}", cases, "none")
            for test in cases:
                given = " ".join(series["series"] for series in test["input_series"])
                # A target that is gone is tested by its absence, beside another.
                missing = {metric for metric in metrics_in(rule["expr"], recorded) if not re.search(rf"\b{metric}\b", given)}
                equal(f"{alert}: the test in which it {kind} has its metrics", set(), missing)
        annotations = rule["annotations"]
        check(f"{alert}: severity", rule["labels"].get("severity") in ("critical", "warning"), rule["labels"])
        check(f"{alert}: summary and description", annotations["summary"] and annotations["description"], annotations)
        described = annotations["summary"] + " " + annotations["description"]
        names = re.search(r"\$labels\.tenant|\.Labels\.tenant", described)
        for_all = re.search(r"\b(no|any|whatever|its) tenants?\b", described, re.IGNORECASE)
        check(f"{alert}: it says whom it is about", names or for_all, described)
        page, _, anchor = annotations.get("runbook", "").partition("#")
        check(f"{alert}: {annotations.get('runbook')} is there", (ROOT / page).is_file() and anchor in anchors(page), anchor)
        section = re.search(rf"^### {alert}\n(.*?)(?=^### |\Z)", sections, re.MULTILINE | re.DOTALL)
        section = section[1] if section else ""
        severity = rule["labels"].get("severity")
        check(f"{alert}: the section has the same severity, and what to do", f"*{severity}" in section and "\nDo: " in section, section)
    finish()


main()
