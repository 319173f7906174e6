"""What a service manager hears, and what it holds that is not as it should be."""

import os
import pathlib
import signal
import socket
import sys
import time

import pytest

from backing import section
from data import text_pages
from host import mounts, run, wait_until
from kills import next_generation, send, wait_gone
from manager import Manager
from services import CONFIG, all_held, dup_of
from services import manager, service  # fixtures
from test_kill_loop import Crashes
from test_service import forget_resend
from zramfs import PAGE

CONNECTIONS = pathlib.Path("/sys/fs/fuse/connections")

# Where the shelf begins in the store, with the version of what is in it.
SHELF_START = 4 << 20


# What is said


def test_what_a_manager_hears(service, manager):
    mount = service("[a]\ndisksize = 1M\n[b]\ndisksize = 1M\n")
    served = mount.serving()
    assert manager.status() == f"Serving 2 disks; generation 1, process {served.pid}"
    wait_until(lambda: all_held(manager, "zramfs-wire"), what="the spare one's wire")
    first = next(i for i, (_, words) in enumerate(manager.messages) if "READY" in words)
    assert len(manager.said("FDSTORE")) - len(manager.said("FDSTORE", first)) == 5  # before READY

    heard = len(manager.messages)
    mount.config.write_text("[a]\ndisksize = 1M\n[b]\ndisksize = 1M\n[c]\ndisksize = 1M\n")
    began = time.monotonic_ns() // 1000
    mount.process.send_signal(signal.SIGHUP)
    manager.wait(lambda: "READY" in dict(manager.messages[-1][1]), what="READY after RELOADING")
    said = [words for _, words in manager.messages[heard:] if "READY" in words or
            "RELOADING" in words]
    assert "RELOADING" in said[0] and "READY" in said[-1]
    assert began <= int(said[0]["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    wait_until(lambda: manager.status().startswith("Serving 3 disks;"), what="the third")
    mount.disk("c").unlink()
    wait_until(lambda: manager.status().startswith("Serving 2 disks;"), what="it to go")
    wait_until(lambda: len(manager.of("config")) == 1, what="the text of before to go")

    mount.unmount()
    assert mount.wait() == 0
    assert manager.said("STOPPING") == ["1"]
    assert manager.names() == []


def test_a_file_with_an_error_is_refused_when_it_is_reloaded(service, manager):
    mount = service()
    mount.config.write_text("[disk0]\ndisksize = much\n")
    mount.process.send_signal(signal.SIGHUP)
    wait_until(lambda: manager.status().endswith("; configuration refused, see the log"),
               what="the status")
    assert manager.messages[-1][1]["READY"] == "1"


def test_an_abstract_socket(service, place):
    away = Manager(place / "", abstract=True)
    mount = service(by=away)
    mount.restart()
    mount.stop()
    assert away.names() == []
    away.close()


def test_more_is_said_to_be_given_than_is(service):
    """What the daemon opens itself is not taken for it."""
    mount = service(prefix=["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=9 exec "$@"', "sh"])
    assert "of no use" not in mount.said()
    mount.unmount()
    assert mount.wait() == 0


def test_workers_do_not_take_it_for_theirs(service):
    mount = service()
    mount.restart()
    if os.geteuid() != 0:
        pytest.skip("needs root: who does not dump shows its environment to root alone")
    for pid in mount.pids():
        if pid != mount.process.pid:
            words = pathlib.Path("/proc", str(pid), "environ").read_bytes()
            assert b"NOTIFY_SOCKET" not in words and b"LISTEN_" not in words


def test_in_the_foreground_readiness_alone(service, manager):
    """Type=notify without --service: nothing is held, and SIGTERM ends the mount."""
    mount = service(word="-f")
    assert manager.status().startswith("Serving 1 disk;")
    assert manager.names() == [] and not manager.said("FDSTORE")
    mount.process.terminate()
    assert mount.wait() == 0 and not mount.mounted()
    assert manager.said("STOPPING") == ["1"]


def test_without_a_manager(service, manager):
    """Nobody holds anything: SIGTERM ends the mount."""
    mount = service(begin=False)
    mount.notify = False
    mount.spawn()
    wait_until(mount.ready, timeout=60, what="the mount")
    mount.process.terminate()
    assert mount.wait() == 0 and not mount.mounted()
    assert not manager.messages


def test_with_one_that_holds_nothing(service, place):
    (place / "m").mkdir()
    poor = Manager(place / "m", most=0)
    mount = service(by=poor)
    mount.process.terminate()
    assert mount.wait() == 0 and not mount.mounted()
    assert "FileDescriptorStoreMax=32" in mount.said()
    poor.close()


def test_with_one_that_is_gone(service, place):
    (place / "m").mkdir()
    gone = Manager(place / "m")
    mount = service(by=gone)
    gone.close()
    os.unlink(gone.address)
    mount.process.terminate()
    assert mount.wait() == 0 and not mount.mounted()


@pytest.mark.parametrize("address", ["relative", "@", f"/{'x' * 200}"])
def test_an_address_that_is_none(zramfs, address):
    mount = zramfs(CONFIG, prefix=["env", f"NOTIFY_SOCKET={address}"])
    assert mount.said() == (f"zramfs: NOTIFY_SOCKET={address}: not the path of a socket, nor @ and "
                            "a name: nobody is told anything\n")


def test_one_process_has_nobody_to_leave_it_to(refused, place):
    (place / "z").mkdir()
    assert "--no-keeper" in refused(place / "z", "--service", "--no-keeper")


def test_a_start_that_fails_leaves_nothing(service, manager, place):
    crashes = Crashes(place)
    mount = service(begin=False, prefix=crashes.prefix("start"))
    mount.status = None
    crashes.allow(1)
    heard = mount.spawn()
    if mount.process.wait(60) == 0 or crashes.left():
        pytest.skip("not a debug build")
    assert not manager.said("READY", heard) and mount.process.returncode == 1
    assert not mount.mounted() and manager.names() == []
    mount.start()


def test_a_configuration_that_is_wrong_at_first(service, manager):
    mount = service("[disk0]\ndisksize = much\n", begin=False)
    mount.status = 1
    mount.spawn()
    assert mount.process.wait(30) == 1
    assert not mount.mounted() and manager.names() == [] and not manager.said("READY")


def run_to_end(mount):
    before = mount.said()
    mount.spawn()
    assert mount.process.wait(60) == 1
    return mount.said()[len(before):]


# What is held is not as it should be


def test_what_is_of_no_use_is_let_go(service, manager):
    mount = service()
    wait_until(lambda: all_held(manager, "zramfs-wire"), what="all to be held")
    mount.leave()
    manager.add("zramfs-unheard-of-7", os.open("/dev/null", os.O_RDWR))
    manager.add("unknown", os.open("/dev/zero", os.O_RDWR))
    manager.add("zramfs-config-1", os.memfd_create("older"))
    manager.add(f"zramfs-wire-{os.getpid()}", dead_wire())
    mount.start()
    wait_until(lambda: all_held(manager, "zramfs-wire"), what="the rest to go")
    assert "holds zramfs-unheard-of-7, which is of no use" in mount.said()
    assert mount.config.read_text() == CONFIG


def dead_wire():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    return ours.detach()


@pytest.mark.parametrize("kind, words", [
    ("fuse", "zramfs-fuse is missing"), ("store", "zramfs-store is missing"),
    ("config", "zramfs-config is missing"), ("wire", "process")])
def test_something_is_missing(service, manager, kind, words):
    """It is refused in one line, and the worker goes on, with a keeper of its own in the end."""
    mount = service()
    mount.disk("disk0").write_bytes(text_pages(10))
    mount.leave()
    served = mount.serving()
    manager.drop(kind)
    if kind == "wire":  # whose worker has made itself a keeper already
        served = next_generation(mount, served)
        wait_until(lambda: f"generation {served.number} serves" in mount.said(),
                   what="the line about it")
    line = mount.refuses()
    assert "cannot take over what the service manager holds: " in line and words in line
    assert mount.serving() == served
    manager.drop()
    if kind != "wire":
        next_generation(mount, served)
    assert mount.disk("disk0").read_bytes()[:10 * PAGE] == text_pages(10)
    assert "in use: something is mounted there already" in run_to_end(mount)
    mount.status = None


def other_file(kind):
    if kind == "wire":
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)[0].detach()
    return os.open("/dev/null", os.O_RDWR)


@pytest.mark.parametrize("kind, words", [
    ("fuse", "zramfs-fuse is not /dev/fuse"), ("store", "zramfs-store is no store of zramfs"),
    ("config", "zramfs-config is no file"), ("program", "zramfs-program is no file"),
    ("entries", "zramfs-entries are none that this program knows"),
    ("backing0", "zramfs-backing0 is neither file nor block device"), ("wire", "is no wire")])
def test_something_is_of_another_kind(service, manager, kind, words):
    mount = service()
    mount.leave()
    served = mount.serving()
    kept = dup_of(manager, kind) if kind != "wire" else None
    name = kept[0] if kept else f"zramfs-{kind}-77"
    if kept:
        manager.drop(kind)
    manager.add(name, other_file(kind))
    assert words in mount.refuses()
    assert mount.serving() == served
    # With what it should be, all goes on.
    with manager.changed:
        manager._remove(name)
    if kept:
        manager.add(*kept)
    mount.start()
    assert mount.serving().number == served.number + 1


def test_something_is_there_twice(service, manager):
    mount = service()
    mount.leave()
    served = mount.serving()
    name = "zramfs-store-99"
    manager.add(name, os.memfd_create("another"))
    assert f"{name} is there twice, and they differ" in mount.refuses()
    assert mount.serving() == served
    with manager.changed:
        manager._remove(name)
    mount.start()


def test_what_is_of_another_mount(service, manager, place):
    """A unit that was edited to mount elsewhere."""
    mount = service()
    mount.leave()
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    at = mount.args.index(str(mount.point))
    mount.args[at] = str(elsewhere)
    mount.spawn()
    assert mount.process.wait(60) == 1
    assert f"{elsewhere}: cannot take over" in mount.said()
    assert f"it is of the mount at {mount.point}" in mount.said()
    assert str(elsewhere) not in mounts()
    mount.args[at] = str(mount.point)
    mount.start()


def test_descriptors_of_two_mounts(service, place):
    managers = []
    for name in ("one", "two"):
        (place / name).mkdir()
        managers.append(Manager(place / name))
    one, two = (service(by=manager) for manager in managers)
    one.leave()
    (name, fd), = managers[0].of("fuse")
    (_, other), = managers[1].of("fuse")
    kept = os.dup(fd)
    managers[0].drop("fuse")
    managers[0].add(name, os.dup(other))
    if "fuse_connection" not in pathlib.Path(f"/proc/self/fdinfo/{other}").read_text():
        pytest.skip("this kernel does not tell which mount /dev/fuse is connected to")
    assert "zramfs-fuse is of another mount" in one.refuses()
    managers[0].drop("fuse")
    managers[0].add(name, kept)
    one.start()
    for mount, manager in zip((one, two), managers):
        mount.stop()
        manager.close()


def test_a_backing_file_of_a_mount_that_is_gone(service, manager, place):
    """The manager still has it open, and with that its lock, when the next one opens it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: umount -l")
    mount = service(section(disksize="8M", backing_dev=place / "back", backing_size="16M"))
    wait_until(lambda: all_held(manager, "zramfs-wire", "zramfs-backing0"), what="all to be held")
    pids = mount.pids()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)
    mount.process.wait(20)
    wait_gone(pids)
    run("umount", "--lazy", mount.point)
    mount.start()
    assert mount.serving().number == 1


@pytest.fixture
def connections(machine):
    """Where the kernel shows FUSE's."""
    if not CONNECTIONS.is_mount():
        run("mount", "-t", "fusectl", "none", CONNECTIONS)
        machine.later(lambda: run("umount", CONNECTIONS))


@pytest.mark.root
def test_a_users_mount_that_ends_while_it_is_held(service, place, user, fuse_for_all, connections):
    """Its keeper cannot cut it as root does, and the manager, which has /dev/fuse open, does not read:
    it may wait for this very mount."""
    (place / "m").mkdir()
    own = Manager(place / "m")
    os.chmod(own.address, 0o666)
    mount = service(by=own, user=user)
    (_, store), = own.of("store")
    forget_resend(store)
    mount.restart()
    served = mount.serving()
    with own.busy():
        os.close(send(served.pid, signal.SIGKILL))
        assert mount.process.wait(30) == 1
    mount.status = 1
    assert "cannot send its requests again" in mount.said()
    assert not mount.mounted()
    own.close()


def test_a_store_of_another_version(service, manager):
    mount = service()
    mount.leave()
    served = mount.serving()
    (_, store), = manager.of("store")
    version = os.pread(store, 4, SHELF_START)
    assert version == (1).to_bytes(4, sys.byteorder)
    os.pwrite(store, (2).to_bytes(4, sys.byteorder), SHELF_START)
    assert "is of version 2, and this program knows 1" in mount.refuses()
    os.pwrite(store, version, SHELF_START)
    assert mount.serving() == served
    mount.start()
