"""Long work: nobody else waits for it, and a signal ends it.

The daemon's threads say what they are for. Stopping those of one kind shows what needs them, and
how long any of them takes does not matter then.
"""

import concurrent.futures
import contextlib
import ctypes
import errno
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

import kills
from data import PAGE, random_page, text_page, text_pages
from host import LIBC, errno_of, run, wait_until
from zramfs import MIB

pytestmark = pytest.mark.root

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 17, 0x4206, 0x4207, 0x40000000

LEAF = 2 * MIB  # of a disk: one page in each makes what looks at slots slow
N_LEAVES = 1 << 17

N_THREADS = {"names": 4, "changes": 4, "work": 2, "punch": 1}

# An answer takes less than a millisecond; what hangs would take for ever.
AT_ONCE = 5


def ptrace(request, thread):
    LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if LIBC.ptrace(request, thread, None, None) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def threads_of(mount, kind):
    """The worker's. The spare has such threads too, which nobody gives anything to do, and others
    that come and go."""
    tasks = pathlib.Path("/proc", str(kills.generation(mount).pid), "task")
    return [int(path.name) for path in tasks.iterdir()
            if (path / "comm").read_text() == f"zramfs-{kind}\n"]


@contextlib.contextmanager
def stopped(mount, *kinds):
    """None of the daemon's threads of these kinds does anything meanwhile."""
    threads = [thread for kind in kinds for thread in threads_of(mount, kind)]
    assert len(threads) == sum(N_THREADS[kind] for kind in kinds)
    seized = []
    try:
        for thread in threads:
            ptrace(PTRACE_SEIZE, thread)
            seized.append(thread)
            ptrace(PTRACE_INTERRUPT, thread)
            os.waitpid(thread, WALL)
        yield
    finally:
        for thread in seized:
            ptrace(PTRACE_DETACH, thread)


def start(script, *args):
    """SIGINT is what it is at a terminal, also where the tests run in the background of a script."""
    return subprocess.Popen(["sh", "-c", script, "sh", *map(str, args)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def is_waiting(process):
    """Has it, or its child, a request under way?"""
    with contextlib.suppress(OSError):
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        return any("request_wait_answer" in pathlib.Path(f"/proc/{pid}/stack").read_text()
                   for pid in [process.pid, *children.split()])
    return False


@pytest.fixture
def big(zramfs):
    """big: 1 TiB with a page here and there, so that looking at its slots takes a while; and
    small."""
    mount = zramfs("[big]\ndisksize = 1T\n[small]\ndisksize = 64M\n")
    page = text_page(1)
    with open(mount.disk("big"), "r+b", buffering=0) as file:
        for i in range(N_LEAVES):
            os.pwrite(file.fileno(), page, i * LEAF)
    mount.disk("small").write_bytes(text_pages(100))
    return mount


def look_around(mount):
    """What names are for."""
    assert set(os.listdir(mount.point)) >= {"big", "small", ".stats", ".control"}
    assert os.stat(mount.disk("small")).st_blocks * 512 == 100 * PAGE
    assert errno_of(os.stat, mount.disk("none")) == errno.ENOENT
    assert mount.get("small", "initstate") == "1\n"
    assert mount.get("big", "mm_stat").split()[0] == str(N_LEAVES * PAGE)
    assert "[big]" in (mount.point / ".stats").read_text()
    assert len(mount.json()["disks"]) == 2
    assert os.statvfs(mount.point).f_bsize == PAGE
    with open(mount.disk("small"), "r+b", buffering=0) as file:
        assert os.pread(file.fileno(), PAGE, PAGE) == text_page(1)
        os.pwrite(file.fileno(), text_page(1), PAGE)


def test_who_waits_for_whom(big):
    """Long work hinders no change, changes hinder no look-up, and none of them a disk."""
    writers = []
    with open(big.disk("small"), "r+b", buffering=0) as file:
        with stopped(big, "work"):
            for script in ('echo all > "$1/idle"', 'echo 1 > "$1/compact"',
                           *['cat "$1/histogram"', 'cat "$1/fragmentation"'] * 3):
                writers.append(start(script, big.point / ".control/big"))
            for writer in writers:
                wait_until(lambda: is_waiting(writer), what="the work to be asked for")

            look_around(big)
            big.set("small", "mem_limit", "16M")
            big.hot_add("new disksize=1M")
            os.rename(big.disk("new"), big.disk("newer"))
            assert big.get("small", "block_state").count("\n") == 100
            os.unlink(big.disk("newer"))
            assert not any(writer.poll() is not None for writer in writers)

            with stopped(big, "changes"):
                remover = start('echo big > "$1/.control/hot_remove"', big.point)
                wait_until(lambda: is_waiting(remover), what="hot_remove to ask")
                look_around(big)
                with stopped(big, "names"):
                    for i in range(200):
                        os.pwrite(file.fileno(), random_page(i), i * PAGE)
                        assert os.pread(file.fileno(), PAGE, i * PAGE) == random_page(i)
                assert remover.poll() is None
                assert os.path.exists(big.disk("big"))

        for writer in [*writers, remover]:
            writer.communicate(timeout=60)
    assert remover.returncode == 0
    assert sorted(os.listdir(big.point))[-1] == "small"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("script", ['echo 1 > "$1/compact"', 'exec cat "$1/histogram"'])
@pytest.mark.parametrize("n_before", [0, 3])
def test_a_signal_ends_what_is_queued(mount, how, script, n_before):
    """First in the queue, or between others, which stay."""
    control = mount.point / ".control/disk0"
    mount.disk("disk0").write_bytes(text_pages(10))
    others = []
    with stopped(mount, "work"):
        scripts = ['echo all > "$1/idle"', 'exec cat "$1/tables"', 'exec cat "$1/same_filled"']
        scripts.insert(n_before, script)
        for each in scripts:
            others.append(start(each, control))
            wait_until(lambda: is_waiting(others[-1]), what="the work to be asked for")
        writer = others.pop(n_before)
        begin = time.monotonic()
        writer.send_signal(how)
        writer.communicate(timeout=AT_ONCE)
        assert time.monotonic() - begin < AT_ONCE
        assert writer.returncode == -how
        assert all(other.poll() is None for other in others)
    for other in others:
        other.communicate(timeout=AT_ONCE)
        assert other.returncode == 0
    assert mount.get("disk0", "block_state").count("i") == 10


@contextlib.contextmanager
def signals_to_me(after, every=0.01):
    """SIGUSR1 to this thread, with a handler that does nothing, from then on."""
    me, end = threading.get_ident(), threading.Event()

    def send():
        end.wait(after)
        while not end.is_set():
            signal.pthread_kill(me, signal.SIGUSR1)
            end.wait(every)

    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def write_errno(path, text):
    """write(2), which Python would do again after EINTR."""
    fd = os.open(path, os.O_WRONLY)
    try:
        done = LIBC.write(fd, text.encode(), len(text))
        return 0 if done == len(text) else ctypes.get_errno()
    finally:
        os.close(fd)


def test_a_signal_ends_what_runs(big):
    """What was done of it stays: some pages are marked, and not all of them."""
    path = big.control("big", "idle")

    def marked():
        return big.get("big", "block_state").count("i")

    assert marked() == 0
    for after in (0.002, 0.01, 0.03):
        with signals_to_me(after):
            code = write_errno(path, "all")
        if code == errno.EINTR and 0 < marked() < N_LEAVES:
            break
    assert code == errno.EINTR and 0 < marked() < N_LEAVES
    big.set("big", "idle", "all")
    assert marked() == N_LEAVES


STORM = """
import ctypes, os, random, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGALRM, lambda *_: None)
random.seed(int(sys.argv[2]))
for i in range(400):
    name, text = random.choice([("idle", b"all"), ("compact", b"1"), ("mem_used_max", b"0")])
    fd = os.open(f"{sys.argv[1]}/{name}", os.O_WRONLY)
    signal.setitimer(signal.ITIMER_REAL, random.random() * 0.004)
    done = libc.write(fd, text, len(text))
    code = 0 if done == len(text) else ctypes.get_errno()
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.close(fd)
    print(code)
"""


def test_signals_at_any_moment(zramfs):
    """Before the request is queued, in the queue, while it is taken out, while it runs, after."""
    mount = zramfs("[disk0]\ndisksize = 1G\n")
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        for i in range(512):
            os.pwrite(file.fileno(), text_pages(10, seed=i), i * LEAF)
    storm = [subprocess.Popen([sys.executable, "-c", STORM, mount.point / ".control/disk0", str(i)],
                              stdout=subprocess.PIPE, text=True) for i in range(6)]
    codes = [int(code) for process in storm for code in process.communicate(timeout=120)[0].split()]
    assert len(codes) == 6 * 400
    assert set(codes) == {0, errno.EINTR}
    assert codes.count(0) > 100 and codes.count(errno.EINTR) > 20
    mount.set("disk0", "idle", "all")
    assert mount.get("disk0", "block_state").count("i") == 512 * 10


def test_looking_around_takes_no_longer(big):
    """With work under way all the time, in more processes than there are threads for it."""
    script = 'while :; do echo all > "$1/idle"; cat "$1/histogram" > "$2"; done'
    loops = [start(script, big.point / ".control/big", os.devnull) for _ in range(4)]
    try:
        times = []
        for _ in range(60):
            begin = time.monotonic()
            look_around(big)
            times.append(time.monotonic() - begin)
    finally:
        for loop in loops:
            loop.kill()
            loop.communicate()
    times.sort()
    assert times[len(times) // 2] < 0.2 and times[-1] < 2, times


def test_dropping_much_hinders_nobody(big):
    """A disk of which much is dropped is not looked at meanwhile; all others are."""
    os.rename(big.disk("big"), big.disk("large"))
    remover = start('rm "$1"', big.disk("large"))
    n = 0
    while remover.poll() is None:
        assert os.stat(big.disk("small")).st_blocks * 512 == 100 * PAGE
        assert big.get("small", "initstate") == "1\n"
        n += 1
    assert remover.returncode == 0 and n > 0
    big.hot_add("many disksize=1M")
    assert wait_until(lambda: big.json()["total"]["mem_used_total"] < 4 * MIB, what="memory to go")


def test_opens_wait_for_a_claim_elsewhere(big):
    """A disk that is being reset is claimed; opening it waits, and does not hinder names."""
    resetter = start('echo 1 > "$1"', big.control("big", "reset"))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        opens = [pool.submit(os.open, big.disk("big"), os.O_RDWR) for _ in range(16)]
        assert os.stat(big.disk("small")).st_size == 100 * PAGE
        fds = [each.result(timeout=60) for each in opens]
    resetter.communicate(timeout=60)
    for fd in fds:
        os.close(fd)
    # Whoever came first: the reset, or an open that it was refused for.
    assert (resetter.returncode == 0) == (big.get("big", "initstate") == "0\n")
