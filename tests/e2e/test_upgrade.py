"""The worker is replaced by one of another binary, under load: nobody notices but by a pause."""

import errno
import os
import pathlib
import random
import shutil
import signal
import threading

import pytest

from data import text_pages
from host import errno_of, run, wait_until
from kills import (LOADS, Loads, ask, generation, is_there, keeper, kill, next_generation,
                   processes_of, upgrade, wait_gone, within)
from test_ctl import alone_prefix
from zramfs import BINARY, CTL, Zramfs

pytestmark = pytest.mark.skipif(not LOADS.is_dir(), reason=f"{LOADS} is not built")

CONFIG = "[disk0]\ndisksize = 1M\n"


@pytest.fixture
def loads(place):
    with Loads(place) as programs:
        yield programs


def runs(served):
    return os.readlink(f"/proc/{served.pid}/exe")


def test_to_a_path(mount, binaries):
    mount.disk("disk0").write_bytes(text_pages(10))
    held = os.open(mount.disk("disk0"), os.O_RDONLY)
    before, top = generation(mount), keeper(mount)
    after = upgrade(mount, binaries[0])
    assert after.number == before.number + 1
    assert os.path.samefile(f"/proc/{after.pid}/exe", binaries[0])
    assert keeper(mount) == top and not is_there(before.pid)
    assert os.read(held, 1 << 20) == text_pages(10)
    os.close(held)
    assert str(after.number) in ask(mount, ".control", "zramfs", "upgrade")

    # and what follows it is of the same binary
    served, _ = kill(mount)
    assert os.path.samefile(f"/proc/{next_generation(mount, served).pid}/exe", binaries[0])


def test_to_what_is_at_its_own_path(zramfs, place, binaries):
    """SIGUSR2, and an empty line: what a package put in place of the binary."""
    mount = Zramfs(place / "own", CONFIG) if (place / "own").mkdir() is None else None
    mount.args[0] = str(place / "bin" / "zramfs")
    shutil.copy(BINARY, mount.args[0])
    mount.start()
    try:
        os.rename(binaries[0], mount.args[0])
        served = generation(mount)
        os.kill(keeper(mount), signal.SIGUSR2)
        after = next_generation(mount, served)
        assert os.path.samefile(f"/proc/{after.pid}/exe", mount.args[0])

        os.rename(binaries[1], mount.args[0])
        after = upgrade(mount, "")
        assert os.path.samefile(f"/proc/{after.pid}/exe", mount.args[0])
    finally:
        mount.stop()


@pytest.mark.skipif(not CTL.exists(), reason="no zramfsctl")
def test_by_zramfsctl(mount, binaries):
    served = generation(mount)
    run(CTL, "upgrade", binaries[0], mount.point)
    after = next_generation(mount, served)
    assert os.path.samefile(f"/proc/{after.pid}/exe", binaries[0])


@pytest.fixture
def at_paths(place):
    """Mounts of one disk each, whose programs lie at paths of their own."""
    started = []
    for name in ("first", "second"):
        (place / name).mkdir()
        mount = Zramfs(place / name, CONFIG)
        mount.args[0] = str(place / name / "zramfs")
        shutil.copy(BINARY, mount.args[0])
        started.append(mount.start())
    yield started
    for mount in started:
        mount.stop()


@pytest.mark.root
@pytest.mark.skipif(not CTL.exists(), reason="no zramfsctl")
def test_all_mounts_whose_program_was_replaced(at_paths, place, binaries):
    """As the postinst of a package asks for; the others are left alone."""
    def upgrade_all(*args, status=0):
        done = run(*alone_prefix(place), CTL, "upgrade", "--all", *args, check=False)
        assert done.returncode == status, done.stderr
        return done

    before = [generation(mount) for mount in at_paths]
    assert upgrade_all().stdout == ""
    assert [generation(mount) for mount in at_paths] == before

    os.rename(binaries[0], at_paths[0].args[0])
    said = upgrade_all().stdout
    assert [generation(mount).number - old.number for mount, old in zip(at_paths, before)] == [1, 0]
    after = generation(at_paths[0])
    assert said.startswith(f"{at_paths[0].point}: generation {after.number} (pid {after.pid}) ")
    assert os.path.samefile(f"/proc/{after.pid}/exe", at_paths[0].args[0])

    # what has nothing in the place of its program goes on, and that is an error
    pathlib.Path(at_paths[1].args[0]).unlink()
    assert str(at_paths[1].point) in upgrade_all(status=1).stderr
    assert generation(at_paths[1]) == before[1]

    upgrade_all(binaries[1])
    for mount in at_paths:
        assert os.path.samefile(f"/proc/{generation(mount).pid}/exe", binaries[1])
    assert "name none" in upgrade_all(at_paths[0].point, status=2).stderr


def test_what_is_no_worker_is_refused(mount, place):
    """The old one goes on, the writer has the errno, and the log says why."""
    empty, text = place / "empty", place / "text"
    empty.touch(0o755)
    text.write_text("not a program\n")
    text.chmod(0o755)
    mount.disk("disk0").write_bytes(text_pages(10))
    served = generation(mount)
    for path, wanted in ((place / "not-there", (errno.ENOENT,)),
                         (place, (errno.EACCES, errno.EISDIR, errno.EINVAL, errno.ENOEXEC)),
                         (empty, (errno.ENOEXEC,)), (text, (errno.ENOEXEC,)),
                         ("/bin/true", (errno.ENOEXEC,)), ("relative", (errno.EINVAL,))):
        got = within(90, errno_of, mount.set, "zramfs", "upgrade", f"{path}\n")
        assert got in wanted, f"{path}: {errno.errorcode.get(got, got)}"
        assert generation(mount) == served
    assert "failed" in ask(mount, ".control", "zramfs", "upgrade")
    assert "not upgraded" in mount.said()
    assert mount.disk("disk0").read_bytes() == text_pages(10)
    served, _ = kill(mount)
    next_generation(mount, served)
    assert mount.disk("disk0").read_bytes() == text_pages(10)


def test_not_executable(mount, binaries):
    binaries[0].chmod(0o644)
    served = generation(mount)
    got = within(60, errno_of, mount.set, "zramfs", "upgrade", f"{binaries[0]}\n")
    assert got in (errno.EACCES, errno.ENOEXEC)
    assert generation(mount) == served


@pytest.mark.root
def test_only_whose_mount_it_is(mount, user, binaries):
    done = run("sh", "-c", f"echo {binaries[0]} > {mount.control('zramfs', 'upgrade')}", user=user,
               check=False)
    assert done.returncode != 0
    assert generation(mount).number == 1


def test_to_and_fro_under_load(zramfs, loads, binaries):
    mount = zramfs("[defaults]\n")
    loads.start("io", mount.disk("io0"), 3)
    loads.start("names", mount.point, "name")
    loads.start("names", mount.point, "both", "contend")
    for turn in range(8):
        upgrade(mount, binaries[turn % 2])
        loads.check()
        if turn % 3 == 2:
            served, _ = kill(mount)
            next_generation(mount, served)
    loads.stop()
    left = processes_of(mount)
    mount.unmount()
    assert mount.wait() == 0
    wait_gone(left)


def test_killed_while_it_is_upgraded(zramfs, loads, binaries):
    """At any instant of an upgrade: one of the two goes on."""
    mount = zramfs("[defaults]\n")
    loads.start("io", mount.disk("io0"), 3)
    chance = random.Random(4)
    for turn in range(8):
        served = generation(mount)
        writer = threading.Thread(target=lambda: errno_of(mount.set, "zramfs", "upgrade",
                                                          f"{binaries[turn % 2]}\n"), daemon=True)
        writer.start()
        threading.Event().wait(chance.uniform(0, 0.08))
        kill(mount)
        writer.join(60)
        assert not writer.is_alive()
        next_generation(mount, served)
        loads.check()
    loads.stop()


def test_a_binary_that_is_gone(zramfs, place, binaries):
    """What serves needs no file: neither to go on, nor to be followed."""
    mount = zramfs(CONFIG)
    mount.disk("disk0").write_bytes(text_pages(10))
    upgrade(mount, binaries[0])
    pathlib.Path(binaries[0]).unlink()
    served, _ = kill(mount)
    next_generation(mount, served)
    assert mount.disk("disk0").read_bytes() == text_pages(10)
    wait_until(lambda: len(processes_of(mount)) == 3, what="a spare worker")
