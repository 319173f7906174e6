"""Fixtures of the end-to-end tests.

    ZRAMFS_BIN=build/zramfs/zramfs pytest-3 tests/e2e

A clean read-back is not enough: the daemon must also exit 0, leave no process, mount or loop
device behind, and have said nothing alarming, or a sanitizer's report would pass unseen.

Tests that need root, loop devices or a memory cgroup are skipped, with the reason, where those
are missing. A test that takes longer than its limit (180 s, or @pytest.mark.limit(seconds)) has its
daemons killed, which ends whatever was waiting for them.
"""

import faulthandler
import os
import pathlib
import shutil
import signal
import stat
import sys
import tempfile
import threading

import pytest

from host import (Alone, Host, User, add_markers, lacking, loops_on, mounts, processes_with, run,
                  why_not)
from zramfs import BINARY, Zramfs

PREFIX = f"zramfs-e2e-{os.getpid()}-"
NOBODY = 65534


def pytest_configure(config):
    config.addinivalue_line("markers", "limit(seconds): how long the test may take")
    add_markers(config)


def pytest_runtest_setup(item):
    reason = why_not(item)
    if reason:
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def watchdog(request):
    marker = request.node.get_closest_marker("limit")
    seconds = marker.args[0] if marker else 180
    fired = threading.Event()

    def bark():
        fired.set()
        print(f"\n{request.node.nodeid}: still running after {seconds} s", file=sys.__stderr__)
        faulthandler.dump_traceback(file=sys.__stderr__)
        for mount in list(Zramfs.live):
            mount.kill()

    timer = threading.Timer(seconds, bark)
    timer.daemon = True
    timer.start()
    yield
    timer.cancel()
    assert not fired.is_set(), f"took more than {seconds} s"


@pytest.fixture(autouse=True, scope="session")
def binary():
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is not there: build it, or set ZRAMFS_BIN", returncode=2)


@pytest.fixture
def place():
    """A private directory that an ordinary user can also pass through."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
    path.chmod(0o755)
    yield path
    left = [point for point in mounts() if point.startswith(f"{path}/")]
    assert not left, f"still mounted: {left}"
    assert not loops_on(path), "a loop device is left"
    shutil.rmtree(path)


@pytest.fixture
def zramfs(place):
    """zramfs(config, *options, ...): a mount that is ready. See Zramfs for the keywords."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no usable /dev/fuse")
    started = []

    def start(config=None, *options, **kwargs):
        own = place / str(len(started))
        own.mkdir()
        mount = Zramfs(own, config, *options, **kwargs)
        started.append(mount)
        return mount.start()

    yield start

    errors = []
    for mount in reversed(started):
        try:
            mount.stop()
        except Exception as error:  # the next one must be stopped all the same
            errors.append(f"{type(error).__name__}: {error}")
    assert not errors, "\n".join(errors)


@pytest.fixture
def refused(place):
    """refused(*arguments): zramfs says no. Return: its one line, without the newline.

    Nothing may be mounted and nothing may still run; should it start after all, it is ended here.
    """

    def own_mounts():
        return {point for point in mounts() if point.startswith(f"{place}/")}

    def check(*args, binary=BINARY, prefix=(), **kwargs):
        paths = [arg for arg in args if str(arg).startswith(f"{place}/")]
        before = own_mounts()
        pids_before = {pid for path in paths for pid in processes_with(path)}
        try:
            done = run(*prefix, binary, *args, check=False, timeout=20, **kwargs)
            assert done.returncode != 0, f"it succeeded: {done.stdout}{done.stderr}"
            lines = done.stderr.splitlines()
            assert len(lines) == 1 and done.stderr.endswith("\n"), f"not one line: {lines}"
            assert lines[0].startswith("zramfs: "), lines[0]
            assert done.stdout == ""
            assert not own_mounts() - before, "left a mount"
            return lines[0]
        finally:
            for pid in {pid for path in paths for pid in processes_with(path)} - pids_before:
                os.kill(pid, signal.SIGKILL)
            for point in own_mounts() - before:
                run("umount", "-l", point)

    return check


@pytest.fixture
def machine(place, zramfs):
    """Loop devices, mounts, swap and processes, undone before the mounts that they lie on."""
    undoing = Host(place)
    yield undoing
    undoing.undo()


@pytest.fixture
def mount(zramfs):
    """The mount of most tests: one disk, disk0, of 64 MiB, with the defaults."""
    return zramfs("[disk0]\ndisksize = 64M\n")


@pytest.fixture
def user(place):
    """An ordinary user: nobody if the tests run as root, else whoever runs them."""
    home = place / "home"
    (home / "bin").mkdir(parents=True)
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    person = User(uid, home)
    shutil.copy(BINARY, person.binary)  # its own directory may be closed to others
    if os.geteuid() == 0:
        if lacking("setpriv"):
            pytest.skip("no setpriv")
        os.chown(home, uid, uid)
    return person


@pytest.fixture
def fuse_for_all():
    """/dev/fuse as udev leaves it on a desktop: for everyone."""
    alone = Alone("fuse")
    try:
        yield from fuse_opened()
    finally:
        alone.release()


def fuse_opened():
    try:
        mode = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    except OSError:
        pytest.skip("no /dev/fuse")
    if mode & 0o666 == 0o666:
        yield
        return
    if os.geteuid() != 0:
        pytest.skip("/dev/fuse is closed to this user")
    os.chmod("/dev/fuse", 0o666)
    yield
    os.chmod("/dev/fuse", mode)


@pytest.fixture(autouse=True, scope="session")
def nothing_left():
    """At the very end: no mount of any test, and nothing new in /dev/shm."""
    shm = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    yield
    prefix = os.path.join(tempfile.gettempdir(), PREFIX)
    assert not [point for point in mounts() if point.startswith(prefix)]
    new = set(os.listdir("/dev/shm")) - shm if shm else set()
    assert not [name for name in new if "zram" in name]


@pytest.fixture
def binaries(place):
    """Two other builds, as far as anybody can tell: the same program at other paths."""
    paths = [place / "bin" / name for name in ("one", "two")]
    paths[0].parent.mkdir()
    for path in paths:
        shutil.copy(BINARY, path)
    return paths
