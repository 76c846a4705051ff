#!/usr/bin/env python3
"""The number of series stays what it is, whatever clients send: 10,000 requests with random paths, methods, tenants,
queries and fields add not one, and nothing that they say is in the metrics.

What comes before them asks once for each thing that has a series, so that what is compared is everything that there is.
BINARY names the program under test. Nothing but the standard library is needed. The last line is `N passed, N failed`.
"""

import http.client
import itertools
import random
import threading

from harness import Demo, check, equal, finish

REQUESTS = 10_000
CLIENTS = 4
MARK = "zqx"  # in every word that is made up
ENDPOINTS = ["accounts", "products", "subscriptions", "invoices", "usage/month"]
TENANTS = ["organizations/acme", "organizations/northwind", "instances/josephpinetrees", "instances/globex",
           "instances/hooli", "instances/initech", "instances/umbrella", "instances/wonka", "organizations/soylent",
           "organizations/stark"]
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "DELETE", "PUT", "PATCH", "TRACE"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_."


def word(chance):
    return MARK + "".join(chance.choices(LETTERS, k=chance.randint(1, 24)))


def request(chance):
    """A method, a target and fields: some as they should be, most with something made up."""
    tenant = chance.choice([*TENANTS, f"organizations/{word(chance)}", f"instances/{word(chance)}", f"{word(chance)}/acme"])
    path = f"/express/{chance.choice(ENDPOINTS)}"
    kind = chance.randrange(8)
    if kind == 0:
        path = "/" + "/".join(word(chance) for _ in range(chance.randint(1, 6)))
    elif kind == 1:
        path = f"/express/{word(chance)}"
    elif kind == 2:
        path += chance.choice(["/", "//", "/..", f"/{word(chance)}", "%2e", ";a", "\\"])
    fields = {}
    target = f"/{tenant}{path}"
    if chance.randrange(3) == 0:
        target, fields["X-Tenant"] = path, tenant
    if chance.randrange(3) == 0:
        target += f"?{word(chance)}={word(chance)}&page={chance.randint(-1, 9)}&per_page={chance.choice(['', word(chance), 50])}"
    method = chance.choice(METHODS) if chance.randrange(3) == 0 else chance.choice(["GET", "GET", word(chance).upper().replace(".", "")])
    for field in ("User-Agent", "X-Request-Id", "traceparent", "Origin", "Host", "Cache-Control"):
        if chance.randrange(8) == 0:
            fields[field] = word(chance)
    return method, target, fields


class Client:
    def __init__(self, address):
        self.address, self.connection = address, None

    def send(self, method, target, fields):
        """The status; 0 where the connection ended."""
        self.connection = self.connection or http.client.HTTPConnection(self.address, timeout=30)
        self.connection._validate_path = lambda _: None  # what a careful client does not send is of interest here
        self.connection._validate_method = lambda _: None
        try:
            self.connection.request(method, target, headers=fields)
            answer = self.connection.getresponse()
            answer.read()
            if answer.getheader("connection") == "close":
                self.close()
            return answer.status
        except (OSError, http.client.HTTPException):
            self.close()
            return 0

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def warm_up(demo):
    client = Client(demo.proxy.removeprefix("http://"))
    for tenant, endpoint, method in itertools.product(TENANTS, ENDPOINTS, METHODS):
        for query in ("", "?page=-1", "?page=2&per_page=50", "?a=b"):
            client.send(method, f"/{tenant}/express/{endpoint}{query}", {})
            client.send(method, f"/express/{endpoint}{query}", {"Cache-Control": "no-cache", "X-Tenant": tenant})
    # By the same rules as the requests that are compared, but others.
    chance = random.Random(1)
    for _ in range(1_500):
        client.send(*request(chance))
    client.close()


def main():
    with Demo() as demo:
        demo.settle()
        warm_up(demo)
        before = set(demo.series())
        statuses, lock = {}, threading.Lock()

        def ask_for(numbers):
            client, chance, seen = Client(demo.proxy.removeprefix("http://")), random.Random(f"client {numbers}"), {}
            for _ in numbers:
                status = client.send(*request(chance))
                seen[status] = seen.get(status, 0) + 1
            client.close()
            with lock:
                for status, count in seen.items():
                    statuses[status] = statuses.get(status, 0) + count

        share = REQUESTS // CLIENTS
        clients = [threading.Thread(target=ask_for, args=(range(place, place + share),)) for place in range(0, REQUESTS, share)]
        counted = sum(float(value) for series, value in demo.series().items() if series.startswith("http_requests_total"))
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        text = demo.metrics()
        after = set(demo.series())
        counted = sum(float(value) for series, value in demo.series().items() if series.startswith("http_requests_total")) - counted
        told = ", ".join(f"{count} times {status}" for status, count in sorted(statuses.items()))
        print(f"        {len(before)} series; answers: {told}")
        equal(f"{REQUESTS} random requests were sent", REQUESTS, sum(statuses.values()))
        check("nearly all were answered and counted", counted > 0.95 * REQUESTS, f"{counted}; {told}")
        check("they met many endings", {200, 204, 400, 403, 404, 405, 421} <= set(statuses), told)
        equal("not one series more", [], sorted(after - before))
        equal("nor one less", [], sorted(before - after))
        equal("nothing that a client made up is in the metrics", 0, text.lower().count(MARK))
    finish()


main()
