"""The keeper is killed, or there is none; and mounts that go away under load."""

import errno
import os
import random
import signal

import pytest

from data import text_pages
from host import errno_of, mounts, run, wait_until
from kills import (LOADS, Loads, generation, is_there, keeper, kill, kill_often, next_generation,
                   processes_of, send, settled, wait_gone, within)

pytestmark = pytest.mark.skipif(not LOADS.is_dir(), reason=f"{LOADS} is not built")

CONFIG = "[disk0]\ndisksize = 1M\n"


@pytest.fixture
def loads(place):
    with Loads(place) as programs:
        yield programs


def kill_keeper(mount):
    """The keeper dies, the worker starts another, which replaces it by a child of its own. Return:
    the generation that serves then."""
    served, top = settled(mount), keeper(mount)
    os.close(send(top, signal.SIGKILL))
    mount.status = None  # of the process that was started
    after = next_generation(mount, served)
    wait_until(lambda: not is_there(top), what="the keeper to be gone")
    assert keeper(mount) not in (top, 1)
    return after


def test_a_worker_starts_another_keeper(zramfs, loads):
    mount = zramfs("[defaults]\n")
    loads.start("io", mount.disk("io0"), 3)
    loads.start("names", mount.point, "name")
    kill_often(mount, 2, random.Random(1), loads.check)
    kill_keeper(mount)
    loads.check()
    wait_until(lambda: "keeper" in mount.said(), what="the line about it")
    kill_often(mount, 5, random.Random(2), loads.check)
    loads.stop()
    left = processes_of(mount)
    mount.unmount()
    wait_gone(left)


def test_keepers_one_after_the_other(zramfs):
    mount = zramfs(CONFIG)
    mount.disk("disk0").write_bytes(text_pages(10))
    for _ in range(3):
        kill_keeper(mount)
        served, _ = kill(mount)
        next_generation(mount, served)
    assert mount.disk("disk0").read_bytes() == text_pages(10)
    left = processes_of(mount)
    mount.unmount()
    wait_gone(left)


def test_the_new_keeper_takes_signals(zramfs):
    mount = zramfs(CONFIG)
    kill_keeper(mount)
    left = processes_of(mount)
    os.kill(keeper(mount), signal.SIGTERM)
    wait_gone(left)
    assert not mount.mounted()


@pytest.mark.parametrize("last", ["worker", "keeper"])
def test_both_at_once(zramfs, last):
    """Nobody is left to go on: clients are told, and do not wait for ever."""
    mount = zramfs(CONFIG)
    mount.status = None
    pids = processes_of(mount)
    top, served = keeper(mount), generation(mount)
    for pid in (top, served.pid):  # neither sees the other die
        os.close(send(pid, signal.SIGSTOP))
    for pid in (served.pid, top) if last == "keeper" else (top, served.pid):
        os.close(send(pid, signal.SIGKILL))
    wait_gone(pids)
    assert within(20, errno_of, os.stat, mount.disk("disk0")) in (
        errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT)


def test_without_a_keeper(zramfs):
    """One process; nothing survives it, and clients are told at once."""
    mount = zramfs(CONFIG, "--no-keeper")
    mount.status = None
    served = generation(mount)
    assert served == (1, mount.process.pid)
    fd = os.open(mount.disk("disk0"), os.O_RDWR)
    os.kill(served.pid, signal.SIGKILL)
    assert mount.process.wait(timeout=10) == -signal.SIGKILL
    assert within(20, errno_of, os.pread, fd, 100, 0) == errno.ENOTCONN
    assert within(20, errno_of, os.stat, mount.disk("disk0")) == errno.ENOTCONN
    os.close(fd)


# Mounts that go away


def test_detached_under_load(zramfs, loads):
    """Who has a disk open goes on, kills or not; the daemon ends when the last file is closed."""
    mount = zramfs("[defaults]\n")
    loads.start("io", mount.disk("io0"), 3)
    served = settled(mount)
    left = processes_of(mount)
    run("umount" if os.geteuid() == 0 else "fusermount3",
        "-l" if os.geteuid() == 0 else "-uz", mount.point)
    assert not mount.mounted()
    fd = send(served.pid, signal.SIGKILL)
    wait_until(lambda: not is_there(served.pid), what="the worker to die")
    os.close(fd)
    left |= set(mount.pids())
    loads.check()
    loads.stop()
    wait_gone(left | set(mount.pids()))


@pytest.mark.needs("fusermount3")
def test_a_users_mount_detached_under_load(zramfs, user, fuse_for_all, place):
    mount = zramfs("[defaults]\n", user=user)
    with Loads(place, user) as loads:
        loads.start("io", mount.disk("io0"), 3)
        left = processes_of(mount)
        run("fusermount3", "-uz", mount.point, user=user)
        loads.check()
        loads.stop()
    wait_gone(left)
    assert str(mount.point) not in mounts()


@pytest.mark.root
def test_cut_under_load(zramfs, loads):
    """umount -f: loads end with an error of their own, and nothing is left of the daemon."""
    mount = zramfs("[defaults]\n")
    mount.status = None
    load = loads.start("io", mount.disk("io0"), 3)
    left = processes_of(mount)
    run("umount", "-f", mount.point, check=False)
    run("umount", "-l", mount.point, check=False)
    load.process.wait(timeout=20)
    assert load.process.returncode == 1
    assert any(text in load.said() for text in ("not connected", "connection abort")), \
        load.said()
    wait_gone(left)


def test_terminated_between_two_generations(zramfs):
    """SIGTERM just after a worker died: it is the next one's to unmount, and all end."""
    mount = zramfs(CONFIG)
    left = processes_of(mount)
    kill(mount)
    mount.process.send_signal(signal.SIGTERM)
    assert mount.wait(timeout=20) == 0
    wait_gone(left)
    assert not mount.mounted()


def test_killed_again_and_again_while_it_ends(zramfs):
    """Whatever is killed while the mount goes away: in the end nothing is left."""
    mount = zramfs(CONFIG)
    mount.status = None
    left = processes_of(mount)
    os.close(send(settled(mount).pid, signal.SIGKILL))
    run("umount", "-l", mount.point, check=False)
    wait_gone(left)
    assert not mount.mounted()
