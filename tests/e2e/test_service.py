"""The daemon under a service manager: restarted and killed, with disks in use all the while.

manager.py stands in for systemd: it holds descriptors and starts the next process with them.
"""

import contextlib
import errno
import fcntl
import os
import platform
import random
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

import test_uring
from backing import Pages, each_has_one, section
from data import random_page, text_pages
from host import LIBC, MNT_FORCE, errno_of, run, swaps, wait_until
from kills import (LOADS, Loads, children_of, is_there, keeper, kill, next_generation, processes_of,
                   send, wait_gone)
from manager import Manager
from services import CONFIG, all_held, dup_of, none_left_of
from services import manager, service  # fixtures
from test_kill_loop import Crashes
from zramfs import BINARY, MIB, PAGE, Zramfs

# In the store: struct shelf, init.request, fuse_init_in.flags2, as it was offered.
FLAGS2 = (4 << 20) + 24 + 128 * 64 + 8 + 40 + 16
HAS_RESEND = 1 << (39 - 32)
WORKER_PID = (4 << 20) + 16

pytestmark = pytest.mark.skipif(not LOADS.is_dir(), reason=f"{LOADS} is not built")


@pytest.fixture
def loads(place):
    with Loads(place) as programs:
        yield programs


# Restarts


def test_a_restart_loses_nothing(service, manager):
    mount = service()
    mount.disk("disk0").write_bytes(text_pages(100))
    held = os.open(mount.disk("disk0"), os.O_RDWR)
    wait_until(lambda: all_held(manager, "zramfs-wire"), what="all to be held")
    served, before = mount.serving(), mount.pids()
    mount.leave()
    none_left_of(mount)
    assert mount.serving() == served
    assert all_held(manager)
    os.pwrite(held, b"while there was no keeper", 0)

    heard = mount.spawn()
    wait_until(lambda: manager.said("READY", heard), what="READY=1")
    after = mount.serving()
    assert after.number == served.number + 1 and keeper(mount) == mount.process.pid
    assert not [pid for pid in before if is_there(pid)]
    assert os.pread(held, 25, 0) == b"while there was no keeper"
    assert os.pread(held, 99 * PAGE, PAGE) == text_pages(99, 1)
    os.close(held)
    wait_until(lambda: all_held(manager, "zramfs-wire"), what="all to be held")
    assert f"generation 2, process {after.pid}" in manager.status()


def test_to_the_program_that_is_there_then(service, place, binaries):
    """How a package is upgraded: what serves before READY=1 is the new one."""
    mount = service(begin=False)
    mount.args[0] = str(place / "bin" / "zramfs")
    os.rename(binaries[0], mount.args[0])
    mount.start()
    before = os.stat(f"/proc/{mount.serving().pid}/exe").st_ino
    os.rename(binaries[1], mount.args[0])
    mount.restart()
    now = os.stat(f"/proc/{mount.serving().pid}/exe").st_ino
    assert now != before and now == os.stat(mount.args[0]).st_ino


def test_often_under_io(service, loads):
    mount = service("[defaults]\n")
    loads.start("io", mount.disk("io0"), 3)
    loads.start("names", mount.point, "name")
    chance = random.Random(1)
    for _ in range(20):
        mount.restart()
        loads.check()
        time.sleep(chance.uniform(0, 0.05))
    loads.stop()


def test_the_keeper_is_killed_at_any_time(service, loads):
    mount = service("[defaults]\n")
    loads.start("io", mount.disk("io0"), 3)
    loads.start("names", mount.point, "name")
    chance = random.Random(2)
    for _ in range(15):
        if mount.process.poll() is not None:
            mount.spawn()
        time.sleep(chance.uniform(0, 0.4))
        os.close(send(mount.process.pid, signal.SIGKILL))
        mount.process.wait(20)
        loads.check()
    mount.start()
    loads.check()
    loads.stop()
    wait_until(lambda: set(mount.pids()) <= {mount.process.pid, *children_of(mount.process.pid)},
               what="those of keepers that are gone to end")


def test_killed_and_left_in_turn_with_workers(service, loads):
    """Whoever dies, in whatever order: keeper, worker, or both."""
    mount = service("[defaults]\n")
    loads.start("io", mount.disk("io0"), 3)
    chance = random.Random(3)
    for _ in range(12):
        victims = chance.choice(["keeper", "worker", "both", "leave"])
        served = mount.serving().pid
        if victims in ("worker", "both"):
            os.close(send(served, signal.SIGKILL))
        time.sleep(chance.choice([0, 0, 0.01, 0.05]))
        if victims in ("keeper", "both"):
            mount.kill_keeper()
        elif victims == "leave":
            mount.leave()
        if victims != "worker":
            mount.start()
        loads.check()
    loads.stop()


def test_both_are_dead_when_it_starts(service, manager):
    mount = service()
    mount.disk("disk0").write_bytes(text_pages(50))
    fd = os.open(mount.disk("disk0"), os.O_RDWR)
    served = mount.serving()
    mount.leave()
    os.close(send(served.pid, signal.SIGKILL))
    wait_until(lambda: not is_there(served.pid), what="the worker to be gone")
    mount.start()
    assert mount.serving().number == served.number + 1
    assert os.pread(fd, 50 * PAGE, 0) == text_pages(50)
    os.close(fd)
    wait_until(lambda: "generation 1 died; generation 2 serves" in mount.said(),
               what="the line about it")


@pytest.mark.loop
@pytest.mark.needs("losetup", "mkfs.ext4")
def test_a_filesystem_over_restarts(service, machine, loads):
    mount = service("[fs]\ndisksize = 256M\n")
    device = machine.attach(mount.disk("fs"))
    run("mkfs.ext4", "-q", device)
    point = machine.mount(device)
    loads.start("io", point / "io", 2)
    for turn in range(6):
        mount.restart(*((signal.SIGKILL, -signal.SIGKILL) if turn % 3 == 2 else ()))
        loads.check()
    loads.stop()
    machine.unmount(point)
    run("e2fsck", "-fn", device)
    machine.detach(device)


@pytest.mark.loop
@pytest.mark.needs("losetup", "swapon")
def test_swap_over_restarts(service, machine):
    """A program's memory is out there while keepers come and go."""
    mount = service("[swap0]\ndisksize = 256M\nformat = swap\n")
    device = machine.attach(mount.disk("swap0"))
    machine.swapon(device, "--discard=pages", "-p", "100")
    code = ("import ctypes, mmap, sys\n"
            "m = mmap.mmap(-1, 64 << 20)\n"
            "for i in range(0, len(m), 4096): m[i:i + 8] = i.to_bytes(8, 'little')\n"
            "def out():\n"
            "    a = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
            "    ctypes.CDLL(None).madvise(ctypes.c_void_p(a), ctypes.c_size_t(len(m)), 21)\n"
            "out()\n"
            "print('out', flush=True)\n"
            "for line in sys.stdin:\n"
            "    bad = sum(m[i:i + 8] != i.to_bytes(8, 'little')\n"
            "              for i in range(0, len(m), 4096))\n"
            "    out()\n"
            "    print('bad', bad, flush=True)\n")
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "out\n"
        assert swaps()[device][1] > 16 << 10
        for turn in range(4):
            if turn == 3:
                mount.kill_keeper()
                mount.start()
            else:
                mount.restart()
            program.stdin.write("look\n")
            program.stdin.flush()
            assert program.stdout.readline() == "bad 0\n"
        program.stdin.close()
    machine.swapoff(device)
    machine.detach(device)


def test_a_restart_reads_the_configuration(service, manager):
    mount = service()
    mount.config.write_text(CONFIG + "mem_limit = 32M\n[disk1]\ndisksize = 1M\n")
    mount.restart()
    assert os.stat(mount.disk("disk1")).st_size == MIB  # by READY=1
    assert mount.get("disk0", "mem_limit") == f"{32 * MIB}\n"
    assert "disk disk1 is new" in mount.said()
    assert len(manager.of("config")) == 1


def test_a_restart_with_a_configuration_that_is_wrong(service, manager):
    """The line about it is said, and all goes on as it was."""
    mount = service()
    mount.disk("disk0").write_bytes(text_pages(10))
    mount.config.write_text("[disk0]\ndisksize = much\n")
    mount.restart()
    assert f"zramfs: {mount.config}:2: disksize = much" in mount.said()
    assert "configuration refused" in manager.status()
    assert mount.disk("disk0").read_bytes()[:10 * PAGE] == text_pages(10)
    mount.config.unlink()
    mount.restart()
    assert "configuration refused" in manager.status()
    assert mount.disk("disk0").read_bytes()[:10 * PAGE] == text_pages(10)


def test_a_configuration_comes_and_goes(service, manager):
    """As a unit is edited: -c is named now, or no longer."""
    mount = service(None)
    assert mount.disk("zram0").exists()
    mount.disk("zram0").write_bytes(text_pages(3))
    config = mount.place / "new.ini"
    config.write_text("[other]\ndisksize = 1M\n")
    mount.args += ["-c", config]
    mount.restart()
    assert os.stat(mount.disk("other")).st_size == MIB
    del mount.args[-2:]
    mount.restart()
    assert mount.disk("zram0").read_bytes() == text_pages(3)
    assert os.stat(mount.disk("other")).st_size == MIB
    served, _ = kill(mount)
    next_generation(mount, served)
    assert os.stat(mount.disk("other")).st_size == MIB


def test_options_of_fuse_stay(service, manager):
    """The kernel was answered by them; nor can a wrong one keep workers from following."""
    mount = service()
    mount.disk("disk0").write_bytes(text_pages(10))
    mount.args += ["-o", "max_write=65536,nosuchoption"]
    mount.restart()
    assert "-o max_write=65536,nosuchoption: changes when it is mounted anew; as before" in \
        mount.said()
    served = mount.serving()
    assert served.number == 2
    os.close(send(served.pid, signal.SIGKILL))
    next_generation(mount, served)
    assert mount.disk("disk0").read_bytes()[:10 * PAGE] == text_pages(10)


def test_a_program_that_cannot_follow_is_gone_back_from(service, manager, place):
    """The worker goes on, and who follows it is of its own program."""
    mount = service()
    mount.disk("disk0").write_bytes(text_pages(10))
    served = mount.serving()
    crashes = Crashes(place)
    crashes.allow(1)
    (place / "crashes/0").rename(place / "crashes/token")
    mount.args = crashes.prefix("start") + mount.args
    mount.restart()
    if crashes.left():
        pytest.skip("not a debug build")
    after = mount.serving()
    assert after.number > served.number
    assert mount.disk("disk0").read_bytes()[:10 * PAGE] == text_pages(10)


def test_an_ordinary_users(service, place, user, fuse_for_all):
    """As in systemd --user: its worker cannot be looked at, and is found all the same."""
    (place / "m").mkdir()
    own = Manager(place / "m")
    os.chmod(own.address, 0o666)
    mount = service(by=own, user=user)
    disk = mount.disk("disk0")
    run("sh", "-c", f"echo before >{disk}", user=user)
    for number, wanted in ((signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)):
        mount.restart(number, wanted)
        assert run("head", "-n1", disk, user=user).stdout == "before\n"
    os.close(send(mount.serving().pid, signal.SIGKILL))
    mount.kill_keeper()
    mount.start()
    assert run("head", "-n1", disk, user=user).stdout == "before\n"
    mount.stop()
    assert own.names() == []
    own.close()


# Told to leave at a bad moment


def test_told_to_leave_while_nobody_serves(service):
    """It stays until somebody does."""
    mount = service()
    mount.disk("disk0").write_bytes(text_pages(10))
    served, _ = kill(mount)
    mount.leave()
    assert mount.serving().number == served.number + 1
    none_left_of(mount)
    mount.start()
    assert mount.disk("disk0").read_bytes()[:10 * PAGE] == text_pages(10)


def test_told_to_leave_during_an_upgrade(service):
    """The candidate comes to serve, or ends; the spare one ends."""
    mount = service()
    chance = random.Random(4)
    for _ in range(8):
        mount.process.send_signal(signal.SIGUSR2)
        time.sleep(chance.uniform(0, 0.15))
        mount.leave()
        none_left_of(mount)
        mount.start()


def test_no_upgrade_begins_while_it_leaves(service, manager):
    """However often somebody asks for one."""
    mount = service()
    wait_until(lambda: all_held(manager, "zramfs-wire"), what="all to be held")
    with manager.busy():  # so that it takes a while
        mount.process.terminate()
        until = time.monotonic() + 20
        while mount.process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(ProcessLookupError):
                mount.process.send_signal(signal.SIGUSR2)
            time.sleep(0.02)
        assert mount.process.poll() == 0
    assert "not upgraded: the keeper was told to leave" in mount.said()
    none_left_of(mount)
    mount.start()


def test_told_to_leave_before_it_is_ready_again(service):
    mount = service()
    chance = random.Random(5)
    for _ in range(8):
        mount.leave()
        mount.spawn()
        time.sleep(chance.uniform(0, 0.2))
        # Until it takes signals it has taken nothing over, and is killed by this one.
        mount.process.terminate()
        assert mount.process.wait(60) in (0, -signal.SIGTERM)
        mount.start()


def test_told_to_end_before_it_was_ready(service, manager):
    """The first start ends as a whole, and leaves nothing: no mount, nothing held."""
    chance = random.Random(6)
    n_ended = 0
    for _ in range(8):
        mount = service(begin=False)
        Zramfs.live.add(mount)
        mount.status = None
        heard = mount.spawn()
        time.sleep(chance.uniform(0.05, 0.12))
        ready = manager.said("READY", heard)
        mount.process.terminate()
        mount.process.wait(60)
        if mount.mounted():  # it was ready after all when it was told
            assert manager.said("READY", heard)
            mount.start()
            mount.unmount()
            mount.wait()
        else:
            assert not ready
            n_ended += 1
        wait_until(lambda: manager.names() == [], what="nothing to be held")
        wait_gone(mount.pids())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ended_while_a_program_waits_for_the_first_worker(service, manager, number):
    """The first worker is there and does not get to serve: it is stopped."""
    mount = service(begin=False)
    mount.status = None
    Zramfs.live.add(mount)
    mount.spawn()
    manager.wait(lambda: any(name.startswith("zramfs-wire-") for name, _ in manager.held),
                 what="a wire")
    pid = int(manager.of("wire")[0][0].rpartition("-")[2])
    os.kill(pid, signal.SIGSTOP)
    if manager.said("READY"):
        pytest.skip("it was faster")
    mount.process.send_signal(number)
    if number == signal.SIGTERM:
        os.kill(pid, signal.SIGCONT)
        assert mount.process.wait(30) == 0
        assert not mount.mounted() and manager.names() == []
        return
    # What was begun is undone, and all begins anew.
    mount.process.wait(30)
    mount.start()
    assert mount.serving().number == 1
    wait_until(lambda: not is_there(pid), what="the first one to be gone")


def test_interrupted_it_ends(service, manager):
    mount = service()
    mount.process.send_signal(signal.SIGINT)
    assert mount.wait() == 0
    assert not mount.mounted() and manager.names() == []


# Between two keepers


def test_unmounted_in_between(service, manager):
    """There is nothing to go on with: it starts afresh."""
    mount = service()
    mount.disk("disk0").write_bytes(text_pages(10))
    mount.leave()
    worker = mount.serving().pid
    mount.unmount()
    wait_gone([worker])
    assert manager.names()
    mount.start()
    assert mount.serving().number == 1
    assert mount.disk("disk0").read_bytes()[:PAGE] == bytes(PAGE)
    wait_until(lambda: all_held(manager, "zramfs-wire"), what="what is new to be held, alone")


def test_cut_in_between(service, manager):
    if os.geteuid() != 0:
        pytest.skip("needs root: umount -f")
    mount = service()
    mount.leave()
    worker = mount.serving().pid
    held = os.open(mount.point, os.O_PATH)
    assert LIBC.umount2(os.fsencode(mount.point), MNT_FORCE) != 0  # cut, but there
    os.close(held)
    wait_gone([worker])
    mount.start()
    assert mount.serving().number == 1


def test_a_mount_that_is_dead_is_cleared(service, manager):
    """Both were killed, and nothing was held: a service that failed starts again."""
    mount = service()
    pids = mount.pids()
    manager.drop()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    mount.process.wait(20)
    wait_gone(pids)
    manager.drop()
    assert mount.mounted()
    mount.start()
    assert "the mount of a daemon that died is taken away" in mount.said()


def test_what_was_left_unread(service, manager):
    """What the worker said while there was no keeper is heard by the next."""
    mount = service()
    mount.leave()
    mount.config.write_text(CONFIG + "[disk1]\ndisksize = 1M\n")
    for turn in range(3):
        got = errno_of(mount.set, "zramfs", "upgrade", "/nowhere\n")
        assert got in (errno.ENOENT, errno.EBUSY)
    mount.start()
    assert mount.disk("disk1").exists()


def test_a_wish_outlives_the_keeper_that_heard_it(service):
    """Who waits for an upgrade is answered by the next one, whatever becomes of that."""
    mount = service()
    wait_until(lambda: len(processes_of(mount)) > 2, what="a spare worker")
    served, before = mount.serving(), set(children_of(mount.process.pid))
    writer = subprocess.Popen(["sh", "-c", f"echo {BINARY} >{mount.control('zramfs', 'upgrade')}"],
                              stderr=subprocess.DEVNULL)
    with stopped_child(mount.process.pid, before):
        mount.kill_keeper()
        mount.spawn()
        with stopped_child(mount.process.pid, set()) as candidate:
            os.kill(candidate, signal.SIGKILL)
        assert mount.serving() == served
        assert writer.wait(20) != 0
    mount.restart()


@contextlib.contextmanager
def stopped_child(parent, others):
    """The next child of a process, which does not go on."""
    pid, = wait_until(lambda: set(children_of(parent)) - others, what="a child", step=0.001)
    os.kill(pid, signal.SIGSTOP)
    yield pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def test_backing_files_that_were_opened_in_between(service, manager, place):
    """By the worker, while there was no keeper, or before what it said was held."""
    paths = [place / f"back{number}" for number in range(3)]
    mount = service(section("disk0", disksize="64M", backing_dev=paths[0], backing_size="16M"))
    wait_until(lambda: manager.of("backing0"), what="the first file to be held")
    with Pages(mount.disk("disk0"), 200) as pages:
        pages.fill(random_page)
        mount.set("disk0", "idle", "all\n")
        mount.set("disk0", "writeback", "idle\n")

        mount.leave()
        mount.hot_add(f"disk1 disksize=4M backing_dev={paths[1]} backing_size=16M\n")
        mount.start()
        assert len(manager.of("backing0")) == len(manager.of("backing1")) == 1

        # Of what was said nothing is left: the next keeper asks.
        mount.leave()
        mount.hot_add(f"disk2 disksize=4M backing_dev={paths[2]} backing_size=16M\n")
        mount.hot_remove("disk1")
        wait_until(lambda: not paths[1].exists(), what="the file to go")
        forget_what_was_said(manager)
        mount.start()
        wait_until(lambda: len(manager.of("backing2")) == 1 or len(manager.of("backing1")) == 1,
                   what="the new file to be held")
        wait_until(lambda: all_held(manager, "zramfs-wire", "zramfs-backing0",
                                    manager_kind(manager)), what="two files to be held")
        wait_until(lambda: each_has_one(mount, paths[0]) and each_has_one(mount, paths[2]),
                   what="keeper, worker and spare to have one each")

        # And with nobody left: from what is held.
        served = mount.serving()
        mount.leave()
        os.close(send(served.pid, signal.SIGKILL))
        mount.start()
        pages.check()
    mount.stop()
    assert not [path for path in paths if path.exists()]
    assert manager.names() == []


def forget_what_was_said(manager):
    """As if the keeper had heard it, and died of SIGKILL before it was held."""
    (_, wire), = manager.of("wire")
    with socket.socket(fileno=os.dup(wire)) as end, contextlib.suppress(BlockingIOError):
        end.setblocking(False)
        while end.recv(4096):
            pass


def test_a_backing_file_while_another_is_opened(service, manager, place):
    """That takes a while, and what is asked for meanwhile is not told in part."""
    first, second = place / "first", place / "second"
    mount = service()
    mount.leave()
    mount.hot_add(f"disk1 disksize=4M backing_dev={first} backing_size=16M\n")
    with Pages(mount.disk("disk1"), 200) as pages:
        pages.fill(random_page)
        mount.set("disk1", "idle", "all\n")
        mount.set("disk1", "writeback", "idle\n")
        forget_what_was_said(manager)

        words = f"disk2 disksize=4M format=swap backing_dev={second} backing_size=1G"
        writer = subprocess.Popen(["sh", "-c", f"echo '{words}' >{mount.point}/.control/hot_add"])
        wait_until(second.exists, what="it to be written whole, which takes a while")
        mount.start()
        assert writer.wait(60) == 0
        pages.check()
    assert f"backing_dev {first}" not in mount.said()
    wait_until(lambda: manager.of("backing0") and manager.of("backing1"), what="both to be held")


def manager_kind(manager):
    """Of the second backing file, which has the first index that was free."""
    return "zramfs-backing1" if manager.of("backing1") else "zramfs-backing2"


def test_the_manager_lets_go(service, manager):
    """The service has stopped, and the mount is in use: its worker makes itself a keeper."""
    mount = service()
    mount.disk("disk0").write_bytes(text_pages(10))
    mount.leave()
    served = mount.serving()
    manager.drop()
    after = next_generation(mount, served)
    top = keeper(mount)
    assert top not in (1, mount.process.pid)
    assert mount.disk("disk0").read_bytes()[:10 * PAGE] == text_pages(10)
    left = processes_of(mount)
    os.kill(top, signal.SIGTERM)
    wait_gone(left)
    assert not mount.mounted() and after.number == served.number + 1


def test_the_manager_does_not_read(service, manager):
    """Nothing waits for it; what it is to hold it holds when it reads again."""
    mount = service()
    wait_until(lambda: all_held(manager, "zramfs-wire"), what="all to be held")
    with manager.busy():
        for _ in range(6):  # more than its socket takes
            served = mount.serving()
            os.close(send(served.pid, signal.SIGKILL))
            after = next_generation(mount, served)
            wait_until(lambda: len(processes_of(mount)) > 2, what="a spare worker")
    wait_until(lambda: all_held(manager, "zramfs-wire"), what="all to be held")
    wait_until(lambda: f"zramfs-wire-{after.pid}" in manager.names(), what="its wire to be held")
    wait_until(lambda: f"process {after.pid}" in manager.status(), what="the status")
    mount.restart()


def test_leaving_a_manager_that_does_not_read(service, manager):
    """It leaves after a while: what is held is held."""
    mount = service()
    wait_until(lambda: all_held(manager, "zramfs-wire"), what="all to be held")
    with manager.busy():
        mount.leave()
    none_left_of(mount)
    mount.start()


def test_nobody_serves_beside_another(service, manager):
    """Whoever serves has a lock of the store; without it a worker does not begin, and its keeper
    ends nothing that is not its own."""
    mount = service()
    mount.disk("disk0").write_bytes(text_pages(10))
    held = os.open(mount.disk("disk0"), os.O_RDONLY)
    (_, store), = manager.of("store")
    with pytest.raises(OSError):
        fcntl.lockf(store, fcntl.LOCK_EX | fcntl.LOCK_NB)
    wait_until(lambda: len(processes_of(mount)) > 2, what="a spare worker")
    served = mount.serving()
    spare, = set(children_of(mount.process.pid)) - {served.pid}
    os.kill(spare, signal.SIGSTOP)
    os.close(send(served.pid, signal.SIGKILL))
    # Its first thread may be gone before the others, and the lock goes with the last.
    wait_until(lambda: errno_of(fcntl.lockf, store, fcntl.LOCK_EX | fcntl.LOCK_NB) == 0,
               what="the worker to be gone")
    os.kill(spare, signal.SIGCONT)
    assert mount.process.wait(30) == 1
    assert f"zramfs: {mount.point}: process {os.getpid()} serves it" in mount.said()
    assert mount.mounted()
    assert f"zramfs-wire-{os.getpid()} is missing" in mount.refuses()

    fcntl.lockf(store, fcntl.LOCK_UN)
    mount.start()
    assert os.pread(held, 10 * PAGE, 0) == text_pages(10)
    os.close(held)


# Where a kernel does not send again what a dead worker had in hand


def forget_resend(store):
    """What the kernel offered when it was asked first, without FUSE_HAS_RESEND: Linux before 6.9."""
    flags2, = struct.unpack("=I", os.pread(store, 4, FLAGS2))
    assert flags2 & HAS_RESEND
    os.pwrite(store, struct.pack("=I", flags2 & ~HAS_RESEND), FLAGS2)


@pytest.mark.skipif(tuple(map(int, platform.release().split(".")[:2])) < (6, 9),
                    reason="this kernel is one of these: all of this file shows it")
def test_before_linux_6_9(service, manager, loads):
    """Whoever is replaced answers all before. That it did, a keeper must know that is not its
    parent."""
    mount = service("[defaults]\n")
    (_, store), = manager.of("store")
    forget_resend(store)
    loads.start("io", mount.disk("io0"), 2)
    served = mount.serving()
    for number, wanted in [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)] * 3:
        mount.restart(number, wanted)
        served, before = mount.serving(), served
        assert served.number == before.number + 1
        loads.check()
    loads.stop()

    # And no service manager: who serves makes itself a keeper.
    mount.leave()
    manager.drop()
    next_generation(mount, served)
    top = keeper(mount)
    assert "cannot send its requests again" not in mount.said()

    # One that was killed did not.
    held = os.open(mount.point, os.O_RDONLY)
    os.close(send(mount.serving().pid, signal.SIGKILL))
    wait_gone([top])
    assert "cannot send its requests again" in mount.said()
    os.close(held)


def claims(store):
    """Which process has the lock of it; 0: none."""
    wanted = struct.pack("=hhxxxxqqixxxx", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack("=hhxxxxqqixxxx", fcntl.fcntl(store, fcntl.F_GETLK, wanted))
    return 0 if kind == fcntl.F_UNLCK else pid


def stopped_on_its_way(mount, store):
    """The worker is killed, and the next one stopped when the store is its own and it does not serve
    yet. Return: it; None: it was faster."""
    wait_until(lambda: len(processes_of(mount)) > 2, what="a spare worker")
    served = mount.serving().pid
    spare, = set(children_of(mount.process.pid)) - {served}
    os.close(send(served, signal.SIGKILL))
    until = time.monotonic() + 20
    while claims(store) != spare and time.monotonic() < until:
        pass
    os.kill(spare, signal.SIGSTOP)
    time.sleep(0.1)
    if os.pread(store, 8, WORKER_PID) != spare.to_bytes(8, sys.byteorder):
        return spare
    os.kill(spare, signal.SIGCONT)
    return None


def test_one_that_takes_over_is_found(service, manager):
    """Its keeper died after it had told it to serve. No two generations have one number."""
    mount = service("[disk0]\ndisksize = 512M\n")
    with mount.disk("disk0").open("r+b") as disk:
        for _ in range(256):
            disk.write(os.urandom(MIB))
    (_, store), = manager.of("store")
    before = mount.serving().number
    for turn in range(20):
        if spare := stopped_on_its_way(mount, store):
            break
    else:
        pytest.skip("each was faster than this program")
    mount.kill_keeper()
    heard = mount.spawn()
    manager.wait(lambda: any("is to serve" in said for said in manager.said("STATUS", heard)),
                 what="it to be found")
    os.kill(spare, signal.SIGCONT)
    wait_until(lambda: manager.said("READY", heard), what="READY=1")
    assert mount.serving().number == before + turn + 2
    assert os.stat(mount.disk("disk0")).st_blocks > 0


# Over io_uring


@pytest.mark.root
@pytest.mark.skipif(test_uring.why_not() is not None, reason=str(test_uring.why_not()))
def test_over_io_uring(service, manager):
    with test_uring.enabled():
        mount = service(test_uring.CONFIG)
    assert len(manager.of("entries")) == 1
    mount.disk("disk0").write_bytes(text_pages(100))
    for _ in range(3):
        mount.restart()
        assert mount.get("zramfs", "transport") == "io_uring\n"
    mount.kill_keeper()
    mount.start()
    assert mount.disk("disk0").read_bytes()[:100 * PAGE] == text_pages(100)
    mount.leave()
    kept = dup_of(manager, "entries")
    manager.drop("entries")
    assert "zramfs-entries is missing" in mount.refuses()
    manager.add(*kept)
    mount.start()

    # Nobody can follow a worker that dies.
    mount.status = None
    served = mount.serving()
    mount.leave()
    os.close(send(served.pid, signal.SIGKILL))
    wait_until(lambda: not is_there(served.pid), what="the worker to be gone")
    mount.spawn()
    assert mount.process.wait(30) == 1
    assert "nobody can follow it over io_uring" in mount.said() and not mount.mounted()
    assert manager.names() == []
