"""A worker is killed, and the next one goes on: whoever uses the disks sees a pause and no error.

Short forms of tests/soak/run, and what is easier to see one kill at a time.
"""

import collections
import errno
import os
import pathlib
import random
import signal
import socket
import threading
import time

import pytest

from data import PAGE, random_page, random_pages, text_page, text_pages
from host import Cgroup, errno_of, run, wait_until
from kills import (LOADS, Loads, ask, assert_locked, generation, is_there, keeper, kill, kill_often,
                   next_generation, processes_of, send, settled, stop, text_of, wait_gone)
from zramfs import MIB

pytestmark = pytest.mark.skipif(not LOADS.is_dir(), reason=f"{LOADS} is not built")

SEED = 20261121


@pytest.fixture
def chance():
    return random.Random(SEED)


@pytest.fixture
def loads(place):
    with Loads(place) as programs:
        yield programs


# Under load


def policies(pid):
    """Of each thread: how it is scheduled."""
    return collections.Counter(os.sched_getscheduler(int(task.name))
                               for task in pathlib.Path("/proc", str(pid), "task").iterdir())


@pytest.mark.root
@pytest.mark.skipif("TSAN_OPTIONS" in os.environ,
                    reason="TSan has a thread of its own, which knows nothing of it")
def test_nobody_stays_in_a_hurry(mount):
    """Killed again before the next one is ready, which is then made in a hurry: once it serves, the
    thread of the store alone has real-time priority. Likewise of the spare one, which waits."""
    if "refused" in mount.get("zramfs", "safety").partition("realtime")[2].partition("\n")[0]:
        pytest.skip("no CAP_SYS_NICE")
    settled(mount)
    for _ in range(8):
        served, _ = kill(mount)
        next_generation(mount, served)
    worker = settled(mount).pid
    spare, = processes_of(mount) - {worker, keeper(mount)}
    wait_until(lambda: len(policies(worker)) == 2 and policies(worker) == policies(spare),
               what="all threads of both to be there")
    assert policies(worker)[os.SCHED_FIFO] == 1 and policies(worker)[os.SCHED_OTHER] > 10
    assert policies(keeper(mount)) == {os.SCHED_OTHER: 1}


@pytest.mark.parametrize("foreground", [True, False])
def test_io(zramfs, loads, chance, foreground):
    mount = zramfs("[defaults]\n", foreground=foreground)
    loads.start("io", mount.disk("disk0"), 3)
    kill_often(mount, 30, chance, loads.check)
    loads.stop()


@pytest.mark.loop
@pytest.mark.needs("losetup", "mkfs.ext4", "fsck.ext4")
def test_ext4(zramfs, machine, loads, chance):
    mount = zramfs("[disk0]\ndisksize = 256M\n")
    device = machine.attach(mount.disk("disk0"))
    run("mkfs.ext4", "-q", device)
    point = machine.mount(device)
    loads.start("files", point)
    kill_often(mount, 15, chance, loads.check)
    loads.stop()
    machine.unmount(point)
    run("fsck.ext4", "-f", "-n", device)


@pytest.mark.loop
@pytest.mark.needs("losetup", "swapon")
@pytest.mark.skipif(Cgroup.why_not() is not None, reason="no memory cgroup")
@pytest.mark.skipif("TSAN_OPTIONS" in os.environ,
                    reason="under TSan swapping is so slow that the cgroup kills its own")
def test_swap(zramfs, machine, loads, chance):
    mount = zramfs("[swap0]\ndisksize = 512M\nformat = swap\n")
    device = machine.attach(mount.disk("swap0"))
    machine.swapon(device, "--discard=pages", "-p", "100")
    cgroup = Cgroup(112 * MIB)
    machine.later(cgroup.remove)
    loads.start("memory", 160, prefix=cgroup.prefix())
    wait_until(lambda: mount.mm_stat("swap0").orig_data_size > 32 * MIB, what="pages to be swapped")
    kill_often(mount, 15, chance, loads.check)
    loads.stop()
    assert mount.io_stat("swap0")[:2] == (0, 0)
    run("swapoff", device, timeout=120)


@pytest.mark.needs("fusermount3")
def test_as_an_ordinary_user(zramfs, user, fuse_for_all, place, chance):
    mount = zramfs("[defaults]\n", user=user)
    with Loads(place, user) as loads:
        loads.start("io", mount.disk("disk0"), 3)
        loads.start("names", mount.point, "name")
        kill_often(mount, 15, chance, loads.check)
        loads.stop()
    left = processes_of(mount)
    mount.unmount()
    assert mount.wait() == 0
    wait_gone(left)


def test_many_in_a_row(zramfs):
    """As soon as the next one is ready, and again: kills from outside are no crash loop."""
    mount = zramfs("[disk0]\ndisksize = 1M\n")
    mount.disk("disk0").write_bytes(text_pages(10))
    first = generation(mount)
    for _ in range(12):
        served, _ = kill(mount)
        next_generation(mount, served)
    assert generation(mount).number == first.number + 12
    assert mount.disk("disk0").read_bytes() == text_pages(10)


def test_with_all_that_else_goes_on(zramfs, loads, chance):
    """Compaction, statistics and reloads, all of which a kill may hit."""
    mount = zramfs("[disk0]\ndisksize = 64M\n")
    going, wrong = threading.Event(), []
    going.set()

    def repeat(call, *args):
        while going.is_set():
            try:
                call(*args)
            except Exception as error:  # told at the end
                wrong.append(f"{call.__name__}{args}: {error!r}")
                return
            time.sleep(0.02)

    threads = [threading.Thread(target=repeat, args=args, daemon=True) for args in (
        (mount.set, "disk0", "compact", "1"), (mount.set, "disk0", "idle", "all"),
        (mount.set, "disk0", "mem_limit", "1G"), (text_of, mount.point / ".stats.json"),
        (text_of, mount.point / ".metrics"), (os.listdir, mount.point),
        (os.kill, mount.process.pid, signal.SIGHUP))]
    loads.start("io", mount.disk("disk0"), 3)
    for thread in threads:
        thread.start()
    kill_often(mount, 20, chance, loads.check)
    going.clear()
    for thread in threads:
        thread.join(60)
    assert not wrong, "\n".join(wrong)
    loads.stop()


def test_nothing_leaks(zramfs, loads, chance):
    """Memory of the store is explained between kills, and comes back when the disks go."""
    mount = zramfs("[defaults]\n")
    before = mount.json()["total"]["store_memory"]
    loads.start("io", mount.disk("disk0"), 3)
    loads.start("names", mount.point, "name")
    kill_often(mount, 20, chance, loads.check)
    loads.stop()

    stats = mount.json()
    total, used = stats["total"], sum(disk["mem_used_total"] for disk in stats["disks"])
    assert used > 10 * MIB
    assert total["store_memory"] <= used + total["reserve"] + total["fragmentation"] + 4 * MIB
    os.unlink(mount.disk("disk0"))
    wait_until(lambda: mount.json()["total"]["store_memory"] <= before + 2 * MIB, timeout=15,
               what="memory to come back")


# One at a time


def test_a_generation_follows(mount):
    before, top = generation(mount), keeper(mount)
    assert before.number == 1
    assert top == mount.process.pid
    killed, _ = kill(mount)
    assert killed == before
    after = next_generation(mount, killed)
    assert after.number == 2 and after.pid != before.pid
    assert keeper(mount) == top and not is_there(before.pid)
    said = wait_until(lambda: [line for line in mount.said().splitlines() if "generation" in line],
                      what="the line about it")
    assert len(said) == 1 and "generation 1" in said[0] and "generation 2" in said[0], said


def test_what_a_mount_has_stays(zramfs):
    """Contents, holes, sizes, attributes, figures, and who has what open."""
    mount = zramfs("[a]\ndisksize = 8M\nmem_limit = 4M\n[b]\n")
    a, b = mount.disk("a"), mount.disk("b")
    with open(a, "r+b") as file:
        file.write(random_pages(20) + text_pages(30) + bytes(PAGE))
        file.seek(100 * PAGE)
        file.write(b"last")
    b.write_bytes(b"short")
    os.chmod(b, 0o640)
    os.rename(b, mount.disk("c"))
    held = os.open(a, os.O_RDWR)
    before = {disk["name"]: disk for disk in mount.json()["disks"]}

    served, _ = kill(mount)
    next_generation(mount, served)

    after = {disk["name"]: disk for disk in mount.json()["disks"]}
    assert after.keys() == before.keys() == {"a", "c"}
    for name, disk in after.items():
        for key in ("disksize", "mem_limit", "comp_algorithm", "pages_stored", "same_pages",
                    "orig_data_size", "compr_data_size", "huge_pages", "num_writes", "in_use"):
            assert disk[key] == before[name][key], f"{key} of {name}"
    assert os.pread(held, 51 * PAGE, 0) == random_pages(20) + text_pages(30) + bytes(PAGE)
    assert os.lseek(held, 51 * PAGE, os.SEEK_DATA) == 100 * PAGE
    os.close(held)
    assert mount.disk("c").read_bytes() == b"short"
    assert os.stat(mount.disk("c")).st_mode & 0o777 == 0o640
    wait_until(lambda: mount.json()["disks"][0]["in_use"] == 0, what="the handle to be closed")


@pytest.mark.root
def test_all_of_the_store_is_locked(zramfs, loads):
    mount = zramfs("[disk0]\ndisksize = 64M\n")
    loads.finish("fill", mount.disk("disk0"), 64)
    for _ in range(3):
        served, _ = kill(mount)
        assert_locked(next_generation(mount, served).pid)


def test_a_text_that_died_with_its_worker(mount):
    """ESTALE in the middle of it, and all of it again from the start: never a mixture."""
    fd = os.open(mount.point / ".stats", os.O_RDONLY)
    head = os.pread(fd, 10, 0)
    served, _ = kill(mount)
    next_generation(mount, served)
    assert errno_of(os.pread, fd, 100, 10) == errno.ESTALE
    assert os.pread(fd, 10, 0) == head
    os.close(fd)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_signals_are_the_keepers(mount, number):
    """A Ctrl-C reaches all processes of a terminal, and killall all of a name."""
    served = settled(mount)
    os.close(send(served.pid, number))
    time.sleep(0.2)
    assert generation(mount) == served


# Full


@pytest.mark.parametrize("where", ["disk", "daemon"])
def test_full_stays_full(zramfs, where):
    """At a limit, also of all disks together: what did not fit does not fit the next worker, what
    is there is there, and a page that goes makes room for another."""
    limit = "mem_limit = 2M\n"
    config = f"[disk0]\ndisksize = 16M\n{limit}" if where == "disk" else \
        f"[zramfs]\n{limit}[disk0]\ndisksize = 16M\n"
    mount = zramfs(config)
    fd = os.open(mount.disk("disk0"), os.O_RDWR)
    n_pages = 0
    while errno_of(os.pwrite, fd, random_page(n_pages), n_pages * PAGE) == 0:
        n_pages += 1
    assert 400 < n_pages < 512

    for _ in range(3):
        served, _ = kill(mount)
        next_generation(mount, served)
        assert errno_of(os.pwrite, fd, random_page(7), n_pages * PAGE) == errno.ENOSPC
        assert all(os.pread(fd, PAGE, i * PAGE) == random_page(i) for i in range(n_pages))
        os.pwrite(fd, text_page(1), 5 * PAGE)
        assert os.pread(fd, PAGE, 5 * PAGE) == text_page(1)
        os.pwrite(fd, random_page(5), 5 * PAGE)
    os.close(fd)


# Stopped


def reading(mount):
    """A read of its own thread: what it returned, or nothing yet."""
    def work():
        with open(mount.disk("disk0"), "rb", buffering=0) as file:
            done.append(file.read(PAGE))

    done = []
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return done, thread


def test_stopped_and_continued(zramfs):
    """Before the watchdog's time is over: a pause, and the same worker."""
    mount = zramfs("[zramfs]\nwatchdog = 10\n[disk0]\ndisksize = 1M\n")
    mount.disk("disk0").write_bytes(text_page(1))
    served = stop(mount)
    done, thread = reading(mount)
    time.sleep(1.5)
    assert not done
    os.close(send(served.pid, signal.SIGCONT))
    thread.join(10)
    assert done == [text_page(1)]
    assert generation(mount) == served


def test_left_stopped(zramfs):
    """A hang is a pause: the worker is killed, and the next one gives the answer."""
    mount = zramfs("[zramfs]\nwatchdog = 2\n[disk0]\ndisksize = 1M\n")
    mount.disk("disk0").write_bytes(text_page(1))
    served = stop(mount)
    began = time.monotonic()
    done, thread = reading(mount)
    thread.join(20)
    assert done == [text_page(1)]
    assert 1 < time.monotonic() - began < 8
    assert generation(mount).number == served.number + 1
    assert not is_there(served.pid)
    wait_until(lambda: "progress" in mount.said(), what="the line about it")


def test_stopped_while_nobody_asks(zramfs):
    """No request waits: nothing hangs, and nobody is killed."""
    mount = zramfs("[zramfs]\nwatchdog = 1\n[disk0]\ndisksize = 1M\n")
    served = stop(mount)
    time.sleep(3.5)
    os.close(send(served.pid, signal.SIGCONT))
    assert generation(mount) == served


def test_the_watchdog_may_be_set(zramfs):
    mount = zramfs("[disk0]\ndisksize = 1M\n")
    assert ask(mount, ".control", "zramfs", "watchdog") == "10\n"
    mount.set("zramfs", "watchdog", "3")
    served, _ = kill(mount)
    next_generation(mount, served)
    assert ask(mount, ".control", "zramfs", "watchdog") == "3\n"


# What a launched process finds


@pytest.mark.root
@pytest.mark.skipif(os.path.lexists("/dev/log"), reason="there is a syslog of the system's")
def test_where_syslog_listens(zramfs):
    """Its socket is the first descriptor that a worker opens, and none that it was given."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind("/dev/log")
        try:
            mount = zramfs("[disk0]\ndisksize = 1M\n", foreground=False)
            mount.disk("disk0").write_bytes(text_page(1))
            served, _ = kill(mount)
            assert next_generation(mount, served).number == served.number + 1
            settled(mount)
            assert mount.disk("disk0").read_bytes()[:PAGE] == text_page(1)
        finally:
            os.unlink("/dev/log")
