"""Workers are killed while pages go to a backing file and come back: nothing is lost, nothing is old,
and at the end the file is closed and gone.
"""

import contextlib
import errno
import os
import random
import signal
import threading
import time

import pytest

import test_uring
from backing import Pages, all_descriptors, bd_stat, each_has_one, figures, section
from data import PAGE, half_page, random_page
from host import Cgroup, errno_of, run, wait_until
from kills import (LOADS, Loads, generation, is_there, keeper, kill, kill_often, next_generation,
                   processes_of, settled, upgrade, wait_gone)
from test_upgrade import loads  # a fixture
from zramfs import MIB

pytestmark = pytest.mark.skipif(not LOADS.is_dir(), reason=f"{LOADS} is not built")

SEED = 20261122


@pytest.fixture
def chance():
    return random.Random(SEED)


@pytest.fixture
def file(place):
    return place / "back"


def spilling(file, disk="disk0", **keys):
    return section(disk, **{"disksize": "64M", "mem_limit": "4M", "backing_dev": file,
                            "backing_size": "64M", **keys})


def assert_clean(mount, disk="disk0"):
    found = figures(mount, disk)
    assert found["failed_reads"] == found["failed_writes"] == 0
    assert found["failed_backing_reads"] == found["failed_backing_writes"] == 0


def end(mount, file):
    """In order, with nothing of it left."""
    left = processes_of(mount)
    mount.stop()
    wait_gone(left)
    assert not file.exists()


class Repeating:
    """Calls that go on until the end, beside what else goes on; what they may raise is said."""

    def __init__(self, *calls, may_raise=()):
        self.going, self.wrong, self.n_done = True, [], [0] * len(calls)
        self.may_raise = may_raise
        self.threads = [threading.Thread(target=self._repeat, args=(i, call), daemon=True)
                        for i, call in enumerate(calls)]

    def _repeat(self, i, call):
        while self.going:
            try:
                call()
                self.n_done[i] += 1
            except OSError as error:
                if error.errno not in self.may_raise:
                    self.wrong.append(error)
                    return
            except Exception as error:  # told at the end
                self.wrong.append(error)
                return
            time.sleep(0.01)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.going = False
        for thread in self.threads:
            thread.join(60)
        if kind is None:
            assert not self.wrong, self.wrong
            assert all(self.n_done), self.n_done


# Under load


@pytest.mark.parametrize("keys", [{}, {"backing_key": "random", "comp_algorithm": "zstd"},
                                  {"compressed_writeback": "0", "backing_size": "96M"}], ids=str)
def test_io(zramfs, loads, chance, file, keys):
    mount = zramfs(spilling(file, **keys))
    loads.start("io", mount.disk("disk0"), 3)
    kill_often(mount, 25, chance, loads.check)
    loads.stop()
    assert bd_stat(mount).writes > 1000
    assert_clean(mount)
    end(mount, file)


def test_by_hand_and_recompression(zramfs, loads, chance, file):
    """Writing back, recompressing, marking and compacting by hand, all of which a kill may hit."""
    mount = zramfs(spilling(file, mem_limit=None, comp_algorithm="lz4",
                            recomp_algorithm="algo=zstd priority=1"))
    loads.start("io", mount.disk("disk0"), 3)

    def asked(attribute, text):
        return lambda: mount.set("disk0", attribute, text)

    with Repeating(asked("writeback", "type=huge"), asked("writeback", "page_indexes=0-4095"),
                   asked("recompress", "type=huge"), asked("idle", "all"), asked("compact", "1"),
                   asked("writeback", "type=idle"), lambda: bd_stat(mount),
                   may_raise=(errno.EAGAIN, errno.ENOSPC)):
        kill_often(mount, 20, chance, loads.check)
    loads.stop()
    assert_clean(mount)
    end(mount, file)


def test_cleaning(zramfs, chance, file):
    """A file that has little room and is full of holes: frames move all the time."""
    mount = zramfs(section(disksize="16M", mem_limit="2M", backing_dev=file, backing_size="12M"))
    with Pages(mount.disk("disk0"), 2400) as pages:
        pages.fill(random_page)
        before = bd_stat(mount).writes
        for _ in range(12):
            served, _ = kill(mount)
            for page in pages.chance.sample(range(2400), 500):
                pages.write(page, random_page)
            pages.check(pages.chance.sample(range(2400), 100))
            next_generation(mount, served)
        pages.check()
        assert bd_stat(mount).writes - before > 3000
    assert_clean(mount)
    end(mount, file)


def test_every_byte_after_each_kill(zramfs, chance, file):
    """Overwrites, discards and kills in turns, and then all of the disk."""
    mount = zramfs(spilling(file, disksize="16M", mem_limit="1M"))
    with Pages(mount.disk("disk0"), 2000) as pages:
        pages.fill()
        for _ in range(8):
            pages.churn(300)
            pages.discard(chance.randrange(1900), 100)
            served, _ = kill(mount)
            pages.churn(300)
            next_generation(mount, served)
            pages.check()
    assert_clean(mount)


@pytest.mark.loop
@pytest.mark.needs("losetup", "mkfs.ext4", "fsck.ext4")
def test_ext4(zramfs, machine, loads, chance, file):
    mount = zramfs(spilling(file, disksize="256M", backing_size="256M", mem_limit="1M"))
    device = machine.attach(mount.disk("disk0"))
    run("mkfs.ext4", "-q", device)
    point = machine.mount(device)
    loads.start("files", point)
    kill_often(mount, 15, chance, loads.check)
    loads.stop()
    machine.unmount(point)
    run("fsck.ext4", "-f", "-n", device, timeout=120)
    assert bd_stat(mount).writes > 100
    assert_clean(mount)


@pytest.mark.loop
@pytest.mark.needs("losetup", "swapon")
@pytest.mark.skipif(Cgroup.why_not() is not None, reason="no memory cgroup")
@pytest.mark.skipif("TSAN_OPTIONS" in os.environ,
                    reason="under TSan swapping is so slow that the cgroup kills its own")
def test_swap(zramfs, machine, loads, chance, file):
    mount = zramfs(spilling(file, "swap0", disksize="256M", format="swap", mem_limit="8M",
                            backing_size="128M"))
    device = machine.attach(mount.disk("swap0"))
    machine.swapon(device, "--discard=pages", "-p", "100")
    cgroup = Cgroup(96 * MIB)
    machine.later(cgroup.remove)
    loads.start("memory", 128, prefix=cgroup.prefix())
    wait_until(lambda: bd_stat(mount, "swap0").writes > 1000, timeout=30,
               what="pages to go to the file")
    kill_often(mount, 12, chance, loads.check)
    loads.stop()
    # Who swaps is refused rather than kept waiting, and under a sanitizer everybody is slow.
    if "ASAN_OPTIONS" not in os.environ:
        assert_clean(mount, "swap0")
    run("swapoff", device, timeout=120)


# Upgrades, and the keeper


@pytest.mark.parametrize("transport", ["classic", "io_uring"])
def test_upgrades(zramfs, loads, binaries, file, transport):
    if transport == "io_uring" and test_uring.why_not():
        pytest.skip(test_uring.why_not())
    with test_uring.enabled() if transport == "io_uring" else contextlib.nullcontext():
        mount = zramfs(f"[zramfs]\ntransport = {transport}\n" + spilling(file))
        loads.start("io", mount.disk("disk0"), 3)
        wait_until(lambda: bd_stat(mount).writes > 500, what="pages to go to the file")
        for turn in range(6):
            upgrade(mount, binaries[turn % 2])
            loads.check()
        loads.stop()
        assert_clean(mount)
        end(mount, file)


def test_the_keeper_dies(zramfs, file):
    """The worker goes on alone, with its files, and closes them at the end."""
    mount = zramfs(spilling(file, disksize="16M", mem_limit="1M"))
    mount.status = None
    with Pages(mount.disk("disk0"), 1000) as pages:
        pages.fill()
        served = settled(mount)
        os.kill(keeper(mount), signal.SIGKILL)
        wait_until(lambda: not is_there(mount.process.pid), what="the keeper's end")
        pages.check()
        pages.churn(1000)
        pages.check()
        wait_until(lambda: generation(mount).pid == served.pid or generation(mount).number > 1,
                   what="somebody to serve")
    left = {generation(mount).pid}
    mount.unmount()
    wait_gone(left)
    wait_until(lambda: not file.exists(), what="the file to go")


# Files that come and go


def test_while_a_file_is_opened_and_closed(zramfs, place, chance):
    """Each disk is there with its file, or neither; and none is left."""
    mount = zramfs("[keep]\ndisksize = 1M\n")
    settled(mount)
    before, going = all_descriptors(mount), [True]

    def kill_on():
        while going[0]:
            # now and then it may come to an end with what takes longest
            time.sleep(chance.uniform(0.01, 0.06) if chance.random() < 0.9 else 0.4)
            served, _ = kill(mount)
            next_generation(mount, served)

    killer = threading.Thread(target=kill_on, daemon=True)
    killer.start()
    try:
        for turn in range(25):
            path = place / f"file{turn}"
            if turn % 3 == 0:  # zeros are written to all of it, from the start after each kill
                mount.hot_add(f"new{turn} disksize=8M backing_dev={path} backing_size=8M "
                              "format=swap")
            elif turn % 3 == 1:
                mount.hot_add(f"new{turn} disksize=8M backing_dev={path} backing_size=8M")
            else:
                mount.disk(f"new{turn}").touch()
                mount.set(f"new{turn}", "backing_size", "8M")
                mount.set(f"new{turn}", "backing_dev", str(path))
                mount.set(f"new{turn}", "disksize", "8M")
            assert path.exists()
            with Pages(mount.disk(f"new{turn}"), 100, seed=turn) as pages:
                pages.fill(random_page, range(1, 100))
                mount.set(f"new{turn}", "writeback", "page_indexes=1-99")
                pages.check(range(1, 100))
            wait_until(lambda turn=turn: errno_of(mount.hot_remove, f"new{turn}") == 0,
                       what="RELEASE")
    finally:
        going[0] = False
        killer.join(60)
    settled(mount)
    wait_until(lambda: not list(place.glob("file*")), what="all files to go")
    settled(mount)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: all_descriptors(mount) == before, timeout=30)
    assert all_descriptors(mount) == before


@pytest.mark.parametrize("how", ["worker", "all"])
def test_killed_while_a_file_is_written(zramfs, place, file, how):
    """A file for swap is written before it is used. One that a kill left half done is taken again."""
    mount = zramfs("[defaults]\n")
    writer = threading.Thread(target=lambda: errno_of(
        mount.hot_add, f"new disksize=8M backing_dev={file} backing_size=256M format=swap"),
        daemon=True)
    writer.start()
    wait_until(file.exists, what="the file to be made", step=0.001)
    if how == "worker":
        served, _ = kill(mount)
        next_generation(mount, served)
        writer.join(60)
        assert not writer.is_alive()
        assert mount.disk("new").exists() and mount.get("new", "backing_dev") == f"{file}\n"
    else:
        mount.status = None
        left = processes_of(mount)
        os.kill(mount.process.pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_gone(left)
        mount.force()
        writer.join(20)
        mount = zramfs(section("new", disksize="8M", backing_dev=file, backing_size="256M",
                               format="swap"))
    with Pages(mount.disk("new"), 100) as pages:
        pages.fill(half_page, range(1, 100))
        mount.set("new", "writeback", "page_indexes=1-99")
        pages.check(range(1, 100))
    end(mount, file)
