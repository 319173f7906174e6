"""A disk's backing file: each way to give it one, what becomes of the file, and what is refused."""

import errno
import os
import signal
import time

import pytest

from backing import (Pages, all_descriptors, bd_stat, descriptors, each_has_one, figures, mark,
                     section)
from data import PAGE, random_page, random_pages, text_page
from host import errno_of, run, swaps, wait_until
from kills import LOADS, generation, keeper, kill, next_generation, processes_of, settled, wait_gone
from test_reload import reload
from zramfs import BINARY, CTL, MIB, Zramfs

N_PAGES = 1024  # 4 MiB
BATCH = 128  # writeback_batch_size


@pytest.fixture
def file(place):
    """Where a backing file may be, and is not."""
    return place / "back"


@pytest.fixture
def fresh(zramfs):
    """A disk without a size."""
    mount = zramfs("[defaults]\n")
    mount.disk("disk0").touch()
    return mount


def use(mount, disk="disk0"):
    """Pages go there and come back."""
    with Pages(mount.disk(disk), N_PAGES) as pages:
        pages.fill(random_page)
        before = bd_stat(mount, disk)
        mount.set(disk, "writeback", "type=huge")
        after = bd_stat(mount, disk)
        assert after.count == N_PAGES and after.writes - before.writes == N_PAGES - before.count
        pages.check()
        assert bd_stat(mount, disk).reads - before.reads == N_PAGES


def is_lined(text, *words):
    """One line has all of them."""
    return any(all(str(word) in line for word in words) for line in text.splitlines())


# Each way


def test_by_configuration(zramfs, file):
    mount = zramfs(section(disksize="16M", backing_dev=file, backing_size="8M"))
    assert mount.get("disk0", "backing_dev") == f"{file}\n"
    assert os.stat(file).st_size == 8 * MIB and os.stat(file).st_mode & 0o777 == 0o600
    assert mark(file) == "in use"
    use(mount)
    mount.stop()
    assert not file.exists()


def test_by_control(fresh, file):
    fresh.set("disk0", "backing_size", "8M")
    fresh.set("disk0", "backing_dev", f"{file}\n")
    fresh.set("disk0", "disksize", "16M")
    assert errno_of(fresh.set, "disk0", "backing_dev", f"{file}2") == errno.EBUSY
    assert errno_of(fresh.set, "disk0", "backing_size", "9M") == errno.EBUSY
    use(fresh)
    fresh.stop()
    assert not file.exists()


def test_another_one_before_there_is_a_size(fresh, file, place):
    """The one before is closed, and made files go."""
    fresh.set("disk0", "backing_size", "8M")
    fresh.set("disk0", "backing_dev", str(file))
    fresh.set("disk0", "backing_dev", "none")
    wait_until(lambda: not file.exists(), what="the file to go")
    fresh.set("disk0", "backing_size", "8M")
    fresh.set("disk0", "backing_dev", str(file))
    other = place / "other"
    assert errno_of(fresh.set, "disk0", "backing_dev", f"{place}/no/such") == errno.ENOENT
    assert fresh.get("disk0", "backing_dev") == f"{file}\n"
    fresh.set("disk0", "backing_dev", "none")
    fresh.set("disk0", "backing_size", "12M")
    fresh.set("disk0", "backing_dev", str(other))
    assert other.stat().st_size == 12 * MIB
    fresh.set("disk0", "disksize", "16M")
    use(fresh)


def test_by_hot_add(zramfs, file):
    mount = zramfs("[defaults]\n")
    mount.hot_add(f"new disksize=16M backing_dev={file} backing_size=8M mem_limit=16M")
    use(mount, "new")
    mount.hot_remove("new")
    wait_until(lambda: not file.exists(), what="the file to go")


@pytest.mark.skipif(not CTL.exists(), reason="no zramfsctl")
def test_by_zramfsctl(zramfs, file, place):
    mount = zramfs("[defaults]\n")
    run(CTL, "add", "--mount", mount.point, "one", "disksize=16M", f"backing_dev={file}",
        "backing_size=8M")
    use(mount, "one")
    mount.disk("two").touch()
    other = place / "other"
    run(CTL, "set", mount.disk("two"), "backing_size=8M", f"backing_dev={other}", "disksize=16M")
    use(mount, "two")
    said = run(CTL, "get", mount.disk("two"), "backing_dev").stdout
    assert str(other) in said


def test_by_defaults(zramfs, file):
    """One file for all, those that are made later too."""
    mount = zramfs(section("defaults", backing_dev=file, backing_size="16M")
                   + section("a", disksize="16M") + section("b", disksize="16M"))
    mount.disk("c").touch()
    os.truncate(mount.disk("c"), 16 * MIB)
    for disk in "abc":
        assert mount.get(disk, "backing_dev") == f"{file}\n"
        use(mount, disk)
    for disk in "abc":
        with open(mount.disk(disk), "rb") as held:
            assert held.read(PAGE) == random_page(1)
    settled(mount)
    assert each_has_one(mount, file)


def test_by_reload(zramfs, file):
    mount = zramfs("[a]\ndisksize = 4M\n")
    reload(mount, "[a]\ndisksize = 4M\n"
           + section("b", disksize="16M", backing_dev=file, backing_size="8M"))
    use(mount, "b")


# What becomes of the file


@pytest.mark.parametrize("is_made", [True, False])
@pytest.mark.parametrize("how", ["reset", "hot_remove", "rm", "umount"])
def test_how_it_is_closed(zramfs, file, how, is_made):
    """What zramfs made goes; what was there stays, says that it is free, and keeps its size."""
    if not is_made:
        with open(file, "wb") as there:
            there.truncate(8 * MIB)
    mount = zramfs(section(disksize="16M", backing_dev=file,
                           backing_size="8M" if is_made else None))
    use(mount)
    held = os.stat(file)
    top = keeper(mount)
    if how == "reset":
        wait_until(lambda: errno_of(mount.set, "disk0", "reset", "1") == 0, what="RELEASE")
        assert mount.get("disk0", "backing_dev") == "none\n"
    elif how == "hot_remove":
        wait_until(lambda: errno_of(mount.hot_remove, "disk0") == 0, what="RELEASE")
    elif how == "rm":
        wait_until(lambda: errno_of(os.unlink, mount.disk("disk0")) == 0, what="RELEASE")
    else:
        mount.stop()
    if is_made:
        wait_until(lambda: not file.exists(), what="the file to go")
    else:
        wait_until(lambda: mark(file) == "free", what="the file to be marked")
        assert (os.stat(file).st_ino, os.stat(file).st_size) == (held.st_ino, 8 * MIB)
    if how != "umount" and not is_made:
        wait_until(lambda: not any(descriptors(pid, file) for pid in {top, *processes_of(mount)}),
                   what="all to close it")


def test_a_name_that_somebody_gave_it_keeps_it(zramfs, file, place):
    mount = zramfs(section(disksize="16M", backing_dev=file, backing_size="8M"))
    use(mount)
    kept = place / "kept"
    os.rename(file, kept)
    mount.stop()
    assert mark(kept) == "free"


def test_a_second_daemon_is_refused(zramfs, file):
    config = section(disksize="16M", backing_dev=file, backing_size="8M")
    mount = zramfs(config)
    use(mount)
    other = zramfs("[defaults]\n")
    assert errno_of(other.hot_add,
                    f"new disksize=1M backing_dev={file} backing_size=8M") == errno.EBUSY
    assert is_lined(other.said(), f"backing_dev {file}: in use by another zramfs")
    use(mount)
    mount.stop()
    other.hot_add(f"new disksize=16M backing_dev={file} backing_size=8M")
    use(other, "new")


def test_the_file_of_a_killed_run_is_taken_again(zramfs, file):
    """It was made by zramfs: so it goes with the run that took it."""
    config = section(disksize="16M", backing_dev=file, backing_size="8M")
    mount = zramfs(config)
    use(mount)
    mount.status = None
    left = processes_of(mount)
    mount.signal(signal.SIGSTOP)  # or a worker would make itself another keeper
    mount.signal(signal.SIGKILL)
    wait_gone(left)
    mount.force()
    assert mark(file) == "in use"
    again = zramfs(config)
    use(again)
    again.stop()
    assert not file.exists()


def test_two_disks_share_one_file(zramfs, file):
    """Each up to its backing_limit, less a batch, which may be raised; the file stays until both are
    gone."""
    mount = zramfs(section("defaults", backing_dev=file, backing_size="8M", disksize="16M")
                   + section("a", backing_limit="2M") + section("b"))
    with Pages(mount.disk("a"), N_PAGES) as a, Pages(mount.disk("b"), N_PAGES, seed=2) as b:
        a.fill(random_page)
        b.n_written = 1 << 20
        b.fill(random_page)
        assert errno_of(mount.set, "a", "writeback", "type=huge") == errno.ENOSPC
        assert 512 - BATCH <= bd_stat(mount, "a").count <= 512
        mount.set("b", "writeback", "type=huge")
        assert bd_stat(mount, "b").count == N_PAGES
        mount.set("a", "backing_limit", "3M")
        assert errno_of(mount.set, "a", "writeback", "type=huge") == errno.ENOSPC
        assert 768 - BATCH <= bd_stat(mount, "a").count <= 768
        a.check()
        b.check()
    wait_until(lambda: errno_of(mount.hot_remove, "a") == 0, what="RELEASE")
    assert mark(file) == "in use"
    with open(mount.disk("b"), "rb") as held:
        assert held.read(PAGE) == random_page((1 << 20) + 1)
    wait_until(lambda: errno_of(mount.hot_remove, "b") == 0, what="RELEASE")
    wait_until(lambda: not file.exists(), what="the file to go")


def test_swap_shares_no_file_that_is_not_fit_for_it(zramfs, place, file):
    """Neither one that was not written whole, nor one without a key."""
    plain = place / "plain"
    mount = zramfs(section(backing_dev=file, backing_size="8M", backing_preallocate=1, disksize="16M")
                   + section("first", format="swap", backing_dev=plain, backing_size="8M",
                             backing_key="none", disksize="16M"))
    assert errno_of(mount.hot_add, f"one format=swap disksize=16M backing_dev={file}") == errno.EINVAL
    assert errno_of(mount.hot_add, f"two format=swap disksize=16M backing_dev={plain}") == errno.EINVAL
    assert errno_of(mount.hot_add, f"three format=swap disksize=16M backing_key=none backing_dev={plain}") == 0
    assert errno_of(mount.hot_add, f"four disksize=16M backing_dev={file}") == 0


def test_no_descriptor_is_left(zramfs, file, place):
    """Of files that come and go, over kills."""
    mount = zramfs(section(disksize="16M", backing_dev=file, backing_size="8M"))
    settled(mount)
    before = all_descriptors(mount)
    wait_until(lambda: each_has_one(mount, file), what="each to have it")
    for turn in range(4):
        path = place / f"other{turn}"
        mount.hot_add(f"new{turn} disksize=16M backing_dev={path} backing_size=2M")
        if turn % 2:
            served, _ = kill(mount)
            next_generation(mount, served)
        wait_until(lambda: each_has_one(mount, path), what="each to have it")
        mount.hot_remove(f"new{turn}")
        wait_until(lambda: not path.exists(), what="the file to go")
    settled(mount)
    wait_until(lambda: all_descriptors(mount) == before, what="the same descriptors")
    wait_until(lambda: each_has_one(mount, file), what="each to have it")


# No plaintext

TEXT = b"I am plain text of pages. "  # without repetitions: so it is in what lz4 makes of it


def plain_page(seed):
    return (TEXT + b"%08d" % seed) * (PAGE // (len(TEXT) + 8) + 1)


def spelled_page(seed):
    """A page that no codec makes smaller, with words in it."""
    return TEXT + random_page(seed)[len(TEXT):]


@pytest.mark.parametrize("compressed", ["1", "0"])
@pytest.mark.parametrize("key, form, is_found", [("none", None, True), ("random", None, False),
                                                 (None, "swap", False), (None, None, True)])
def test_what_is_readable_on_the_file(zramfs, file, key, form, is_found, compressed):
    """With a key nothing is; without one everything is, or the search would find nothing ever."""
    mount = zramfs(section(disksize="16M", backing_dev=file, backing_size="8M", backing_key=key,
                           format=form, compressed_writeback=compressed))
    shown = "none" if is_found else "random"
    assert mount.get("disk0", "backing_key") == f"{shown}\n"
    with open(mount.disk("disk0"), "r+b", buffering=0) as disk:
        disk.seek(MIB)
        for i in range(200):
            disk.write(plain_page(i)[:PAGE])
        for i in range(200):
            disk.write(spelled_page(i))
    mount.set("disk0", "writeback", f"page_indexes={MIB // PAGE}-{MIB // PAGE + 399}")
    assert bd_stat(mount).count == 400
    content = file.read_bytes()
    assert content.count(TEXT) >= 400 if is_found else TEXT[:16] not in content
    assert (random_page(7)[100:200] in content) == is_found
    with open(mount.disk("disk0"), "rb") as disk:
        disk.seek(MIB)
        assert all(disk.read(PAGE) == plain_page(i)[:PAGE] for i in range(200))
        assert all(disk.read(PAGE) == spelled_page(i) for i in range(200))
