""".control/hot_add and hot_remove: disks made and removed by a line of text."""

import concurrent.futures
import errno
import os
import stat
import time

import pytest

from data import PAGE, text_pages
from host import errno_of, memory_total, run
from zramfs import MIB, write_once


def test_hot_add_with_all_attributes(zramfs):
    mount = zramfs("[defaults]\ncomp_algorithm = zstd\nmem_limit = 8M\n")
    mount.hot_add("plain")
    assert mount.get("plain", "disksize") == "0\n"
    assert "[zstd]" in mount.get("plain", "comp_algorithm")
    assert mount.get("plain", "mem_limit") == f"{8 * MIB}\n"

    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    mount.hot_add('all disksize=64M comp_algorithm=lz4 algorithm_params="level=3" mem_limit=32M '
                  f'format=swap label="two words" uuid={uuid} mode=0640 swap_priority=7\n')
    want = {"disksize": f"{64 * MIB}\n", "mem_limit": f"{32 * MIB}\n", "format": "swap\n",
            "label": "two words\n", "uuid": uuid + "\n", "mode": "0640\n",
            "swap_priority": "7\n"}
    assert {name: mount.get("all", name) for name in want} == want
    status = os.stat(mount.disk("all"))
    assert (status.st_size, stat.S_IMODE(status.st_mode)) == (64 * MIB, 0o640)
    assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
    header = mount.disk("all").open("rb").read(PAGE)
    assert header[-10:] == b"SWAPSPACE2" and b"two words\0" in header


def test_hot_add_is_the_shells_echo(mount):
    run("sh", "-e", "-c", f"""
        C={mount.point}/.control
        echo disk1 disksize=1M > $C/hot_add
        [ "$(cat $C/disk1/disksize)" = 1048576 ]
        echo disk1 > $C/hot_remove
        [ ! -e $C/disk1 ] && [ ! -e {mount.point}/disk1 ]
    """)


def test_hot_add_takes_percentages_of_ram(mount):
    mount.hot_add("half disksize=50%")
    mount.hot_add("quarter disksize=25% mem_limit=10%")
    half, quarter = (int(mount.get(name, "disksize")) for name in ("half", "quarter"))
    total = memory_total()
    assert abs(half - total / 2) < MIB and abs(quarter - total / 4) < MIB
    assert abs(int(mount.get("quarter", "mem_limit")) - total / 10) < MIB


@pytest.mark.parametrize("line, codes", [
    ("\n", {errno.EINVAL}), ("   ", {errno.EINVAL}),
    ("new disksize", {errno.EINVAL}), ("new disksize=", {errno.EINVAL}),
    ("new disksize=x", {errno.EINVAL}), ("new disksize=0", {errno.EINVAL}),
    ("new disksize=1M disksize=1M", {errno.EINVAL}), ("new size=1M", {errno.EINVAL}),
    ("new threads=1", {errno.EINVAL}), ("new reset=1", {errno.EINVAL}),
    ("new initstate=1", {errno.EINVAL}), ("new other", {errno.EINVAL}),
    ('new label="not closed', {errno.EINVAL}), ("new comp_algorithm=lz5", {errno.EINVAL}),
    ("new comp_algorithm=lz4 algorithm_params=level=0x", {errno.EINVAL}),
    ("new label=longer-than-sixteen", {errno.ERANGE, errno.EINVAL}),
    ("new disksize=257T", {errno.ERANGE, errno.EINVAL, errno.EFBIG}),
    ("new disksize=4K format=swap", {errno.EINVAL}),
    (".new", {errno.EINVAL}), ("new/er", {errno.EINVAL}), ("zramfs", {errno.EINVAL}),
    ("hot_add", {errno.EINVAL}), ("defaults", {errno.EINVAL}), ("n" * 64, {errno.EINVAL}),
    ("disk0", {errno.EEXIST}), ("disk0 disksize=1M", {errno.EEXIST}),
    ("new label=" + "x" * 5000, {errno.EINVAL}), ("new\0er", {errno.EINVAL}),
], ids=lambda value: repr(value)[:40] if isinstance(value, str) else "")
def test_bad_hot_add(mount, line, codes):
    assert errno_of(mount.hot_add, line) in codes
    assert sorted(os.listdir(mount.point / ".control")) == ["disk0", "hot_add", "hot_remove",
                                                            "zramfs"]
    assert mount.get("disk0", "disksize") == f"{64 * MIB}\n"


def test_why_a_line_is_refused_is_in_the_log(mount):
    assert errno_of(mount.hot_add, "new disksize=much") == errno.EINVAL
    assert "hot_add: disksize=much: " in mount.said()


@pytest.mark.parametrize("name", ["x\nzramfs: disk disk0: forged", "x\x1b[2J", "x\u009b2J", "a\tb"])
def test_what_is_written_cannot_forge_a_line_of_the_log(mount, name):
    before = mount.said()
    for file in ("hot_add", "hot_remove"):
        assert errno_of(write_once, mount.point / ".control" / file, name) == errno.EINVAL
    new = mount.said()[len(before):]
    assert new.count("\n") == 2 and all(line.startswith("zramfs: hot_")
                                        for line in new.splitlines())
    assert not any(ord(char) < 0x20 or 0x7f <= ord(char) < 0xa0 for char in new.replace("\n", ""))


def test_of_a_thousand_adds_of_one_name_one_wins(mount):
    def add(i):
        return errno_of(mount.hot_add, f"same disksize={i + 1}M")

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(add, range(1000)))
    assert codes.count(0) == 1 and codes.count(errno.EEXIST) == 999
    assert mount.get("same", "disksize") == f"{(codes.index(0) + 1) * MIB}\n"


def test_of_many_removals_of_one_name_one_wins(mount):
    for i in range(20):
        mount.hot_add(f"same{i} disksize=1M")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(lambda _: errno_of(mount.hot_remove, f"same{i}"), range(8)))
        assert sorted(codes) == [0] + [errno.ENODEV] * 7


def test_as_many_disks_as_can_be(mount):
    for i in range(1022):
        mount.hot_add(f"d{i}")
    assert errno_of(mount.hot_add, "more") == errno.ENOSPC
    assert len(os.listdir(mount.point / ".control")) == 1026
    mount.hot_remove("d500")
    mount.hot_add("more")
    assert (mount.point / ".stats").read_text().count("DiskSize") == 1023


def test_hot_remove(mount, machine):
    mount.hot_add("other disksize=1M")
    with open(mount.disk("disk0"), "r+b") as file:
        file.write(text_pages(10))
    holder = machine.hold(mount.disk("disk0"))
    assert errno_of(mount.hot_remove, "disk0") == errno.EBUSY
    assert mount.mm_stat("disk0").orig_data_size == 10 * PAGE
    for name in ("none", "disk", "disk00", "disk0 "):
        assert errno_of(mount.hot_remove, name) == errno.ENODEV, name
    for name in ("\n", "../disk0", ".stats", "zramfs", "n" * 64, "a\tb"):
        assert errno_of(mount.hot_remove, name) == errno.EINVAL, name
    holder.release()
    mount.hot_remove("disk0\n")
    assert errno_of(os.stat, mount.disk("disk0")) == errno.ENOENT
    assert errno_of(mount.hot_remove, "disk0") == errno.ENODEV
    assert sorted(os.listdir(mount.point / ".control")) == ["hot_add", "hot_remove", "other",
                                                            "zramfs"]


def test_these_names_mean_something_here(mount):
    for name in ("hot_add", "hot_remove", "zramfs", "defaults"):
        path = mount.disk(name)
        assert errno_of(os.open, path, os.O_CREAT | os.O_RDWR) == errno.EINVAL, name
        assert errno_of(os.rename, mount.disk("disk0"), path) == errno.EINVAL, name


def test_hot_remove_means_the_name(mount):
    """A disk that is renamed while its remover waits for it to be free is another one then."""
    mount.hot_add("x disksize=1M")
    for _ in range(5):
        fd = os.open(mount.disk("x"), os.O_WRONLY)
        os.write(fd, text_pages(1))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            removal = pool.submit(errno_of, write_once, mount.point / ".control/hot_remove", "x")
            time.sleep(0.05)  # it waits 200 ms for a close that may be on its way
            os.rename(mount.disk("x"), mount.disk("keep"))
            os.close(fd)
        assert removal.result() == errno.ENODEV
        assert mount.disk("keep").read_bytes()[:PAGE * 1] == text_pages(1)
        os.rename(mount.disk("keep"), mount.disk("x"))
