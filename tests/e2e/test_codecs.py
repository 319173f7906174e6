"""Codecs and what pages become: objects, same-filled, huge; the limit of a disk's memory."""

import errno
import os
import random

import pytest

from data import (PAGE, WORDS, half_page, random_page, random_pages, text_page, text_pages,
                  word_page)
from host import KEEP_SIZE, PUNCH_HOLE, errno_of, fallocate, wait_until
from zramfs import KIB, MIB

CODECS = {
    "lzo-rle": "", "lzo": "", "lz4": "",
    "lz4hc": "", "lz4hc-1": "level=1", "lz4hc-9": "level=9",
    "zstd": "", "zstd-1": "level=1", "zstd-19": "level=19",
}


def config(codec, params="", size="64M"):
    text = f"[disk0]\ndisksize = {size}\ncomp_algorithm = {codec}\n"
    return text + (f"algorithm_params = {params}\n" if params else "")


@pytest.mark.parametrize("case", CODECS)
def test_data_comes_back(zramfs, case):
    codec = case if case in ("lzo-rle", "lz4hc", "zstd") else case.split("-")[0]
    mount = zramfs(config(codec, CODECS[case]))
    assert f"[{codec}]" in mount.get("disk0", "comp_algorithm")
    pages = [kind(i) for i in range(200) for kind in (text_page, half_page, random_page)]
    pages += [word_page(word) for word in WORDS]
    data = b"".join(pages)
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        assert file.write(data) == len(data)
    with open(mount.disk("disk0"), "rb", buffering=0) as file:
        assert file.read(len(data)) == data
    stat = mount.mm_stat("disk0")
    assert stat.orig_data_size == len(data)
    assert stat.same_pages == len(WORDS)
    assert stat.huge_pages == 200
    assert 200 * PAGE < stat.compr_data_size < 200 * PAGE + 200 * PAGE // 2
    assert stat.mem_used_total >= stat.compr_data_size
    stats = mount.stats()["disk0"]
    assert stats["Algorithm"].split()[0].strip("[]") == codec
    assert stats["UndecodablePages"].strip() == "0"


def test_a_higher_level_compresses_more(zramfs):
    """Else a level was parsed and ignored."""
    # Words in any order: matches that only a long search finds.
    chance = random.Random(1)
    words = [chance.randbytes(chance.randrange(3, 9)) for _ in range(120)]
    data = b"".join(b"".join(chance.choices(words, k=2000))[:PAGE] for _ in range(400))
    for codec, low, high in (("zstd", "level=1", "level=19"), ("lz4hc", "level=1", "level=9")):
        sizes = []
        for params in (low, high):
            mount = zramfs(config(codec, params))
            with open(mount.disk("disk0"), "r+b") as file:
                file.write(data)
            sizes.append(mount.mm_stat("disk0").compr_data_size)
        assert sizes[1] < sizes[0], (codec, sizes)


# Same-filled and huge pages


@pytest.mark.parametrize("word", WORDS, ids=hex)
def test_same_filled_pages_need_no_object(mount, word):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(word_page(word) * 10)
    stat = mount.mm_stat("disk0")
    assert (stat.same_pages, stat.orig_data_size, stat.compr_data_size) == (10, 10 * PAGE, 0)
    with open(mount.disk("disk0"), "rb") as file:
        assert file.read(10 * PAGE) == word_page(word) * 10


def test_one_byte_off_is_not_same_filled(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        for i, at in enumerate((0, 1, 7, 8, 2048, 4088, 4095)):
            page = bytearray(word_page(0x0123456789abcdef))
            page[at] ^= 1
            os.pwrite(file.fileno(), page, i * PAGE)
            assert os.pread(file.fileno(), PAGE, i * PAGE) == page
    stat = mount.mm_stat("disk0")
    assert (stat.same_pages, stat.orig_data_size) == (0, 7 * PAGE)


def test_a_period_of_16_bytes_is_not_same_filled(mount):
    page = (b"\1" * 8 + b"\2" * 8) * (PAGE // 16)
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(page)
    assert mount.mm_stat("disk0").same_pages == 0
    with open(mount.disk("disk0"), "rb") as file:
        assert file.read(PAGE) == page


def test_same_filled_pages_come_and_go(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        fd = file.fileno()
        os.pwrite(fd, word_page(WORDS[0]) * 8, 0)
        os.pwrite(fd, text_page(1), 0)
        assert mount.mm_stat("disk0").same_pages == 7
        os.pwrite(fd, b"x", PAGE + 17)
        assert mount.mm_stat("disk0").same_pages == 6
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 4 * PAGE)
        assert mount.mm_stat("disk0").same_pages == 4
        os.pwrite(fd, bytes(PAGE), 0)
        assert mount.mm_stat("disk0").same_pages == 5


def test_huge_pages_are_counted(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        fd = file.fileno()
        os.pwrite(fd, random_pages(10), 0)
        stat = mount.mm_stat("disk0")
        assert (stat.huge_pages, stat.huge_pages_since) == (10, 10)
        assert stat.compr_data_size == 10 * PAGE
        os.pwrite(fd, random_pages(5, seed=1), 0)
        stat = mount.mm_stat("disk0")
        assert (stat.huge_pages, stat.huge_pages_since) == (10, 15)
        os.pwrite(fd, text_pages(10), 0)
        stat = mount.mm_stat("disk0")
        assert (stat.huge_pages, stat.huge_pages_since) == (0, 15)
        assert stat.compr_data_size < 10 * PAGE // 2


def test_the_peak_is_remembered(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(random_pages(1024))
        peak = mount.mm_stat("disk0").mem_used_max
        assert peak >= 4 * MIB
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, 64 * MIB)
    wait_until(lambda: mount.mm_stat("disk0").mem_used_total < peak, timeout=5,
               what="less than the peak")
    assert mount.mm_stat("disk0").mem_used_max >= peak


# The limit


LIMIT = 4 * MIB


def fill(fd, first=0):
    """Huge pages until the disk says no. Return: how many fitted."""
    for i in range(first, 16384):
        try:
            assert os.pwrite(fd, random_page(i), i * PAGE) == PAGE
        except OSError as error:
            assert error.errno == errno.ENOSPC
            return i
    raise AssertionError("no limit")


@pytest.fixture
def full(zramfs):
    """A disk at its limit, and how many pages it took."""
    mount = zramfs(f"[disk0]\ndisksize = 64M\nmem_limit = {LIMIT}\n")
    mount.fd = os.open(mount.disk("disk0"), os.O_RDWR)
    mount.n_pages = fill(mount.fd)
    yield mount
    os.close(mount.fd)


def assert_intact(mount, n_pages, changed=()):
    for i in range(n_pages):
        if i not in changed:
            assert os.pread(mount.fd, PAGE, i * PAGE) == random_page(i), i


def test_the_limit_holds(full):
    assert LIMIT * 9 // 10 <= full.n_pages * PAGE <= LIMIT + 64 * KIB
    stat = full.mm_stat("disk0")
    assert stat.mem_limit == LIMIT
    assert stat.mem_used_total <= LIMIT * 1.01 + 2 * MIB
    assert stat.orig_data_size == full.n_pages * PAGE
    assert full.io_stat("disk0").failed_writes >= 1


def test_old_data_is_intact_at_the_limit(full):
    assert_intact(full, full.n_pages)
    assert os.pread(full.fd, PAGE, full.n_pages * PAGE) == bytes(PAGE)


def test_a_refused_overwrite_leaves_the_old_page(full):
    """Pages that compress are to become pages that do not, and there is hardly room for one."""
    for i in range(8):
        os.pwrite(full.fd, text_page(i), i * PAGE)
    n_pages = fill(full.fd, first=full.n_pages)
    refused = [i for i in range(8)
               if errno_of(os.pwrite, full.fd, random_page(1000 + i), i * PAGE) == errno.ENOSPC]
    assert len(refused) >= 6
    for i in refused:
        assert os.pread(full.fd, PAGE, i * PAGE) == text_page(i)
    assert_intact(full, n_pages, changed=range(8))


def test_an_overwrite_that_does_not_grow_works(full):
    for i in range(0, full.n_pages, 7):
        assert os.pwrite(full.fd, random_page(i + 50000), i * PAGE) == PAGE
    for i in range(0, full.n_pages, 7):
        assert os.pread(full.fd, PAGE, i * PAGE) == random_page(i + 50000)
    assert_intact(full, full.n_pages, changed=range(0, full.n_pages, 7))


def test_part_of_a_page_at_the_limit(full):
    assert os.pwrite(full.fd, b"patch", 5 * PAGE + 100) == 5
    page = random_page(5)
    assert os.pread(full.fd, PAGE, 5 * PAGE) == page[:100] + b"patch" + page[105:]


def test_a_shrinking_overwrite_makes_room(full):
    for i in range(10):
        os.pwrite(full.fd, text_page(i), i * PAGE)
    assert fill(full.fd, first=full.n_pages) >= full.n_pages + 5


def test_same_filled_pages_fit_at_the_limit(full):
    """They are in the slot itself; of words too long for it, eight bytes."""
    at = (full.n_pages - 1) * PAGE
    assert os.pwrite(full.fd, bytes(PAGE), at) == PAGE
    assert os.pread(full.fd, PAGE, at) == bytes(PAGE)


def test_a_large_write_that_does_not_fit(full):
    """Either short or ENOSPC; the pages that are there are whole, old or new."""
    n_more = 64
    data = random_pages(n_more, seed=7)
    os.pwrite(full.fd, text_pages(8), 0)
    try:
        done = os.pwrite(full.fd, data, full.n_pages * PAGE)
    except OSError as error:
        assert error.errno == errno.ENOSPC
        done = 0
    assert done < len(data)
    back = os.pread(full.fd, len(data), full.n_pages * PAGE)
    assert back[:done] == data[:done]
    for i in range(0, len(data), PAGE):
        assert back[i:i + PAGE] in (data[i:i + PAGE], bytes(PAGE))


def test_punching_makes_room(full):
    fallocate(full.fd, PUNCH_HOLE | KEEP_SIZE, 0, 100 * PAGE)
    assert fill(full.fd, first=full.n_pages) >= full.n_pages + 90


def test_raising_the_limit(full):
    full.set("disk0", "mem_limit", "8M\n")
    assert full.mm_stat("disk0").mem_limit == 8 * MIB
    assert full.get("disk0", "mem_limit") == f"{8 * MIB}\n"
    n_pages = fill(full.fd, first=full.n_pages)
    assert n_pages >= 2 * full.n_pages * 9 // 10
    assert_intact(full, n_pages)
    full.set("disk0", "mem_limit", "0")
    assert full.mm_stat("disk0").mem_limit == 0
    os.pwrite(full.fd, random_pages(1024), 40 * MIB)


def test_lowering_the_limit_below_what_is_used(full):
    """Nothing is dropped; writing goes on as an overwrite alone."""
    full.set("disk0", "mem_limit", "1M")
    assert_intact(full, full.n_pages)
    assert errno_of(os.pwrite, full.fd, random_page(0), 50 * MIB) == errno.ENOSPC
    assert os.pwrite(full.fd, random_page(12345), 0) == PAGE


def test_one_disk_at_its_limit_leaves_the_others_alone(zramfs):
    mount = zramfs("[a]\ndisksize = 64M\nmem_limit = 1M\n[b]\ndisksize = 64M\n")
    fd = os.open(mount.disk("a"), os.O_RDWR)
    try:
        fill(fd)
    finally:
        os.close(fd)
    with open(mount.disk("b"), "r+b", buffering=0) as file:
        assert file.write(random_pages(1024)) == 4 * MIB
