"""Disks that have less memory than data: through the file, a loop device, ext4, and as swap."""

import errno
import os
import subprocess
import sys

import pytest

from backing import Pages, bd_stat, figures, mark, section
from data import PAGE, half_page, random_page, random_pages, text_page, text_pages
from host import PATH, Cgroup, errno_of, run, swaps, wait_until
from test_loop import tree  # a fixture
from test_swap import cgroup_or_skip, overcommit  # a fixture, and the program
from zramfs import KIB, MIB


@pytest.fixture
def file(place):
    return place / "back"


def spilling(file, n_mib=32, limit="2M", **keys):
    return section(disksize=f"{n_mib}M", mem_limit=limit, backing_dev=file,
                   backing_size=f"{n_mib * 5 // 4}M", **keys)


def assert_within(mount, limit_bytes, disk="disk0"):
    """The limit held all the time; and no write was refused."""
    found, io_stat = figures(mount, disk), mount.io_stat(disk)
    used = int(mount.get(disk, "tables").split()[1]) + found["compr_data_size"]
    assert used <= limit_bytes * 1.05
    assert mount.mm_stat(disk).mem_used_max <= limit_bytes * 1.01 + 256 * KIB
    assert (io_stat.failed_reads, io_stat.failed_writes) == (0, 0)


@pytest.mark.parametrize("keys", [{}, {"backing_key": "random"}, {"compressed_writeback": "0"},
                                  {"comp_algorithm": "zstd"}, {"writeback_at": "50"}], ids=str)
def test_through_the_file(zramfs, file, keys):
    """16 times as much as there is memory for, written, overwritten, discarded and read."""
    mount = zramfs(spilling(file, **keys))
    with Pages(mount.disk("disk0"), 8192) as pages:
        pages.fill()
        pages.check()
        pages.churn(8192)
        pages.discard(1000, 3000)
        pages.churn(2000)
        pages.check()
    assert_within(mount, 2 * MIB)
    assert bd_stat(mount).count > 2000
    mount.set("disk0", "mem_limit", "1M")
    with open(mount.disk("disk0"), "rb") as disk:
        for page in range(0, 8192, 64):
            disk.seek(page * PAGE)
            assert disk.read(PAGE) == pages.content(page)


def test_large_requests_that_are_not_aligned(zramfs, file, place):
    """A request of a MiB, parts of whose pages are on the file."""
    mount = zramfs(spilling(file))
    expected = bytearray(random_pages(6000, seed=5))
    with open(mount.disk("disk0"), "r+b", buffering=0) as disk:
        assert disk.write(expected) == len(expected)
        for i in range(60):
            offset, length = 1000003 * i % (20 * MIB), 10007 * (i + 1)
            part = text_pages(200, seed=i)[:length]
            disk.seek(offset)
            assert disk.write(part) == len(part)
            expected[offset:offset + len(part)] = part
        disk.seek(0)
        got = b"".join(iter(lambda: disk.read(3 * MIB + 777), b""))
    assert got[:len(expected)] == expected and not any(got[len(expected):])
    assert_within(mount, 2 * MIB)


def test_spill_above(zramfs, file):
    """What compresses badly goes without being asked, and nothing else does."""
    mount = zramfs(section(disksize="16M", backing_dev=file, backing_size="16M", spill_above="2000"))
    with Pages(mount.disk("disk0"), 1500) as pages:
        for page in range(1500):
            pages.write(page, (random_page, half_page, text_page)[page % 3])
        wait_until(lambda: bd_stat(mount).count == 500, what="all huge pages to go")
        assert figures(mount)["huge_pages"] == 0
        pages.check()
        mount.set("disk0", "spill_above", "1000")
        pages.fill(half_page, range(1, 1500, 3))
        wait_until(lambda: bd_stat(mount).count == 1000, what="half pages to go")
        pages.check()
        mount.set("disk0", "spill_above", "0")
        pages.fill(random_page, range(0, 300))
        pages.check()
        assert figures(mount)["huge_pages"] == 300


def test_on_limit_enospc(zramfs, file):
    """The file is for what is written back by hand: a write past the limit fails, and harms nothing;
    what went makes room; and "spill" from then on lets all writes succeed."""
    mount = zramfs(spilling(file, on_limit="enospc"))
    with Pages(mount.disk("disk0"), 4096) as pages:
        def fill_up(page=0):
            while errno_of(pages.write, page, random_page) == 0:
                page += 1
            return page

        n = fill_up()
        assert 400 < n <= 512 and bd_stat(mount).count == 0
        assert errno_of(pages.write, 5, random_page) == 0
        pages.check()
        mount.set("disk0", "writeback", "page_indexes=0-99")
        assert bd_stat(mount).count == 100
        more = fill_up(n)
        assert 90 <= more - n <= 101
        pages.check()
        assert mount.io_stat("disk0").failed_writes == 2
        mount.set("disk0", "on_limit", "spill")
        pages.fill(random_page)
        pages.check()
        assert mount.io_stat("disk0").failed_writes == 2


def test_a_full_file(zramfs, file):
    """Then, and only then, writes fail: with ENOSPC, and what is there is intact."""
    mount = zramfs(section(disksize="32M", mem_limit="2M", backing_dev=file, backing_size="4M"))
    with Pages(mount.disk("disk0"), 8192) as pages:
        page = 0
        while (code := errno_of(pages.write, page, random_page)) == 0:
            page += 1
        assert code == errno.ENOSPC
        assert 1200 < page <= 1536
        pages.check()
        pages.discard(0, 256)
        for page in range(256):
            pages.write(page)
        pages.check()
        assert mount.io_stat("disk0").failed_writes == 1


def test_files_full_of_holes_are_cleaned(zramfs, file):
    """Random overwrites on a file hardly larger than the data, many times over."""
    mount = zramfs(section(disksize="16M", mem_limit="2M", backing_dev=file, backing_size="10M"))
    with Pages(mount.disk("disk0"), 2560) as pages:
        pages.fill(random_page)
        for _ in range(6):
            for page in pages.chance.sample(range(2560), 2560):
                pages.write(page, random_page)
        pages.check()
    assert_within(mount, 2 * MIB)
    assert mark(file) == "in use" and os.stat(file).st_size == 10 * MIB


# Through loop devices


@pytest.mark.loop
@pytest.mark.needs("losetup")
def test_through_a_loop_device(zramfs, machine, file, place):
    mount = zramfs(spilling(file))
    device = machine.attach(mount.disk("disk0"))
    data = random_pages(3000) + text_pages(1000) + random_pages(4000, seed=3)
    (place / "data").write_bytes(data)
    run("dd", f"if={place}/data", f"of={device}", "bs=64k", "oflag=direct")
    run("dd", f"if={device}", f"of={place}/again", "bs=1M", "iflag=direct", "count=32")
    run("cmp", "-n", len(data), place / "data", place / "again")
    assert_within(mount, 2 * MIB)
    run("blkdiscard", device)
    assert bd_stat(mount).count == 0


@pytest.mark.loop
@pytest.mark.needs("losetup", "mkfs.ext4", "e2fsck")
@pytest.mark.parametrize("key", ["none", "random"])
def test_ext4(zramfs, machine, tree, file, key):
    """A tree is copied, compared and checked, in an eighth of its memory."""
    mount = zramfs(section(disksize="256M", mem_limit="6M", backing_dev=file, backing_size="256M",
                           backing_key=key), foreground=False)
    device = machine.attach(mount.disk("disk0"))
    run("mkfs.ext4", "-q", device, timeout=120)
    point = machine.mount(device)
    run("cp", "-a", *tree, point, timeout=120)
    run("umount", point, timeout=120)
    run("e2fsck", "-fn", device, timeout=120)
    run("mount", device, point)
    for directory in tree:
        run("diff", "-r", "--no-dereference", directory, point / directory.name, timeout=120)
    run("umount", point, timeout=120)
    run("e2fsck", "-fn", device, timeout=120)
    assert bd_stat(mount).writes > 1000 and bd_stat(mount).reads > 1000
    assert_within(mount, 6 * MIB)


# As swap

RANDOM = """
import hashlib, mmap, random, sys
n, chance = int(sys.argv[1]) * 256, random.Random(1)
memory = mmap.mmap(-1, n * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
def page(i, turn):
    return random.Random(i * 10 + turn).randbytes(2048) + b"%08d" % i * 256
for turn in range(2):
    for i in range(n):
        memory[i * 4096:(i + 1) * 4096] = page(i, turn)
bad = [i for i in chance.sample(range(n), n) if memory[i * 4096:(i + 1) * 4096] != page(i, 1)]
print("bad", len(bad))
"""


@pytest.mark.loop
@pytest.mark.needs("losetup", "swapon")
@pytest.mark.skipif("TSAN_OPTIONS" in os.environ, reason="under TSan swapping takes minutes")
@pytest.mark.parametrize("key", [None, "none"])
def test_swap(zramfs, machine, cgroup_or_skip, file, key):
    """A program that is larger than its cgroup, whose pages hardly compress, on a disk that has an
    eighth of the memory that they would take."""
    mount = zramfs(section("swap0", disksize="192M", format="swap", mem_limit="6M",
                           backing_dev=file, backing_size="96M", backing_key=key),
                   foreground=False)
    assert os.stat(file).st_blocks * 512 >= 96 * MIB
    device = machine.attach(mount.disk("swap0"))
    machine.swapon(device, "--discard=pages", "-p", "100")
    cgroup = Cgroup(40 * MIB)
    try:
        done = subprocess.run([sys.executable, "-c", RANDOM, "96"], preexec_fn=cgroup.enter,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=150)
    finally:
        cgroup.remove()
    assert (done.stdout, done.returncode) == ("bad 0\n", 0)
    assert bd_stat(mount, "swap0").writes > 20 * MIB // PAGE
    assert bd_stat(mount, "swap0").reads > 5 * MIB // PAGE
    assert_within(mount, 6 * MIB, "swap0")
    run("swapoff", device, timeout=120)
    assert device not in swaps()
