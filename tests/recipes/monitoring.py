"""A real exporter and a real Prometheus on free ports, and the dashboard's queries as Grafana would
ask them."""

import contextlib
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTRIB = ROOT / "contrib/prometheus"
sys.path.insert(0, str(ROOT / "tests/e2e"))

from data import PAGE, text_page  # noqa: E402
from host import KEEP_SIZE, PUNCH_HOLE, fallocate, wait_until  # noqa: E402

NAME = re.compile(r"\bzramfs_[a-z_]+")


def fetch(url, method="GET"):
    """(status, headers, body), whatever the status."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as page:
            return page.status, page.headers, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Exporter:
    """zramfs-exporter of these mounts, or of all that it finds. said() is its log."""

    def __init__(self, place, *arguments, prefix=(), program=CONTRIB / "zramfs-exporter"):
        self.log = pathlib.Path(place) / "exporter.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, str(program), "--listen", "127.0.0.1:0", *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True)
        found = wait_until(lambda: re.search(r"serving http://127.0.0.1:(\d+)/metrics", self.said())
                           or self.process.poll() is not None, what="the exporter")
        assert self.process.poll() is None, self.said()
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}/metrics"

    def said(self):
        return self.log.read_text()

    def page(self):
        status, _, body = fetch(self.url)
        assert status == 200
        return body

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)


class Prometheus:
    """With our own example of a configuration, but for times and ports."""

    def __init__(self, place, target, scrape_seconds=1):
        self.place = pathlib.Path(place) / "prometheus"
        self.place.mkdir()
        config = (CONTRIB / "prometheus.yml").read_text()
        for old, new in (("127.0.0.1:9842", f"127.0.0.1:{target}"), ("15s", f"{scrape_seconds}s")):
            assert old in config
            config = config.replace(old, new)
        (self.place / "prometheus.yml").write_text(config)
        (self.place / "zramfs.rules.yml").write_text((CONTRIB / "zramfs.rules.yml").read_text())
        self.port = free_port()
        with (self.place / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                 f"--web.listen-address=127.0.0.1:{self.port}"],
                cwd=self.place, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)

        def ready():
            assert self.process.poll() is None, (self.place / "log").read_text()
            with contextlib.suppress(OSError):
                return fetch(f"http://127.0.0.1:{self.port}/-/ready")[0] == 200

        wait_until(ready, timeout=60, what="Prometheus")

    def api(self, path, **arguments):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        answer = json.loads(fetch(url)[2])
        assert answer["status"] == "success", f"{arguments}: {answer['error']}"
        return answer["data"]

    def ask(self, expr):
        """[(labels, number)] of this moment."""
        return [(one["metric"], float(one["value"][1]))
                for one in self.api("query", query=expr)["result"]]

    def ask_range(self, expr, start, end, step):
        """[(labels, [(time, number)])]"""
        data = self.api("query_range", query=expr, start=start, end=end, step=step)
        return [(one["metric"], [(at, float(value)) for at, value in one["values"]])
                for one in data["result"]]

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)


# The dashboard


def dashboard():
    return json.loads((CONTRIB / "grafana-dashboard.json").read_text())


def panels(board):
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def resolved(expr, interval_seconds, range_seconds):
    """What Grafana asks with all machines, mounts and disks chosen."""
    for name, value in (("$instance", ".*"), ("$mount", ".*"), ("$disk", ".*"),
                        ("$__rate_interval", f"{interval_seconds}s"),
                        ("$__range", f"{range_seconds}s")):
        expr = expr.replace(name, value)
    assert "$" not in expr, f"a variable that is not known: {expr}"
    return expr


def legend(template, labels):
    """A series' name, as legendFormat has it."""
    return re.sub(r"\{\{(\w+)\}\}", lambda m: labels.get(m[1], ""), template)


# A load: pages of real programs, written, read and discarded

BACKED, LIMITED, OLD = "data", "scratch", "archive"


def config(place, prefix=""):
    """Disks that have something for every panel."""
    return f"""[{BACKED}]
disksize = 256M
mem_limit = 24M
backing_dev = {place}/backing
backing_size = 256M
[{LIMITED}]
disksize = 128M
mem_limit = 48M
[{OLD}]
disksize = 256M
recomp_algorithm = algo=zstd priority=1 level=3
recompress_age = 4
{prefix}"""


class Pages:
    """Pages of programs that are here, some that do not compress, and some of one word."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        with open(os.path.realpath(sys.executable), "rb") as program:
            self.real = program.read(8 << 20)

    def get(self, n_pages):
        kind = self.random.random()
        if kind < 0.1:
            return self.random.randbytes(n_pages * PAGE)
        if kind < 0.2:
            return bytes(n_pages * PAGE)
        if kind < 0.5:
            return b"".join(text_page(self.random.randrange(1 << 30)) for _ in range(n_pages))
        at = self.random.randrange(len(self.real) // PAGE - n_pages) * PAGE
        return self.real[at:at + n_pages * PAGE]


class Load:
    """A thread that writes, reads and discards on the three disks, until stop()."""

    def __init__(self, mount, pause=0.02, seed=1):
        self.mount, self.pause = mount, pause
        self.pages, self.random = Pages(seed), random.Random(seed)
        self.over, self.error = threading.Event(), None
        self.n_refused = 0  # writes past the limit of LIMITED
        self.fill = 40 << 20
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            with contextlib.ExitStack() as stack:
                files = {name: stack.enter_context(open(self.mount.disk(name), "r+b", buffering=0))
                         for name in (BACKED, LIMITED, OLD)}
                while not self.over.wait(self.pause):
                    self._step(files)
        except Exception as error:  # told by stop()
            self.error = error

    def _step(self, files):
        n_pages = self.random.choice((1, 1, 4, 16, 64))
        name = self.random.choice((BACKED, BACKED, LIMITED, OLD))
        if name == OLD and time.monotonic() % 20 > 6:
            return  # at rest most of the time, so that its pages grow old
        fd, room = files[name].fileno(), {BACKED: 128 << 20, LIMITED: self.fill, OLD: 64 << 20}[name]
        at = self.random.randrange(room // PAGE - n_pages) * PAGE
        what = self.random.random()
        if what < 0.5:
            os.pwrite(fd, self.pages.get(n_pages), at)
        elif what < 0.9:
            os.pread(fd, n_pages * PAGE, at)
        else:
            fallocate(fd, PUNCH_HOLE | KEEP_SIZE, at, n_pages * PAGE)

    def burst(self):
        """Writes that wait for room below a limit, since they come faster than pages go."""
        megabyte = self.random.randbytes(1 << 20)
        with open(self.mount.disk(BACKED), "r+b", buffering=0) as file:
            for at in range(128 << 20, 192 << 20, 1 << 20):
                os.pwrite(file.fileno(), megabyte, at)
            fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 128 << 20, 64 << 20)

    def overfill(self):
        """Writes that fail, since they pass a limit."""
        with open(self.mount.disk(LIMITED), "r+b", buffering=0) as file:
            for at in range(0, 128 << 20, 1 << 20):
                try:
                    os.pwrite(file.fileno(), self.random.randbytes(1 << 20), at)
                except OSError:
                    self.n_refused += 1
                    if self.n_refused > 3:
                        break
            fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 40 << 20, 88 << 20)

    def stop(self):
        self.over.set()
        self.thread.join(timeout=30)
        assert self.error is None, repr(self.error)


def sleep_until(deadline):
    time.sleep(max(0, deadline - time.monotonic()))
