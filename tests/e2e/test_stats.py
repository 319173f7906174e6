""".stats: compcache's names and order, then ours, with figures that agree with what was done."""

import os
import re
import stat

import pytest

from data import PAGE, half_page, random_page, random_pages, text_pages, word_page
from host import KEEP_SIZE, PUNCH_HOLE, errno_of, fallocate, run, wait_until
from zramfs import MIB, parse_stats

COMPCACHE = ["DiskSize", "MemLimit", "NumReads", "NumWrites", "FailedReads", "FailedWrites",
             "InvalidIO", "NotifyFree", "ZeroPages", "GoodCompress", "NoCompress", "PagesStored",
             "PagesUsed", "OrigDataSize", "ComprDataSize", "MemUsedTotal"]
OURS = ["MemUsedMax", "SameFilledPages", "HugePages", "HugePagesSince", "UndecodablePages",
        "Tables", "Ratio", "Algorithm", "InUse"]
TOTAL = ["Disks", "OrigDataSize", "ComprDataSize", "MemUsedTotal", "StoreMemory", "Reserve",
         "Fragmentation", "PagesCompacted"]

KB = ["DiskSize", "MemLimit", "OrigDataSize", "ComprDataSize", "MemUsedTotal", "MemUsedMax"]
PERCENT = ["GoodCompress", "NoCompress"]


def number(keys, key):
    return int(keys[key].split()[0])


def of(mount, key, disk="disk0"):
    return number(mount.stats()[disk], key)


def test_keys_and_their_order(zramfs):
    stats = zramfs("[a]\ndisksize = 8M\n[b]\ndisksize = 8M\nmem_limit = 4M\n").stats()
    assert list(stats) == ["a", "b", "total"]
    assert list(stats["b"]) == COMPCACHE + OURS
    assert list(stats["a"]) == [key for key in COMPCACHE + OURS if key != "MemLimit"]
    assert list(stats["total"]) == TOTAL


def test_layout(zramfs):
    mount = zramfs("[a]\ndisksize = 8M\nmem_limit = 4M\n[b]\ndisksize = 8M\n")
    text = (mount.point / ".stats").read_text()
    assert text.endswith("\n") and not text.endswith("\n\n")
    blocks = text.split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == ["[a]", "[b]", "[total]"]
    for line in blocks[0].splitlines()[1:]:
        key, value = line.split(":\t")
        if key in KB:
            assert re.fullmatch(r" *\d+ kB", value) and len(value) >= 11, line
        elif key in PERCENT:
            assert re.fullmatch(r" *\d+ %", value) and len(value) >= 10, line
        elif key in ("Ratio", "Algorithm", "Tables", "InUse"):
            assert len(value) >= 8, line
        else:
            assert re.fullmatch(r" *\d+", value) and len(value) >= 8, line


def test_of_an_empty_disk(mount):
    stats = mount.stats()
    keys = stats["disk0"]
    assert number(keys, "DiskSize") == 65536
    for key in COMPCACHE[2:]:
        assert number(keys, key) == 0, key
    assert keys["Algorithm"].strip() == "lz4"
    assert stats["total"]["Disks"].strip() == "1"


def test_without_any_disk(zramfs):
    mount = zramfs("[defaults]\ndisksize = 8M\n")
    stats = mount.stats()
    assert list(stats) == ["total"]
    assert stats["total"]["Disks"].strip() == "0"


def test_of_a_disk_of_size_0(mount):
    os.close(os.open(mount.disk("new"), os.O_CREAT | os.O_RDWR))
    assert of(mount, "DiskSize", "new") == 0


def test_reads_and_writes_count_pages(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        fd = file.fileno()
        os.pwrite(fd, text_pages(10), 0)
        assert (of(mount, "NumWrites"), of(mount, "NumReads")) == (10, 0)
        os.pwrite(fd, b"a", 0)
        assert of(mount, "NumWrites") == 11
        os.pwrite(fd, b"ab", PAGE - 1)
        assert of(mount, "NumWrites") == 13
        os.pread(fd, 10 * PAGE, 0)
        os.pread(fd, 1, 5 * PAGE)
        assert of(mount, "NumReads") in (11, 14)  # whether changing part of a page reads it


def test_pages_of_each_kind(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(text_pages(50) + random_pages(20) + bytes(10 * PAGE) +
                   word_page(0x0123456789abcdef) * 5)
    keys = mount.stats()["disk0"]
    assert number(keys, "PagesStored") == 70  # compcache's word for those that have an object
    assert number(keys, "OrigDataSize") == 85 * 4
    assert number(keys, "ZeroPages") == 10
    assert number(keys, "SameFilledPages") == 15
    assert number(keys, "HugePages") == number(keys, "HugePagesSince") == 20
    assert number(keys, "GoodCompress") in (71, 72)
    assert number(keys, "NoCompress") in (28, 29)
    assert number(keys, "UndecodablePages") == 0


def test_good_compress_is_half_a_page_or_less(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        for i in range(10):
            file.write(half_page(i))             # a little over a quarter
        for i in range(10):                      # about 5/8: kept compressed, but not good
            file.write(random_page(i)[:2560] + bytes(PAGE - 2560))
    keys = mount.stats()["disk0"]
    assert (number(keys, "GoodCompress"), number(keys, "NoCompress")) == (50, 0)


def test_figures_agree_with_mm_stat(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(text_pages(500) + random_pages(500))
    keys, mm_stat = mount.stats()["disk0"], mount.mm_stat("disk0")
    for key, figure in (("OrigDataSize", mm_stat.orig_data_size),
                        ("ComprDataSize", mm_stat.compr_data_size),
                        ("MemUsedTotal", mm_stat.mem_used_total),
                        ("MemUsedMax", mm_stat.mem_used_max)):
        assert abs(number(keys, key) - figure / 1024) <= 1, key
    assert number(keys, "SameFilledPages") == mm_stat.same_pages
    assert number(keys, "HugePages") == mm_stat.huge_pages
    assert abs(number(keys, "PagesUsed") - mm_stat.mem_used_total / PAGE) <= 1
    assert os.stat(mount.disk("disk0")).st_blocks * 512 == number(keys, "PagesStored") * PAGE
    ratio = float(re.search(r"[\d.]+", keys["Ratio"])[0])
    low = mm_stat.orig_data_size / mm_stat.mem_used_total
    high = mm_stat.orig_data_size / mm_stat.compr_data_size
    assert low - 0.02 <= ratio <= high + 0.02


def test_discards_are_counted(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(text_pages(64))
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 10 * PAGE, 20 * PAGE)
    assert of(mount, "NotifyFree") == mount.io_stat("disk0").notify_free == 20
    assert of(mount, "PagesStored") == 44


def test_failures_are_counted(zramfs):
    mount = zramfs("[disk0]\ndisksize = 8M\nmem_limit = 256K\n")
    failed = 0
    fd = os.open(mount.disk("disk0"), os.O_RDWR)
    try:
        for i in range(100):
            failed += bool(errno_of(os.pwrite, fd, random_page(i), i * PAGE))
    finally:
        os.close(fd)
    assert 30 < failed < 60
    assert of(mount, "FailedWrites") == mount.io_stat("disk0").failed_writes == failed
    assert of(mount, "NumWrites") == 100  # counters include failures, as compcache's did
    assert of(mount, "FailedReads") == 0


def test_totals_add_up(zramfs):
    mount = zramfs("[a]\ndisksize = 64M\n[b]\ndisksize = 64M\n")
    mount.disk("a").open("r+b").write(text_pages(100))
    mount.disk("b").open("r+b").write(random_pages(300))
    stats = mount.stats()
    for key in ("OrigDataSize", "ComprDataSize", "MemUsedTotal"):
        parts = number(stats["a"], key) + number(stats["b"], key)
        assert abs(number(stats["total"], key) - parts) <= 2, key
    assert number(stats["total"], "StoreMemory") >= number(stats["total"], "MemUsedTotal")
    os.unlink(mount.disk("a"))
    stats = mount.stats()
    assert list(stats) == ["b", "total"]
    assert stats["total"]["Disks"].strip() == "1"


def test_in_use_shows(mount, machine):
    free = mount.stats()["disk0"]["InUse"]
    holder = machine.hold(mount.disk("disk0"))
    used = mount.stats()["disk0"]["InUse"]
    assert used != free
    holder.release()
    wait_until(lambda: mount.stats()["disk0"]["InUse"] == free, what="InUse to fall")


def test_read_twice(mount):
    """By two opens, by one handle, in small pieces, by cat."""
    path = mount.point / ".stats"
    first = path.read_text()
    assert path.read_text() == first
    with open(path, "rb", buffering=0) as file:
        whole = file.read()
        file.seek(0)
        assert file.read() == whole == first.encode()
        pieces, at = [], 0
        while piece := os.pread(file.fileno(), 7, at):
            pieces.append(piece)
            at += len(piece)
        assert b"".join(pieces) == whole
    assert run("cat", path).stdout == first
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o444
    assert errno_of(os.open, path, os.O_WRONLY) != 0 or os.geteuid() == 0


def test_cp_and_grep_work(mount, place):
    run("cp", mount.point / ".stats", place / "stats")
    assert parse_stats((place / "stats").read_text()).keys() == mount.stats().keys()
    assert "DiskSize" in run("grep", "DiskSize", mount.point / ".stats").stdout
    assert run("tail", "-n", "1", mount.point / ".stats").stdout.startswith("PagesCompacted:")


def test_a_hundred_disks(zramfs):
    mount = zramfs("".join(f"[disk{i:02}]\ndisksize = 1M\n" for i in range(100)))
    stats = mount.stats()
    assert list(stats) == [f"disk{i:02}" for i in range(100)] + ["total"]


@pytest.mark.root
@pytest.mark.needs("setpriv")
@pytest.mark.parametrize("foreground", [True, False], ids=["foreground", "background"])
def test_statistics_for_everyone_and_control_not(zramfs, user, foreground):
    mount = zramfs("[disk0]\ndisksize = 64M\n", foreground=foreground)
    text = run("cat", mount.point / ".stats", user=user).stdout
    assert "[disk0]" in text and "[total]" in text
    assert run("ls", mount.point, user=user).stdout.split() == ["disk0"]
    assert run("cat", mount.disk("disk0"), user=user, check=False).returncode != 0
    for name in ("reset", "mem_limit"):
        script = f"echo 1 > {mount.control('disk0', name)}"
        assert run("sh", "-c", script, user=user, check=False).returncode != 0
    assert os.stat(mount.disk("disk0")).st_size == 64 * MIB
