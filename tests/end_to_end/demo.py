#!/usr/bin/env python3
"""The demo as a tool written with Python's `requests` meets it: paging, decimals, many at once, and every way in
which Talkdesk can fail.

BINARY names the program under test; the debug build unless set. The last line is `N passed, N failed`.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import requests

from harness import BINARY, ROOT, check, equal, finish, within

PROBLEM = "application/problem+json"

def new_session():
    session = requests.Session()
    session.trust_env = False  # an outgoing proxy of the machine has no part in this
    return session


class Demo:
    """A running demo, its addresses, and what the simulated Talkdesk counts."""

    def __init__(self, errors):
        # What is on this machine is not asked through an outgoing proxy, dead as this one is.
        dead = "http://127.0.0.1:1"
        environment = os.environ | {"HTTP_PROXY": dead, "http_proxy": dead, "HTTPS_PROXY": dead, "ALL_PROXY": dead}
        command = [BINARY, "demo"]
        for listener in ("--listen", "--admin", "--simulator"):
            command += [listener, "127.0.0.1:0"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        banner = ""
        for line in self.process.stdout:
            banner += line
            if "Ctrl-C" in line:
                break
        addresses = re.findall(r"http://127\.0\.0\.1:\d+", banner)
        if not addresses:
            raise SystemExit(f"the demo did not start: {banner}")
        self.proxy = addresses[0]
        self.admin = addresses[1]
        self.simulator = re.search(r"simulated Talkdesk: (http://[^/]+)/", banner)[1]
        self.session = new_session()

    def get(self, path, **options):
        return self.session.get(self.proxy + path, timeout=40, **options)

    def calls(self):
        counters = self.session.get(self.simulator + "/_simulator/counters", timeout=10).json()
        return counters["tokens"]["total"], counters["api"]["total"]

    def fault(self, **fault):
        url = self.simulator + "/_simulator/faults"
        self.session.post(url, data=json.dumps(fault), timeout=10).raise_for_status()

    def no_faults(self):
        self.session.delete(self.simulator + "/_simulator/faults", timeout=10).raise_for_status()

    def metric(self, series):
        text = self.session.get(self.admin + "/metrics", timeout=10).text
        found = re.search(rf"^billing_insights_proxy_{re.escape(series)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def pages(self, path):
        url = self.proxy + path
        while url:
            response = self.session.get(url, timeout=40)
            response.raise_for_status()
            page = response.json(parse_float=Decimal)
            yield page
            url = page["_links"]["next"]["href"] if page["_links"].get("next") else None


def paging(demo):
    lines = [line for page in demo.pages("/organizations/acme/express/invoices?per_page=100") for line in page["_embedded"]["invoices"]]
    equal("acme: 400 lines, each once", (400, 400), (len(lines), len({line["id"] for line in lines})))
    equal("acme: money is exact decimals", [], [line["id"] for line in lines if str(line["amount"]).count(".") != 1])
    sums = {}
    for line in lines:
        sums.setdefault((line["account_id"], line["number"]), []).append(line)
    wrong = [key for key, group in sums.items() if sum(line["amount"] for line in group) != group[0]["total_invoice_amount"]]
    check("acme: each invoice's lines add up to its total", not wrong, wrong)
    for tenant, account in (("josephpinetrees", "5ea75fe7aa224700012eae40"), ("globex", "5ea75fe7aa224700012eae41")):
        for path, member in (("invoices", "invoices"), ("subscriptions", "subscriptions")):
            seen = {
                record["account_id"]
                for page in demo.pages(f"/instances/{tenant}/express/{path}")
                for record in page["_embedded"][member]
            }
            equal(f"{tenant}: {path} of its own account only", {account}, seen)
    accounts = [record for page in demo.pages("/organizations/acme/express/accounts") for record in page["_embedded"]["accounts"]]
    equal("acme: 12 accounts", 12, len(accounts))


def many_at_once(demo):
    path = "/organizations/acme/express/subscriptions?per_page=11"
    _, before = demo.calls()
    demo.fault(target="api", account="acme", path="/express/subscriptions", kind="slow", milliseconds=400)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: new_session().get(demo.proxy + path, timeout=40), range(16)))
    _, after = demo.calls()
    equal("16 clients at once share one request to Talkdesk", 1, after - before)
    equal("16 clients at once get the same answer", 1, len({(answer.status_code, answer.content) for answer in answers}))
    equal("it is a 200", 200, answers[0].status_code)


def mended(demo, path):
    """Talkdesk works again, and at last the proxy says so."""
    demo.no_faults()
    last = {}

    def works():
        last["answer"] = demo.get(path)
        return last["answer"].status_code == 200

    return within(20, works), last["answer"]


FAULTS = [
    # name, the fault, status, code (None: Talkdesk's own content), whether Retry-After must be there (None: either)
    ("an outage (503)", {"kind": "status", "status": 503}, 503, None, None),
    ("an error (500)", {"kind": "status", "status": 500}, 500, None, None),
    ("a bad request (400)", {"kind": "status", "status": 400}, 400, None, False),
    ("nothing there (404)", {"kind": "status", "status": 404}, 404, None, False),
    ("a connection that ends", {"kind": "close"}, 502, "upstream_unreachable", None),
    ("an answer cut off", {"kind": "truncate"}, 502, "upstream_protocol_error", None),
    ("half of the JSON", {"kind": "malformed_json"}, 502, "upstream_protocol_error", None),
    ("an empty 200", {"kind": "empty"}, 502, "upstream_protocol_error", None),
    ("a page of HTML", {"kind": "garbage_token"}, 502, "upstream_protocol_error", None),
    ("429 for two seconds", {"kind": "status", "status": 429, "retry_after": 2}, 429, "upstream_rate_limited", True),
    ("429 without a time", {"kind": "status", "status": 429}, 429, "upstream_rate_limited", False),
]


def retries(demo):
    for number, (name, fault) in enumerate([
        ("a connection that ends", {"kind": "close"}),
        ("an outage (503)", {"kind": "status", "status": 503}),
    ], start=40):
        before = demo.calls()[1]
        demo.fault(target="api", account="hooli", path="/express/invoices", **fault)
        answer = demo.get(f"/instances/hooli/express/invoices?per_page={number}")
        equal(f"{name}, once: tried again, and the client sees nothing of it", (200, 2),
              (answer.status_code, demo.calls()[1] - before))


def faults(demo):
    for number, (name, fault, status, code, retry_after) in enumerate(FAULTS, start=2):
        path = f"/instances/hooli/express/invoices?per_page={number}"
        demo.fault(target="api", account="hooli", path="/express/invoices", count=50, **fault)
        answer = demo.get(path)
        equal(f"{name}: the status", status, answer.status_code)
        equal(f"{name}: the length is the content's", str(len(answer.content)), answer.headers.get("content-length"))
        if code:
            body = answer.json() if answer.headers["content-type"] == PROBLEM else {}
            equal(f"{name}: the code", code, body.get("code", answer.text))
            equal(f"{name}: whose", "instances/hooli", body.get("tenant"))
        else:
            equal(f"{name}: Talkdesk's own words", "simulated_fault", answer.json().get("code"))
        if retry_after is not None:
            given = answer.headers.get("retry-after")
            check(f"{name}: Retry-After {'in seconds' if retry_after else 'is not invented'}",
                  bool(given and 1 <= int(given) <= 3) if retry_after else given is None, given)
        works, answer = mended(demo, path)
        check(f"{name}: works again afterwards", works, f"{answer.status_code} {answer.text[:300]}")
        equal(f"{name}: nothing of it was stored", number, answer.json().get("count"))
    check("the failures are counted", demo.metric('upstream_errors_total{kind="protocol"}') >= 3,
          demo.metric('upstream_errors_total{kind="protocol"}'))


def refused_by_talkdesk(demo):
    path = "/instances/hooli/express/subscriptions?per_page=3"
    demo.fault(target="api", account="hooli", path="/express/subscriptions", kind="status", status=403)
    answer = demo.get(path)
    equal("Talkdesk's 403 is told as a refusal", (403, "denied_by_talkdesk"), (answer.status_code, answer.json().get("code")))
    before = demo.calls()
    answer = demo.get(path)
    equal("the same again is refused from memory", (403, "denied_by_talkdesk"), (answer.status_code, answer.json().get("code")))
    equal("which costs nothing", before, demo.calls())


def tokens(demo):
    demo.fault(target="token", account="hooli", kind="status", status=503, count=50)
    answer = demo.get("/instances/hooli/express/products")
    equal("the token endpoint is down: 503", (503, "token_unavailable"), (answer.status_code, answer.json().get("code")))
    check("the token endpoint is down: Retry-After in seconds", answer.headers.get("retry-after", "").isdigit(),
          answer.headers.get("retry-after"))
    for _ in range(30):
        demo.get("/instances/hooli/express/products")
    check("30 more requests make hardly a token request", demo.calls()[0] <= 8, demo.calls())
    check("other credentials are untouched", demo.get("/organizations/acme/express/products").ok, "not ok")
    check("still ready, and it says so", demo.session.get(demo.admin + "/readyz", timeout=10).status_code == 200, "not ready")
    works, answer = mended(demo, "/instances/hooli/express/products")
    check("works again afterwards", works, answer.text[:300])

    demo.fault(target="token", account="globex", kind="garbage_token", count=50)
    answer = demo.get("/instances/globex/express/products")
    equal("a page of HTML for a token: 503", (503, "token_unavailable"), (answer.status_code, answer.json().get("code")))
    works, answer = mended(demo, "/instances/globex/express/products")
    check("works again afterwards (a page of HTML)", works, answer.text[:300])

    before = demo.calls()
    demo.fault(target="api", account="globex", kind="revoke")
    answer = demo.get("/instances/globex/express/accounts")
    after = demo.calls()
    equal("a revoked token: one new token, one more try, and the client sees nothing of it", (200, 1, 2),
          (answer.status_code, after[0] - before[0], after[1] - before[1]))

    demo.fault(target="token", account="stark", kind="status", status=401, count=50)
    answer = demo.get("/organizations/stark/express/products")
    equal("a rejected client: 502", (502, "credential_rejected"), (answer.status_code, answer.json().get("code")))
    before = demo.calls()
    demo.get("/organizations/stark/express/products")
    equal("a rejected client is not tried again at once", before, demo.calls())
    demo.no_faults()

    demo.fault(target="api", account="northwind", path="/express/products", kind="status", status=401, count=50)
    answer = demo.get("/organizations/northwind/express/products")
    equal("401 twice: 502, never a 401", (502, "token_rejected"), (answer.status_code, answer.json().get("code")))
    demo.no_faults()


def main():
    with tempfile.TemporaryFile("w+") as errors:
        demo = Demo(errors)
        try:
            entitled = within(20, lambda: sum(
                tenant["learned"] for tenant in demo.session.get(demo.admin + "/api/tenants", timeout=10).json()["tenants"]
            ) == 15)
            check("the Instances of acme and northwind are learned", entitled, entitled)
            for part in (tokens, paging, many_at_once, retries, faults, refused_by_talkdesk):
                part(demo)
        finally:
            demo.process.send_signal(signal.SIGTERM)
            try:
                code = demo.process.wait(20)
            except subprocess.TimeoutExpired:
                demo.process.kill()
                code = "still running after 20 s"
        equal("SIGTERM: exit code 0", 0, code)
        errors.seek(0)
        log = errors.read() + demo.process.stdout.read()
        secret = r"Bearer |Basic |eyJ|\b[0-9a-f]{64}\b"  # the simulator's tokens are 64 hexadecimal digits
        check("the log holds no token", not re.search(secret, log), re.findall(f".*(?:{secret}).*", log)[:3])
        check("the log holds no panic", "panicked" not in log, re.findall(r".*panicked.*", log)[:3])
    finish()


main()
