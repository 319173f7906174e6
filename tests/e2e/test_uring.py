"""transport = io_uring: the same disks, faster; and a worker that dies takes them with it."""

import contextlib
import errno
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from data import half_page, random_pages, text_pages
from host import Alone, Cgroup, errno_of, fallocate, mounts, run, wait_until
from kills import (LOADS, Loads, ask, generation, keeper, kill, next_generation, processes_of,
                   upgrade, wait_gone, within)
from zramfs import CTL, KIB, MIB, PAGE, ROOT

OVERCOMMIT = ROOT / "contrib" / "overcommit"

ENABLE = pathlib.Path("/sys/module/fuse/parameters/enable_uring")
DISABLED = pathlib.Path("/proc/sys/kernel/io_uring_disabled")


def why_not():
    if os.geteuid() != 0:
        return "needs root"
    if not ENABLE.exists():
        return "no FUSE over io_uring: Linux 6.14"
    if not os.access(ENABLE, os.W_OK):
        return f"{ENABLE} cannot be written"
    if DISABLED.exists() and DISABLED.read_text().strip() != "0":
        return "kernel.io_uring_disabled"
    return None


pytestmark = [pytest.mark.root, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

PUNCH = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE

# What is said of a mount that was cut: ECANCELED of a request on its way just then.
GONE = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ECANCELED}

CONFIG = "[zramfs]\ntransport = io_uring\n[disk0]\ndisksize = 64M\n"


@contextlib.contextmanager
def enabled():
    """For one test of one run at a time: the machine has one switch."""
    alone, before = Alone("enable_uring"), ENABLE.read_text()
    ENABLE.write_text("Y")
    try:
        yield
    finally:
        ENABLE.write_text(before)
        alone.release()


@pytest.fixture(autouse=True)
def switch():
    with enabled():
        yield


@pytest.fixture
def mount(zramfs):
    return zramfs(CONFIG)


@pytest.fixture
def disabled(switch):
    ENABLE.write_text("N")


# Bytes


def test_it_is_what_was_asked_for(mount):
    assert mount.get("zramfs", "transport") == "io_uring\n"
    assert mount.get("zramfs", "uring_depth") == "32\n"
    said = mount.said()
    assert "if the worker dies the disks are lost: for swap choose classic" in said
    assert re.search(r"buffers take \d+ MiB", said)
    assert "transport refused io_uring" in mount.get("zramfs", "safety")
    # the rings' threads, and one for what does not come by them
    pid = generation(mount).pid
    names = [(task / "comm").read_text().strip()
             for task in pathlib.Path("/proc", str(pid), "task").iterdir()]
    assert names.count("zramfs-ring") == os.cpu_count() and names.count("zramfs-serve") == 1


def test_classic_unless_asked(zramfs):
    mount = zramfs("[disk0]\ndisksize = 1M\n")
    assert mount.get("zramfs", "transport") == "classic\n"
    assert "transport" not in mount.get("zramfs", "safety")


@pytest.mark.parametrize("options", [(), ("--no-keeper",)])
def test_all_sizes(zramfs, options):
    """Each length of request, aligned or not, up to more than a buffer holds."""
    mount = zramfs(CONFIG, *options)
    data = random_pages(700, seed=3) + text_pages(300)
    with open(mount.disk("disk0"), "r+b", buffering=0) as disk:
        for offset, length in ((0, 1), (1, 4095), (4095, 2), (4096, 4096), (10000, 70001),
                               (77777, 256 * KIB - 1), (5, 256 * KIB), (100, 256 * KIB + 1),
                               (4096, MIB), (3, 2 * MIB + 11), (12345, len(data) - 1)):
            disk.seek(offset)
            assert disk.write(data[:length]) == length
            disk.seek(offset)
            got = b""
            while len(got) < length:
                part = disk.read(length - len(got))
                assert part
                got += part
            assert got == data[:length]


def test_the_end_of_a_disk(mount):
    os.truncate(mount.disk("disk0"), 10001)
    with open(mount.disk("disk0"), "r+b", buffering=0) as disk:
        disk.write(b"x" * 10001)
        disk.seek(9000)
        assert disk.read(4096) == b"x" * 1001
        disk.seek(10001)
        assert disk.read(4096) == b""
        disk.write(b"y" * 5000)
        assert os.fstat(disk.fileno()).st_size == 15001


def test_discard_and_holes(mount):
    fd = os.open(mount.disk("disk0"), os.O_RDWR)
    os.pwrite(fd, random_pages(1024), 0)
    fallocate(fd, PUNCH, 0, PAGE)
    fallocate(fd, PUNCH, MIB, 2 * MIB)  # by the thread for that
    assert os.pread(fd, PAGE, 0) == bytes(PAGE)
    assert os.pread(fd, 64 * KIB, 2 * MIB) == bytes(64 * KIB)
    assert os.lseek(fd, 0, os.SEEK_DATA) == PAGE
    assert os.lseek(fd, PAGE, os.SEEK_HOLE) == MIB
    os.fsync(fd)
    os.close(fd)


def test_names_and_control_files(mount):
    for i in range(20):
        path = mount.disk(f"a{i}")
        path.touch()
        os.truncate(path, 8192)
        path.write_bytes(half_page(i))
        path.rename(mount.disk(f"b{i}"))
    assert {f"b{i}" for i in range(20)} < set(os.listdir(mount.point))
    mount.set("b0", "mem_limit", "1M\n")
    assert errno_of(mount.set, "b0", "comp_algorithm", "nonsense\n") == errno.EINVAL
    assert errno_of(os.open, mount.disk("none"), os.O_RDONLY) == errno.ENOENT
    mount.hot_add("late disksize=1M")
    mount.hot_remove("late")
    assert mount.json()
    for i in range(20):
        mount.disk(f"b{i}").unlink()
    assert "b0" not in os.listdir(mount.point)


def test_long_work_is_interrupted(mount):
    """The interruption comes by /dev/fuse, the request by a ring."""
    mount.hot_add("large disksize=2G")
    with open(mount.disk("large"), "r+b", buffering=0) as disk:
        for i in range(64):
            disk.write(text_pages(256, seed=i))
    for _ in range(10):
        writer = subprocess.Popen(["sh", "-c", f"echo all > {mount.control('large', 'idle')}"])
        time.sleep(random.random() / 50)
        writer.terminate()
        writer.wait(timeout=10)
    mount.set("large", "compact", "1\n")
    mount.hot_remove("large")


@pytest.mark.needs("fio")
def test_threads_verify(mount, place):
    run("fio", "--name=v", f"--filename={mount.disk('disk0')}", "--rw=randwrite",
        "--bsrange=4k-512k", "--direct=1", "--ioengine=libaio", "--iodepth=16", "--numjobs=4",
        "--size=14M", "--offset_increment=16M", "--verify=crc32c", "--verify_backlog=32",
        "--loops=8", timeout=120, cwd=place)


HOG = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
print("there", flush=True)
end = time.monotonic() + 4
while time.monotonic() < end:
    pass
"""


@pytest.mark.needs("fio", "chrt", "taskset")
def test_a_ring_without_a_turn_keeps_nothing(mount, place):
    """Its processor is somebody else's: what another ring lent it, that one takes back. All is read
    before the 50 ms of each second come that the kernel leaves to others, who might begin then.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one processor")
    mount.disk("disk0").write_bytes(text_pages(1024))
    hogs = [subprocess.Popen([sys.executable, "-c", HOG, str(cpu)], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True) for cpu in cpus[1:]]
    try:
        if any(hog.stdout.readline() != "there\n" for hog in hogs):
            pytest.skip("no real-time priority")
        # in real time, so that the ring finds many at once
        said = run("chrt", "-f", "1", "taskset", "-c", cpus[0], "fio", "--name=r",
                   f"--filename={mount.disk('disk0')}", "--rw=read", "--bs=256k", "--size=4M",
                   "--direct=1", "--ioengine=libaio", "--iodepth=8", "--iodepth_batch_submit=8",
                   "--iodepth_batch_complete_min=8", "--loops=4", "--output-format=json",
                   timeout=60, cwd=place).stdout
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait(timeout=10)
    longest_ns = json.loads(said)["jobs"][0]["read"]["clat_ns"]["max"]
    assert longest_ns < 300e6


# Loop devices


@pytest.mark.loop
@pytest.mark.needs("mkfs.ext4", "fsck.ext4")
def test_a_filesystem_through_loop(mount, machine, place):
    device = machine.attach(mount.disk("disk0"))
    run("mkfs.ext4", "-q", device)
    point = machine.mount(device)
    for i in range(50):
        (point / f"f{i}").write_bytes(text_pages(i, seed=i))
    machine.unmount(point)
    run("fsck.ext4", "-fn", device)
    point = machine.mount(device)
    for i in range(50):
        assert (point / f"f{i}").read_bytes() == text_pages(i, seed=i)


@pytest.mark.loop
@pytest.mark.needs("swapon")
def test_swap(zramfs, machine, place):
    """A program larger than its memory cgroup; without anything of the daemon in it."""
    if Cgroup.why_not():
        pytest.skip(Cgroup.why_not())
    mount = zramfs("[zramfs]\ntransport = io_uring\n[swap0]\ndisksize = 256M\nformat = swap\n")
    machine.swapon(machine.attach(mount.disk("swap0")), "--discard=pages", "-p", "100")
    cgroup = Cgroup(64 * MIB)
    try:
        run(*cgroup.prefix(), sys.executable, OVERCOMMIT, "128", timeout=150)
    finally:
        cgroup.remove()
    # Who swaps is refused rather than kept waiting, and under sanitizers everybody is slow.
    if not {"ASAN_OPTIONS", "TSAN_OPTIONS"} & set(os.environ):
        assert mount.io_stat("swap0").failed_writes == 0


# The end


def test_unmounted_under_load(mount):
    """The reader keeps it busy; once it is cut, whoever waits is told at once."""
    stop = threading.Event()
    errors = []

    def load():
        fd = os.open(mount.disk("disk0"), os.O_RDWR)
        try:
            while not stop.is_set():
                os.pwrite(fd, random_pages(16), random.randrange(1000) * PAGE)
        except OSError as error:
            errors.append(error.errno)
        os.close(fd)

    threads = [threading.Thread(target=load, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    pids = processes_of(mount)
    run("umount", "-f", mount.point, check=False, timeout=10)
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    stop.set()
    assert set(errors) <= GONE
    run("umount", "-l", mount.point, check=False)
    wait_gone(pids)
    mount.status = None


def test_terminated(mount):
    mount.disk("disk0").write_bytes(text_pages(100))
    wait_until(lambda: mount.stats()["disk0"]["InUse"].strip() == "0", what="its RELEASE")
    mount.process.terminate()
    assert mount.wait() == 0
    assert not mount.mounted()


def test_idle_takes_no_time(mount):
    pid = generation(mount).pid

    def ticks():
        words = pathlib.Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
        return int(words[11]) + int(words[12])

    mount.disk("disk0").read_bytes()
    time.sleep(0.5)
    before = ticks()
    time.sleep(2)
    assert ticks() - before <= 2


@pytest.mark.parametrize("times", range(3))
def test_a_killed_worker_ends_it_at_once(mount, times):
    """Nobody hangs, and nobody follows it."""
    top, worker = keeper(mount), generation(mount).pid
    assert len(processes_of(mount)) == 2  # no spare one
    held = os.open(mount.disk("disk0"), os.O_RDWR)
    failed = []

    def load():
        try:
            while True:
                os.pwrite(held, random_pages(4), random.randrange(1000) * PAGE)
        except OSError as error:
            failed.append((time.monotonic(), error.errno))

    threads = [threading.Thread(target=load, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    mount.status = 1
    begin = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    for thread in threads:
        thread.join(5)
    assert len(failed) == 4, "somebody hangs"
    assert max(when for when, _ in failed) - begin < 1
    assert {number for _, number in failed} <= GONE
    assert within(5, errno_of, os.pread, held, PAGE, 0) in GONE
    os.close(held)
    wait_gone({top}, timeout=5)
    assert mount.process.wait(5) == 1
    assert str(mount.point) not in mounts()
    assert "its disks are lost: the worker died of signal 9" in mount.said()


def test_a_users_worker(zramfs, user, fuse_for_all):
    """The keeper may not cut the mount, but it has the last descriptor."""
    mount = zramfs(CONFIG, user=user)
    top = keeper(mount)
    holder = subprocess.Popen([*user.prefix(), "sh", "-c", f"while :; do cat {mount.disk('disk0')} "
                               ">/dev/null || exit; done"], stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    mount.status = 1
    os.kill(generation(mount).pid, signal.SIGKILL)
    holder.wait(timeout=5)
    wait_gone({top}, timeout=5)
    assert not mount.mounted()
    assert "its disks are lost" in mount.said()


def test_killed_without_a_keeper(zramfs):
    mount = zramfs(CONFIG, "--no-keeper")
    held = os.open(mount.disk("disk0"), os.O_RDWR)
    mount.status = None
    mount.process.kill()
    assert within(5, errno_of, os.pread, held, PAGE, 0) in GONE
    os.close(held)


# Upgrades


def test_upgraded_idle(mount, binaries):
    mount.disk("disk0").write_bytes(text_pages(100))
    held = os.open(mount.disk("disk0"), os.O_RDONLY)
    for path in (*binaries, *binaries):
        after = upgrade(mount, path)
        assert os.path.samefile(f"/proc/{after.pid}/exe", path)
        assert os.pread(held, 100 * PAGE, 0) == text_pages(100)
    os.close(held)
    assert mount.get("zramfs", "transport") == "io_uring\n"


@pytest.mark.limit(300)
@pytest.mark.needs("fio")
def test_upgraded_under_load(mount, binaries, place):
    """Nobody notices: bytes are what was written, names are made once, and nobody waits for ever."""
    load = subprocess.Popen(
        ["fio", "--name=v", f"--filename={mount.disk('disk0')}", "--rw=randwrite",
         "--bsrange=4k-512k", "--direct=1", "--ioengine=libaio", "--iodepth=16", "--numjobs=4",
         "--size=14M", "--offset_increment=16M", "--verify=crc32c", "--verify_backlog=32",
         "--time_based", "--runtime=20"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        cwd=place, text=True)
    errors, stop = [], threading.Event()

    def names(which):
        try:
            for i in range(100000):
                if stop.is_set():
                    return
                path, other = mount.disk(f"{which}-{i}"), mount.disk(f"{which}+{i}")
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                os.truncate(path, 8192)
                path.write_bytes(half_page(i))
                path.rename(other)
                assert other.read_bytes()[:PAGE] == half_page(i)
                mount.set(other.name, "mem_limit", "2M\n")
                other.unlink()
        except (OSError, AssertionError) as error:
            errors.append(error)

    threads = [threading.Thread(target=names, args=(which,), daemon=True) for which in "xy"]
    for thread in threads:
        thread.start()
    end, n = time.monotonic() + 18, 0
    while time.monotonic() < end:
        upgrade(mount, binaries[n % 2])
        n += 1
        time.sleep(0.1)
    out, _ = load.communicate(timeout=60)
    stop.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "somebody waits still"
    assert load.returncode == 0, out
    assert not errors
    assert n >= 5


def test_a_keeper_that_dies_is_followed(mount):
    """By one that replaces the worker, as an upgrade does."""
    mount.disk("disk0").write_bytes(text_pages(50))
    served, top = generation(mount), keeper(mount)
    mount.status = None
    os.kill(top, signal.SIGKILL)
    next_generation(mount, served)
    assert mount.disk("disk0").read_bytes()[:50 * PAGE] == text_pages(50)


def test_a_successor_that_dies_is_followed(zramfs, place):
    """As long as it has not begun to serve, what was left is there for the next one."""
    token = place / "token"
    mount = zramfs(CONFIG, prefix=("env", f"ZRAMFS_CRASH=start:{token}"))
    mount.disk("disk0").write_bytes(text_pages(50))
    served = generation(mount)
    token.touch()
    try:
        within(60, mount.set, "zramfs", "upgrade", "\n")
    except OSError as error:
        assert error.errno in (errno.ESTALE, errno.EINTR)
    if token.exists():
        pytest.skip("a build without deaths")
    after = next_generation(mount, served)
    assert after.number > served.number + 1
    assert mount.disk("disk0").read_bytes()[:50 * PAGE] == text_pages(50)


def test_a_program_that_cannot_is_refused(mount):
    served = generation(mount)
    assert within(60, errno_of, mount.set, "zramfs", "upgrade", "/bin/true\n") == errno.ENOEXEC
    assert generation(mount) == served
    mount.disk("disk0").write_bytes(text_pages(10))


# Refusals


def test_refused_where_it_is_off(disabled, refused, place):
    (place / "z").mkdir()
    config = place / "zram.ini"
    config.write_text(CONFIG)
    line = refused(place / "z", "-c", config)
    assert "echo Y > /sys/module/fuse/parameters/enable_uring" in line


def test_refused_where_io_uring_is_forbidden(refused, place):
    if not DISABLED.exists():
        pytest.skip("no sysctl kernel.io_uring_disabled")
    (place / "z").mkdir()
    config = place / "zram.ini"
    config.write_text(CONFIG)
    DISABLED.write_text("2")
    try:
        line = refused(place / "z", "-c", config)
    finally:
        DISABLED.write_text("0")
    assert "kernel.io_uring_disabled" in line


def test_too_much_memory_is_refused(refused, place):
    total = os.sysconf("SC_PHYS_PAGES") * PAGE
    if os.cpu_count() * 1024 * 260 * KIB <= total // 8:
        config = "[zramfs]\ntransport = io_uring\nuring_depth = 1025\n"
        words = "1 to 1024"
    else:
        config = "[zramfs]\ntransport = io_uring\nuring_depth = 1024\n"
        words = "more than an eighth of RAM: lower uring_depth"
    (place / "z").mkdir()
    path = place / "zram.ini"
    path.write_text(config)
    assert words in refused(place / "z", "-c", path)


def test_it_stays_what_it_was(mount):
    """SIGHUP does not change it, nor an upgrade after it."""
    mount.config.write_text("[disk0]\ndisksize = 64M\n")
    os.kill(keeper(mount), signal.SIGHUP)
    wait_until(lambda: "changes when it is mounted anew" in mount.said(), what="a warning")
    upgrade(mount, "")
    assert mount.get("zramfs", "transport") == "io_uring\n"


@pytest.mark.skipif(not CTL.exists(), reason="no zramfsctl")
def test_check_says_it(mount):
    said = run(CTL, "check", mount.point, check=False).stdout
    assert "transport" in said and "classic" in said
