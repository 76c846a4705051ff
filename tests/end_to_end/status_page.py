#!/usr/bin/env python3
"""The status page in a real browser: what it shows is what `/api` says and what Prometheus scrapes, each button asks
first and then does what it says, whoever fails is on the first screen, and nothing is complained of in the console.

BINARY names the program under test, CHROMIUM and CHROMEDRIVER the browser and what drives it. Nothing but the standard
library is needed: WebDriver is HTTP. Screenshots for people are written to SCREENSHOTS, or a new folder, which is named.
The last line is `N passed, N failed`.
"""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import BINARY, ROOT, PREFIX, check, equal, finish

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
CHROMEDRIVER = os.environ.get("CHROMEDRIVER", "chromedriver")
SCREENSHOTS = pathlib.Path(os.environ.get("SCREENSHOTS") or tempfile.mkdtemp(prefix="status-page-"))
PATIENCE = 30  # seconds for something to come true
DESKTOP, PHONE = (1280, 900), (390, 844)


def becomes(name, wanted, look):
    """Waits until what is looked at is as wanted."""
    deadline = time.monotonic() + PATIENCE
    while (seen := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    equal(name, wanted, seen)


def comes_true(name, look):
    deadline = time.monotonic() + PATIENCE
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    check(name, bool(seen), seen)


# --- The proxy -----------------------------------------------------------------------------------------------------


def ask(address, path, method="GET", body=None):
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request(method, path, body=body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Proxy:
    """A proxy that was started, with what it says about itself."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            [BINARY, *command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def heard(self, ending):
        """What it says until a line has the ending. What it says later is not read, and must not fill the pipe."""
        said = ""
        for line in self.process.stdout:
            said += line
            if re.search(ending, line):
                break
        else:
            raise SystemExit(f"the proxy did not start: {said}")
        threading.Thread(target=lambda: [None for _ in self.process.stdout], daemon=True).start()
        return said

    def api(self, path):
        return json.loads(ask(self.admin, path)[1])

    def scrape(self):
        """Every series, by name and labels."""
        series = []
        for line in ask(self.admin, "/metrics")[1].splitlines():
            if found := re.fullmatch(rf"{PREFIX}(\w+)(?:\{{(.*)\}})? (\S+)", line):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
                series.append((found[1], labels, float(found[3])))
        return series

    def sum(self, name, **wanted):
        fits = lambda labels: all(labels.get(label) == value for label, value in wanted.items())
        return int(sum(value for series, labels, value in self.scrape() if series == name and fits(labels)))

    def close(self):
        for _ in range(2):
            self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()


class Demo(Proxy):
    def __init__(self, data=0, admin=0):
        super().__init__(["demo", "--listen", f"127.0.0.1:{data}", "--admin", f"127.0.0.1:{admin}", "--simulator", "127.0.0.1:0"])
        ports = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", self.heard("Ctrl-C"))]
        self.data, self.admin = ("127.0.0.1", ports[0]), ("127.0.0.1", ports[1])
        self.simulator = ("127.0.0.1", ports[3])

    def settle(self):
        """Waits until the accounts are learned, so that nothing moves but what is asked for."""
        before = None
        while (now := json.loads(ask(self.simulator, "/_simulator/counters")[1])) != before:
            before = now
            time.sleep(1)


class Served(Proxy):
    """A proxy for tenants by the hundred, before a Talkdesk that is this script's own."""

    def __init__(self, tenants):
        self.folder = tempfile.TemporaryDirectory()
        self.talkdesk = Talkdesk()
        folder = pathlib.Path(self.folder.name)
        (folder / "good-secret").write_text("s3cret-s3cret")
        base = f"http://127.0.0.1:{self.talkdesk.server_port}"
        lines = ["server: { listen: '127.0.0.1:0', admin: '127.0.0.1:0', drain_delay: 0s }", "log: { access: false, format: text }"]
        lines += ["metrics: { max_tenants: 2000 }", "entitlement: { eligible_plans: [cx-cloud-elite] }"]
        lines += [f"upstream: {{ api_url: '{base}', token_url: '{base}/{{account}}/oauth/token' }}", "instances:"]
        for number, (name, kind) in enumerate(tenants.items()):
            secret = "no-such-secret" if kind == "secret_unavailable" else "good-secret"
            seller = "Some Reseller" if kind == "reseller_sold" else "Talkdesk"
            plan = "cx-cloud-essentials" if kind == "plan_not_eligible" else "cx-cloud-elite"
            lines += [f"  - {{ name: {name}, account_id: {number:024x}, organization: {seller}, plan: {plan},"]
            lines += [f"      credential: {{ account: {name}, client_id: client-{number}, client_secret: {{ file: {secret} }} }} }}"]
        (folder / "config.yaml").write_text("\n".join(lines))
        super().__init__(["serve", "--config", str(folder / "config.yaml")])
        said = self.heard(r"admin")
        addresses = re.findall(r"127\.0\.0\.1:(\d+)", said)
        if len(addresses) < 2:
            raise SystemExit(f"no addresses: {said}")
        self.data, self.admin = ("127.0.0.1", int(addresses[0])), ("127.0.0.1", int(addresses[1]))

    def close(self):
        super().close()
        self.talkdesk.shutdown()
        self.talkdesk.server_close()
        self.folder.cleanup()


class Talkdesk(ThreadingHTTPServer):
    """Gives a token to whoever's name does not say otherwise, and an empty page of whatever is asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        account = self.path.split("/")[1]
        if account.startswith("rejected"):
            return self.say(401, {"error": "invalid_client", "error_description": "the client is not known"})
        return self.say(200, {"access_token": f"token-of-{account}", "token_type": "Bearer", "expires_in": 600})

    def do_GET(self):
        if "token-of-paused" in (self.headers.get("Authorization") or ""):
            return self.say(429, {"message": "slow down"}, {"Retry-After": "240"})
        return self.say(200, {"_embedded": {"invoices": []}, "total": 0, "page": 1, "per_page": 50, "_links": {}})

    def say(self, status, body, fields=()):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in dict(fields).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


# --- The browser ---------------------------------------------------------------------------------------------------

TAB, ENTER, ESCAPE = "\ue004", "\ue007", "\ue00c"


class Browser:
    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.driver = subprocess.Popen(
            [CHROMEDRIVER, "--port=0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, start_new_session=True,
        )
        for line in self.driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                self.address = ("127.0.0.1", int(found[1]))
                break
        else:
            raise SystemExit("chromedriver did not start")
        threading.Thread(target=lambda: [None for _ in self.driver.stdout], daemon=True).start()
        arguments = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
            "--no-proxy-server", f"--user-data-dir={self.profile.name}",
        ]
        options = {"binary": CHROMIUM, "args": arguments}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.session = self.command("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def command(self, method, path, body=None):
        connection = http.client.HTTPConnection(*self.address, timeout=120)
        try:
            connection.request(method, path, body=None if body is None else json.dumps(body))
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"{path}: {value['error']}: {value['message'][:300]}")
        return value

    def do(self, path, body):
        return self.command("POST", f"/session/{self.session}{path}", body)

    def open(self, url):
        self.do("/url", {"url": url})

    def run(self, script, *arguments):
        return self.do("/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, css):
        return self.run("const one = document.querySelector(arguments[0]); return one && one.textContent", css)

    def number(self, css):
        """The number that an element shows, exactly: what it says to people has separators."""
        return self.run("const one = document.querySelector(arguments[0]); return one && Number(one.dataset.value)", css)

    def element(self, css):
        return next(iter(self.do("/element", {"using": "css selector", "value": css}).values()))

    def click(self, css):
        self.do(f"/element/{self.element(css)}/click", {})

    def type(self, css, text):
        element = self.element(css)
        self.do(f"/element/{element}/clear", {})
        self.do(f"/element/{element}/value", {"text": text})

    def press(self, key):
        presses = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.do("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": presses}]})

    def devtools(self, command, **parameters):
        self.do("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, size):
        self.devtools("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False)
        # The pictures are drawn anew in the next frame.
        self.do("/execute/async", {"script": "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))", "args": []})

    def colors(self, scheme):
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def complaints(self):
        """What stands in the console since the last look."""
        messages = [entry["message"] for entry in self.do("/se/log", {"type": "browser"})]
        # The browser says of every answer above 399 that it is one, and of these two the page tells.
        return [one for one in messages if "status of 400 (" not in one and "status of 422 (" not in one]

    def picture(self, name):
        data = self.command("GET", f"/session/{self.session}/screenshot")
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(data))

    def long_picture(self, name, size):
        height = self.run("return document.documentElement.scrollHeight")
        self.size((size[0], height))
        self.picture(name)
        self.size(size)

    def close(self):
        with contextlib.suppress(Exception):
            self.command("DELETE", f"/session/{self.session}")
        # Its children are in the session that it leads.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.driver.pid, signal.SIGKILL)
        self.driver.wait()
        self.profile.cleanup()


# --- What is checked -------------------------------------------------------------------------------------------------

INVOICES = "/express/invoices"
SUM_OF = "return [...document.querySelectorAll(arguments[0])].reduce((all, one) => all + Number(one.dataset[arguments[1]]), 0)"


def numbers(browser, demo):
    """Each number on the page is the one that Prometheus scrapes."""
    for path in ["/organizations/acme" + INVOICES] * 6 + ["/instances/josephpinetrees" + INVOICES] * 3 + [
        "/organizations/northwind/express/products", "/instances/globex/express/usage/month",
        "/instances/initech" + INVOICES, "/instances/umbrella" + INVOICES, "/nowhere"]:
        ask(demo.data, path)
    demo.settle()
    series = lambda name, **labels: lambda: demo.sum(name, **labels)
    page = lambda css: lambda: browser.number(css)
    drawn = lambda css, data: lambda: browser.run(SUM_OF, css, data)
    failed = lambda: sum(
        int(value) for name, labels, value in demo.scrape() if name == "http_requests_total" and labels["status"] >= "500"
    )
    hits = sum(demo.sum("cache_requests_total", result=result) for result in ("hit", "stale", "collapsed"))
    becomes("the page has heard of every request", demo.sum("http_requests_total"), page("#n-requests"))
    for name, shown, scraped in [
        ("requests to Talkdesk", page("#n-upstream"), series("upstream_requests_total")),
        ("tokens", page("#n-tokens"), series("token_requests_total", result="ok")),
        ("entries of the cache", page("#n-entries"), series("cache_entries")),
        ("failed requests", page("#n-failed"), failed),
        ("requests in the picture", drawn("#traffic svg", "requests"), series("http_requests_total")),
        ("answers in the picture of bands", drawn("#latency .cell", "count"), series("http_request_duration_seconds_count")),
        ("the bars of cost", drawn("#cost .bar", "value"), series("tenant_upstream_requests_total")),
        ("tokens in the time line", drawn("#tokens [data-kind=token]", "count"), series("token_requests_total", result="ok")),
    ]:
        becomes(f"{name}: as Prometheus scrapes it", scraped(), shown)
    ratio = hits / demo.sum("cache_requests_total")
    becomes("the hit ratio: as Prometheus would have it", round(ratio, 6), lambda: round(browser.number("#n-hit-ratio"), 6))
    for tenant in ("organizations/acme", "instances/josephpinetrees", "instances/globex", "instances/initech"):
        row = f"#tenants [data-row='{tenant}'] "
        becomes(f"{tenant}: requests", demo.sum("tenant_requests_total", tenant=tenant), page(row + "[data-label=requests]"))
        becomes(f"{tenant}: requests to Talkdesk", demo.sum("tenant_upstream_requests_total", tenant=tenant), page(row + "[data-label='to Talkdesk']"))
        cost = demo.sum("tenant_upstream_requests_total", tenant=tenant)
        becomes(f"{tenant}: its bar", cost if cost else None, page(f"#cost [data-tenant='{tenant}']"))
    bands, before = [], 0
    ends = {}
    for name, labels, value in demo.scrape():
        if name == "http_request_duration_seconds_bucket":
            ends[float(labels["le"])] = ends.get(float(labels["le"]), 0) + int(value)
    for end in sorted(ends):
        bands.append(ends[end] - before)
        before = ends[end]
    equal("/api/status: the bands are those of the histogram", bands, demo.api("/api/status")["latency"])
    for endpoint in ("invoices", "products", "monthly_usage"):
        asked = demo.sum("cache_requests_total", endpoint=endpoint)
        if asked:
            becomes(f"cache, {endpoint}: asked", asked, page(f"#cache [data-row='{endpoint}'] [data-label=asked]"))
    for limit in ("upstream", "client", "token"):
        for decision in ("allowed", "waited", "refused"):
            scraped = demo.sum("rate_limit_decisions_total", limit=limit, decision=decision)
            becomes(f"limit {limit}, {decision}", scraped, page(f"#limits [data-row={limit}] [data-label={decision}]"))
    for reason in ("reseller_sold", "plan_not_eligible"):
        becomes(f"refused, {reason}", demo.sum("requests_denied_total", reason=reason), page(f"#denied [data-row={reason}] [data-label=times]"))


def same_as_api(browser, demo):
    """What the page says in words is what /api says."""
    tenants = demo.api("/api/tenants")["tenants"]
    rows = "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].map((row) => [row.dataset.row, row.textContent])"
    shown = dict(browser.run(rows, "tenants"))
    equal("the tenants of the page are those of /api", [one["tenant"] for one in tenants], list(shown))
    wrong = []
    for one in tenants:
        for endpoint, verdict in one["endpoints"].items():
            word = verdict["credential"] if verdict["entitled"] else verdict["reason"]
            if word not in shown.get(one["tenant"], ""):
                wrong.append((one["tenant"], endpoint))
    equal("each tenant's verdicts stand in its row", [], wrong)
    asked = "return [...document.querySelectorAll('#tenants tbody tr')].map((row) => [row.dataset.row, row.querySelector('[data-label=\"asked last\"]').textContent])"
    wanted = {one["tenant"]: "{endpoint}: {status} ".format(**one["asked_last"]) if one["asked_last"] else "–" for one in tenants}
    starts = {tenant: text[: len(wanted[tenant])] for tenant, text in browser.run(asked)}
    equal("each tenant's row says what it asked last, and of what status the answer was", wanted, starts)
    equal("a denial is told too, without the path", "invoices: 403 ", wanted["instances/initech"])
    failing = {one["tenant"]: one["failing"]["reason"] for one in tenants if one["failing"]}
    equal("the panel names whoever fails, by reason", failing, named(browser))
    shown = dict(browser.run(rows, "credentials"))
    credentials = demo.api("/api/credentials")["credentials"]
    wrong = [one["credential"] for one in credentials if one["state"] not in shown.get(one["credential"], "") or (one["last_error"] or "") not in shown[one["credential"]]]
    equal("the credentials are there with state and error", [], wrong)


def named(browser):
    found = browser.run("""return [...document.querySelectorAll('.group')].flatMap((group) =>
        [...group.querySelectorAll('li[data-tenant]')].map((name) => {
            const kind = name.parentElement.firstElementChild.textContent;
            return [kind + name.textContent.split(' ')[0], group.dataset.reason]; }))""")
    return dict(found)


def injected(browser, demo):
    """A server's own words are text, whatever they look like."""
    markup = "<img src=x onerror=\"document.title='broken'\">"
    body = {"error": "invalid_client", "error_description": markup}
    fault = {"target": "token", "account": "hooli", "kind": "status", "status": 401, "body": body, "count": 1}
    ask(demo.simulator, "/_simulator/faults", "POST", json.dumps(fault))
    ask(demo.data, "/instances/hooli" + INVOICES)
    becomes("a rejected client is named as failing", "credential_rejected", lambda: named(browser).get("instances/hooli"))
    comes_true("what its server said stands there as it was said", lambda: "<img src=x" in (browser.text("#failing [data-reason=credential_rejected]") or ""))
    equal("and does nothing", ["billing-insights-proxy", 0], browser.run("return [document.title, document.images.length]"))
    becomes("its failure is a mark in the time line", 1, lambda: browser.run(SUM_OF, "#tokens [data-kind=token_failed]", "count"))


def is_open(browser, dialog):
    return lambda: browser.run("return document.getElementById(arguments[0]).open", dialog)


def buttons(browser, demo):
    entries = lambda: demo.api("/api/cache")["entries"]
    before = entries()
    check("there is something to purge", before > 2, before)
    for way, leave in (("Cancel", lambda: browser.click("#purge-cancel")), ("Escape", lambda: browser.press(ESCAPE))):
        browser.click("#ask-purge")
        becomes(f"purge asks first ({way})", True, is_open(browser, "purge"))
        leave()
        becomes(f"{way} closes it", False, is_open(browser, "purge"))
        equal(f"{way} purges nothing", before, entries())
    of_tenant = lambda tenant: demo.api(f"/api/cache/entries?tenant={tenant}")["total"]
    mine = of_tenant("instances/josephpinetrees")
    browser.click("#tenants [data-row='instances/josephpinetrees'] button")
    becomes("a tenant's button asks about that tenant", "This takes everything of instances/josephpinetrees from the cache.", lambda: browser.text("#purge-words"))
    browser.click("#purge-go")
    becomes("the result is told", f"Done: {mine} taken from the cache.", lambda: browser.text("#purge-result"))
    equal("and what it had is gone, and nothing else", (0, before - mine), (of_tenant("instances/josephpinetrees"), entries()))
    browser.click("#purge-cancel")
    browser.click("#ask-purge")
    browser.type("#purge-path", "express")
    browser.click("#purge-go")
    comes_true("a purge that is refused says why", lambda: "does not begin with" in browser.text("#purge-result"))
    equal("and purges nothing", before - mine, entries())
    browser.type("#purge-path", "")
    browser.click("#purge-soft")
    browser.click("#purge-go")
    becomes("a soft purge says so", f"Done: {before - mine} made stale.", lambda: browser.text("#purge-result"))
    equal("and keeps the entries", before - mine, entries())
    browser.click("#purge-cancel")
    browser.click("#ask-purge")
    browser.click("#purge-go")
    becomes("a purge of everything empties the cache", 0, entries)
    browser.click("#purge-cancel")
    becomes("and the page shows it", 0, lambda: browser.number("#n-entries"))
    loaded = lambda: [value for name, _, value in demo.scrape() if name == "config_last_reload_success_timestamp_seconds"][0]
    before = loaded()
    browser.click("#ask-reload")
    becomes("reload asks first", True, is_open(browser, "reload"))
    browser.click("#reload-cancel")
    becomes("Cancel closes it", False, is_open(browser, "reload"))
    equal("Cancel reloads nothing", before, loaded())


def reloading(browser, served):
    """A reload of a file that changed, and of one that is refused."""
    file = pathlib.Path(served.folder.name) / "config.yaml"
    good = file.read_text()
    loaded = lambda: [value for name, _, value in served.scrape() if name.startswith("config_last_reload_success")]
    before = loaded()
    browser.click("#ask-reload")
    browser.click("#reload-go")
    comes_true("a reload says that it was done", lambda: (browser.text("#reload-result") or "").startswith("Reloaded"))
    check("and was", loaded() != before, loaded())
    browser.click("#reload-cancel")
    file.write_text(good + "\nnonsense: 1\n")
    browser.click("#ask-reload")
    browser.click("#reload-go")
    comes_true("a file that is refused is told, with its faults", lambda: "nonsense" in (browser.text("#reload-result") or ""))
    browser.click("#reload-cancel")
    comes_true("and marked in the time line", lambda: browser.run(SUM_OF, "#tokens [data-kind=reload_refused]", "count"))
    file.write_text(good)
    return browser.complaints()


def keyboard(browser):
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached, seen = [], lambda: browser.run("return [document.activeElement.id, document.activeElement.matches(':focus-visible'), getComputedStyle(document.activeElement).outlineStyle]")
    for _ in range(4):
        browser.press(TAB)
        reached.append(seen())
    ids = [one[0] for one in reached]
    check("Tab reaches purge, reload and the search", ids[:3] == ["ask-purge", "ask-reload", "tenant-search"] or {"ask-purge", "ask-reload"} <= set(ids), ids)
    equal("and what has the focus shows it", [True, "solid"], reached[0][1:])
    browser.run("document.getElementById('ask-reload').focus()")
    browser.press(ENTER)
    becomes("Enter opens the dialog", True, is_open(browser, "reload"))
    equal("where Cancel has the focus", "reload-cancel", seen()[0])
    browser.press(ESCAPE)
    becomes("Escape closes it", False, is_open(browser, "reload"))
    equal("and the button has the focus again", "ask-reload", seen()[0])


def colors(browser):
    ground = "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    seen = {}
    for scheme in ("light", "dark"):
        browser.colors(scheme)
        seen[scheme] = browser.run(ground)
        browser.size(DESKTOP)
        browser.picture(f"demo-{scheme}-desktop")
        browser.long_picture(f"demo-{scheme}-desktop-whole", DESKTOP)
        browser.size(PHONE)
        browser.picture(f"demo-{scheme}-phone")
        browser.long_picture(f"demo-{scheme}-phone-whole", PHONE)
        wide = browser.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        check(f"nothing is wider than a phone ({scheme})", wide[0] <= wide[1], wide)
    browser.size(DESKTOP)
    equal("light and dark are each other's opposite", seen["light"][0], "rgb(255, 255, 255)")
    check("and differ in ground and text", seen["light"][0] != seen["dark"][0] and seen["light"][1] != seen["dark"][1], seen)
    browser.colors("light")


def nobody_looks(browser):
    """A page that is hidden asks for nothing, and asks at once when it is looked at again."""
    browser.run("""window.asked = 0;
        const real = window.fetch;
        window.fetch = (...all) => { window.asked += 1; return real(...all); };
        window.away = true;
        Object.defineProperty(document, 'hidden', { configurable: true, get: () => window.away });
        document.dispatchEvent(new Event('visibilitychange'));""")
    asked = lambda: browser.run("return window.asked")
    # What was under way ends; then longer than it waits from one time to the next.
    time.sleep(1)
    before = asked()
    time.sleep(7)
    equal("a hidden page asks for nothing", before, asked())
    browser.run("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    equal("and asks at once when it is looked at", before + 5, asked())


def lost_and_found(browser, demo):
    equal("no word in the console until here", [], browser.complaints())
    data, admin = demo.data[1], demo.admin[1]
    demo.close()
    comes_true("a proxy that is gone is told, with since when", lambda: re.match(r"The proxy can't be reached since \d\d:\d\d:\d\d", browser.text("#banner") or ""))
    check("where it can be seen", browser.run("return !document.getElementById('banner').hidden && document.getElementById('banner').getBoundingClientRect().bottom < innerHeight"), None)
    again = Demo(data, admin)
    becomes("a proxy that is back is told too", True, lambda: browser.run("return document.getElementById('banner').hidden"))
    becomes("and what stands there is the new one's", again.sum("http_requests_total"), lambda: browser.number("#n-requests"))
    foreign = [one for one in browser.complaints() if "net::ERR_" not in one]
    equal("the console has nothing but the failed requests", [], foreign)
    return again


def first_screen(browser, served, tenants):
    """Whoever fails is there without scrolling, with the reason."""
    wanted = {f"instances/{name}": kind for name, kind in tenants.items() if kind}
    becomes("every tenant that fails is named with its reason", wanted, lambda: named(browser))
    for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
        browser.size(size)
        browser.run("window.scrollTo(0, 0)")
        hidden = browser.run("""return [...document.querySelectorAll('.group li, .group h3')].filter((one) => {
            const { top, bottom, left, right, width, height } = one.getBoundingClientRect();
            const there = document.elementFromPoint(left + width / 2, top + height / 2);
            const inside = top >= 0 && left >= 0 && bottom <= innerHeight && right <= innerWidth;
            return !(inside && width > 0 && height > 0 && there && (there === one || one.contains(there) || there.contains(one)));
        }).map((one) => one.textContent)""")
        equal(f"names and reasons are all on the first screen of a {name}", [], hidden)
        drawn = browser.run("return [...document.querySelectorAll('svg text.name')].map((one) => one.firstChild.textContent)")
        apart = drawn[: drawn.index("the proxy")]
        equal(f"names in a picture can be told apart on a {name}", sorted(set(apart)), sorted(apart))
        browser.picture(f"failing-{name}")
        browser.long_picture(f"failing-{name}-whole", size)
    browser.size(DESKTOP)
    why = browser.run("return Object.fromEntries([...document.querySelectorAll('.group')].map((one) => [one.dataset.reason, one.querySelector('.why').textContent]))")
    for reason, words in (("credential_rejected", "the client is not known"), ("secret_unavailable", "no-such-secret"), ("reseller_sold", "Some Reseller"), ("upstream_rate_limited", "pause")):
        check(f"{reason} is explained", words in why.get(reason, ""), why.get(reason))
    paused = served.api("/api/credentials")["credentials"]
    paused = sorted(one["credential"] for one in paused if one["paused"])
    becomes("whoever pauses is in the table of limits", paused, lambda: browser.run("return [...document.querySelectorAll('#waiting tbody tr')].map((row) => row.dataset.row).sort()"))
    comes_true("and the pauses are marks in the time line", lambda: browser.run(SUM_OF, "#tokens [data-kind=paused]", "count"))


def search_and_paging(browser):
    shown = lambda: browser.run("return [...document.querySelectorAll('#tenants tbody tr')].map((row) => row.dataset.row)")
    where = lambda: browser.text("#tenants-pages span")
    becomes("a thousand tenants come in pages", "1–25 of 1,000", where)
    equal("of 25", 25, len(shown()))
    first = shown()
    browser.click("#tenants-pages [data-key=Next]")
    becomes("Next shows the next", "26–50 of 1,000", where)
    check("which are others", not set(first) & set(shown()), shown())
    equal("and keeps the focus", "Next", browser.run("return document.activeElement.dataset.key"))
    browser.click("#tenants-pages [data-key=Previous]")
    becomes("Previous goes back", first, shown)
    check("the first page has none before it", browser.run("return document.querySelector('#tenants-pages [data-key=Previous]').disabled"), None)
    browser.type("#tenant-search", "t-0777")
    becomes("a search finds the one", ["instances/t-0777"], shown)
    browser.type("#tenant-search", "nobody")
    becomes("a search that finds none says so", "No tenant.", where)
    browser.type("#tenant-search", "reseller_sold")
    becomes("a reason can be searched for", "1–2 of 2", where)
    browser.type("#tenant-search", " ")
    browser.run("const filter = document.getElementById('tenant-filter'); filter.value = 'failing'; filter.dispatchEvent(new Event('change'))")
    becomes("those that fail can be shown alone", "1–2 of 2", where)
    drawn = browser.run("""const begun = performance.now();
        document.getElementById('tenant-search').dispatchEvent(new Event('input'));
        return performance.now() - begun""")
    check("a thousand tenants are drawn in less than half a second", drawn < 500, drawn)
    browser.type("#credential-search", "t-0042")
    credentials = "return [...document.querySelectorAll('#credentials tbody tr')].map((row) => row.dataset.row)"
    becomes("a credential can be searched for", ["instances/t-0042"], lambda: browser.run(credentials))
    browser.click("#tokens-pages [data-key=Next]")
    becomes("the time line has pages too", "13–24 of 1,000", lambda: browser.text("#tokens-pages span"))
    lanes = "return [...document.querySelectorAll('#tokens text.name')].map((name) => name.firstChild.textContent)"
    equal("with other credentials", "instances/t-0012", browser.run(lanes)[1])
    equal("no word in the console with a thousand tenants", [], browser.complaints())


def main():
    browser = Browser()
    try:
        browser.size(DESKTOP)
        demo = Demo()
        try:
            demo.settle()
            browser.open(f"http://127.0.0.1:{demo.admin[1]}/")
            comes_true("the page fills", lambda: browser.number("#n-requests") is not None)
            numbers(browser, demo)
            injected(browser, demo)
            same_as_api(browser, demo)
            colors(browser)
            keyboard(browser)
            buttons(browser, demo)
            nobody_looks(browser)
            demo = lost_and_found(browser, demo)
        finally:
            demo.close()
        kinds = ["credential_rejected"] * 10 + ["secret_unavailable"] * 10 + ["reseller_sold"] * 8 + ["upstream_rate_limited"] * 4 + ["plan_not_eligible"] * 3
        names = {"credential_rejected": "rejected", "upstream_rate_limited": "paused"}
        tenants = {f"{names.get(kind, 'branch')}-office-{number:03}": kind for number, kind in enumerate(kinds)}
        tenants |= {f"t-{number:04}": None for number in range(200 - len(tenants))}
        served = Served(tenants)
        try:
            for name in list(tenants)[:60]:
                ask(served.data, f"/instances/{name}{INVOICES}")
            browser.open(f"http://127.0.0.1:{served.admin[1]}/")
            first_screen(browser, served, tenants)
            equal("no word in the console with failing tenants", [], browser.complaints())
            equal("nor after reloads", [], reloading(browser, served))
        finally:
            served.close()
        served = Served({f"t-{number:04}": "reseller_sold" if number in (3, 900) else None for number in range(1000)})
        try:
            browser.complaints()
            browser.open(f"http://127.0.0.1:{served.admin[1]}/")
            search_and_paging(browser)
            browser.picture("thousand-desktop")
        finally:
            served.close()
    finally:
        browser.close()
    print(f"screenshots: {SCREENSHOTS}")
    finish()


main()
