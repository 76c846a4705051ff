#!/usr/bin/env python3
"""The access log as somebody with a question reads it: who asked for what, what the cache did, how the request came by
its token, whose trace it belongs to and what Talkdesk calls it; and the trace goes on upstream as it came.

BINARY names the program under test. Nothing but the standard library is needed. The last line is `N passed, N failed`.
"""

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import ROOT, Served, check, equal, finish, folder, within

OURS = "billing_insights_proxy."
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
LIFETIME = 10  # seconds of a token: the proxy uses it for 9, and refreshes it after 6.75 to 7.65


class Talkdesk(ThreadingHTTPServer):
    """Gives tokens, slowly where it is told to, and keeps the heads of what it is asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked, self.delay, self.status = [], 0, 200
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        self.api_url = f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(self.server.delay)
        self.say(200, {"access_token": f"token-{time.monotonic_ns()}", "token_type": "Bearer", "expires_in": LIFETIME})

    def do_GET(self):
        self.server.asked.append({name.lower(): value for name, value in self.headers.items()})
        number = len(self.server.asked)
        self.say(self.server.status, {"code": "x", "message": "no", "total": 0, "page": 1, "total_pages": 1, "_embedded": {"invoices": []}}, f"td-{number}")

    def say(self, status, body, name=""):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if name:
            self.send_header("X-Request-Id", name)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def configuration(where, talkdesk):
    (where / "secret").write_text("s3cret-s3cret")
    file = where / "config.yaml"
    file.write_text(f"""
server: {{ listen: 127.0.0.1:0, admin: 127.0.0.1:0, drain_delay: 0s }}
upstream: {{ api_url: '{talkdesk.api_url}', token_url: '{talkdesk.api_url}/{{account}}/oauth/token' }}
organizations:
  - id: acme
    name: Acme Partners
    discover_accounts: false
    credential: {{ account: acme, client_id: abc, client_secret: {{ file: secret }} }}
instances:
  - {{ name: initech, organization: Some Reseller }}
""")
    return file


class Lines:
    def __init__(self, proxy):
        self.proxy = proxy

    def of(self, name):
        """The line of the request of that name."""
        def found():
            for line in self.proxy.said().splitlines():
                if f'"{OURS}request_id":"{name}"' in line:
                    return json.loads(line)
            return None

        return within(10, found) or {}


def main():
    talkdesk = Talkdesk()
    documented = set(re.findall(r"^\| `([\w.]+)`", (ROOT / "docs/logs.md").read_text(), re.MULTILINE))
    with folder() as where, Served(configuration(where, talkdesk), talkdesk) as proxy:
        lines, count = Lines(proxy), iter(range(1, 1000))

        def asked(name, fields=None, page=None, path="/organizations/acme/express/invoices", method="GET"):
            query = f"?page={page or next(count)}"
            answer = proxy.get(path + query, method=method, fields={"X-Request-Id": name} | (fields or {}))
            return answer, lines.of(name)

        trace = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}
        _, line = asked("first", trace, page=500)
        equal("a miss: status, method, path, tenant, endpoint and result",
              (200, "GET", "/organizations/acme/express/invoices", "organizations/acme", "invoices", "miss"),
              tuple(line.get(name) for name in ("http.response.status_code", "http.request.method", "url.path",
                                                OURS + "tenant", OURS + "endpoint", OURS + "cache.result")))
        equal("its trace is the client's", (TRACE, SPAN, "01"), (line.get("trace_id"), line.get("span_id"), line.get("trace_flags")))
        equal("traceparent and tracestate go upstream as they came", trace, {name: talkdesk.asked[-1].get(name) for name in trace})
        equal("it has Talkdesk's name for the request", "td-1", line.get(OURS + "upstream.request_id"))
        check("the time of Talkdesk is a part of the whole", 0 < line["http.client.request.duration"] <= line["http.server.request.duration"], line)
        host, port = proxy.proxy.removeprefix("http://").split(":")
        equal("who asked whom", ("127.0.0.1", host, int(port), "tcp"),
              (line.get("client.address"), line.get("server.address"), line.get("server.port"), line.get("network.transport")))
        equal("the first request has its token fetched", "fetched", line.get(OURS + "token"))
        _, line = asked("second", {"traceparent": "not-a-trace"})
        equal("the next one uses what is kept", "kept", line.get(OURS + "token"))
        check("what is no trace is not told", "trace_id" not in line and "span_id" not in line, line)
        _, line = asked("hit", page=500)
        equal("a hit: no token, no time of Talkdesk", ("hit", None, 0), (line.get(OURS + "cache.result"), line.get(OURS + "token"), line.get("http.client.request.duration")))
        check("no query is in the log", "page=500" not in proxy.said(), "page=500")
        # Past the time for a refresh, before the end.
        time.sleep(0.85 * (LIFETIME - 1) + 0.25)
        _, line = asked("late")
        equal("a token that is due is refreshed behind the request", "refreshed", line.get(OURS + "token"))
        within(5, lambda: proxy.metric('token_requests_total{result="ok",tenant="organizations/acme"}') == 2)

        time.sleep(LIFETIME)
        talkdesk.delay = 1
        with ThreadPoolExecutor(2) as pool:
            pages = {name: pool.submit(asked, name) for name in ("one", "other")}
            events = sorted(str(future.result()[1].get(OURS + "token")) for future in pages.values())
        equal("of two that come without one, one has it fetched and the other waits", ["fetched", "waited"], events)
        talkdesk.delay = 0

        _, line = asked("refused", path="/instances/initech/express/invoices")
        equal("a refusal: its code is the error's type", (403, "reseller_sold", "none", None),
              (line.get("http.response.status_code"), line.get("error.type"), line.get(OURS + "cache.result"), line.get(OURS + "token")))
        talkdesk.status = 403
        answer, line = asked("forbidden")
        equal("a refusal of Talkdesk's has its name for the request, for a ticket", ("denied_by_talkdesk", f"td-{len(talkdesk.asked)}", answer.json().get("upstream_request_id")),
              (line.get("error.type"), line.get(OURS + "upstream.request_id"), line.get(OURS + "upstream.request_id")))
        _, line = asked("brewed", method="BREW")
        equal("a method that HTTP does not know", ("_OTHER", "BREW", "method_not_allowed"),
              (line.get("http.request.method"), line.get("http.request.method_original"), line.get("error.type")))
        members = {name for text in proxy.said().splitlines() if '"event.name"' in text for name in json.loads(text)}
        equal("docs/logs.md has every member", set(), members - documented)
        check("there is no token and no secret in the log", "token-" not in proxy.said() and "s3cret" not in proxy.said(), "one of them")
    finish()


main()
