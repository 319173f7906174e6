"""Workers that die of themselves: of one request, or always.

Debug builds die at named points, each time that a file can be taken out of a directory: that is
what ZRAMFS_CRASH says.
"""

import errno
import os
import threading

import pytest

from data import PAGE, text_page, text_pages
from host import errno_of, wait_until
from kills import generation, is_there, kill, next_generation, processes_of, wait_gone, within

POISON = 0x7a000


class Crashes:
    """What lets a daemon die: a directory with one file for each time."""

    def __init__(self, place):
        self.directory = place / "crashes"
        self.directory.mkdir()
        self.directory.chmod(0o777)

    def prefix(self, point):
        return ["env", f"ZRAMFS_CRASH={point}:{self.directory}"]

    def allow(self, times):
        for number in range(times):
            (self.directory / f"{number}").touch()

    def left(self):
        return len(os.listdir(self.directory))


@pytest.fixture
def crashes(place):
    return Crashes(place)


@pytest.fixture
def poisoned(zramfs, crashes):
    """A mount with a page that kills whoever reads it."""
    mount = zramfs("[poison]\ndisksize = 1M\n[disk0]\ndisksize = 1M\n",
                   prefix=crashes.prefix("poison!"))
    for name in ("poison", "disk0"):
        with open(mount.disk(name), "r+b") as file:
            file.write(text_pages(130))
    crashes.allow(1)
    fd = os.open(mount.disk("poison"), os.O_RDONLY)
    with open(f"/proc/{generation(mount).pid}/maps") as maps:  # it is there
        assert maps.read()
    if within(40, errno_of, os.pread, fd, PAGE, POISON) == 0 and crashes.left() == 1:
        os.close(fd)
        pytest.skip("not a debug build")
    yield mount, fd
    os.close(fd)


def test_one_death_is_survived(poisoned, crashes):
    """Of the first death nobody knows yet that it will happen again: the reader gets its page."""
    mount, fd = poisoned
    assert crashes.left() == 0
    assert os.pread(fd, PAGE, POISON) == text_page(POISON // PAGE)
    assert mount.json()["total"]["poisoned_requests"] == 0
    assert generation(mount).number == 2


def test_a_request_that_kills_is_answered_by_an_error(poisoned, crashes):
    mount, fd = poisoned
    crashes.allow(10)
    before = generation(mount)
    assert within(40, errno_of, os.pread, fd, PAGE, POISON) == errno.EIO
    assert crashes.left() == 8
    assert generation(mount).number == before.number + 2
    assert mount.json()["total"]["poisoned_requests"] == 1
    said = wait_until(lambda: [line for line in mount.said().splitlines() if "disk poison" in line],
                      what="the line about it")
    assert len(said) == 1, mount.said()

    # all else is served
    assert os.pread(fd, PAGE, POISON - PAGE) == text_page(POISON // PAGE - 1)
    assert os.pread(fd, PAGE, POISON + PAGE) == text_page(POISON // PAGE + 1)
    assert mount.disk("disk0").read_bytes()[:130 * PAGE] == text_pages(130)
    assert generation(mount).number == before.number + 2


def test_one_poisoned_page_does_not_end_the_mount(poisoned, crashes):
    """Readers try again: a filesystem, a shell loop. Each of them gets its error, and all other
    disks go on."""
    mount, fd = poisoned
    crashes.allow(100)
    for _ in range(4):
        assert within(40, errno_of, os.pread, fd, PAGE, POISON) == errno.EIO
    assert mount.disk("disk0").read_bytes()[:130 * PAGE] == text_pages(130)
    assert mount.json()["total"]["poisoned_requests"] == 4


def test_others_in_hand_are_not_blamed(poisoned, crashes):
    """Requests that were under way beside it are served, each time."""
    mount, fd = poisoned
    going, wrong = threading.Event(), []
    going.set()

    def read():
        with open(mount.disk("disk0"), "rb", buffering=0) as file:
            while going.is_set():
                for page in range(0, 130, 10):
                    got = os.pread(file.fileno(), PAGE, page * PAGE)
                    if got != text_page(page):
                        wrong.append(page)

    def read_and_note():
        try:
            read()
        except OSError as error:
            wrong.append(error)

    threads = [threading.Thread(target=read_and_note, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    crashes.allow(2)
    assert within(40, errno_of, os.pread, fd, PAGE, POISON) == errno.EIO
    going.clear()
    for thread in threads:
        thread.join(20)
    assert not wrong


# Always


def looping(zramfs, crashes):
    mount = zramfs("[disk0]\ndisksize = 1M\n", prefix=crashes.prefix("start!"))
    mount.disk("disk0").write_bytes(text_pages(3))
    crashes.allow(1)
    served, _ = kill(mount)
    next_generation(mount, served)
    if crashes.left() == 1:
        pytest.skip("not a debug build")
    return mount


def test_some_deaths_in_a_row_are_survived(zramfs, crashes):
    mount = looping(zramfs, crashes)
    crashes.allow(3)
    served, _ = kill(mount)
    next_generation(mount, served)
    assert crashes.left() == 0
    assert mount.disk("disk0").read_bytes() == text_pages(3)


def test_a_crash_loop_ends_the_mount(zramfs, crashes):
    """With one line, and an error for whoever waits or comes: never a hang."""
    mount = looping(zramfs, crashes)
    mount.status = None
    fd = os.open(mount.disk("disk0"), os.O_RDONLY)
    left = processes_of(mount)
    crashes.allow(20)
    kill(mount)
    assert within(60, errno_of, os.pread, fd, PAGE, 0) in (errno.ENOTCONN, errno.ECONNABORTED)
    assert mount.process.wait(timeout=20) == 1
    wait_gone(left)
    assert within(20, errno_of, os.stat, mount.disk("disk0")) in (errno.ENOTCONN, errno.ENOENT)
    said = [line for line in mount.said().splitlines() if "in a row" in line]
    assert len(said) == 1 and str(mount.point) in said[0], mount.said()
    os.close(fd)
    assert not [pid for pid in mount.pids() if is_there(pid)]


def test_a_first_worker_that_cannot_start(place, refused, crashes):
    """Nothing is mounted, and the command says so in a line."""
    (place / "z").mkdir()
    crashes.allow(20)
    line = refused(place / "z", prefix=crashes.prefix("start!"))
    assert "signal 11" in line or "Segmentation" in line


def test_a_worker_killed_at_a_point(zramfs, crashes):
    """The plain form: by SIGKILL, and as often as there are files."""
    mount = zramfs("[poison]\ndisksize = 1M\n", prefix=crashes.prefix("poison"))
    with open(mount.disk("poison"), "r+b") as file:
        file.write(text_pages(130))
    crashes.allow(3)
    fd = os.open(mount.disk("poison"), os.O_RDONLY)
    assert within(40, os.pread, fd, PAGE, POISON) == text_page(POISON // PAGE)
    os.close(fd)
    if crashes.left() == 3:
        pytest.skip("not a debug build")
    assert crashes.left() == 0
    assert generation(mount).number == 4
    assert mount.json()["total"]["poisoned_requests"] == 0
    wait_until(lambda: mount.json()["disks"][0]["in_use"] == 0, what="the handle to be closed")
