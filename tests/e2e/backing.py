"""Backing files: what disks write back to, who has them open, and one that is as bad as it is told.

Pages know what they are: Pages has what was written to each, and check() reads every byte.
"""

import collections
import contextlib
import os
import pathlib
import random
import subprocess

from data import PAGE, half_page, random_page, text_page, word_page
from host import MNT_DETACH, LIBC, fallocate, mounts, run, wait_until
from kills import LOADS, keeper, processes_of

PUNCH = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE

BdStat = collections.namedtuple("BdStat", ("count", "reads", "writes"))

MARK_TITLE = b"zramfs backing file, version "


def section(disk="disk0", **keys):
    """Of a configuration; a key of None is left out."""
    lines = [f"{key} = {value}\n" for key, value in keys.items() if value is not None]
    return "".join([f"[{disk}]\n", *lines])


def bd_stat(mount, disk="disk0"):
    return BdStat(*map(int, mount.get(disk, "bd_stat").split()))


def figures(mount, disk="disk0"):
    """Of .stats.json."""
    return next(found for found in mount.json()["disks"] if found["name"] == disk)


def mark(path):
    """What the file says of itself: "in use", "free", or None where it is not marked."""
    with open(path, "rb") as file:
        head = file.read(PAGE)
    if not head.startswith(MARK_TITLE):
        return None
    return "in use" if b", in use. " in head else "free"


def descriptors(pid, path):
    """How many a process has of that file, whatever its name is by now."""
    n, wanted = 0, os.stat(path)
    for fd in pathlib.Path("/proc", str(pid), "fd").iterdir():
        with contextlib.suppress(OSError):
            n += os.path.samestat(os.stat(fd), wanted)
    return n


def each_has_one(mount, path):
    """Keeper, worker and spare: a descriptor each, and nothing else does."""
    pids = processes_of(mount)
    return len(pids) == 3 and all(descriptors(pid, path) == 1 for pid in pids)


def all_descriptors(mount):
    """Of the keeper, by what they are of; without those of the generation that comes and goes."""
    found = collections.Counter()
    for fd in pathlib.Path("/proc", str(keeper(mount)), "fd").iterdir():
        with contextlib.suppress(OSError):
            found[os.readlink(fd).split(":")[0]] += 1
    return found


KINDS = (random_page, half_page, text_page, word_page)


class Pages:
    """Pages of a disk, most of them large. Write, discard and check by number."""

    def __init__(self, path, n_pages, seed=1):
        self.path, self.n_pages, self.chance = path, n_pages, random.Random(seed)
        self.fd = os.open(path, os.O_RDWR)
        self.there = {}  # page: (kind, seed)
        self.n_written = 0

    def close(self):
        os.close(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def content(self, page):
        kind, seed = self.there.get(page, (None, 0))
        return kind(seed) if kind else bytes(PAGE)

    def write(self, page, kind=None):
        """Raises what the write did; then the page is what it was."""
        self.n_written += 1
        kind = kind or self.chance.choices(KINDS, (6, 3, 2, 1))[0]
        os.pwrite(self.fd, kind(self.n_written), page * PAGE)
        self.there[page] = (kind, self.n_written)

    def fill(self, kind=None, pages=None):
        for page in range(self.n_pages) if pages is None else pages:
            self.write(page, kind)

    def discard(self, first, n_pages=1):
        fallocate(self.fd, PUNCH, first * PAGE, n_pages * PAGE)
        for page in range(first, first + n_pages):
            self.there.pop(page, None)

    def churn(self, n):
        for _ in range(n):
            page = self.chance.randrange(self.n_pages)
            if self.chance.random() < 0.1:
                self.discard(page)
            else:
                self.write(page)

    def is_right(self, page):
        return os.pread(self.fd, PAGE, page * PAGE) == self.content(page)

    def check(self, pages=None):
        bad = [page for page in (range(self.n_pages) if pages is None else pages)
               if not self.is_right(page)]
        assert not bad, f"{len(bad)} bad pages: {bad[:10]}"

    def errnos(self, pages=None):
        """{errno: pages whose read failed with it}; what can be read must be right."""
        found = collections.defaultdict(list)
        for page in range(self.n_pages) if pages is None else pages:
            try:
                assert self.is_right(page), f"page {page} is not what was written"
            except OSError as error:
                found[error.errno].append(page)
        return found


class OneFile:
    """A file on a filesystem of its own, tests/soak/onefile.c: slow, or failing, when it is told."""

    def __init__(self, place, n_mib=64):
        self.point = pathlib.Path(place) / "onefile"
        self.point.mkdir()
        self.path = self.point / "file"
        self.process = subprocess.Popen([LOADS / "onefile", self.point, str(n_mib)],
                                        stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            wait_until(lambda: str(self.point) in mounts(), what="onefile to be mounted")
        except AssertionError:
            self.stop()
            raise

    def tell(self, text):
        with open(self.point / "control", "wb", buffering=0) as control:
            control.write(text.encode())

    def said(self):
        """Reads and writes that were answered, and those that are held."""
        with open(self.point / "control", "rb", buffering=0) as control:
            return tuple(map(int, control.read(80).split()))

    def held(self):
        return self.said()[2]

    def stop(self):
        if str(self.point) in mounts():
            self.tell("reads=go")
            self.tell("writes=go")
            if run("umount", self.point, check=False).returncode != 0:
                LIBC.umount2(os.fsencode(self.point), MNT_DETACH)
                self.process.kill()
        elif self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)
