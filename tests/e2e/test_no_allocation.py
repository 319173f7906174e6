"""Who serves disks asks nobody for memory: no page fault and no system call that gives or takes
memory in the threads that serve, whatever is asked of them, in the first worker and in the next.

Memory is short when a page is swapped out to us. What the kernel counts for each thread and what
strace sees of it are two witnesses that know nothing of each other.
"""

import collections
import contextlib
import os
import pathlib
import random
import re
import signal
import subprocess
import threading

import pytest

import kills
from host import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, fallocate, run, wait_until
from zramfs import BINARY, KIB, MIB, PAGE

SIZE = 64 * MIB
SERVING = ("zramfs-serve", "zramfs-punch")
GIVES_MEMORY = ("brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "fallocate", "pwritev")
CONFIG = f"[zramfs]\nthreads = 2\n[disk0]\ndisksize = {SIZE}\n[disk1]\ndisksize = {SIZE}\n"
N_STEPS = 4000

Faults = collections.namedtuple("Faults", ("minor", "major"))


def is_sanitized():
    program = BINARY.read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program


pytestmark = [pytest.mark.root,
              pytest.mark.skipif(BINARY.exists() and is_sanitized(),
                                 reason="a sanitizer takes memory of its own, at any time")]


def serving_threads(pid):
    """{thread id: name} of those that serve disks."""
    names = {}
    for task in pathlib.Path("/proc", str(pid), "task").iterdir():
        name = (task / "comm").read_text().strip()
        if name in SERVING:
            names[int(task.name)] = name
    return names


def faults(pid):
    """{thread id: Faults}"""
    counted = {}
    for thread in serving_threads(pid):
        fields = pathlib.Path(f"/proc/{pid}/task/{thread}/stat").read_text().rpartition(")")[2]
        fields = fields.split()  # the third field of proc(5) is the first one here
        counted[thread] = Faults(int(fields[7]), int(fields[9]))
    return counted


class Load:
    """Reads, writes and discards at random, and somebody who looks around meanwhile."""

    def __init__(self, paths, look_at):
        self.paths, self.look_at = paths, look_at
        self.errors = []
        noise = random.Random(5).randbytes(512 * KIB)
        self.bytes = noise + bytes(256 * KIB) + noise[:1000] * 262  # of every kind

    def step(self, fd, draw):
        n_bytes = draw.choice((512, PAGE, PAGE, 16 * KIB, 128 * KIB, 1000 * KIB))
        at = draw.randrange((SIZE - 8 * MIB) // PAGE) * PAGE
        what = draw.randrange(10)
        if what < 4:
            os.pread(fd, n_bytes, at)
        elif what < 8:
            start = draw.randrange(len(self.bytes) - n_bytes)
            os.pwrite(fd, self.bytes[start:start + n_bytes], at)
        else:
            mode = draw.choice((PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE | KEEP_SIZE))
            fallocate(fd, mode, at, draw.choice((PAGE, 64 * KIB, MIB, 8 * MIB)))

    def disk(self, path, seed):
        draw = random.Random(seed)
        fd = os.open(path, os.O_RDWR)
        try:
            for _ in range(N_STEPS):
                self.step(fd, draw)
                if draw.randrange(100) == 0:
                    os.fsync(fd)
                    os.lseek(fd, 0, os.SEEK_END if path.parent.name == "dev" else os.SEEK_DATA)
        finally:
            os.close(fd)

    def look(self):
        for _ in range(100):
            os.listdir(self.look_at)
            for name in (".stats", ".stats.json", ".control/disk0/mm_stat"):
                (self.look_at / name).read_bytes()
            with contextlib.suppress(OSError):
                os.stat(self.look_at / "none")

    def caught(self, work, *args):
        try:
            work(*args)
        except Exception as error:  # told by run()
            self.errors.append(error)

    def run(self):
        threads = [threading.Thread(target=self.caught, args=(self.disk, path, seed))
                   for seed, path in enumerate(self.paths)]
        threads.append(threading.Thread(target=self.caught, args=(self.look,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.errors, self.errors


class Trace:
    """strace of all threads of a process, those to come too."""

    CALL = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)")

    def __init__(self, pid, place):
        self.pid, self.out = pid, place / f"strace-{pid}"
        self.process = subprocess.Popen(
            ["strace", "-f", "-p", str(pid), "-o", str(self.out),
             "-e", f"trace={','.join(GIVES_MEMORY)},futex,read"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert b"attached" in self.process.stderr.readline()

    def end(self):
        """{thread id: {system call: how many, once the thread has read something}}"""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=20)
        calls = collections.defaultdict(collections.Counter)
        for line in self.out.read_text().splitlines():
            found = self.CALL.match(line)
            if found and (found[2] == "read" or int(found[1]) in calls):
                calls[int(found[1])][found[2]] += 1
        return calls

    def check(self, work):
        threads = {}
        try:
            work()
            threads = serving_threads(self.pid)
        finally:
            calls = self.end()
        asked = {thread: count for thread, count in calls.items()
                 if thread in threads and any(count[name] for name in GIVES_MEMORY)}
        assert not asked, asked
        # It sees what there is to see: the threads read, and others of the process do ask.
        reading = [thread for thread, name in threads.items() if name == "zramfs-serve"]
        assert len(reading) == 2 and all(calls[thread]["read"] > 100 for thread in reading), calls
        assert any(name in self.out.read_text() for name in ("madvise(", "fallocate("))


def check_faults(pid, work):
    # A thread gives itself its name.
    wait_until(lambda: len(serving_threads(pid)) == 3, what="the threads that serve")
    before = faults(pid)
    work()
    after = faults(pid)
    assert after.keys() == before.keys()
    gained = {thread: (now.minor - before[thread].minor, now.major - before[thread].major)
              for thread, now in after.items()}
    assert set(gained.values()) == {(0, 0)}, gained


@pytest.fixture
def mount(zramfs):
    return zramfs(CONFIG)


def load_of(mount, machine):
    """On a file, and on another through a loop device."""
    return Load([mount.disk("disk0"), pathlib.Path(machine.attach(mount.disk("disk1")))], mount.point)


@pytest.mark.loop
def test_no_page_fault(mount, machine):
    load = load_of(mount, machine)
    pid = kills.generation(mount).pid
    check_faults(pid, load.run)


@pytest.mark.loop
def test_no_page_fault_after_a_kill(mount, machine):
    load = load_of(mount, machine)
    load.run()
    served, _ = kills.kill(mount)
    pid = kills.next_generation(mount, served).pid
    # A write is answered once changes are served.
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(bytes(PAGE))
    check_faults(pid, load.run)


@pytest.mark.loop
@pytest.mark.needs("strace")
def test_no_system_call_for_memory(mount, machine, place):
    load = load_of(mount, machine)
    Trace(kills.generation(mount).pid, place).check(load.run)


@pytest.mark.loop
@pytest.mark.needs("strace")
def test_no_system_call_for_memory_after_a_kill(mount, machine, place):
    """From its first request on."""
    load = load_of(mount, machine)
    load.run()
    worker = kills.generation(mount).pid
    spare, = wait_until(lambda: set(kills.children_of(kills.keeper(mount))) - {worker},
                        what="a spare")
    trace = Trace(spare, place)

    def work():
        served, _ = kills.kill(mount)
        assert kills.next_generation(mount, served).pid == spare
        load.run()

    trace.check(work)


USER_LOAD = """set -e
cd "$1"
for i in 1 2 3; do
    head -c 20M /dev/urandom | dd of=disk0 bs=256k conv=notrunc iflag=fullblock status=none
    dd if=disk0 of=/dev/null bs=64k status=none
    fallocate --punch-hole --offset 4096 --length 8M disk0
    fallocate --punch-hole --offset 16M --length 64k disk0
    for j in 1 2 3 4 5 6 7 8 9; do
        cat .stats .stats.json .control/disk0/mm_stat >/dev/null
        ! test -e none
    done
done
"""


@pytest.mark.needs("setpriv", "fallocate")
def test_no_page_fault_of_a_user(zramfs, user, fuse_for_all):
    """What an ordinary user may not lock is there all the same before it is used."""
    mount = zramfs(CONFIG, user=user)
    check_faults(kills.generation(mount).pid,
                 lambda: run("sh", "-c", USER_LOAD, "sh", mount.point, user=user, timeout=60))
