"""The files under the mount are files: made, sized, grown, cut, punched, renamed and removed."""

import errno
import os
import random
import subprocess
import sys
import threading
import time

import pytest

from data import PAGE, random_page, random_pages, text_page, text_pages
from host import (COLLAPSE_RANGE, INSERT_RANGE, KEEP_SIZE, PUNCH_HOLE, RENAME_EXCHANGE,
                  RENAME_NOREPLACE, ZERO_RANGE, errno_of, fallocate, renameat2, run, wait_until)
from zramfs import GIB, KIB, MIB, TIB

LARGEST = 256 * TIB


@pytest.fixture
def disk(mount):
    """A disk that is there and empty, of 64 MiB."""
    return mount.disk("disk0")


@pytest.fixture
def fd(disk):
    number = os.open(disk, os.O_RDWR)
    yield number
    os.close(number)


def extents(fd, size):
    """[(start, end)] of the data, as SEEK_DATA and SEEK_HOLE tell it."""
    found, at = [], 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO
            break
        at = os.lseek(fd, start, os.SEEK_HOLE)
        found.append((start, at))
    return found


def stored(path):
    return os.stat(path).st_blocks * 512


def create(path, mode=0o600):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode))


# Making, sizing, removing


def test_creating_gives_a_disk_of_size_0(mount):
    create(mount.disk("new"))
    assert os.stat(mount.disk("new")).st_size == 0
    assert mount.get("new", "disksize") == "0\n"
    assert mount.get("new", "initstate") == "0\n"
    assert "new" in os.listdir(mount.point)


def test_creating_gives_the_configured_defaults(zramfs):
    mount = zramfs("[defaults]\ncomp_algorithm = zstd\nmem_limit = 16M\n")
    create(mount.disk("new"))
    assert "[zstd]" in mount.get("new", "comp_algorithm")
    assert mount.mm_stat("new").mem_limit == 16 * MIB


def test_creating_what_is_there(disk):
    assert errno_of(create, disk) == errno.EEXIST


def test_opening_what_is_not_there(mount):
    assert errno_of(os.open, mount.disk("none"), os.O_RDWR) == errno.ENOENT
    assert errno_of(os.unlink, mount.disk("none")) == errno.ENOENT
    assert errno_of(os.rename, mount.disk("none"), mount.disk("other")) == errno.ENOENT


@pytest.mark.parametrize("size", [1, PAGE - 1, PAGE, PAGE + 1, 123456789, 3 * GIB])
def test_truncate_sets_the_size(mount, size):
    path = mount.disk("new")
    create(path)
    os.truncate(path, size)
    assert os.stat(path).st_size == size
    assert int(mount.get("new", "disksize")) == -(-size // PAGE) * PAGE
    assert mount.get("new", "initstate") == "1\n"
    assert stored(path) == 0


@pytest.mark.parametrize("at", [0, 1, PAGE - 1, 10 * MIB + 3])
def test_writing_past_the_end_grows_it(mount, at):
    path = mount.disk("new")
    with open(path, "wb", buffering=0) as file:
        assert os.pwrite(file.fileno(), b"tail", at) == 4
    assert os.stat(path).st_size == at + 4
    with open(path, "rb") as file:
        file.seek(max(0, at - 4096))
        assert file.read().lstrip(b"\0") == b"tail"


def test_append_mode(mount):
    path = mount.disk("new")
    for text in (b"one ", b"two ", b"three"):
        with open(path, "ab", buffering=0) as file:
            file.write(text)
    assert path.read_bytes() == b"one two three"


def test_truncate_to_0_drops_data_and_keeps_attributes(zramfs):
    mount = zramfs("[disk0]\ndisksize = 8M\ncomp_algorithm = zstd\nmem_limit = 4M\n")
    path = mount.disk("disk0")
    with open(path, "r+b") as file:
        file.write(text_pages(100))
    os.truncate(path, 0)
    assert os.stat(path).st_size == 0
    stat = mount.mm_stat("disk0")
    assert (stat.orig_data_size, stat.compr_data_size) == (0, 0)
    assert stat.mem_limit == 4 * MIB
    assert "[zstd]" in mount.get("disk0", "comp_algorithm")
    os.truncate(path, MIB)
    assert path.read_bytes() == bytes(MIB)


def test_opening_with_o_trunc(mount):
    path = mount.disk("disk0")
    path.write_bytes(b"long text")
    path.write_bytes(b"short")
    assert path.read_bytes() == b"short"


def test_removing_gives_the_memory_back(mount):
    path = mount.disk("disk0")
    with open(path, "r+b") as file:
        file.write(random_pages(1000))
    assert int(mount.stats()["total"]["ComprDataSize"].split()[0]) >= 4000
    os.unlink(path)
    assert not path.exists()
    assert not (mount.point / ".control" / "disk0").exists()
    assert int(mount.stats()["total"]["ComprDataSize"].split()[0]) == 0
    create(path)
    assert os.stat(path).st_size == 0


def test_many_disks(mount):
    names = {f"d{i}" for i in range(100)}
    for name in names:
        mount.disk(name).write_bytes(name.encode())
    listed = os.listdir(mount.point)
    assert names <= set(listed) and len(listed) == len(set(listed))
    assert names <= set(os.listdir(mount.point / ".control"))
    assert all(mount.disk(name).read_bytes() == name.encode() for name in names)
    for name in names:
        os.unlink(mount.disk(name))
    assert not names & set(os.listdir(mount.point))


def test_removed_and_made_again_is_another_file(mount):
    """A handle on the old one (by the same process) never reaches the new one."""
    path = mount.disk("new")
    create(path)
    first = os.stat(path).st_ino
    os.unlink(path)
    create(path)
    assert os.stat(path).st_ino != first


# Reading and writing


def test_holes_read_as_zeros(disk):
    with open(disk, "rb") as file:
        assert file.read(3 * MIB) == bytes(3 * MIB)
    assert stored(disk) == 0


def test_reading_allocates_nothing(mount, disk):
    with open(disk, "rb") as file:
        while file.read(MIB):
            pass
    stat = mount.mm_stat("disk0")
    assert (stat.orig_data_size, stat.mem_used_total) == (0, 0)


@pytest.mark.parametrize("size", [1, 4095, 4097, 5000, 8192])
def test_reading_past_the_end_is_clipped(mount, size):
    path = mount.disk("new")
    data = random_pages(3)[:size]
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert os.pread(fd, 65536, 0) == data
        assert os.pread(fd, 65536, size - 1) == data[-1:]
        for past in (size, size + 1, size + PAGE, 10 * MIB, LARGEST):
            assert os.pread(fd, 4096, past) == b""
    finally:
        os.close(fd)


@pytest.mark.parametrize("offset, length", [(0, 1), (1, 1), (4095, 2), (100, 4096), (4096, 4096),
                                            (4000, 9000), (1, 3 * MIB), (MIB - 1, 2 * MIB + 2)])
def test_any_offset_and_length(fd, offset, length):
    base, patch = random_pages(1024, seed=1), random_pages(800, seed=2)[:length]
    os.pwrite(fd, base, 0)
    assert os.pwrite(fd, patch, offset) == length
    wanted = base[:offset] + patch + base[offset + length:]
    assert os.pread(fd, len(wanted), 0) == wanted


def test_writing_zeros_is_data(mount, fd, disk):
    """A written zero page is same-filled, not a hole."""
    os.pwrite(fd, bytes(16 * PAGE), 0)
    assert stored(disk) == 16 * PAGE
    assert extents(fd, 64 * MIB) == [(0, 16 * PAGE)]
    stat = mount.mm_stat("disk0")
    assert (stat.orig_data_size, stat.same_pages, stat.compr_data_size) == (16 * PAGE, 16, 0)


def test_the_tail_past_the_size_is_zero(mount):
    path = mount.disk("new")
    path.write_bytes(b"\xff" * 2 * PAGE)
    for size in (PAGE + 904, 904, 1):
        os.truncate(path, size)
        os.truncate(path, 4 * PAGE)
        assert path.read_bytes() == b"\xff" * size + bytes(4 * PAGE - size)


def test_the_tail_is_zero_after_growing_by_writing(mount):
    path = mount.disk("new")
    path.write_bytes(b"\xff" * 5000)
    os.truncate(path, 100)
    with open(path, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"end", 9000)
    assert path.read_bytes() == b"\xff" * 100 + bytes(8900) + b"end"


def test_random_operations_against_a_shadow(mount):
    """The engine has its own model test; this one has the kernel in between."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    path, shadow, most = mount.disk("new"), bytearray(), 2 * MIB
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        for step in range(1500):
            at, length = rng.randrange(most), rng.randrange(1, rng.choice([64, 5000, 200000]))
            action = rng.choice(["write", "write", "write", "read", "punch", "zero", "keep",
                                 "truncate"])
            if action == "write":
                kind = rng.randrange(4)
                data = (rng.randbytes(length) if kind == 0 else bytes(length) if kind == 1 else
                        text_pages(length // PAGE + 1, seed=step)[:length])
                assert os.pwrite(fd, data, at) == length
                shadow.extend(bytes(max(0, at + length - len(shadow))))
                shadow[at:at + length] = data
            elif action == "read":
                assert os.pread(fd, length, at) == shadow[at:at + length], (seed, step)
            elif action == "truncate":
                os.ftruncate(fd, at)
                del shadow[at:]
                shadow.extend(bytes(at - len(shadow)))
            else:
                mode = {"punch": PUNCH_HOLE | KEEP_SIZE, "zero": ZERO_RANGE,
                        "keep": ZERO_RANGE | KEEP_SIZE}[action]
                fallocate(fd, mode, at, length)
                if action == "zero":
                    shadow.extend(bytes(max(0, at + length - len(shadow))))
                end = min(at + length, len(shadow))
                if at < end:
                    shadow[at:end] = bytes(end - at)
            assert os.fstat(fd).st_size == len(shadow), (seed, step, action)
        assert os.pread(fd, most * 2, 0) == shadow, seed
    finally:
        os.close(fd)
    assert stored(path) == mount.mm_stat("new").orig_data_size


def test_threads_on_one_file(disk):
    """Each writes its own half pages, so that every page is shared by two."""
    n_threads, rounds = 8, 200
    failures = []

    def work(number):
        fd = os.open(disk, os.O_RDWR)
        try:
            for i in range(rounds):
                at = (i * n_threads + number) * (PAGE // 2)
                data = bytes([number + 1, i & 0xff]) * (PAGE // 4)
                os.pwrite(fd, data, at)
                if os.pread(fd, len(data), at) != data:
                    failures.append((number, i))
        finally:
            os.close(fd)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with open(disk, "rb") as file:
        data = file.read(n_threads * rounds * PAGE // 2)
    for i in range(n_threads * rounds):
        expected = bytes([i % n_threads + 1, i // n_threads & 0xff]) * (PAGE // 4)
        assert data[i * PAGE // 2:(i + 1) * PAGE // 2] == expected


def test_fsync_is_fine(fd):
    os.fsync(fd)
    os.fdatasync(fd)


@pytest.mark.needs("dd")
def test_o_direct(place, disk):
    (place / "in").write_bytes(random_pages(2048))
    run("dd", f"if={place}/in", f"of={disk}", "bs=1M", "oflag=direct", "conv=notrunc")
    run("dd", f"if={disk}", f"of={place}/out", "bs=1M", "count=8", "iflag=direct")
    assert (place / "in").read_bytes() == (place / "out").read_bytes()


# Space: st_blocks, du, SEEK_DATA, SEEK_HOLE, punch, zero range, fallocate


def test_blocks_are_what_is_stored(mount, fd, disk):
    for page in (0, 1, 2, 100, 5000):
        os.pwrite(fd, text_page(page), page * PAGE)
    os.pwrite(fd, b"one byte", 7000 * PAGE + 17)
    assert stored(disk) == 6 * PAGE == mount.mm_stat("disk0").orig_data_size
    assert int(run("du", "-B1", disk).stdout.split()[0]) == 6 * PAGE
    os.pwrite(fd, text_page(77), 0)
    assert stored(disk) == 6 * PAGE


def test_seek_data_and_seek_hole(fd):
    size = 64 * MIB
    assert extents(fd, size) == []
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
    for start, end in ((2, 3), (10, 12), (600, 601), (16383, 16384)):
        os.pwrite(fd, text_pages(end - start), start * PAGE)
    wanted = [(2, 3), (10, 12), (600, 601), (16383, 16384)]
    assert extents(fd, size) == [(start * PAGE, end * PAGE) for start, end in wanted]
    assert os.lseek(fd, 2 * PAGE + 5, os.SEEK_DATA) == 2 * PAGE + 5
    assert os.lseek(fd, 2 * PAGE + 5, os.SEEK_HOLE) == 3 * PAGE
    assert os.lseek(fd, 16383 * PAGE, os.SEEK_HOLE) == size
    for whence in (os.SEEK_DATA, os.SEEK_HOLE):
        assert errno_of(os.lseek, fd, size, whence) == errno.ENXIO


def test_the_end_is_a_hole_even_within_a_page(mount):
    path = mount.disk("new")
    path.write_bytes(b"x" * 5000)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert os.lseek(fd, 0, os.SEEK_HOLE) == 5000
        assert os.lseek(fd, 0, os.SEEK_END) == 5000
    finally:
        os.close(fd)
    assert stored(path) == 2 * PAGE


def test_punching_a_hole(mount, fd, disk):
    data = random_pages(16)
    os.pwrite(fd, data, 0)
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 4 * PAGE, 8 * PAGE)
    assert os.pread(fd, 16 * PAGE, 0) == data[:4 * PAGE] + bytes(8 * PAGE) + data[12 * PAGE:]
    assert stored(disk) == 8 * PAGE == mount.mm_stat("disk0").orig_data_size
    assert extents(fd, 64 * MIB) == [(0, 4 * PAGE), (12 * PAGE, 16 * PAGE)]
    assert os.fstat(fd).st_size == 64 * MIB


def test_punching_parts_of_pages_zeroes_them(fd):
    data = random_pages(4)
    os.pwrite(fd, data, 0)
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 1000, 2 * PAGE)
    assert os.pread(fd, 4 * PAGE, 0) == data[:1000] + bytes(2 * PAGE) + data[1000 + 2 * PAGE:]
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 3 * PAGE + 5, 10)
    assert os.pread(fd, PAGE, 3 * PAGE) == (data[3 * PAGE:3 * PAGE + 5] + bytes(10) +
                                            data[3 * PAGE + 15:])


def test_punching_gives_the_memory_back(mount, fd):
    os.pwrite(fd, random_pages(2048), 0)
    assert mount.mm_stat("disk0").mem_used_total >= 8 * MIB
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 64 * MIB)
    stat = mount.mm_stat("disk0")
    assert (stat.orig_data_size, stat.compr_data_size) == (0, 0)
    wait_until(lambda: mount.mm_stat("disk0").mem_used_total <= 64 * KIB, timeout=5,
               what="the memory back")


def test_punching_a_hole_into_a_hole(mount, fd):
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 1, 64 * MIB - 2)
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 60 * MIB, 600 * MIB)
    assert os.fstat(fd).st_size == 64 * MIB
    assert mount.mm_stat("disk0").orig_data_size == 0


@pytest.mark.parametrize("mode", [ZERO_RANGE, ZERO_RANGE | KEEP_SIZE], ids=["plain", "keep-size"])
def test_zero_range(fd, disk, mode):
    data = random_pages(8)
    os.pwrite(fd, data, 0)
    fallocate(fd, mode, 100, 6 * PAGE)
    assert os.pread(fd, 8 * PAGE, 0) == data[:100] + bytes(6 * PAGE) + data[100 + 6 * PAGE:]
    assert stored(disk) == 3 * PAGE


def test_zero_range_past_the_end(mount):
    path = mount.disk("new")
    path.write_bytes(b"x" * PAGE)
    fd = os.open(path, os.O_RDWR)
    try:
        fallocate(fd, ZERO_RANGE | KEEP_SIZE, 0, 10 * PAGE)
        assert os.fstat(fd).st_size == PAGE
        fallocate(fd, ZERO_RANGE, 2 * PAGE, 10 * PAGE + 1)
        assert os.fstat(fd).st_size == 12 * PAGE + 1
    finally:
        os.close(fd)
    assert path.read_bytes() == bytes(12 * PAGE + 1)


def test_plain_fallocate_extends_and_changes_nothing(mount):
    path = mount.disk("new")
    path.write_bytes(b"x" * 5000)
    fd = os.open(path, os.O_RDWR)
    try:
        fallocate(fd, 0, 0, 100)
        assert os.fstat(fd).st_size == 5000
        fallocate(fd, KEEP_SIZE, 0, MIB)
        assert os.fstat(fd).st_size == 5000
        fallocate(fd, 0, 0, MIB + 1)
        assert os.fstat(fd).st_size == MIB + 1
    finally:
        os.close(fd)
    assert path.read_bytes() == b"x" * 5000 + bytes(MIB + 1 - 5000)
    assert stored(path) == 2 * PAGE


@pytest.mark.parametrize("mode", [COLLAPSE_RANGE, INSERT_RANGE], ids=["collapse", "insert"])
def test_unknown_fallocate_is_refused_and_does_no_harm(fd, mode):
    os.pwrite(fd, b"x" * PAGE, 0)
    assert errno_of(fallocate, fd, mode, 0, PAGE) == errno.EOPNOTSUPP
    assert os.pread(fd, PAGE, 0) == b"x" * PAGE
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, PAGE)
    assert os.pread(fd, PAGE, 0) == bytes(PAGE)


@pytest.mark.needs("cp")
def test_cp_sparse_brings_an_image_in(place, mount):
    image = place / "image"
    with open(image, "wb") as file:
        file.write(text_pages(64))
        file.seek(20 * MIB)
        file.write(random_pages(16))
        file.truncate(40 * MIB + 5)
    run("cp", "--sparse=always", image, mount.point)
    run("cmp", image, mount.disk("image"))
    assert stored(mount.disk("image")) == 80 * PAGE
    run("cp", "--sparse=always", mount.disk("image"), place / "back")
    run("cmp", image, place / "back")
    run("cp", "--reflink=never", mount.disk("image"), mount.disk("copy"))
    run("cmp", image, mount.disk("copy"))


# In use: a handle open by somebody else


@pytest.fixture
def held(mount, machine):
    """disk0 with data in it, open in another process."""
    with open(mount.disk("disk0"), "r+b") as file:
        file.write(text_pages(16))
    mount.holder = machine.hold(mount.disk("disk0"))
    return mount


REFUSED = {
    "reset": lambda m: m.set("disk0", "reset", "1"),
    "rm": lambda m: os.unlink(m.disk("disk0")),
    "renamed-over": lambda m: os.rename(m.disk("other"), m.disk("disk0")),
    "truncate": lambda m: os.truncate(m.disk("disk0"), 32 * MIB),
    "truncate-to-0": lambda m: os.truncate(m.disk("disk0"), 0),
    "truncate-by-a-byte": lambda m: os.truncate(m.disk("disk0"), 64 * MIB - 1),
    "o_trunc": lambda m: os.close(os.open(m.disk("disk0"), os.O_RDWR | os.O_TRUNC)),
    "creat": lambda m: os.close(os.open(m.disk("disk0"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_while_in_use(held, what):
    held.disk("other").write_bytes(b"other")
    ino = os.stat(held.disk("disk0")).st_ino
    started = time.monotonic()
    assert errno_of(REFUSED[what], held) == errno.EBUSY
    assert time.monotonic() - started < 2
    assert os.stat(held.disk("disk0")).st_size == 64 * MIB
    assert os.stat(held.disk("disk0")).st_ino == ino
    assert held.disk("other").read_bytes() == b"other"
    with open(held.disk("disk0"), "rb") as file:
        assert file.read(16 * PAGE) == text_pages(16)


@pytest.mark.parametrize("what", REFUSED)
def test_allowed_again_once_released(held, what):
    """At once: an operation that would be refused waits for a RELEASE on its way."""
    held.disk("other").write_bytes(b"other")
    held.holder.release()
    assert errno_of(REFUSED[what], held) == 0


def test_shrinking_through_a_handle_while_in_use(held):
    fd = os.open(held.disk("disk0"), os.O_RDWR)
    try:
        assert errno_of(os.ftruncate, fd, 32 * MIB) == errno.EBUSY
        assert os.fstat(fd).st_size == 64 * MIB
    finally:
        os.close(fd)


def test_allowed_while_in_use(held):
    path = held.disk("disk0")
    os.truncate(path, 128 * MIB)
    assert os.stat(path).st_size == 128 * MIB
    os.truncate(path, 128 * MIB)
    with open(path, "r+b", buffering=0) as file:
        file.write(b"written")
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, PAGE, PAGE)
    os.rename(path, held.disk("renamed"))
    assert os.stat(held.disk("renamed")).st_size == 128 * MIB
    assert held.disk("renamed").open("rb").read(7) == b"written"


def test_the_holder_follows_a_rename(mount):
    path, renamed = mount.disk("disk0"), mount.disk("renamed")
    with open(path, "r+b", buffering=0) as file:
        os.rename(path, renamed)
        file.write(b"through the old handle")
    assert renamed.open("rb").read(22) == b"through the old handle"


def test_ones_own_handle_is_not_in_the_way(mount):
    """What mkfs and truncate(1) do: open, then ftruncate; also from another of its threads."""
    fd = os.open(mount.disk("disk0"), os.O_RDWR)
    try:
        os.ftruncate(fd, 32 * MIB)
        failed = []
        thread = threading.Thread(target=lambda: failed.append(
            errno_of(os.ftruncate, fd, 16 * MIB)))
        thread.start()
        thread.join()
        assert failed == [0]
        assert os.fstat(fd).st_size == 16 * MIB
    finally:
        os.close(fd)


@pytest.mark.limit(240)
def test_unlink_right_after_close(mount, place):
    """RELEASE is asynchronous; another process's UNLINK overtook it once in 3,000 tries."""
    opener = subprocess.Popen(
        [sys.executable, "-c",
         "import os, sys\n"
         "for line in sys.stdin:\n"
         "    fd = os.open(line.strip(), os.O_CREAT | os.O_RDWR, 0o600)\n"
         "    os.write(fd, b'data')\n"
         "    os.close(fd)\n"
         "    print(flush=True)\n"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        for i in range(1000):
            path = mount.disk(f"short{i % 10}")
            opener.stdin.write(f"{path}\n")
            opener.stdin.flush()
            opener.stdout.readline()
            assert errno_of(os.unlink, path) == 0, i
    finally:
        opener.kill()
        opener.wait(timeout=10)
        opener.stdin.close()
        opener.stdout.close()


# Names, links, directories


BAD_NAMES = {
    "leading-dot": (".hidden", {errno.EINVAL, errno.EPERM}),
    "newline": ("a\nb", {errno.EINVAL}),
    "tab": ("a\tb", {errno.EINVAL}),
    "escape": ("a\x1b[1m", {errno.EINVAL}),
    "delete": ("a\x7f", {errno.EINVAL}),
    "64-bytes": ("x" * 64, {errno.ENAMETOOLONG}),
    "64-bytes-in-32-letters": ("\u00e9" * 32, {errno.ENAMETOOLONG}),
    "255-bytes": ("x" * 255, {errno.ENAMETOOLONG}),
    "hot_add": ("hot_add", {errno.EINVAL, errno.EPERM}),
    "hot_remove": ("hot_remove", {errno.EINVAL, errno.EPERM}),
}


@pytest.mark.parametrize("case", BAD_NAMES)
def test_bad_names(mount, case):
    name, codes = BAD_NAMES[case]
    before = os.listdir(mount.point)
    assert errno_of(create, mount.disk(name)) in codes
    assert errno_of(os.rename, mount.disk("disk0"), mount.disk(name)) in codes
    assert os.listdir(mount.point) == before


@pytest.mark.parametrize("name", ["x" * 63, "\u00e9" * 31, "a b", "a=b;c", "%s%n", "-f", "a.b..c",
                                  "disk0 "])
def test_good_names(mount, name):
    mount.disk(name).write_bytes(b"data")
    assert mount.disk(name).read_bytes() == b"data"
    assert name in os.listdir(mount.point)
    assert mount.get(name, "initstate") == "1\n"
    assert name in mount.stats()
    os.unlink(mount.disk(name))


def test_virtual_files_are_no_disks(mount):
    for name in (".metrics", ".control", ".control/disk0", ".control/disk0/mm_stat"):
        path = mount.point / name
        assert errno_of(os.unlink, path) != 0
        assert errno_of(os.rename, path, mount.disk("x")) != 0
        assert errno_of(os.rename, mount.disk("disk0"), path) != 0
        assert path.exists()
    for name in (".control/new", ".control/disk0/new"):
        assert errno_of(create, mount.point / name) != 0
        assert errno_of(os.mkdir, mount.point / name) != 0


def test_renaming(mount):
    mount.disk("a").write_bytes(b"content of a")
    os.rename(mount.disk("a"), mount.disk("b"))
    assert not mount.disk("a").exists()
    assert mount.disk("b").read_bytes() == b"content of a"
    assert mount.get("b", "initstate") == "1\n"
    assert not (mount.point / ".control" / "a").exists()
    os.rename(mount.disk("b"), mount.disk("b"))
    assert mount.disk("b").read_bytes() == b"content of a"


def test_renaming_over_replaces(mount):
    mount.disk("a").write_bytes(random_page(1))
    mount.disk("b").write_bytes(random_page(2) * 2)
    os.rename(mount.disk("a"), mount.disk("b"))
    assert mount.disk("b").read_bytes() == random_page(1)
    assert sorted(n for n in os.listdir(mount.point) if n[0] != ".") == ["b", "disk0"]
    assert mount.stats()["total"]["Disks"].strip() == "2"


def test_rename_flags(mount):
    mount.disk("a").write_bytes(b"a")
    mount.disk("b").write_bytes(b"b")
    a, b, c = (mount.disk(name) for name in "abc")
    assert errno_of(renameat2, a, b, RENAME_EXCHANGE) == errno.EINVAL
    assert errno_of(renameat2, a, b, RENAME_NOREPLACE) == errno.EEXIST
    assert (a.read_bytes(), b.read_bytes()) == (b"a", b"b")
    renameat2(a, c, RENAME_NOREPLACE)
    assert c.read_bytes() == b"a" and not a.exists()


def test_no_links_and_no_directories(mount):
    disk, other = mount.disk("disk0"), mount.disk("other")
    assert errno_of(os.link, disk, other) == errno.EPERM
    assert errno_of(os.symlink, "disk0", other) == errno.EPERM
    assert errno_of(os.mkdir, other) == errno.EPERM
    assert errno_of(os.mkfifo, other) == errno.EPERM
    assert errno_of(os.rmdir, disk) == errno.ENOTDIR
    assert not other.exists()


def test_the_directory_is_listed_once_and_consistently(mount):
    for i in range(300):
        create(mount.disk(f"d{i:03}"))
    with os.scandir(mount.point) as entries:
        found = {entry.name: entry.inode() for entry in entries}
    assert len(set(found.values())) == len(found)
    for name in ("d000", "d150", "d299", "disk0", ".stats", ".control"):
        assert os.stat(mount.point / name).st_ino == found[name]


# Attributes


def test_mode_and_times_are_kept(mount, disk):
    os.chmod(disk, 0o640)
    os.utime(disk, ns=(1_000_000_000_123_456_789, 1_100_000_000_987_654_321))
    status = os.stat(disk)
    assert status.st_mode & 0o7777 == 0o640
    assert status.st_atime_ns == 1_000_000_000_123_456_789
    assert status.st_mtime_ns == 1_100_000_000_987_654_321
    os.rename(disk, mount.disk("renamed"))
    status = os.stat(mount.disk("renamed"))
    assert status.st_mode & 0o7777 == 0o640
    assert status.st_mtime_ns == 1_100_000_000_987_654_321


@pytest.mark.root
def test_owner_is_kept(disk):
    os.chown(disk, 1234, 5678)
    status = os.stat(disk)
    assert (status.st_uid, status.st_gid) == (1234, 5678)
    os.chown(disk, -1, 99)
    status = os.stat(disk)
    assert (status.st_uid, status.st_gid) == (1234, 99)


def test_the_mode_of_creation_is_kept(mount):
    create(mount.disk("new"), 0o640)
    assert os.stat(mount.disk("new")).st_mode & 0o7777 == 0o640


def test_writing_moves_the_time_of_change(mount, disk):
    os.utime(disk, (1, 1))
    with open(disk, "r+b", buffering=0) as file:
        file.write(b"x")
    assert abs(os.stat(disk).st_mtime - time.time()) < 60
    os.utime(disk, (1, 1))
    os.truncate(disk, 65 * MIB)
    assert abs(os.stat(disk).st_mtime - time.time()) < 60


@pytest.mark.root
@pytest.mark.needs("setpriv")
def test_permissions_are_enforced(mount, disk, user):
    """default_permissions: 0600 of root is closed to others, 0644 is open for reading."""
    with open(disk, "r+b") as file:
        file.write(b"secret")
    assert run("head", "-c6", disk, user=user, check=False).returncode != 0
    os.chmod(disk, 0o644)
    assert run("head", "-c6", disk, user=user).stdout == "secret"
    assert run("sh", "-c", f": >>{disk}", user=user, check=False).returncode != 0
    assert run("touch", mount.disk("new"), user=user, check=False).returncode != 0
    assert run("rm", "-f", disk, user=user, check=False).returncode != 0


def test_statfs(mount):
    status = os.statvfs(mount.point)
    assert status.f_bsize == PAGE and status.f_frsize == PAGE
    assert status.f_namemax == 63
    assert 0 < status.f_bavail <= status.f_bfree <= status.f_blocks
    free = status.f_bavail
    with open(mount.disk("disk0"), "r+b") as file:
        file.write(random_pages(4096))
    assert os.statvfs(mount.point).f_bavail < free or free == status.f_blocks
    assert run("df", "-h", mount.point).returncode == 0


# Size limits


def test_larger_than_the_largest(mount):
    path = mount.disk("new")
    create(path)
    os.truncate(path, LARGEST)
    assert os.stat(path).st_size == LARGEST
    assert errno_of(os.truncate, path, LARGEST + 1) == errno.EFBIG
    fd = os.open(path, os.O_RDWR)
    try:
        assert os.pwrite(fd, b"end", LARGEST - 3) == 3
        assert os.pread(fd, 10, LARGEST - 5) == b"\0\0end"
        assert errno_of(os.pwrite, fd, b"past", LARGEST) == errno.EFBIG
        assert errno_of(fallocate, fd, 0, LARGEST - PAGE, 2 * PAGE) == errno.EFBIG
    finally:
        os.close(fd)
    assert os.stat(path).st_size == LARGEST
    assert stored(path) == PAGE


def test_8_tib_costs_nothing(zramfs):
    mount = zramfs("[huge]\ndisksize = 8T\n")
    path = mount.disk("huge")
    assert os.stat(path).st_size == 8 * TIB
    assert int(run("du", "-k", path).stdout.split()[0]) == 0
    assert mount.mm_stat("huge").mem_used_total == 0
    fd = os.open(path, os.O_RDWR)
    try:
        assert extents(fd, 8 * TIB) == []
        for at in (0, 3 * TIB, 8 * TIB - PAGE):
            os.pwrite(fd, text_page(at), at)
        assert extents(fd, 8 * TIB) == [(at, at + PAGE) for at in (0, 3 * TIB, 8 * TIB - PAGE)]
        assert os.pread(fd, 2 * PAGE, 3 * TIB) == text_page(3 * TIB) + bytes(PAGE)
        started = time.monotonic()
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 8 * TIB)
        assert time.monotonic() - started < 10
    finally:
        os.close(fd)
    assert mount.mm_stat("huge").mem_used_total <= 64 * KIB
    wait_until(lambda: stored(path) == 0, what="du 0")
