"""Backing files that are slow, that fail, and that somebody else writes to: whoever does not need them
notices nothing, what is in memory stays there, and nobody ever gets a byte that was not written.
"""

import concurrent.futures
import errno
import os
import signal
import threading
import time

import pytest

from backing import OneFile, Pages, bd_stat, each_has_one, figures, mark, section
from data import PAGE, half_page, random_page, text_page
from host import errno_of, run, wait_until
from kills import (LOADS, generation, keeper, kill, next_generation, processes_of, settled,
                   wait_gone)
from zramfs import MIB

pytestmark = [pytest.mark.root,
              pytest.mark.skipif(not (LOADS / "onefile").exists(), reason="onefile is not built")]

N_PAGES = 2048


@pytest.fixture
def one(place, machine):
    """Stopped before the mounts that use it: what it holds is answered then."""
    file = OneFile(place)
    machine.later(file.stop)
    yield file
    file.tell("reads=go")
    file.tell("writes=go")


@pytest.fixture
def file(place):
    return place / "back"


def lines(mount, *words):
    return [line for line in mount.said().splitlines() if all(str(word) in line for word in words)]


def backed(zramfs, path, size="16M", more="", **keys):
    return zramfs(more + section(disksize="32M", backing_dev=path, backing_size=size, **keys))


def write_back(mount, what="type=huge"):
    return errno_of(mount.set, "disk0", "writeback", what)


# Slow


def percentile(values, part):
    values = sorted(values)
    return values[min(int(len(values) * part), len(values) - 1)]


def read_times(fd, pages, seconds):
    """Of reads of a page each, one after the other."""
    took, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        for page in pages:
            began = time.monotonic()
            os.pread(fd, PAGE, page * PAGE)
            took.append(time.monotonic() - began)
    return took


@pytest.mark.parametrize("how", ["hold", "slow"])
def test_others_do_not_wait_for_the_file(zramfs, one, how):
    """A hundred reads wait for the file; reads of pages in memory are as fast as before, also of
    pages of the same request's size, writes too, and nobody takes it for a hang."""
    mount = backed(zramfs, one.path, more="[zramfs]\nwatchdog = 2\n")
    with Pages(mount.disk("disk0"), 400) as pages, \
            concurrent.futures.ThreadPoolExecutor(100) as pool:
        pages.fill(random_page)
        mount.set("disk0", "writeback", "page_indexes=0-199")
        assert bd_stat(mount).count == 200
        before = percentile(read_times(pages.fd, range(200, 400), 0.5), 0.99)
        served = generation(mount)
        one.tell(f"reads={how}")
        reads = [pool.submit(os.pread, pages.fd, PAGE, page * PAGE) for page in range(0, 200, 2)]
        wait_until(lambda: one.held() > 0, what="reads to wait")
        during = read_times(pages.fd, range(200, 400), 3 if how == "hold" else 0.3)
        if how == "hold":
            assert one.held() > 0 and not any(read.done() for read in reads)
        for page in range(300, 400):
            pages.write(page)
        assert generation(mount) == served
        one.tell("reads=go")
        for page, read in zip(range(0, 200, 2), reads):
            assert read.result(30) == pages.content(page)
        pages.check()
    # on a machine that others use as well
    assert percentile(during, 0.99) < max(20 * before, 0.02), (before, percentile(during, 0.99))
    assert percentile(during, 0.5) < 0.005
    assert not lines(mount, "progress")


def test_writes_wait_for_a_slow_file_and_succeed(zramfs, one):
    """At the limit they wait for room, which comes as fast as the file takes it."""
    mount = backed(zramfs, one.path, mem_limit="2M", more="[zramfs]\nwatchdog = 2\n")
    one.tell("writes=slow")
    with Pages(mount.disk("disk0"), N_PAGES) as pages:
        pages.fill(random_page)
        one.tell("writes=go")
        pages.check()
    assert mount.io_stat("disk0").failed_writes == 0


def test_a_write_that_is_held_is_no_hang(zramfs, one):
    """Longer than the watchdog has patience for; other disks, and what is in memory, go on."""
    mount = zramfs("[zramfs]\nwatchdog = 2\n"
                   + section(disksize="32M", backing_dev=one.path, backing_size="16M",
                             mem_limit="2M")
                   + section("other", disksize="8M"))
    with Pages(mount.disk("disk0"), N_PAGES) as pages, Pages(mount.disk("other"), 500) as other:
        served = generation(mount)
        one.tell("writes=hold")
        writer = threading.Thread(target=pages.fill, args=(random_page,), daemon=True)
        writer.start()
        wait_until(lambda: one.held() > 0, what="a write to wait")
        for _ in range(4):
            other.fill()
            other.check()
            time.sleep(0.8)  # in all, longer than the watchdog's time
        assert writer.is_alive() and generation(mount) == served
        one.tell("writes=go")
        writer.join(30)
        assert not writer.is_alive()
        pages.check()
    assert generation(mount) == served
    assert not lines(mount, "progress")


# Writes that fail


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_writes_that_begin_to_fail(zramfs, one, code):
    """Pages stay in memory; writes fail when that is full, with ENOSPC; said once, and counted; all
    is well again when the file is."""
    mount = backed(zramfs, one.path, mem_limit="4M")
    with Pages(mount.disk("disk0"), 4096) as pages:
        pages.fill(random_page, range(1500))
        one.tell(f"writes={code}")
        page = 1500
        while (got := errno_of(pages.write, page, random_page)) == 0:
            page += 1
        assert got == errno.ENOSPC and 1500 <= page <= 1500 + 4 * MIB // PAGE
        pages.check()
        assert write_back(mount) == (errno.EIO if code == errno.EIO else code)
        found = figures(mount)
        assert found["failed_writes"] >= 1 and found["failed_backing_writes"] > 0
        said = lines(mount, f"backing_dev {one.path}: cannot be written", os.strerror(code))
        assert len(said) == 1, mount.said()

        one.tell("writes=go")
        wait_until(lambda: errno_of(pages.write, page, random_page) == 0, what="room again")
        pages.fill(random_page)
        pages.check()
    assert len(lines(mount, "cannot be written")) == 1


# Reads that fail


@pytest.mark.parametrize("manner", [str(errno.EIO), "torn"])
def test_reads_that_fail(zramfs, one, manner):
    """EIO for who asked, counted, and named once; pages in memory are read; and it passes."""
    mount = backed(zramfs, one.path)
    with Pages(mount.disk("disk0"), 400) as pages:
        pages.fill(random_page)
        mount.set("disk0", "writeback", "page_indexes=0-199")
        one.tell(f"reads={manner}")
        found = pages.errnos()
        assert found == {errno.EIO: list(range(200))}
        assert figures(mount)["failed_backing_reads"] >= 200
        assert figures(mount)["failed_reads"] == 200
        said = wait_until(lambda: lines(mount, f"backing_dev {one.path}"), what="the line about it")
        assert len(said) == 1 and "cannot be read" in said[0], mount.said()
        assert "FailedBackingReads" in said[0], said
        assert not lines(mount, "decode"), mount.said()
        # a write needs nothing of what was there
        for page in range(100):
            pages.write(page)
        assert pages.errnos() == {errno.EIO: list(range(100, 200))}
        # but for one that changes a part of it, and the page is what it was
        assert errno_of(os.pwrite, pages.fd, b"x", 150 * PAGE + 7) == errno.EIO
        one.tell("reads=go")
        pages.check()
        os.pwrite(pages.fd, b"x", 150 * PAGE + 7)
        assert os.pread(pages.fd, 1, 150 * PAGE + 7) == b"x"


def test_a_file_that_cannot_be_read_for_a_while(zramfs, one):
    """While a worker stands by, and while it takes over: what is on the file is not lost by that."""
    mount = backed(zramfs, one.path)
    with Pages(mount.disk("disk0"), 400) as pages:
        pages.fill(random_page)
        mount.set("disk0", "writeback", "page_indexes=0-199")
        settled(mount)
        one.tell(f"reads={errno.EIO}")
        for _ in range(2):
            served, _ = kill(mount)
            next_generation(mount, served)
            settled(mount)
        assert pages.errnos() == {errno.EIO: list(range(200))}
        one.tell("reads=go")
        pages.check()
        served, _ = kill(mount)
        next_generation(mount, served)
        pages.check()
        assert not lines(mount, "lost"), mount.said()


def test_reads_cut_short(zramfs, one):
    mount = backed(zramfs, one.path)
    with Pages(mount.disk("disk0"), 600) as pages:
        pages.fill(half_page)
        mount.set("disk0", "writeback", "page_indexes=0-599")
        one.tell("reads=short")
        pages.check()
    assert figures(mount)["failed_backing_reads"] == 0


# Somebody else's hands


def spoil_zeros(path):
    with open(path, "r+b") as there:
        there.seek(PAGE)
        there.write(bytes(os.stat(path).st_size - PAGE))


def spoil_noise(path):
    with open(path, "r+b") as there:
        there.seek(PAGE)
        there.write(os.urandom(os.stat(path).st_size - PAGE))


def spoil_cut(path):
    os.truncate(path, PAGE)


def spoil_shift(path):
    """Each block is one that zramfs wrote, elsewhere."""
    content = path.read_bytes()
    with open(path, "r+b") as there:
        there.seek(PAGE)
        there.write(content[3 * PAGE:] + content[PAGE:3 * PAGE])


@pytest.mark.parametrize("key", ["none", "random"])
@pytest.mark.parametrize("spoil", [spoil_zeros, spoil_noise, spoil_cut, spoil_shift])
def test_spoiled(zramfs, file, spoil, key):
    """Every page that was there is EIO, counted and said once; none is wrong; what is in memory is
    right, and the disk can be written again."""
    mount = backed(zramfs, file, backing_key=key)
    with Pages(mount.disk("disk0"), 600) as pages:
        for page in range(600):
            pages.write(page, (random_page, half_page, text_page)[page % 3])
        mount.set("disk0", "writeback", "page_indexes=0-299")
        pages.check()
        spoil(file)
        assert pages.errnos() == {errno.EIO: list(range(300))}
        assert figures(mount)["failed_backing_reads"] >= 300
        said = wait_until(lambda: lines(mount, f"backing_dev {file}"), what="the line about it")
        assert len(said) == 1, mount.said()
        assert not lines(mount, "decode"), mount.said()
        pages.fill()
        pages.check()


def test_pages_of_an_older_time(zramfs, file):
    """The file is put back to what it was before: what was written since is not answered by that."""
    mount = backed(zramfs, file)
    with Pages(mount.disk("disk0"), 200) as pages:
        pages.fill(random_page)
        mount.set("disk0", "writeback", "page_indexes=0-199")
        old = file.read_bytes()
        pages.fill(random_page)
        mount.set("disk0", "writeback", "page_indexes=0-199")
        with open(file, "r+b") as there:
            there.write(old)
        pages.errnos()  # whatever can be read is right


def test_what_a_spare_finds_is_not_the_last_word(zramfs, file):
    """It finds another file's bytes; when it takes over they are those of the file again."""
    mount = backed(zramfs, file)
    with Pages(mount.disk("disk0"), 400) as pages, open(file, "r+b", buffering=0) as there:
        pages.fill(random_page)
        mount.set("disk0", "writeback", "page_indexes=0-199")
        settled(mount)
        head = there.read(PAGE)
        os.pwrite(there.fileno(), bytes(PAGE), 0)
        spare, = processes_of(mount) - {keeper(mount), generation(mount).pid}
        os.kill(spare, signal.SIGKILL)
        wait_gone([spare])
        wait_until(lambda: each_has_one(mount, file), what="another one, which has looked at it")
        time.sleep(0.2)
        os.pwrite(there.fileno(), head, 0)
        served, _ = kill(mount)
        next_generation(mount, served)
        pages.check()
        assert not lines(mount, "lost"), mount.said()


@pytest.mark.parametrize("how", ["mark", "cut"])
def test_the_next_generation_finds_it_spoiled(zramfs, file, how):
    """It says so, and goes on with what is in memory; pages of the file are EIO."""
    mount = backed(zramfs, file)
    with Pages(mount.disk("disk0"), 400) as pages:
        pages.fill(random_page)
        mount.set("disk0", "writeback", "page_indexes=0-199")
        settled(mount)
        if how == "mark":
            with open(file, "r+b") as there:
                there.write(bytes(PAGE))
        else:
            os.truncate(file, 8 * MIB)
        for _ in range(3):  # the spare one has looked at it before
            served, _ = kill(mount)
            next_generation(mount, served)
            settled(mount)
        said = lines(mount, f"backing_dev {file}", "lost")
        assert said, mount.said()
        assert pages.errnos() == {errno.EIO: list(range(200))}
        pages.fill(random_page)
        pages.check()
        assert write_back(mount) in (errno.ENODEV, errno.EIO)
    mount.stop()
    assert file.exists() == (how == "mark")


# No room


def small_tmpfs(place, machine, size):
    point = place / "small"
    point.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", point)
    machine.later(run, "umount", "-l", point)
    return point / "back"


def test_a_sparse_file_on_a_full_filesystem(zramfs, machine, place):
    """It is taken, and is full before its size is reached: ENOSPC of the filesystem is one of the
    disk, and what is there is intact; room there is room here."""
    path = small_tmpfs(place, machine, "8M")
    filler = path.parent / "filler"
    filler.write_bytes(bytes(4 * MIB))
    mount = backed(zramfs, path, size="32M", mem_limit="2M")
    with Pages(mount.disk("disk0"), 3000) as pages:
        page = 0
        while (code := errno_of(pages.write, page, random_page)) == 0:
            page += 1
        assert code == errno.ENOSPC and page > 2 * MIB // PAGE
        pages.check()
        assert lines(mount, f"backing_dev {path}: cannot be written", os.strerror(errno.ENOSPC))
        os.unlink(filler)
        wait_until(lambda: errno_of(pages.write, page, random_page) == 0, what="room again")
        pages.check()
        pages.discard(0, page)
        pages.fill(text_page, range(page))
        pages.check()
    mount.stop()
    assert not path.exists()


def test_discarded_pages_give_the_filesystem_room(zramfs, machine, place):
    path = small_tmpfs(place, machine, "16M")
    mount = backed(zramfs, path, size="12M")
    with Pages(mount.disk("disk0"), N_PAGES) as pages:
        pages.fill(random_page)
        mount.set("disk0", "writeback", "type=huge")
        full = os.stat(path).st_blocks * 512
        assert full >= 8 * MIB
        pages.discard(0, N_PAGES - 100)
        wait_until(lambda: os.stat(path).st_blocks * 512 < MIB, timeout=15, what="holes")
        pages.check()
