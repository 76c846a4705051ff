"""The programs that are compared: how each is started, and what is said to it beforehand."""

import contextlib
import os
import pathlib
import shutil

import machine
from machine import SERVER_CORE, find_program

# The tenants of the mix. Each Organization has one Instance, so there are 200 tenants.
ORGANIZATIONS = 100
REFUSED = "/organizations/refused/express/invoices?size=2048"


def account(number):
    return f"5ea75fe7{number:016x}"


class Contestant:
    """A program on the server's core."""

    health = "/organizations/organization-1/express/invoices?size=2048"

    def __init__(self, name, programs, folder, origin):
        self.name = name
        self.programs = programs
        self.folder = pathlib.Path(folder) / name
        self.origin = origin
        self.address = f"127.0.0.1:{machine.free_port()}"
        self.log = self.folder / "log"
        self.process = None
        self.family = []
        self.used = {}
        self.started_within = None

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.prepare()
        self.process = machine.start(self.command(), SERVER_CORE, self.log, self.output())
        try:
            self.started_within = machine.wait_until_it_answers(self.address, self.health, self.process)
        except machine.Failure as failure:
            said = self.log.read_text(errors="replace")[-2000:]
            raise machine.Failure(f"{self.name} can't be started: {failure}\n{said}") from failure
        self.family = machine.descendants(self.process.pid)

    def prepare(self):
        """Writes what the program reads."""

    def output(self):
        """Where its standard output goes, if not to the log."""

    def command(self):
        raise NotImplementedError

    def processor_seconds(self):
        """Of all its processes, also of those that have ended since it started."""
        for identity in self.family:
            with contextlib.suppress(OSError):
                self.used[identity] = machine.processor_seconds(identity)
        return sum(self.used.values())

    def memory_kib(self):
        return machine.memory_kib(self.family)

    def forget_log(self):
        """Keeps a log from filling the memory that it is in."""

    def stop(self):
        if self.process is not None:
            machine.stop(self.process)
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)


class Proxy(Contestant):
    """This project: metrics on, access log off or on."""

    health = "/"

    def __init__(self, *arguments, access_log=False, organizations=ORGANIZATIONS):
        super().__init__(*arguments)
        self.access_log = access_log
        self.organizations = organizations
        self.admin = f"127.0.0.1:{machine.free_port()}"

    def prepare(self):
        (self.folder / "secret").write_text("a-secret-of-the-comparison")
        (self.folder / "config.yaml").write_text(self.configuration())

    def configuration(self):
        organizations = []
        for number in range(1, self.organizations + 1):
            organizations.append(
                f"  - {{ id: organization-{number}, discover_accounts: false, accounts: [{{ id: {account(number)}, "
                f"name: instance-{number} }}], credential: {{ account: organization-{number}, "
                f"client_id: client-{number}, client_secret: {{ file: secret }} }} }}"
            )
        organizations.append(
            "  - { id: refused, enabled: false, discover_accounts: false, credential: { account: refused, "
            "client_id: refused, client_secret: { file: secret } } }"
        )
        # Limits so high that nothing is ever held up by them.
        return "\n".join([
            "server:",
            f"  listen: {self.address}",
            f"  admin: {self.admin}",
            "  drain_delay: 0s",
            "  drain_timeout: 1s",
            "  max_connections: 20000",
            "  header_timeout: 1h",
            "upstream:",
            f"  api_url: http://{self.origin}",
            f"  token_url: http://{self.origin}/oauth/token",
            "  instance_query_parameters: [size, entry, delay, links]",
            "  endpoints:",
            "    passing: { path: /passing/*, methods: [GET] }",
            "    plain: { path: /plain/*, methods: [GET] }",
            "limits:",
            "  upstream: { rate: 1000000/s, burst: 1000000, concurrency: 4096 }",
            "  token: { rate: 100000/s, burst: 100000 }",
            "cache:",
            "  max_bytes: 4GiB",
            "  max_entry_bytes: 8MiB",
            "log:",
            "  level: warn",
            f"  access: {str(self.access_log).lower()}",
            "organizations:",
            *organizations,
            "",
        ])

    def output(self):
        if not self.access_log:
            return None
        return open(self.folder / "access.log", "ab")

    def command(self):
        return [self.programs["proxy"], "serve", "--strict", "--config", str(self.folder / "config.yaml")]

    def forget_log(self):
        if self.access_log:
            os.truncate(self.folder / "access.log", 0)


class ProxyBefore(Proxy):
    """Another build of this project."""

    def command(self):
        return [self.programs["proxy-before"], *super().command()[1:]]


class Bare(Contestant):
    """Hyper alone, with fixed answers."""

    def command(self):
        return [self.programs["server"], "--listen", self.address]


class BarePassing(Bare):
    """Hyper alone, as a proxy."""

    def command(self):
        return [*super().command(), "--upstream", self.origin]


class Nginx(Contestant):
    def __init__(self, *arguments, access_log=False, open_files=False):
        super().__init__(*arguments)
        self.access_log = access_log
        self.open_files = open_files

    def prepare(self):
        self.folder.joinpath("cache").mkdir()
        fields = ('time="$time_iso8601" method="$request_method" target="$request_uri" status="$status" '
                  'bytes="$body_bytes_sent" seconds="$request_time" cache="$upstream_cache_status" '
                  'peer="$remote_addr"')
        members = ",".join(f'"{pair.split("=", 1)[0]}":{pair.split("=", 1)[1]}' for pair in fields.split(" "))
        log = "access_log off;"
        if self.access_log:
            log = (f"log_format lines escape=json '{{{members}}}';\n"
                   f"  access_log {self.folder}/access.log lines buffer=64k flush=1s;")
        files = "open_file_cache max=200000 inactive=1h; open_file_cache_valid 1h;" if self.open_files else ""
        temporary = "\n".join(
            f"  {kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(f"""
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {machine.raise_limits()};
pid {self.folder}/pid;
error_log {self.folder}/error.log warn;
events {{ worker_connections 16000; }}
http {{
  {log}
{temporary}
  default_type application/json;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  {files}
  proxy_cache_path {self.folder}/cache levels=1:2 keys_zone=answers:32m max_size=4g inactive=1d use_temp_path=off;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  upstream origin {{ server {self.origin}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 1h; }}
  server {{
    listen {self.address} backlog=4096;
    location / {{
      proxy_pass http://origin;
      proxy_cache answers;
      proxy_cache_key $request_uri;
      proxy_cache_lock on;
    }}
    location /organizations/refused/ {{ return 403; }}
    location /organizations/organization-1/passing/ {{ proxy_pass http://origin; }}
  }}
}}
""")

    def command(self):
        return [find_program("nginx"), "-e", str(self.folder / "error.log"), "-p", str(self.folder),
                "-c", str(self.folder / "nginx.conf")]

    def memory_kib(self):
        """Its processes, and the files in memory that its cache is."""
        files = sum(entry.stat().st_blocks for entry in (self.folder / "cache").rglob("*") if entry.is_file())
        return super().memory_kib() + files // 2

    def forget_log(self):
        if self.access_log:
            os.truncate(self.folder / "access.log", 0)


class Haproxy(Contestant):
    def prepare(self):
        (self.folder / "haproxy.cfg").write_text(f"""
global
  nbthread 1
  maxconn {min(16000, machine.raise_limits() // 2 - 100)}
cache answers
  total-max-size 2048
  max-object-size 4000000
  max-age 3600
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  http-reuse always
frontend clients
  bind {self.address} backlog 4096
  http-request deny deny_status 403 if {{ path_beg /organizations/refused/ }}
  use_backend passing if {{ path_sub /passing/ }}
  default_backend kept
backend kept
  http-request cache-use answers
  http-response cache-store answers
  # wrk takes the length in a 304 for that of a body that is still to come.
  http-after-response del-header content-length if {{ status 304 }}
  server origin {self.origin}
backend passing
  server origin {self.origin}
""")

    def command(self):
        return [find_program("haproxy"), "-db", "-f", str(self.folder / "haproxy.cfg")]


class Varnish(Contestant):
    def prepare(self):
        host, port = self.origin.split(":")
        (self.folder / "answers.vcl").write_text(f"""
vcl 4.1;
backend origin {{ .host = "{host}"; .port = "{port}"; }}
sub vcl_recv {{
  if (req.url ~ "^/organizations/refused/") {{ return (synth(403)); }}
  if (req.url ~ "/passing/") {{ return (pass); }}
}}
""")

    def command(self):
        return [find_program("varnishd"), "-F", "-a", self.address, "-f", str(self.folder / "answers.vcl"),
                "-s", "malloc,4g", "-n", str(self.folder / "work"), "-j", "none", "-S", "none", "-T", "none",
                "-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "thread_pool_max=1000",
                "-p", "timeout_idle=3600"]


class Direct(Contestant):
    """The origin itself: what others add to it is what is asked for."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.address = self.origin

    def start(self):
        pass

    def processor_seconds(self):
        return 0.0

    def stop(self):
        pass


# Everybody, in the order of the tables.
MAKERS = {
    "proxy": Proxy,
    "proxy-log": lambda *arguments: Proxy(*arguments, access_log=True),
    "proxy-before": ProxyBefore,
    "bare": Bare,
    "bare-pass": BarePassing,
    "nginx": Nginx,
    "nginx-log": lambda *arguments: Nginx(*arguments, access_log=True),
    "nginx-open": lambda *arguments: Nginx(*arguments, open_files=True),
    "haproxy": Haproxy,
    "varnish": Varnish,
    "direct": Direct,
}
