"""A worker dies in the middle of a change, and whoever asked for it gets the answer that an
undisturbed one would have given, for a change that was made once.

Debug builds die at named points (ZRAMFS_CRASH): before the effect of a change, after it, once its
answer is kept, and once it was given; between a handle and its answer; and once it was closed.
"""

import errno
import os
import stat
import threading
import time

import pytest

from host import errno_of, wait_until
from kills import generation, kill, next_generation, text_of, within
from zramfs import MIB, write_once


CHANGES = ("effect", "effected", "answer", "replied")


class Deaths:
    """The worker dies when it passes the point, so many times in a row if it comes there again."""

    def __init__(self, token, point):
        self.token, self.point, self.left = token, point, 0

    def prefix(self):
        return ["env", f"ZRAMFS_CRASH={self.point}:{self.token}"]

    def _renew(self):
        """Between the death of one worker and the beginning of the next there is time enough."""
        while self.left > 0:
            if not self.token.exists():
                self.left -= 1
                if self.left > 0:
                    self.token.touch()
            time.sleep(0.0005)

    def of(self, mount, times, change):
        """Call change() meanwhile; what it returns."""
        before = generation(mount)
        self.left = times
        self.token.touch()
        thread = threading.Thread(target=self._renew)
        thread.start()
        try:
            result = within(40, change)
            wait_until(lambda: self.left < times, what=f"a death at {self.point}")
        finally:
            left, self.left = self.left, 0
            thread.join()
            survived = self.token.exists()
            self.token.unlink(missing_ok=True)
        died = times - left + (left > 0 and not survived)
        wait_until(lambda: generation(mount).number == before.number + died,
                   what="the generation after the last death")
        return result


@pytest.fixture
def mount(zramfs, place, request):
    """A mount whose workers die at a point: mount.deaths. Debug builds alone."""
    place.chmod(0o755)
    deaths = Deaths(place / "token", request.param)
    mount = zramfs("[disk0]\ndisksize = 1M\n", prefix=deaths.prefix())
    mount.deaths = deaths
    deaths.token.touch()
    os.mknod(mount.disk("probe"), 0o600 | stat.S_IFREG)
    os.close(os.open(mount.disk("probe"), os.O_RDONLY))
    time.sleep(0.2 if request.param == "released" else 0)
    if deaths.token.exists():
        deaths.token.unlink()
        pytest.skip("not a debug build")
    wait_until(lambda: generation(mount).number == 2, what="the second generation")
    nothing_in_use(mount)
    clear(mount)
    return mount


def names(mount):
    return sorted(name for name in os.listdir(mount.point) if not name.startswith("."))


def in_use(mount):
    return {disk["name"]: disk["in_use"] for disk in mount.json()["disks"] if disk["in_use"]}


def nothing_in_use(mount):
    wait_until(lambda: not in_use(mount), what="handles to be closed")


def written(mount, name, size):
    """A disk with data."""
    path = mount.disk(name)
    with open(path, "wb") as file:
        file.write(name.encode() * (size // len(name)))
    return path


# Each: what comes before; the change; what must be so then.

def change_create(mount):
    def check(fd):
        assert names(mount) == ["new"] and in_use(mount) == {"new": 1}
        assert os.write(fd, b"x" * 8192) == 8192 and os.pread(fd, 100, 8000) == b"x" * 100
        os.close(fd)
    path = mount.disk("new")
    return lambda: os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o640), check


def change_mknod(mount):
    def check(_):
        assert names(mount) == ["new"] and os.stat(mount.disk("new")).st_mode & 0o777 == 0o604
    return lambda: os.mknod(mount.disk("new"), 0o604 | stat.S_IFREG), check


def change_unlink(mount):
    def check(_):
        assert names(mount) == []
    path = written(mount, "old", MIB)
    nothing_in_use(mount)
    return lambda: os.unlink(path), check


def change_rename(mount):
    def check(_):
        assert names(mount) == ["b"] and os.stat(mount.disk("b")).st_ino == node
    path = written(mount, "a", MIB)
    node = os.stat(path).st_ino
    return lambda: os.rename(path, mount.disk("b")), check


def change_rename_over(mount):
    def check(_):
        assert names(mount) == ["b"] and os.stat(mount.disk("b")).st_ino == node
        with open(mount.disk("b"), "rb") as file:
            assert file.read() == b"a" * MIB
    written(mount, "b", MIB)
    path = written(mount, "a", MIB)
    node = os.stat(path).st_ino
    nothing_in_use(mount)
    return lambda: os.rename(path, mount.disk("b")), check


def change_truncate(mount):
    def check(_):
        with open(path, "rb") as file:
            assert file.read() == b"a" * 5000
    path = written(mount, "a", MIB)
    nothing_in_use(mount)
    return lambda: os.truncate(path, 5000), check


def change_ftruncate(mount):
    def check(_):
        assert os.fstat(fd).st_size == 100
        os.close(fd)
    fd = os.open(written(mount, "a", MIB), os.O_RDWR)
    wait_until(lambda: in_use(mount) == {"a": 1}, what="one handle")
    return lambda: os.ftruncate(fd, 100), check


def change_open_truncating(mount):
    def check(fd):
        assert os.fstat(fd).st_size == 0 and in_use(mount) == {"a": 1}
        assert os.write(fd, b"y") == 1
        os.close(fd)
    path = written(mount, "a", MIB)
    nothing_in_use(mount)
    return lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), check


def change_hot_add(mount):
    def check(_):
        assert names(mount) == ["hot"] and os.stat(mount.disk("hot")).st_size == MIB
    path = mount.point / ".control" / "hot_add"
    return lambda: write_once(path, "hot disksize=1M format=swap"), check


def change_hot_remove(mount):
    def check(_):
        assert names(mount) == []
    written(mount, "hot", MIB)
    nothing_in_use(mount)
    return lambda: write_once(mount.point / ".control" / "hot_remove", "hot"), check


def change_disksize(mount):
    def check(_):
        assert os.stat(mount.disk("a")).st_size == MIB
        with pytest.raises(OSError) as caught:
            write_once(mount.control("a", "disksize"), "1M")
        assert caught.value.errno == errno.EBUSY
    os.mknod(mount.disk("a"), 0o600 | stat.S_IFREG)
    return lambda: write_once(mount.control("a", "disksize"), "1M"), check


def change_reset(mount):
    def check(_):
        assert os.stat(mount.disk("a")).st_size == 0
    written(mount, "a", MIB)
    nothing_in_use(mount)
    return lambda: write_once(mount.control("a", "reset"), "1"), check


def change_codec(mount):
    def check(_):
        assert "[zstd]" in text_of(mount.control("a", "comp_algorithm"))
    os.mknod(mount.disk("a"), 0o600 | stat.S_IFREG)
    return lambda: write_once(mount.control("a", "comp_algorithm"), "zstd"), check


CHANGED = [value for name, value in sorted(globals().items()) if name.startswith("change_")]


def clear(mount):
    for name in names(mount):
        nothing_in_use(mount)
        os.unlink(mount.disk(name))


@pytest.mark.parametrize("mount", CHANGES, indirect=True)
def test_a_change(mount):
    for change in CHANGED:
        act, check = change(mount)
        check(mount.deaths.of(mount, 1, act))
        clear(mount)


@pytest.mark.parametrize("mount", ["effect", "effected", "answer"], indirect=True)
def test_a_change_through_many_deaths(mount):
    for change in CHANGED:
        act, check = change(mount)
        check(mount.deaths.of(mount, 3, act))
        clear(mount)


@pytest.mark.parametrize("mount", ["opened"], indirect=True)
@pytest.mark.parametrize("times", [1, 3])
def test_opening(mount, times):
    path = mount.disk("disk0")
    for change in (change_create, change_open_truncating):
        act, check = change(mount)
        check(mount.deaths.of(mount, times, act))
        clear(mount)
    written(mount, "disk0", MIB)
    nothing_in_use(mount)
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT):
        fd = mount.deaths.of(mount, times, lambda flags=flags: os.open(path, flags))
        assert in_use(mount) == {"disk0": 1}
        assert os.pread(fd, 10, 0) == b"disk0disk0"
        assert errno_of(os.unlink, path) == errno.EBUSY
        os.close(fd)
        nothing_in_use(mount)

    fd = mount.deaths.of(mount, times, lambda: os.open(mount.point / ".stats", os.O_RDONLY))
    text = os.read(fd, 1 << 17)
    assert text.startswith(b"[disk0]") and os.read(fd, 1 << 17) == b""
    os.close(fd)


@pytest.mark.parametrize("mount", ["released"], indirect=True)
@pytest.mark.parametrize("times", [1, 3])
def test_closing(mount, times):
    path = written(mount, "disk0", MIB)
    nothing_in_use(mount)
    kept, closed = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    mount.deaths.of(mount, times, lambda: os.close(closed))
    wait_until(lambda: in_use(mount) == {"disk0": 1}, what="one handle")
    assert os.pwrite(kept, b"there", 0) == 5 and os.pread(kept, 5, 0) == b"there"
    assert errno_of(os.unlink, path) == errno.EBUSY
    os.close(kept)
    nothing_in_use(mount)
    os.unlink(path)


def test_texts(zramfs):
    """Text dies with its worker: it is made again from its beginning, and ends where it ended."""
    mount = zramfs("[disk0]\ndisksize = 1M\n")
    parts, whole, stream = (os.open(path, os.O_RDONLY) for path in (
        mount.point / ".stats", mount.point / ".stats",
        mount.control("disk0", "block_state")))
    with open(mount.disk("disk0"), "r+b") as file:
        file.write(b"x" * 65536)
    first = os.pread(parts, 100, 0)
    text = os.pread(whole, 1 << 17, 0)
    lines = os.pread(stream, 50, 0)
    served, _ = kill(mount)
    next_generation(mount, served)

    assert errno_of(os.pread, parts, 100, 100) == errno.ESTALE
    assert os.pread(whole, 1 << 17, len(text)) == b""
    assert errno_of(os.pread, stream, 50, 50) == errno.ESTALE
    assert os.pread(parts, 100, 0)[:50] == first[:50]
    again = os.pread(parts, 1 << 17, 0)
    assert again.startswith(b"[disk0]") and os.pread(parts, 1 << 17, len(again)) == b""
    assert os.pread(stream, 50, 0)[:10] == lines[:10]
    assert os.pread(stream, 50, 50) != b""
    for fd in (parts, whole, stream):
        os.close(fd)
