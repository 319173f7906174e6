""".control/<disk>/: the names, modes, formats and errnos of /sys/block/zram<N>/."""

import concurrent.futures
import contextlib
import errno
import os
import pathlib
import re
import stat
import threading
import time

import pytest

from data import PAGE, random_page, random_pages, text_page, text_pages, word_page
from host import KEEP_SIZE, PUNCH_HOLE, errno_of, fallocate, run
from zramfs import GIB, KIB, MIB

# Documentation/admin-guide/blockdev/zram.rst, but for mem_limit, which can be read here.
KERNEL = {
    "disksize": 0o644, "initstate": 0o444, "reset": 0o200, "comp_algorithm": 0o644,
    "algorithm_params": 0o200, "compact": 0o200, "mem_limit": 0o644, "mm_stat": 0o444,
    "io_stat": 0o444, "mem_used_max": 0o200, "idle": 0o200, "bd_stat": 0o444, "debug_stat": 0o444,
    "max_comp_streams": 0o644, "recomp_algorithm": 0o644, "recompress": 0o200,
    "backing_dev": 0o644, "writeback": 0o200, "writeback_limit": 0o644,
    "writeback_limit_enable": 0o644, "writeback_batch_size": 0o644, "compressed_writeback": 0o644,
    "block_state": 0o400,
}

# Documentation/blockdev/zram.txt of 2013: one value each.
OF_2013 = {name: 0o444 for name in (
    "num_reads", "num_writes", "failed_reads", "failed_writes", "invalid_io", "notify_free",
    "discard", "zero_pages", "orig_data_size", "compr_data_size", "mem_used_total")}

OURS = {
    "format": 0o644, "label": 0o644, "uuid": 0o644, "mode": 0o644, "swap_priority": 0o644,
    "backing_size": 0o644, "backing_preallocate": 0o644, "backing_key": 0o644,
    "backing_limit": 0o644, "on_limit": 0o644, "spill_above": 0o644, "writeback_at": 0o644,
    "histogram": 0o444, "fragmentation": 0o444, "same_filled": 0o444, "tables": 0o444,
    "latency": 0o444, "idle_age": 0o644, "recompress_age": 0o644, "writeback_age": 0o644,
    "writeback_daily": 0o644, "compact_at": 0o644, "policy": 0o444,
}

MODES = {**KERNEL, **OF_2013, **OURS}
DAEMON_MODES = {"threads": 0o444, "mem_limit": 0o644, "generation": 0o444, "safety": 0o444,
                "upgrade": 0o644, "watchdog": 0o644, "poll_us": 0o644, "policy_cpu": 0o644,
                "transport": 0o444, "uring_depth": 0o444}

# What each shows of a disk with a size and nothing in it.
SHOWN = {
    **{name: "0\n" for name in OF_2013},
    "disksize": f"{64 << 20}\n", "initstate": "1\n", "mem_limit": "0\n",
    "comp_algorithm": "lzo-rle lzo [lz4] lz4hc zstd \n",
    "mm_stat": " ".join(["       0"] * 9) + "\n", "io_stat": "       0        0 0        0\n",
    "bd_stat": " ".join(["       0"] * 3) + "\n", "debug_stat": "version: 1\n0        0\n",
    "recomp_algorithm": "", "backing_dev": "none\n", "writeback_limit": "0\n",
    "writeback_limit_enable": "0\n", "writeback_batch_size": "128\n",
    "compressed_writeback": "1\n", "backing_size": "0\n", "backing_preallocate": "0\n",
    "backing_key": "none\n", "backing_limit": "0\n", "on_limit": "enospc\n",
    "idle_age": "0\n", "recompress_age": "0\n", "writeback_age": "0\n", "writeback_daily": "0\n",
    "compact_at": "0\n", "policy": "off\n",
    "spill_above": "0\n", "writeback_at": "90\n", "block_state": "", "format": "none\n", "label": "\n",
    "uuid": "\n", "mode": "0600\n", "swap_priority": "100\n",
    "same_filled": "zero 0\n8_bits 0\n16_bits 0\n32_bits 0\n64_bits 0\n",
}

MM_STAT = re.compile(r" *\d+( +\d+){8}\n")
IO_STAT = re.compile(r" *\d+( +\d+){3}\n")

ZRAM = pathlib.Path("/sys/block/zram0")


@pytest.fixture
def fresh(zramfs):
    """A disk that is not initialised, as the kernel's are before somebody sets disksize."""
    mount = zramfs("[defaults]\ncomp_algorithm = lz4\n")
    os.close(os.open(mount.disk("disk0"), os.O_CREAT | os.O_RDWR, 0o600))
    return mount


def refused(mount, attribute, text):
    return errno_of(mount.set, "disk0", attribute, text)


# What is there


def test_all_is_listed(mount):
    control = mount.point / ".control"
    assert sorted(os.listdir(control)) == ["disk0", "hot_add", "hot_remove", "zramfs"]
    assert sorted(os.listdir(control / "disk0")) == sorted(MODES)
    assert sorted(os.listdir(control / "zramfs")) == sorted(DAEMON_MODES)
    assert sorted(os.listdir(mount.point)) == [".control", ".metrics", ".stats", ".stats.json",
                                               "disk0"]
    with os.scandir(control) as entries:  # the types that listing says are those of stat
        for entry in entries:
            assert entry.is_dir(follow_symlinks=False) == stat.S_ISDIR(os.stat(entry.path).st_mode)
            assert entry.inode() == os.stat(entry.path).st_ino


def test_what_each_shows(mount):
    for name, text in SHOWN.items():
        assert mount.get("disk0", name) == text, name


def test_all_can_be_read_that_may(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(text_pages(20) + bytes(PAGE))
    for name, mode in MODES.items():
        if mode & 0o444:
            text = mount.get("disk0", name)
            assert text == "" or text.endswith("\n"), name
            assert text != "" or name == "recomp_algorithm", name
            size = os.stat(mount.control("disk0", name)).st_size
            assert size == (0 if name == "block_state" else 4096), name
    assert (mount.get("disk0", "num_writes"), mount.get("disk0", "zero_pages")) == ("21\n", "1\n")


def test_modes_and_owners_of_these_files_stay(mount):
    for path in (mount.control("disk0", "mem_limit"), mount.point / ".stats",
                 mount.point / ".control", mount.point / ".control/hot_add"):
        before = os.stat(path)
        assert errno_of(os.chmod, path, 0o600) == errno.EPERM
        assert errno_of(os.chown, path, 1, 1) == errno.EPERM
        assert os.stat(path).st_mode == before.st_mode
        assert errno_of(os.rename, path, str(path) + "2") in (errno.EPERM, errno.EINVAL)
    for path in (mount.control("disk0", "mem_limit"), mount.point / ".control/hot_add"):
        assert errno_of(os.unlink, path) == errno.EPERM
    assert errno_of(os.rmdir, mount.point / ".control") == errno.EPERM


def test_the_kernels_modes(mount):
    directory = mount.point / ".control" / "disk0"
    for where, modes in ((directory, MODES), (mount.point / ".control/zramfs", DAEMON_MODES)):
        for name, mode in modes.items():
            status = os.stat(where / name)
            assert stat.S_ISREG(status.st_mode)
            assert stat.S_IMODE(status.st_mode) == mode, name
    assert stat.S_IMODE(os.stat(directory).st_mode) & 0o555 == 0o555


@pytest.mark.root
@pytest.mark.needs("setpriv")
def test_reading_needs_nothing_and_writing_does(mount, user):
    directory = mount.point / ".control" / "disk0"
    files = {directory / name: mode for name, mode in MODES.items()}
    files |= {mount.point / ".control/zramfs" / name: mode for name, mode in DAEMON_MODES.items()}
    files |= {mount.point / ".control" / name: 0o200 for name in ("hot_add", "hot_remove")}
    script = """cd "$1"; shift
        for file; do
            cat "$file" >/dev/null 2>&1 && echo "read $file"
            ( echo 1 >"$file" ) 2>/dev/null && echo "written $file"
        done; true"""
    done = run("sh", "-c", script, "sh", mount.point, *files, user=user).stdout.splitlines()
    assert done == [f"read {path}" for path, mode in files.items() if mode & 0o004]
    assert mount.get("disk0", "initstate") == "1\n"
    assert os.listdir(mount.point / ".control").count("1") == 0


def test_a_recursive_grep_changes_nothing(mount):
    control = mount.point / ".control"
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(text_pages(20))
    before = sorted(os.listdir(control))
    done = run("grep", "-r", ".", control, check=False, timeout=20)
    assert f"{control}/disk0/initstate:1" in done.stdout.splitlines()
    assert f"{control}/zramfs/mem_limit:0" in done.stdout.splitlines()
    # A read of these is refused, so nothing is added by it.
    for name in ("hot_add", "hot_remove", "disk0/reset", "disk0/compact"):
        assert f"{control}/{name}: Permission denied" in done.stderr
        assert errno_of(os.open, control / name, os.O_RDONLY) == errno.EACCES
        assert errno_of(os.open, control / name, os.O_RDWR) == errno.EACCES
    assert sorted(os.listdir(control)) == before
    assert mount.get("disk0", "disksize") == f"{64 * MIB}\n"


def test_a_disk_that_is_not_there(mount):
    assert errno_of(os.listdir, mount.point / ".control" / "none") == errno.ENOENT
    assert errno_of(os.stat, mount.control("disk0", "none")) == errno.ENOENT


# disksize, initstate, reset


@pytest.mark.parametrize("text, size", [("65536", 64 * KIB), ("64K", 64 * KIB), ("32M\n", 32 * MIB),
                                        ("2G", 2 * GIB), ("1g", GIB), ("0x10000", 64 * KIB),
                                        ("5000", 8192), ("1", 4096)])
def test_disksize_is_set_once(fresh, text, size):
    assert (fresh.get("disk0", "disksize"), fresh.get("disk0", "initstate")) == ("0\n", "0\n")
    fresh.set("disk0", "disksize", text)
    assert (fresh.get("disk0", "disksize"), fresh.get("disk0", "initstate")) == (f"{size}\n", "1\n")
    for again in (text, "128M"):
        assert refused(fresh, "disksize", again) == errno.EBUSY
    assert fresh.get("disk0", "disksize") == f"{size}\n"
    assert os.stat(fresh.disk("disk0")).st_size in (size, int(text) if text.isdigit() else size)


@pytest.mark.parametrize("text", ["0", "\n", "large", "-1", "1M 2M", "0K", "64MB", "1Q"])
def test_bad_disksize(fresh, text):
    assert refused(fresh, "disksize", text) == errno.EINVAL
    assert fresh.get("disk0", "initstate") == "0\n"


def test_disksize_too_large(fresh):
    assert refused(fresh, "disksize", "257T") in (errno.EFBIG, errno.EINVAL, errno.ENOMEM)
    assert fresh.get("disk0", "disksize") == "0\n"


def test_truncate_is_how_to_resize(mount):
    os.truncate(mount.disk("disk0"), 96 * MIB)
    assert mount.get("disk0", "disksize") == f"{96 * MIB}\n"
    os.truncate(mount.disk("disk0"), 0)
    assert mount.get("disk0", "initstate") == "0\n"
    mount.set("disk0", "disksize", "32M")
    assert os.stat(mount.disk("disk0")).st_size == 32 * MIB


def test_reset(zramfs):
    mount = zramfs("[disk0]\ndisksize = 64M\ncomp_algorithm = zstd\nmem_limit = 32M\n")
    with open(mount.disk("disk0"), "r+b") as file:
        file.write(text_pages(100))
    run("sh", "-c", f"echo 1 > {mount.control('disk0', 'reset')}")
    assert (mount.get("disk0", "disksize"), mount.get("disk0", "initstate")) == ("0\n", "0\n")
    assert "[lz4]" in mount.get("disk0", "comp_algorithm")
    assert set(mount.mm_stat("disk0")) == {0}
    assert set(mount.io_stat("disk0")) == {0}
    assert os.stat(mount.disk("disk0")).st_size == 0
    assert os.stat(mount.disk("disk0")).st_blocks == 0
    mount.set("disk0", "disksize", "8M")
    assert mount.disk("disk0").read_bytes() == bytes(8 * MIB)


@pytest.mark.parametrize("text", ["0", "x", "\n", "65536", "-1"])
def test_bad_reset(mount, text):
    assert refused(mount, "reset", text) in (errno.EINVAL, errno.ERANGE)
    assert mount.get("disk0", "initstate") == "1\n"


def test_reset_of_what_is_open(mount, machine):
    with open(mount.disk("disk0"), "r+b") as file:
        file.write(text_pages(10))
    holder = machine.hold(mount.disk("disk0"))
    assert refused(mount, "reset", "1") == errno.EBUSY
    assert mount.mm_stat("disk0").orig_data_size == 10 * PAGE
    holder.release()
    mount.set("disk0", "reset", "1")
    assert mount.get("disk0", "initstate") == "0\n"


def test_reset_of_what_is_not_initialised(fresh):
    fresh.set("disk0", "reset", "1\n")
    assert fresh.get("disk0", "initstate") == "0\n"


# comp_algorithm, algorithm_params


def test_comp_algorithm_lists_all_and_marks_one(fresh):
    assert fresh.get("disk0", "comp_algorithm") == "lzo-rle lzo [lz4] lz4hc zstd \n"
    fresh.set("disk0", "comp_algorithm", "zstd\n")
    assert fresh.get("disk0", "comp_algorithm") == "lzo-rle lzo lz4 lz4hc [zstd] \n"
    fresh.set("disk0", "comp_algorithm", "lzo-rle")
    assert fresh.get("disk0", "comp_algorithm") == "[lzo-rle] lzo lz4 lz4hc zstd \n"


@pytest.mark.parametrize("text", ["lz5", "LZ4", "\n", "lz4 zstd", "lz", "lz4hcx", "[lz4]"])
def test_unknown_comp_algorithm(fresh, text):
    assert refused(fresh, "comp_algorithm", text) == errno.EINVAL
    assert "[lz4]" in fresh.get("disk0", "comp_algorithm")


def test_a_very_long_comp_algorithm(fresh):
    assert refused(fresh, "comp_algorithm", "x" * 200) in (errno.E2BIG, errno.EINVAL)


def test_comp_algorithm_is_fixed_once_the_size_is_set(mount):
    for text in ("zstd", "lz4"):
        assert refused(mount, "comp_algorithm", text) == errno.EBUSY
    assert "[lz4]" in mount.get("disk0", "comp_algorithm")


def test_algorithm_params(fresh):
    fresh.set("disk0", "comp_algorithm", "zstd")
    fresh.set("disk0", "algorithm_params", "level=3\n")
    fresh.set("disk0", "algorithm_params", "algo=zstd level=5")
    for text in ("level", "level=", "level=x", "level=99", "algo=none level=1", "priority=9"):
        assert refused(fresh, "algorithm_params", text) == errno.EINVAL, text
    fresh.set("disk0", "disksize", "8M")
    assert refused(fresh, "algorithm_params", "level=1") == errno.EBUSY


# mem_limit


@pytest.mark.parametrize("text, limit", [("16M", 16 * MIB), ("16777216\n", 16 * MIB), ("0", 0),
                                         ("5000", 8192), ("1G", GIB)])
def test_mem_limit(mount, text, limit):
    mount.set("disk0", "mem_limit", text)
    assert mount.get("disk0", "mem_limit") == f"{limit}\n"
    assert mount.mm_stat("disk0").mem_limit == limit


@pytest.mark.parametrize("text", ["x", "-1", "\n", "1M x"])
def test_bad_mem_limit(mount, text):
    mount.set("disk0", "mem_limit", "16M")
    assert refused(mount, "mem_limit", text) == errno.EINVAL
    assert mount.mm_stat("disk0").mem_limit == 16 * MIB


# mm_stat, io_stat


def test_mm_stat_of_an_empty_disk(mount):
    assert mount.get("disk0", "mm_stat") == " ".join(["       0"] * 9) + "\n"


def test_mm_stat_agrees_with_what_was_written(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(text_pages(100) + word_page(0x0123456789abcdef) * 20 + random_pages(30))
    text = mount.get("disk0", "mm_stat")
    assert MM_STAT.fullmatch(text)
    got = mount.mm_stat("disk0")
    assert got.orig_data_size == 150 * PAGE
    assert 30 * PAGE < got.compr_data_size < 30 * PAGE + 100 * PAGE // 4
    assert got.compr_data_size <= got.mem_used_total <= got.compr_data_size + 2 * MIB
    assert got.mem_used_max >= got.mem_used_total
    assert (got.mem_limit, got.same_pages, got.huge_pages, got.huge_pages_since) == (0, 20, 30, 30)


def test_io_stat_counts_discards(mount):
    assert re.fullmatch(r" {7}0 {8}0( {8}| )0 {8}0\n", mount.get("disk0", "io_stat"))
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(text_pages(10))
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, 4 * PAGE)
    text = mount.get("disk0", "io_stat")
    assert IO_STAT.fullmatch(text)
    got = mount.io_stat("disk0")
    assert (got.failed_reads, got.failed_writes, got.notify_free) == (0, 0, 4)


# mem_used_max


def test_mem_used_max(mount):
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(random_pages(1000))
        peak = mount.mm_stat("disk0").mem_used_max
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, 900 * PAGE)
    assert mount.mm_stat("disk0").mem_used_max >= peak >= 1000 * PAGE
    for text in ("1", "x", "\n", "-0", "0 0", "0x0"):
        assert refused(mount, "mem_used_max", text) == errno.EINVAL, text
    assert mount.mm_stat("disk0").mem_used_max >= peak
    mount.set("disk0", "mem_used_max", "0\n")
    got = mount.mm_stat("disk0")
    assert got.mem_used_total <= got.mem_used_max < peak


# what needs a backing file: the documented errnos


@pytest.mark.parametrize("attribute, text, without_size, with_size", [
    ("backing_dev", "/dev/null", errno.ENOTBLK, errno.EBUSY),
    ("backing_dev", "/no/such/file", errno.ENOENT, errno.EBUSY),
    ("backing_dev", "relative", errno.EINVAL, errno.EBUSY),
    ("backing_dev", "none", 0, errno.EBUSY),
    ("writeback", "idle", errno.EINVAL, errno.ENODEV),
    ("writeback", "type=huge", errno.EINVAL, errno.ENODEV),
    ("recompress", "type=idle", errno.EINVAL, errno.EINVAL),
    ("recomp_algorithm", "algo=zstd priority=1", 0, errno.EBUSY),
    ("writeback", "junk", errno.EINVAL, errno.ENODEV),
    ("writeback_batch_size", "0", errno.EINVAL, errno.EINVAL),
    ("writeback_batch_size", "32", 0, 0),
    ("compressed_writeback", "off", 0, errno.EBUSY),
    ("compressed_writeback", "2", errno.EINVAL, errno.EINVAL),
    ("on_limit", "spill", errno.ENODEV, errno.ENODEV),
    ("on_limit", "enospc", 0, 0),
    ("writeback_limit", "1", 0, 0),
    ("writeback_limit", "-1", errno.EINVAL, errno.EINVAL),
    ("writeback_limit_enable", "1", 0, 0),
    ("writeback_limit", "x", errno.EINVAL, errno.EINVAL),
    ("writeback_limit", "0", 0, 0),
    ("writeback_limit_enable", "0\n", 0, 0),
    ("max_comp_streams", "3", 0, 0),
    ("max_comp_streams", "0", errno.EINVAL, errno.EINVAL),
    ("max_comp_streams", "x", errno.EINVAL, errno.EINVAL),
    ("compact", "1", errno.EINVAL, 0),
    ("compact", "x", errno.EINVAL, 0),
    ("idle", "all", errno.EINVAL, 0),
    ("idle", "3600", errno.EINVAL, errno.EINVAL),
    ("idle", "\n", errno.EINVAL, errno.EINVAL),
])
def test_what_is_refused(fresh, attribute, text, without_size, with_size):
    assert refused(fresh, attribute, text) == without_size
    fresh.set("disk0", "disksize", "8M")
    assert refused(fresh, attribute, text) == with_size


def test_what_is_set_of_a_disk(fresh):
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    for name, text, shown in (("format", "swap", "swap\n"), ("label", "my swap\n", "my swap\n"),
                              ("uuid", uuid, uuid + "\n"), ("mode", "640", "0640\n"),
                              ("swap_priority", "-1", "-1\n")):
        fresh.set("disk0", name, text)
        assert fresh.get("disk0", name) == shown
    assert stat.S_IMODE(os.stat(fresh.disk("disk0")).st_mode) == 0o640
    fresh.set("disk0", "disksize", "8M")
    assert fresh.disk("disk0").read_bytes()[4086:4096] == b"SWAPSPACE2"
    for name in ("format", "label", "uuid"):
        assert refused(fresh, name, "none") == errno.EBUSY, name
    fresh.set("disk0", "swap_priority", "32767")
    for name, text in (("swap_priority", "32768"), ("swap_priority", "x"), ("mode", "8"),
                       ("mode", "01000")):
        assert refused(fresh, name, text) == errno.EINVAL, name


# block_state, idle

LINE = re.compile(r" *(\d+) +(\d+)\.(\d{6}) ([.s])([.w])([.h])([.i])([.r])([.n])")


def block_state(text):
    """{page: flags that are set}, from lines that must be in order."""
    matches = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(matches) and (text == "" or text.endswith("\n"))
    pages = [int(match[1]) for match in matches]
    assert pages == sorted(set(pages))
    return {int(match[1]): "".join(match.groups()[3:]).replace(".", "") for match in matches}


@pytest.fixture
def pages(mount):
    """disk0 with pages of each kind at 0, 1, 2 and 1000 to 1009; the rest are holes."""
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        fd = file.fileno()
        os.pwrite(fd, text_page(1) + bytes(PAGE) + random_page(1), 0)
        os.pwrite(fd, text_pages(10), 1000 * PAGE)
    return mount


def test_block_state_says_what_pages_are(pages):
    assert block_state(pages.get("disk0", "block_state")) == {
        0: "", 1: "s", 2: "h", **{1000 + i: "" for i in range(10)}}
    assert len(pages.get("disk0", "block_state").splitlines()[0]) == len(
        f"{0:12} {0:12}.{0:06} ......")


def test_idle_marks_objects_until_they_are_used(pages):
    pages.set("disk0", "idle", "all\n")
    marked = block_state(pages.get("disk0", "block_state"))
    assert marked == {0: "i", 1: "s", 2: "hi", **{1000 + i: "i" for i in range(10)}}
    with open(pages.disk("disk0"), "r+b", buffering=0) as file:
        os.pread(file.fileno(), 1, 1003 * PAGE)
        os.pwrite(file.fileno(), text_page(7), 1005 * PAGE)
        os.pread(file.fileno(), 10 * PAGE, 10 * PAGE)  # holes
    after = block_state(pages.get("disk0", "block_state"))
    assert {page for page in marked if marked[page] != after[page]} == {1003, 1005}
    assert after[1003] == after[1005] == ""


@pytest.mark.parametrize("n_bytes", [1, 7, 40, 41, 4096, 65536, 1 << 20])
def test_block_state_in_pieces(pages, n_bytes):
    with open(pages.control("disk0", "block_state"), "rb", buffering=0) as file:
        whole = b"".join(iter(lambda: os.read(file.fileno(), n_bytes), b""))
        assert os.read(file.fileno(), n_bytes) == b""
    assert whole.decode() == pages.get("disk0", "block_state")
    assert len(whole.splitlines()) == 13


def test_block_state_goes_on_or_begins_again(pages):
    whole = pages.get("disk0", "block_state").encode()
    with open(pages.control("disk0", "block_state"), "rb", buffering=0) as file:
        fd = file.fileno()
        assert errno_of(os.pread, fd, 100, 40) == errno.EINVAL
        assert os.pread(fd, 50, 0) == whole[:50]
        for offset in (1, 49, 51, 1 << 40):
            assert errno_of(os.pread, fd, 100, offset) == errno.EINVAL
        assert os.pread(fd, 50, 50) == whole[50:100]
        assert os.pread(fd, 50, 0) == whole[:50]
        assert os.pread(fd, 1 << 20, 50) == whole[50:]
        assert os.pread(fd, 100, len(whole)) == b""
        assert os.pread(fd, 1 << 20, 0) == whole


def test_block_state_of_two_readers(pages):
    """Of two handles each has all; of one, each line goes to one."""
    path = pages.control("disk0", "block_state")
    whole = pages.get("disk0", "block_state")
    with open(path, "rb", buffering=0) as first, open(path, "rb", buffering=0) as second:
        texts = [b"", b""]
        while True:
            pieces = [os.read(first.fileno(), 33), os.read(second.fileno(), 77)]
            if not any(pieces):
                break
            texts = [text + piece for text, piece in zip(texts, pieces)]
        assert [text.decode() for text in texts] == [whole, whole]


def test_block_state_of_many_readers_of_one_handle(pages):
    """Each piece is right or refused, whoever else reads."""
    whole = pages.get("disk0", "block_state").encode()
    with open(pages.control("disk0", "block_state"), "rb", buffering=0) as file:
        def reader(seed):
            codes = set()
            for i in range(300):
                offset = 7 * ((seed * 31 + i) % 10)
                try:
                    piece = os.pread(file.fileno(), 7, offset)
                    assert piece == whole[offset:offset + 7]
                    codes.add(0)
                except OSError as error:
                    codes.add(error.errno)
            return codes

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = set().union(*pool.map(reader, range(8)))
    assert found == {0, errno.EINVAL}


def test_block_state_of_a_disk_without_size(fresh):
    fd = os.open(fresh.control("disk0", "block_state"), os.O_RDONLY)
    try:
        assert errno_of(os.read, fd, 100) == errno.EINVAL
        fresh.set("disk0", "disksize", "8M")
        assert os.read(fd, 100) == b""
        os.unlink(fresh.disk("disk0"))
        assert errno_of(os.pread, fd, 100, 0) == errno.ENODEV
    finally:
        os.close(fd)


def test_block_state_while_writes_run(mount):
    """Whatever is written meanwhile: whole lines in order, all that was there, nothing else."""
    end = threading.Event()
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        fd = file.fileno()
        os.pwrite(fd, text_pages(2000), 0)

        def writer():
            i = 0
            while not end.is_set():
                os.pwrite(fd, (text_page if i % 2 else random_page)(i), (i * 7 % 2000) * PAGE)
                os.pwrite(fd, bytes(PAGE), (3000 + i % 100) * PAGE)
                i += 1

        thread = threading.Thread(target=writer)
        thread.start()
        try:
            for _ in range(20):
                found = block_state(mount.get("disk0", "block_state"))
                assert set(range(2000)) <= set(found) <= {*range(2000), *range(3000, 3100)}
        finally:
            end.set()
            thread.join()


def test_block_state_of_a_million_pages(zramfs):
    n_pages = 1 << 20
    mount = zramfs("[disk0]\ndisksize = 8G\n")
    piece = bytes(MIB)
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        for i in range(n_pages * PAGE // MIB):
            file.write(piece)
    begin = time.monotonic()
    done = run("sh", "-c", f"dd bs=128k status=none if={mount.control('disk0', 'block_state')} | "
                           "tee /dev/stderr | wc -l", timeout=60)
    taken = time.monotonic() - begin
    assert int(done.stdout) == n_pages
    lines = done.stderr.splitlines()
    assert [int(lines[i].split()[0]) for i in (0, 12345, -1)] == [0, 12345, n_pages - 1]
    assert taken < 30, taken


# .control/zramfs


def test_the_daemons_attributes(zramfs):
    mount = zramfs("[zramfs]\nthreads = 3\nmem_limit = 32M\n[disk0]\ndisksize = 64M\n")
    assert mount.get("zramfs", "threads") == "3\n"
    assert mount.get("disk0", "max_comp_streams") == "3\n"
    assert mount.get("zramfs", "mem_limit") == f"{32 * MIB}\n"
    mount.set("zramfs", "mem_limit", "16M\n")
    assert mount.get("zramfs", "mem_limit") == f"{16 * MIB}\n"
    for text in ("x", "-1", "\n", "257T", "1M 1M"):
        assert errno_of(mount.set, "zramfs", "mem_limit", text) == errno.EINVAL, text
    assert errno_of(mount.set, "zramfs", "threads", "4") == errno.EACCES
    assert mount.get("zramfs", "mem_limit") == f"{16 * MIB}\n"
    assert errno_of(os.stat, mount.control("zramfs", "disksize")) == errno.ENOENT
    assert errno_of(os.stat, mount.control("disk0", "threads")) == errno.ENOENT


def test_mem_limit_of_the_daemon_holds_for_all_disks_together(zramfs):
    mount = zramfs("[zramfs]\nmem_limit = 8M\n[a]\ndisksize = 64M\n[b]\ndisksize = 64M\n")
    codes = []
    with contextlib.ExitStack() as stack:
        fds = [stack.enter_context(open(mount.disk(name), "r+b", buffering=0)).fileno()
               for name in ("a", "b")]
        for i in range(3000):
            codes.append(errno_of(os.pwrite, fds[i % 2], random_page(i), i * PAGE))
        assert set(codes) == {0, errno.ENOSPC}
        n_kept = codes.count(0)
        used = sum(mount.mm_stat(name).mem_used_total for name in ("a", "b"))
        assert 7.5 * MIB < n_kept * PAGE <= 8 * MIB <= used + MIB
        # What does not grow them is still done, and what was refused left no trace.
        assert os.pwrite(fds[0], random_page(0), 0) == PAGE
        first = codes.index(errno.ENOSPC)
        assert os.pread(fds[first % 2], PAGE, first * PAGE) in (bytes(PAGE), b"")
        fallocate(fds[1], PUNCH_HOLE | KEEP_SIZE, 0, 64 * MIB)
        assert os.pwrite(fds[0], random_page(1), 60 * MIB) == PAGE
        mount.set("zramfs", "mem_limit", "0")
        assert os.pwrite(fds[0], random_pages(4096), 0) == 16 * MIB


@pytest.mark.loop
def test_a_loop_device_at_the_daemons_limit_does_not_hang(zramfs, machine):
    mount = zramfs("[zramfs]\nmem_limit = 4M\n[disk0]\ndisksize = 64M\n")
    device = machine.attach(mount.disk("disk0"))
    done = run("dd", "if=/dev/urandom", f"of={device}", "bs=1M", "count=32", "oflag=direct",
               check=False, timeout=60)
    assert done.returncode != 0 and "No space left on device" in done.stderr
    mount.set("zramfs", "mem_limit", "0")
    run("dd", "if=/dev/urandom", f"of={device}", "bs=1M", "count=32", "oflag=direct", timeout=60)


# Writing


def test_an_offset_is_refused(mount):
    fd = os.open(mount.control("disk0", "mem_limit"), os.O_WRONLY)
    try:
        assert errno_of(os.pwrite, fd, b"16M", 1) == errno.EINVAL
        assert errno_of(os.pwrite, fd, b"16M", 4096) == errno.EINVAL
        assert os.pwrite(fd, b"16M", 0) == 3
    finally:
        os.close(fd)
    assert mount.mm_stat("disk0").mem_limit == 16 * MIB


@pytest.mark.parametrize("length", [4096, 5000, 200000])
def test_a_value_that_is_too_long(mount, length):
    assert refused(mount, "mem_limit", "0" * length + "1") == errno.EINVAL
    assert mount.mm_stat("disk0").mem_limit == 0


@pytest.mark.parametrize("name", [name for name, mode in MODES.items() if not mode & 0o222])
def test_what_cannot_be_written(mount, name):
    """The kernel too has EIO or EACCES here, by who asks: for root the mode says nothing."""
    codes = {errno.EACCES, errno.EPERM, errno.EIO, errno.EINVAL}
    assert errno_of(mount.set, "disk0", name, "1") in codes


@pytest.mark.parametrize("name", [name for name, mode in MODES.items() if not mode & 0o444])
def test_what_cannot_be_read(mount, name):
    codes = {errno.EACCES, errno.EPERM, errno.EIO, errno.EINVAL}
    assert errno_of(mount.get, "disk0", name) in codes


def test_shell_idioms(fresh):
    """What scripts for the kernel's zram do, with another directory in front."""
    control = fresh.point / ".control" / "disk0"
    run("sh", "-e", "-c", f"""
        S={control}
        grep -q zstd $S/comp_algorithm
        echo zstd > $S/comp_algorithm
        echo 64M > $S/disksize
        [ "$(cat $S/disksize)" = 67108864 ]
        [ "$(cat $S/initstate)" -eq 1 ]
        read orig compr used limit max same compacted huge since < $S/mm_stat
        [ "$orig" -eq 0 ]
        printf 16M > $S/mem_limit
        echo 1 > $S/reset
        [ "$(cat $S/disksize)" = 0 ]
    """)


def test_a_text_is_a_snapshot(mount):
    """Rendered at open: what one handle reads does not change under it, and reads twice."""
    with open(mount.control("disk0", "mm_stat"), "rb", buffering=0) as file:
        first = file.read()
        with open(mount.disk("disk0"), "r+b", buffering=0) as disk:
            disk.write(text_pages(10))
        file.seek(0)
        assert file.read() == first
        assert os.pread(file.fileno(), 8, 9) == first[9:17]
        assert os.pread(file.fileno(), 100, len(first)) == b""
    assert mount.mm_stat("disk0").orig_data_size == 10 * PAGE


# Against the kernel's zram, where there is one that nobody uses


def kernel_write(attribute, text):
    fd = os.open(ZRAM / attribute, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


@pytest.fixture
def kernel():
    if os.geteuid() != 0 or not ZRAM.exists():
        pytest.skip("no /dev/zram0")
    if (ZRAM / "initstate").read_text() != "0\n":
        pytest.skip("/dev/zram0 is in use")
    kernel_write("reset", "1")
    yield ZRAM
    with contextlib.suppress(OSError):
        kernel_write("reset", "1")


def test_formats_are_the_kernels(fresh, kernel):
    def shape(text):
        return [len(word) for word in re.findall(r" *\d+", text)]

    for size in (None, "64M"):
        if size:
            kernel_write("disksize", size)
            fresh.set("disk0", "disksize", size)
        for name in ("disksize", "initstate"):
            assert fresh.get("disk0", name) == (kernel / name).read_text()
        assert shape(fresh.get("disk0", "mm_stat")) == shape((kernel / "mm_stat").read_text())
        ours, theirs = shape(fresh.get("disk0", "io_stat")), shape((kernel / "io_stat").read_text())
        del ours[2], theirs[2]  # invalid_io, of late a bare 0 in the kernel
        assert ours == theirs
        listed = re.compile(r"([\w-]+ )*\[[\w-]+\] ([\w-]+ )*\n")
        assert listed.fullmatch(fresh.get("disk0", "comp_algorithm"))
        assert listed.fullmatch((kernel / "comp_algorithm").read_text())


# Written to both in this order; each must say the same. Left out is where the kernel is lax, with
# text after a number, and where its versions differ.
TALK = [
    ("disksize", "0"), ("disksize", "x"), ("disksize", "-1"), ("initstate", "1"),
    ("mem_limit", "x"), ("comp_algorithm", "none"), ("comp_algorithm", "lzo"), ("reset", "0"),
    ("reset", "x"), ("reset", "1"), ("mm_stat", "1"), ("disksize", "8M\n"), ("disksize", "8M"),
    ("disksize", "0"), ("disksize", "x"), ("comp_algorithm", "lzo"), ("comp_algorithm", "none"),
    ("mem_limit", "16M\n"), ("mem_limit", "x"), ("reset", "0"), ("reset", "2\n"),
    ("disksize", "5000"), ("mem_used_max", "1"), ("mem_used_max", "x"), ("mem_used_max", "0\n"),
    ("compact", "1"), ("idle", "all\n"), ("idle", "some"), ("max_comp_streams", "2"),
    ("backing_dev", "/dev/null"), ("writeback", "huge"), ("writeback_limit", "x"),
    ("writeback_limit_enable", "x"), ("debug_stat", "1"), ("bd_stat", "1"), ("reset", "1"),
    ("compact", "1"), ("idle", "all"), ("writeback", "huge"), ("disksize", "5000"),
]


def test_errnos_are_the_kernels(fresh, kernel):
    def answers(write):
        return [(name, text, errno.errorcode.get(errno_of(write, name, text), "ok"))
                for name, text in TALK if (kernel / name).exists()]  # by its configuration

    ours = answers(lambda name, text: fresh.set("disk0", name, text))
    theirs = answers(kernel_write)
    assert [(a, b) for a, b in zip(ours, theirs) if a != b] == []
    assert fresh.get("disk0", "disksize") == (kernel / "disksize").read_text() == "8192\n"
