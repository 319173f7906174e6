"""Workers that are killed, those that follow them, and programs that must not notice.

The worker that serves is what .control/zramfs/generation names: whoever answered the question was
ready. So every kill made from that answer takes a ready generation.
"""

import collections
import contextlib
import errno
import os
import pathlib
import select
import signal
import subprocess
import threading
import time

from host import PATH, run, wait_until
from zramfs import BINARY

# The programs of tests/soak lie beside the daemon that they try.
LOADS = BINARY.parents[1] / "tests" / "soak"

KINDS = ("Rss", "Pss", "Locked", "Swap")

Generation = collections.namedtuple("Generation", ("number", "pid"))
Memory = collections.namedtuple("Memory", ("bytes", *(kind.lower() for kind in KINDS)))


class Hung(AssertionError):
    """Something that must be answered was not."""


def within(seconds, call, *args):
    """What call(*args) returns or raises; Hung if it does neither in time. Its thread is left then:
    what is stuck in the kernel cannot be taken back."""
    result = []

    def work():
        try:
            result.append((call(*args), None))
        except BaseException as error:  # told to whoever waits
            result.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not result:
        raise Hung(f"no answer within {seconds} s: {call.__name__}{args}")
    value, error = result[0]
    if error is not None:
        raise error
    return value


def text_of(path):
    """A virtual file, of one moment. A text that died with its worker says ESTALE in the middle and
    is rendered again from its start."""
    while True:
        fd = os.open(path, os.O_RDONLY)
        try:
            parts = []
            while part := os.read(fd, 1 << 18):
                parts.append(part)
            return b"".join(parts).decode()
        except OSError as error:
            if error.errno != errno.ESTALE or not parts:
                raise
        finally:
            os.close(fd)


def ask(mount, *names):
    """A virtual file of a mount, by whoever may read it."""
    path = mount.point.joinpath(*names)
    if mount.user is not None:
        return run("cat", path, user=mount.user, timeout=40).stdout
    return within(40, text_of, path)


def generation(mount):
    return Generation(*map(int, ask(mount, ".control", "zramfs", "generation").split()))


def parent_of(pid):
    for line in pathlib.Path("/proc", str(pid), "status").read_text().splitlines():
        if line.startswith("PPid:"):
            return int(line.split()[1])
    raise AssertionError(f"no parent of {pid}")


def keeper(mount):
    """Of whoever serves; in the middle of an upgrade that one may be gone when it is asked about."""
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return parent_of(generation(mount).pid)
    raise AssertionError("every worker that said it served is gone")


def children_of(pid):
    path = pathlib.Path("/proc", str(pid), "task", str(pid), "children")
    with contextlib.suppress(OSError):
        return [int(word) for word in path.read_text().split()]
    return []


def state_of(task):
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


def is_there(pid):
    """A process that is not dead, nor waits for its parent to hear of it."""
    with contextlib.suppress(OSError):
        return state_of(pathlib.Path("/proc", str(pid))) != "Z"
    return False


def processes_of(mount):
    """Keeper, worker and spare: all that must be gone at the end."""
    top = keeper(mount)
    return {top, *children_of(top)}


def wait_gone(pids, timeout=20):
    wait_until(lambda: not [pid for pid in pids if is_there(pid)], timeout=timeout,
               what=f"the end of {sorted(pids)}")


def settled(mount):
    """The generation that serves, once there is one to follow it. The first one answers a moment
    before its keeper knows that it is there to stay."""
    wait_until(lambda: len(processes_of(mount)) > 2, what="a spare worker")
    return generation(mount)


def stop(mount):
    """Stop the worker that serves: all of its threads, and not before it has heard of all that was
    closed. Return: its generation."""
    served = settled(mount)
    time.sleep(0.2)
    os.close(send(served.pid, signal.SIGSTOP))
    tasks = pathlib.Path("/proc", str(served.pid), "task")
    wait_until(lambda: all(state_of(task) == "T" for task in tasks.iterdir()),
               what=f"{served} to stop")
    return served


def send(pid, number):
    """Send a signal. Return: a descriptor that is readable when the process is dead."""
    fd = os.pidfd_open(pid)
    signal.pidfd_send_signal(fd, number)
    return fd


def kill(mount, number=signal.SIGKILL):
    """Kill the worker that serves. Return: its generation, and when, by the monotonic clock."""
    served = generation(mount)
    if served.number == 1:
        served = settled(mount)
    try:
        fd = send(served.pid, number)
    except ProcessLookupError:  # it was just replaced
        return kill(mount, number)
    killed_ns = time.monotonic_ns()
    try:
        assert select.select([fd], [], [], 20)[0], f"{served} did not die"
    finally:
        os.close(fd)
    return served, killed_ns


def next_generation(mount, served, timeout=40):
    """The generation that serves after another one, as soon as it answers."""
    return wait_until(lambda: (now := generation(mount)).number > served.number and now,
                      timeout=timeout, what=f"a generation after {served}", step=0.001)


def upgrade(mount, path):
    """A write whose errno is the answer. Return: the generation that serves then."""
    served = generation(mount)
    within(60, mount.set, "zramfs", "upgrade", f"{path}\n")
    return next_generation(mount, served)


def kill_often(mount, times, chance, watch=lambda: None):
    """Kill workers at random instants, now and then at once when the next one is ready."""
    for _ in range(times):
        if chance.random() > 0.15:
            time.sleep(chance.uniform(0.005, 0.120))
        served, _ = kill(mount)
        next_generation(mount, served)
        watch()


def store_memory(pid):
    """What the store of a worker has in memory, by the file and by the worker's mappings of it. It
    is by far the largest file that a worker maps."""
    process = pathlib.Path("/proc", str(pid))
    blocks = {os.stat(fd).st_ino: os.stat(fd).st_blocks * 512 for fd in (process / "fd").iterdir()}
    lengths, sums = collections.Counter(), collections.defaultdict(collections.Counter)
    inode = 0
    for line in (process / "smaps").read_text().splitlines():
        word, *rest = line.split()
        if not word.endswith(":"):
            first, last = (int(address, 16) for address in word.split("-"))
            inode = int(rest[3])
            lengths[inode] += last - first if inode in blocks else 0
        elif word[:-1] in KINDS:
            sums[inode][word[:-1]] += int(rest[0]) * 1024
    store = lengths.most_common(1)[0][0]
    return Memory(blocks[store], *(sums[store][kind] for kind in KINDS))


def is_locked(memory):
    """All of it is mapped, and all that is mapped is locked. The kernel counts what is locked in
    shares, like Pss."""
    return memory.rss == memory.bytes and abs(memory.locked - memory.pss) <= 4096


def assert_locked(pid):
    """While it grows, the two sums are of two moments: one look at which they agree is enough. A
    generation that has just begun locks 3 GiB a second."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        memory = store_memory(pid)
        if is_locked(memory) and memory.swap == 0:
            return
        time.sleep(0.02)
    raise AssertionError(f"not all of the store is locked: {memory}")


class Loads:
    """Programs that run together. With `with`: what is left at the end of it is ended by force."""

    def __init__(self, place, user=None):
        self.place, self.user, self.running = place, user, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def start(self, program, *args, **kwargs):
        load = Load(self.place, program, *args, user=self.user, **kwargs)
        self.running.append(load)
        return load

    def check(self):
        """All that runs still runs, and nothing was wrong."""
        for load in self.running:
            failure = load.failure()
            assert failure is None, failure

    def stop(self):
        """In order, all at once. Return: what each of them did."""
        self.check()
        for load in self.running:
            load.process.terminate()
        said = [f"{load.name}: {load.wait()}" for load in self.running]
        self.running.clear()
        return said

    def finish(self, program, *args, timeout=900):
        """A program that ends by itself. Return: its last line."""
        load = self.start(program, *args)
        said = load.wait(timeout)
        self.running.remove(load)
        return said

    def end(self):
        for load in self.running:
            if load.process.poll() is None:
                load.process.kill()
        for load in self.running:
            load.end()


class Load:
    """A program of tests/soak: runs until it is stopped, or until something is wrong."""

    def __init__(self, place, program, *args, user=None, prefix=(), output=None):
        self.name = f"{program} {' '.join(pathlib.Path(str(arg)).name for arg in args)}"
        self.said_path = pathlib.Path(place) / f"{program}-{time.monotonic_ns()}"
        self.output = pathlib.Path(f"{self.said_path}.out") if output is None else output
        command = [*(user.prefix() if user else []), *prefix, LOADS / program, *args]
        with self.said_path.open("wb") as said, self.output.open("wb") as out:
            self.process = subprocess.Popen([str(word) for word in command], stdout=out,
                                            stderr=said, stdin=subprocess.DEVNULL,
                                            env={**os.environ, "PATH": PATH},
                                            start_new_session=True)
        try:
            wait_until(lambda: self.process.poll() is not None or self._has_begun(),
                       what=f"{program} to begin")
        except AssertionError:
            self.end()
            raise

    def _has_begun(self):
        """From here on SIGTERM asks it to end. It is waited for, and so not always seen as blocked;
        SIGHUP, blocked after it, is."""
        text = pathlib.Path("/proc", str(self.process.pid), "status").read_text()
        blocked = next(line.split()[1] for line in text.splitlines() if line.startswith("SigBlk:"))
        return int(blocked, 16) >> (signal.SIGHUP - 1) & 1

    def said(self):
        return self.said_path.read_text(errors="replace").strip()

    def failure(self):
        """What is wrong with it while it should run, or None."""
        status = self.process.poll()
        if status is None:
            return None
        return f"{self.name}: {self.said() or f'ended with status {status}'}"

    def wait(self, timeout=90):
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Hung(f"{self.name}: does not end: {self.said()}") from None
        assert status == 0, f"{self.name}: {self.said() or f'ended with status {status}'}"
        lines = self.output.read_bytes().splitlines()
        return lines[-1].decode(errors="replace") if lines else ""

    def end(self):
        """By force; idempotent. What is stuck in the kernel goes when its mount does."""
        if self.process.poll() is None:
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
