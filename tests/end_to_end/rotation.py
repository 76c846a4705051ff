#!/usr/bin/env python3
"""Rotating a secret, with the real program and the simulated Talkdesk: a wrong new secret is told at once, by tenant, in the
answer of the reload, the log, the metrics and the status API, while the old token still serves; the right one ends it.
The same where the file is watched and swapped by a link, as a kubelet does it; where it is gone; and by a restart on a
folder of secrets, as systemd makes one. A client that never stops sees no failure, but for the restart.

BINARY names the program under test. Nothing but the standard library is needed. The last line is `N passed, N failed`.
"""

import itertools
import json
import os
import threading
import time

from harness import ROOT, Served, Simulator, ask, check, equal, finish, folder, within

ACME, HOOLI = "organizations/acme", "instances/hooli"
REJECTED = f'token_requests_total{{result="rejected",tenant="{ACME}"}}'
AVAILABLE = f'credential_secret_available{{tenant="{ACME}"}}'


class Client:
    """Asks on and on, for what is stored and for what is not."""

    def __init__(self, proxy):
        self.proxy, self.failures, self.count, self.going = proxy, [], 0, True
        self.thread = threading.Thread(target=self.ask_on, daemon=True)
        self.thread.start()

    def ask_on(self):
        for number in itertools.count(1):
            if not self.going:
                return
            for path in (f"/{ACME}/express/products", f"/{ACME}/express/invoices?per_page=3&of={number}", f"/{HOOLI}/express/products"):
                answer = self.proxy.get(path)
                self.count += 1
                if answer.status != 200:
                    self.failures.append((path, answer.status, answer.body[:300]))
            time.sleep(0.15)

    def stop(self, name):
        self.going = False
        self.thread.join(20)
        check(f"{name}: a client that never stopped saw no failure", self.count > 20 and not self.failures, (self.count, self.failures[:2]))


def configuration(where, simulator, watch=False):
    sample = (ROOT / "src/cli/demo.yaml").read_text().replace("format: text", "format: json")
    for name, value in {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "api_url": simulator.api_url, "token_url": simulator.token_url}.items():
        sample = sample.replace(f"{{{name}}}", value)
    file = where / "config.yaml"
    file.write_text(sample.replace("server:\n", f"server:\n  watch: {str(watch).lower()}\n", 1))
    return file


def started(file, simulator):
    proxy = Served(file, simulator)
    proxy.settle()
    for owner in (ACME, HOOLI):
        proxy.get(f"/{owner}/express/products")
    return proxy


def credential(proxy, owner=ACME):
    return next(one for one in proxy.api("/api/credentials")["credentials"] if one["credential"] == owner)


def failing(proxy):
    return {one["tenant"]: one["failing"] for one in proxy.api("/api/tenants")["tenants"] if one["failing"]}


def logged(proxy, message):
    lines = (json.loads(line) for line in proxy.said().splitlines() if line.startswith('{"timestamp"') and '"message"' in line)
    return [line for line in lines if line["message"] == message]


def new_secret(proxy, simulator):
    """Another one at Talkdesk; the file in the folder is the old one afterwards."""
    place = simulator.folder / "acme-client-secret"
    old = place.read_text()
    proxy.fault(target="token", account="acme", kind="rotate_secret", write=True)
    new = place.read_text()
    place.write_text(old)
    return new


def put(place, secret):
    """In one step, so that nobody reads half of it."""
    beside = place.with_name(place.name + ".new")
    beside.write_text(secret)
    os.replace(beside, place)


def is_told(name, proxy, before):
    """A wrong secret of acme, everywhere where one looks, and of nobody else; while the old token serves."""
    now = credential(proxy)
    equal(f"{name}: the old token is in use", ("valid", before["token_number"]), (now["state"], now["token_number"]))
    check(f"{name}: /api/credentials has Talkdesk's words", "invalid_client" in (now["last_error"] or ""), now)
    tenants = failing(proxy)
    concerned = {tenant for tenant, why in tenants.items() if why["reason"] == "credential_rejected"}
    check(f"{name}: /api/tenants names the tenant, and the Instances on its credential", {ACME, "instances/josephpinetrees"} <= concerned, tenants)
    check(f"{name}: and no other credential's", not {HOOLI, "instances/globex", "organizations/northwind"} & set(tenants), tenants)
    equal(f"{name}: it says that they are still served", {True}, {tenants[tenant]["serving"] for tenant in concerned})
    check(f"{name}: it says what to do", all(tenants[tenant]["remedy"] for tenant in concerned), tenants)
    equal(f"{name}: the metrics count it", 1, proxy.metric(REJECTED))
    told = logged(proxy, "the new secret brought no token; the old token serves until it ends")
    equal(f"{name}: the log says it, by tenant", [ACME], [line["tenant"] for line in told])
    equal(f"{name}: what is not stored is served with the old token", 200, proxy.get(f"/{ACME}/express/invoices?per_page=7").status)


def is_over(name, proxy, before):
    now = credential(proxy)
    equal(f"{name}: a new token is in use, and nothing is wrong", ("valid", before["token_number"] + 1, None), (now["state"], now["token_number"], now["last_error"]))
    check(f"{name}: no tenant on it fails", not {ACME, "instances/josephpinetrees"} & set(failing(proxy)), failing(proxy))
    equal(f"{name}: the log says that it is done", [ACME], [line["tenant"] for line in logged(proxy, "the new secret brought a token")])


def by_reload(where):
    with Simulator(where) as simulator, started(configuration(where, simulator), simulator) as proxy:
        client, before, place = Client(proxy), credential(proxy), where / "acme-client-secret"
        right = new_secret(proxy, simulator)
        put(place, "wrong-wrong-wrong")
        begin = time.monotonic()
        told = ask(proxy.admin + "/api/reload", "POST").json()
        took = time.monotonic() - begin
        equal("a wrong secret: the reload's answer has it, by tenant", [(ACME, "not_proven")], [(one["tenant"], one["result"]) for one in told.get("secrets", [])])
        check("a wrong secret: at once", took < 2, took)
        is_told("a wrong secret", proxy, before)
        time.sleep(2)  # in which the client asks on
        put(place, right)
        told = ask(proxy.admin + "/api/reload", "POST").json()
        equal("the right secret: the reload's answer says that it is proven", [(ACME, "proven")], [(one["tenant"], one["result"]) for one in told.get("secrets", [])])
        is_over("the right secret", proxy, before)

        place.unlink()
        told = ask(proxy.admin + "/api/reload", "POST").json()
        equal("a secret that is gone: the last one is kept", [(ACME, "kept")], [(one["tenant"], one["result"]) for one in told.get("secrets", [])])
        equal("a secret that is gone: the metrics say so", 0, proxy.metric(AVAILABLE))
        equal("a secret that is gone: its tenant is served", 200, proxy.get(f"/{ACME}/express/invoices?per_page=8").status)
        put(place, right)
        ask(proxy.admin + "/api/reload", "POST")
        equal("a secret that is back: the metrics say so", 1, proxy.metric(AVAILABLE))
        client.stop("by reload")


def by_link(where):
    """A Secret as a kubelet mounts it: files are links into `..data`, which is itself a link that is swapped."""
    original, mounted = where / "original", where / "mounted"
    with Simulator(original) as simulator:
        mounted.mkdir()
        versions = itertools.count(1)

        def swap(**changed):
            version = mounted / f"..version-{next(versions)}"
            version.mkdir()
            for file in original.iterdir():
                (version / file.name).write_text(changed.get(file.name.replace("-", "_"), file.read_text()))
            (mounted / "..data_tmp").symlink_to(version.name)
            os.replace(mounted / "..data_tmp", mounted / "..data")

        swap()
        for file in original.iterdir():
            (mounted / file.name).symlink_to(f"..data/{file.name}")
        os.environ["CREDENTIALS_DIRECTORY"] = str(mounted)
        try:
            with started(configuration(where, simulator, watch=True), simulator) as proxy:
                client, before = Client(proxy), credential(proxy)
                right = new_secret(proxy, simulator)
                swap(acme_client_secret="wrong-wrong-wrong")
                check("a wrong secret behind a link: it is noticed", within(20, lambda: proxy.metric(REJECTED)), proxy.said()[-500:])
                within(5, lambda: logged(proxy, "the new secret brought no token; the old token serves until it ends"))
                is_told("a wrong secret behind a link", proxy, before)
                swap(acme_client_secret=right)
                within(20, lambda: logged(proxy, "the new secret brought a token"))
                is_over("the right secret behind a link", proxy, before)
                client.stop("by a swapped link")
        finally:
            del os.environ["CREDENTIALS_DIRECTORY"]


def by_restart(where):
    """A folder of secrets that is made when the process starts, as systemd's LoadCredential does."""
    with Simulator(where) as simulator:
        def loaded(name):
            target = where / name
            target.mkdir()
            for file in where.iterdir():
                if file.is_file() and file.name != "config.yaml":
                    (target / file.name).write_text(file.read_text())
            os.environ["CREDENTIALS_DIRECTORY"] = str(target)

        file = configuration(where, simulator)
        try:
            loaded("first")
            with started(file, simulator) as proxy:
                put(where / "acme-client-secret", new_secret(proxy, simulator))
                told = ask(proxy.admin + "/api/reload", "POST").json()
                equal("a secret of LoadCredential: a reload can't see it, and says so", ([], True), (told["secrets"], ACME in told["secrets_of_the_environment"]))
                equal("it stops well", 0, proxy.stop())
            loaded("second")
            with started(file, simulator) as proxy:
                equal("after a restart the new secret brings a token", ("valid", None), (credential(proxy)["state"], credential(proxy)["last_error"]))
                equal("and serves", 200, proxy.get(f"/{ACME}/express/invoices?per_page=9").status)
        finally:
            del os.environ["CREDENTIALS_DIRECTORY"]


def main():
    for part in (by_reload, by_link, by_restart):
        with folder() as where:
            part(where)
    finish()


main()
