""".control/<disk>/: the names, modes, formats and errnos of /sys/block/zram<N>/."""

import contextlib
import errno
import os
import pathlib
import re
import stat

import pytest

from data import PAGE, random_pages, text_pages, word_page
from host import KEEP_SIZE, PUNCH_HOLE, errno_of, fallocate, run
from zramfs import GIB, KIB, MIB

MODES = {
    "disksize": 0o644, "initstate": 0o444, "reset": 0o200, "comp_algorithm": 0o644,
    "algorithm_params": 0o200, "compact": 0o200, "mem_limit": 0o644, "mm_stat": 0o444, "io_stat": 0o444,
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


def test_the_kernels_modes(mount):
    directory = mount.point / ".control" / "disk0"
    for name, mode in MODES.items():
        status = os.stat(directory / name)
        assert stat.S_ISREG(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == mode, name
    assert stat.S_IMODE(os.stat(directory).st_mode) & 0o555 == 0o555


@pytest.mark.root
@pytest.mark.needs("setpriv")
def test_reading_needs_nothing_and_writing_does(mount, user):
    directory = mount.point / ".control" / "disk0"
    for name, mode in MODES.items():
        can_read = run("cat", directory / name, user=user, check=False).returncode == 0
        assert can_read == bool(mode & 0o004), name
        script = f"echo 1 > {directory / name}"
        assert run("sh", "-c", script, user=user, check=False).returncode != 0, name
    assert mount.get("disk0", "initstate") == "1\n"


def test_a_recursive_grep_changes_nothing(mount):
    before = sorted(os.listdir(mount.point / ".control"))
    run("grep", "-r", "no such text", mount.point / ".control", check=False)
    assert sorted(os.listdir(mount.point / ".control")) == before
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
    ("disksize", "5000"),
]


def test_errnos_are_the_kernels(fresh, kernel):
    def answers(write):
        return [(name, text, errno.errorcode.get(errno_of(write, name, text), "ok"))
                for name, text in TALK]

    ours = answers(lambda name, text: fresh.set("disk0", name, text))
    theirs = answers(kernel_write)
    assert [(a, b) for a, b in zip(ours, theirs) if a != b] == []
    assert fresh.get("disk0", "disksize") == (kernel / "disksize").read_text() == "8192\n"
