"""Fixtures of the recipes' tests.

    ZRAMFS_BIN=build/zramfs/zramfs pytest-3 tests/recipes

A recipe is run as a person would, in a temporary directory of its own. That it ends with 0 is not
enough: nothing of it may be left, neither a mount nor a loop device, swap, a process or a file.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPES = ROOT / "contrib/recipes"
sys.path.insert(0, str(ROOT / "tests/e2e"))

from host import (PATH, Alone, User, add_markers, lacking, loops_on, mounts, swaps,  # noqa: E402
                  wait_until, why_not)
from zramfs import BINARY, CTL  # noqa: E402

PREFIX = f"zramfs-recipes-{os.getpid()}-"
NOBODY = 65534


def pytest_configure(config):
    add_markers(config)


def pytest_runtest_setup(item):
    reason = why_not(item)
    if reason is None and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        reason = "no usable /dev/fuse"
    if reason:
        pytest.skip(reason)


@pytest.fixture(autouse=True, scope="session")
def binary():
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is not there: build it, or set ZRAMFS_BIN", returncode=2)


def mounts_below(path):
    return [point for point in mounts() if point.startswith(f"{path}/")]


def processes_about(path):
    """{pid: command} of processes with this path in an argument, or as their TMPDIR."""
    found, wanted = {}, os.fsencode(str(path))
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            if wanted in command or wanted in (entry / "environ").read_bytes():
                found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            pass  # it ended, or is the kernel's
    return found


def leftovers(path):
    """What there is of a recipe that is over, as lines."""
    return ([f"mount {point}" for point in mounts_below(path)] +
            [f"loop device {device}" for device in loops_on(path)] +
            [f"process {pid}: {command}" for pid, command in processes_about(path).items()] +
            [f"file {found}" for found in sorted(path.iterdir())])


def clear(path):
    """By force."""
    for device in loops_on(path):
        if device in swaps():
            subprocess.run(["swapoff", device], env={**os.environ, "PATH": PATH}, timeout=60)
        subprocess.run(["losetup", "-d", device], env={**os.environ, "PATH": PATH}, timeout=60)
    for pid in processes_about(path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for point in sorted(mounts_below(path), reverse=True):
        subprocess.run(["umount", "-l", point], timeout=60)


@pytest.fixture
def place():
    """A private directory that an ordinary user can also pass through."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


class Done:
    """A recipe that is over: status, stdout, stderr, and the figures of its tables."""

    def __init__(self, process, stdout, stderr):
        self.status, self.stdout, self.stderr = process.returncode, stdout, stderr

    def row(self, title):
        """The figure in the row of that title, in MiB where it says so, else as a number."""
        found = re.search(rf"^ +{re.escape(title)} +(-?[0-9.]+)( MiB)?", self.stdout, re.M)
        assert found, f"no row {title!r} in:\n{self.stdout}"
        return float(found[1])

    def ok(self, what):
        """Did it check this, and say so?"""
        return re.search(rf"^ok: {re.escape(what)}", self.stdout, re.M) is not None


def interruptible():
    """As at a terminal, also where the tests run in the background of a script."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Recipes:
    """Runs recipes; see the fixture."""

    def __init__(self, place, all_programs):
        self.place, self.all_programs, self.hidden = place, all_programs, {}
        self.tmp = place / "tmp"
        self.tmp.mkdir()
        self.tmp.chmod(0o1777)

    def environment(self, user=None, env=None):
        return {**os.environ, "PATH": PATH, "LC_ALL": "C", "TMPDIR": str(self.tmp),
                "ZRAMFS_BIN": str(user.binary if user else BINARY),
                **(user.env() if user else {}), **(env or {})}

    def begin(self, name, *args, user=None, env=None):
        """Start it and do not wait; for recipes that stay. Return: Popen, for end()."""
        prefix = user.prefix() if user else []
        recipes = user.home / "contrib/recipes" if user else RECIPES
        with open(self.place / "stdout", "w") as out, open(self.place / "stderr", "w") as err:
            return subprocess.Popen([*prefix, str(recipes / name), *map(str, args)],
                                    cwd=self.place, env=self.environment(user, env),
                                    stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                    start_new_session=True, preexec_fn=interruptible)

    def said(self, name="stdout"):
        return (self.place / name).read_text(errors="replace")

    def stays(self, process, timeout=60):
        """Wait until it says so."""
        wait_until(lambda: process.poll() is not None or "== It stays" in self.said(),
                   timeout=timeout, what="It stays")
        assert process.poll() is None, self.said() + self.said("stderr")

    def end(self, process, status=0, timeout=120):
        """Wait for it, and that nothing is left of it. Return: Done."""
        try:
            process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        done = Done(process, self.said(), self.said("stderr"))
        assert done.status == status, (f"status {done.status}, not {status}\n"
                                       f"{done.stdout}\n{done.stderr}")
        # A daemon ends a moment after its mount; what does not is told of by the fixture.
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not leftovers(self.tmp), step=0.05)
        return done

    def __call__(self, name, *args, status=0, timeout=120, user=None, env=None):
        return self.end(self.begin(name, *args, user=user, env=env), status, timeout)

    def path_without(self, *programs):
        """A PATH on which these programs are not, until the test ends."""
        for name in programs:
            link = self.all_programs / name
            if link.is_symlink():
                self.hidden[link] = os.readlink(link)
                link.unlink()
        return str(self.all_programs)

    def show_hidden(self):
        for link, target in self.hidden.items():
            link.symlink_to(target)


@pytest.fixture(scope="session")
def all_programs():
    """A directory with a link to each program of the PATH: thousands, so in memory if possible."""
    found = {}
    for source in PATH.split(os.pathsep):
        if os.path.isdir(source):
            found = {**{entry.name: entry.path for entry in os.scandir(source)}, **found}
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=f"recipes-{os.getpid()}-", dir=memory) as directory:
        os.chmod(directory, 0o755)
        for name, path in found.items():
            os.symlink(path, os.path.join(directory, name))
        yield pathlib.Path(directory)


@pytest.fixture
def recipe(place, all_programs):
    """recipe(name, *arguments, status=0, user=None, env=None): run contrib/recipes/name."""
    recipes = Recipes(place, all_programs)
    yield recipes
    recipes.show_hidden()
    left = leftovers(recipes.tmp)
    if left:
        clear(recipes.tmp)
    assert not left, "\n".join(left)


@pytest.fixture
def user(place):
    """An ordinary user with copies of their own, since ours may be closed to them; and /dev/fuse for
    all."""
    home = place / "home"
    (home / "bin").mkdir(parents=True)
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    person = User(uid, home)
    for program in (BINARY, CTL):
        shutil.copy(program, home / "bin")
    shutil.copytree(RECIPES, home / "contrib/recipes")
    shutil.copy(RECIPES.parent / "lib.sh", home / "contrib")
    if os.geteuid() != 0:
        yield person
        return
    if lacking("setpriv"):
        pytest.skip("no setpriv")
    os.chown(home, uid, uid)
    alone = Alone("fuse")
    mode = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    os.chmod("/dev/fuse", mode | 0o666)
    yield person
    os.chmod("/dev/fuse", mode)
    alone.release()
