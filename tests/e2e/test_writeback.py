"""Pages on a backing file: by every mode of writeback, by themselves, and what a file refuses."""

import errno
import fcntl
import os
import signal
import stat

import pytest

from data import PAGE, half_page, random_pages, text_page, text_pages, word_page
from host import errno_of, run, wait_until
from zramfs import KIB, MIB


def bd_stat(mount, disk="disk0"):
    text = mount.get(disk, "bd_stat")
    assert len(text) == 27 and text.endswith("\n"), text
    return tuple(map(int, text.split()))


def put(mount, data, page=0, disk="disk0"):
    with open(mount.disk(disk), "r+b", buffering=0) as file:
        file.seek(page * PAGE)
        at = 0
        while at < len(data):
            at += file.write(data[at:at + MIB])


def holds(mount, data, page=0, disk="disk0"):
    with open(mount.disk(disk), "rb", buffering=0) as file:
        file.seek(page * PAGE)
        # No more than that: to read a page is to use it.
        return all(file.read(len(data[at:at + MIB])) == data[at:at + MIB]
                   for at in range(0, len(data), MIB))


def refused(mount, text, disk="disk0"):
    return errno_of(mount.set, disk, "writeback", text)


def flags(mount, disk="disk0"):
    """{page: flags} of block_state."""
    lines = mount.get(disk, "block_state").splitlines()
    return {int(line.split()[0]): line.split()[2] for line in lines}


@pytest.fixture
def backing(place):
    return place / "backing"


@pytest.fixture
def backed(zramfs, backing):
    """disk0 of 64 MiB with a file of as much."""
    return zramfs(f"[disk0]\ndisksize = 64M\nbacking_dev = {backing}\nbacking_size = 64M\n"
                  "spill_above = 0\n")


@pytest.fixture
def fresh(zramfs):
    """A disk that has no size yet."""
    mount = zramfs("[defaults]\ncomp_algorithm = lz4\n")
    os.close(os.open(mount.disk("disk0"), os.O_CREAT | os.O_RDWR, 0o600))
    return mount


# saying which file


def test_in_the_configuration(zramfs, backing):
    mount = zramfs(f"[disk0]\ndisksize = 64M\nbacking_dev = {backing}\nbacking_size = 8M\n")
    assert mount.get("disk0", "backing_dev") == f"{backing}\n"
    assert mount.get("disk0", "backing_size") == f"{8 * MIB}\n"
    assert mount.get("disk0", "on_limit") == "spill\n"
    assert backing.stat().st_size == 8 * MIB
    assert backing.read_bytes()[:22] == b"zramfs backing file, v"
    mount.stop()
    assert not backing.exists()  # which zramfs had made


def test_below_control(fresh, backing):
    with backing.open("wb") as file:
        file.truncate(8 * MIB)
    fresh.set("disk0", "backing_dev", f"{backing}\n")
    assert fresh.get("disk0", "backing_dev") == f"{backing}\n"
    assert errno_of(fresh.set, "disk0", "backing_size", "16M") == errno.EBUSY
    fresh.set("disk0", "backing_dev", "none")
    assert fresh.get("disk0", "backing_dev") == "none\n"
    fresh.set("disk0", "backing_dev", str(backing))
    fresh.set("disk0", "disksize", "16M")
    assert errno_of(fresh.set, "disk0", "backing_dev", "none") == errno.EBUSY
    put(fresh, random_pages(100))
    fresh.set("disk0", "writeback", "huge")
    assert bd_stat(fresh)[0] == 100 and holds(fresh, random_pages(100))

    # Of the kernel's: a reset gives it back, and it may be had again.
    fresh.set("disk0", "reset", "1")
    assert fresh.get("disk0", "backing_dev") == "none\n" and bd_stat(fresh) == (0, 0, 0)
    fresh.set("disk0", "backing_dev", str(backing))
    fresh.set("disk0", "disksize", "16M")
    assert holds(fresh, bytes(100 * PAGE))
    fresh.stop()
    assert backing.stat().st_size == 8 * MIB  # which was there before


def test_by_hot_add(zramfs, backing):
    mount = zramfs("[defaults]\ncomp_algorithm = lz4\n")
    mount.hot_add(f"a disksize=8M backing_dev={backing} backing_size=4M spill_above=3000")
    assert mount.get("a", "backing_dev") == f"{backing}\n" and backing.exists()
    assert errno_of(mount.hot_add, "b disksize=8M backing_dev=relative") == errno.EINVAL
    assert errno_of(mount.hot_add, "b disksize=8M on_limit=spill") == errno.EINVAL
    assert errno_of(mount.hot_add, "b disksize=8M backing_dev=/no/such/file") == errno.ENOENT
    assert not mount.disk("b").exists()
    mount.hot_remove("a")
    wait_until(lambda: not backing.exists(), what="the file to be gone")


def test_what_is_no_backing_file(fresh, backing, place):
    def answer(path):
        return errno_of(fresh.set, "disk0", "backing_dev", str(path))

    fifo = place / "fifo"
    os.mkfifo(fifo)
    assert answer("/dev/null") == answer(place) == answer(fifo) == errno.ENOTBLK
    assert answer(place / "missing") == errno.ENOENT
    assert answer("relative") == errno.EINVAL and answer("/" * 300) == errno.ENAMETOOLONG
    backing.write_bytes(b"something dear" * 100000)
    assert answer(backing) == errno.EEXIST
    assert backing.read_bytes() == b"something dear" * 100000
    with open(fresh.disk("other"), "wb") as file:
        file.truncate(8 * MIB)
    assert answer(fresh.disk("other")) == errno.ELOOP
    backing.write_bytes(b"")
    assert answer(backing) == errno.EINVAL  # no size
    fresh.set("disk0", "backing_size", "100M")
    assert answer(backing) == 0 and fresh.get("disk0", "backing_dev") == f"{backing}\n"


def test_one_file_is_of_one_daemon(zramfs, backing):
    first = zramfs(f"[a]\ndisksize = 8M\nbacking_dev = {backing}\nbacking_size = 8M\n")
    second = zramfs("[defaults]\ncomp_algorithm = lz4\n")
    assert errno_of(second.hot_add, f"b backing_dev={backing}") == errno.EBUSY
    assert first.get("a", "backing_dev") == f"{backing}\n"


# modes


def test_idle(backed):
    put(backed, text_pages(512))
    backed.set("disk0", "idle", "all")
    assert holds(backed, text_pages(10))  # these are used
    put(backed, text_page(3), 3)
    backed.set("disk0", "writeback", "type=idle")
    assert bd_stat(backed) == (502, 0, 502)
    state = flags(backed)
    assert {page for page, seen in state.items() if "w" in seen} == set(range(10, 512))
    assert holds(backed, text_pages(512))
    # There they stay. A page between two parts of a large request may be read for both.
    count, reads, writes = bd_stat(backed)
    assert (count, writes) == (502, 502) and 502 <= reads <= 510


def test_huge(backed):
    put(backed, random_pages(64) + text_pages(64))
    before = backed.mm_stat("disk0")
    backed.set("disk0", "writeback", "huge")
    after = backed.mm_stat("disk0")
    assert bd_stat(backed)[0] == 64 and before.huge_pages == 64 and after.huge_pages == 0
    assert after.orig_data_size == before.orig_data_size
    assert after.compr_data_size == before.compr_data_size - 64 * PAGE
    assert holds(backed, random_pages(64) + text_pages(64))


def test_huge_idle(backed):
    put(backed, random_pages(64) + text_pages(64))
    backed.set("disk0", "idle", "all")
    assert holds(backed, random_pages(64)[:32 * PAGE])
    backed.set("disk0", "writeback", "type=huge_idle")
    assert {page for page, seen in flags(backed).items() if "w" in seen} == set(range(32, 64))


def test_incompressible(zramfs, backing):
    mount = zramfs(f"[disk0]\ndisksize = 16M\nbacking_dev = {backing}\nbacking_size = 16M\n"
                   "recomp_algorithm = algo=zstd\n")
    put(mount, random_pages(20) + text_pages(20))
    mount.set("disk0", "writeback", "incompressible")
    assert bd_stat(mount)[0] == 0  # nobody knows yet
    mount.set("disk0", "recompress", "type=huge")
    mount.set("disk0", "writeback", "incompressible")
    assert bd_stat(mount)[0] == 20 and flags(mount)[0] == ".wh..n"
    assert holds(mount, random_pages(20) + text_pages(20))


def test_page_numbers(backed):
    put(backed, text_pages(800))
    put(backed, word_page(7) * 3, 101)
    backed.set("disk0", "writeback",
               "page_index=42 page_index=99 page_indexes=100-200 page_indexes=500-700\n")
    there = {42, 99, *range(100, 201), *range(500, 701)} - {101, 102, 103}
    assert {page for page, seen in flags(backed).items() if "w" in seen} == there
    assert bd_stat(backed)[0] == len(there)
    assert holds(backed, text_pages(101))


@pytest.mark.parametrize("text, answer", [
    ("\n", errno.EINVAL), ("all", errno.EINVAL), ("type=all", errno.EINVAL),
    ("type=idle huge", errno.EINVAL), ("page_index", errno.EINVAL),
    ("page_index=x", errno.EINVAL), ("page_indexes=4", errno.EINVAL),
    ("page_index=16384", errno.ERANGE), ("page_indexes=9-8", errno.ERANGE),
    ("page_indexes=0-16383", 0), ("nonsense=1", errno.EINVAL),
])
def test_words(backed, text, answer):
    assert refused(backed, text) == answer


# what is there


def test_writes_and_discards_take_it_from_the_file(backed):
    put(backed, text_pages(256))
    backed.set("disk0", "writeback", "page_indexes=0-255")
    used = backed.json()["disks"][0]["backing_used"]
    assert 256 * 64 < used < 256 * PAGE
    put(backed, text_pages(128, 1000))
    assert bd_stat(backed)[0] == 128
    with open(backed.disk("disk0"), "r+b", buffering=0) as file:
        file.seek(200 * PAGE + 100)
        file.write(b"a part")
    n_back, n_reads = bd_stat(backed)[:2]
    # Again where memory for the page had to be waited for.
    assert n_back == 127 and n_reads in (1, 2)
    page = bytearray(text_page(200))
    page[100:106] = b"a part"
    assert holds(backed, bytes(page), 200)
    os.truncate(backed.disk("disk0"), 0)
    assert bd_stat(backed)[0] == 0 and backed.json()["disks"][0]["backing_used"] == 0


def test_memory_comes_back(backed):
    put(backed, random_pages(4096))
    before = backed.mm_stat("disk0").mem_used_total
    backed.set("disk0", "writeback", "huge")
    backed.set("disk0", "compact", "1")
    assert backed.mm_stat("disk0").mem_used_total < before / 10
    assert holds(backed, random_pages(4096))


def test_contents_outlive_a_worker(zramfs, backing):
    mount = zramfs(f"[disk0]\ndisksize = 16M\nbacking_dev = {backing}\nbacking_size = 16M\n",
                   foreground=False)
    put(mount, random_pages(1000))
    mount.set("disk0", "writeback", "page_indexes=0-699")
    pid = int(mount.get("zramfs", "generation").split()[1])
    os.kill(pid, signal.SIGKILL)
    assert holds(mount, random_pages(1000))
    assert bd_stat(mount)[0] == 700 and mount.get("disk0", "backing_dev") == f"{backing}\n"
    mount.set("disk0", "writeback", "huge")
    assert bd_stat(mount)[0] == 1000 and holds(mount, random_pages(1000))


# budgets and room


def test_a_budget(backed):
    put(backed, text_pages(100) + b"".join(map(half_page, range(100))) + random_pages(100))
    backed.set("disk0", "idle", "all")
    backed.set("disk0", "writeback_limit_enable", "1")
    assert refused(backed, "idle") == errno.EIO
    backed.set("disk0", "writeback_limit", "150")
    assert refused(backed, "idle") == errno.EIO
    assert backed.get("disk0", "writeback_limit") == "0\n"
    state = flags(backed)
    there = {page for page, seen in state.items() if "w" in seen}
    assert len(there) == 150 and there > set(range(200, 300)) and not there & set(range(100))
    backed.set("disk0", "writeback_limit_enable", "0")
    assert refused(backed, "idle") == 0 and bd_stat(backed)[0] == 300


def test_a_full_file_and_a_quota(zramfs, backing):
    mount = zramfs(f"[defaults]\nbacking_dev = {backing}\nbacking_size = 8M\ndisksize = 32M\n"
                   "[a]\nbacking_limit = 2M\n[b]\n")
    put(mount, random_pages(4096), disk="a")
    put(mount, random_pages(4096, 1), disk="b")
    assert refused(mount, "huge", "a") == errno.ENOSPC
    disks = {disk["name"]: disk for disk in mount.json()["disks"]}
    assert 1 * MIB <= disks["a"]["backing_used"] <= 2 * MIB
    assert refused(mount, "huge", "b") == errno.ENOSPC
    disks = {disk["name"]: disk for disk in mount.json()["disks"]}
    assert disks["b"]["backing_used"] > 5 * MIB
    assert disks["a"]["backing_file_free"] == disks["b"]["backing_file_free"] <= MIB // 2
    for name, seed in (("a", 0), ("b", 1)):
        assert holds(mount, random_pages(4096, seed), disk=name)


def test_spilling_at_the_limit(zramfs, backing):
    mount = zramfs(f"[disk0]\ndisksize = 64M\nmem_limit = 4M\nbacking_dev = {backing}\n"
                   "backing_size = 64M\n")
    put(mount, random_pages(8192))
    assert holds(mount, random_pages(8192))
    stats = mount.json()["disks"][0]
    assert stats["mem_used_total"] <= 5 * MIB and stats["bd_count"] > 7000
    assert stats["failed_writes"] == 0

    mount.set("disk0", "on_limit", "enospc")
    with pytest.raises(OSError) as refusal:
        put(mount, random_pages(8192, 1), 8192)
    assert refusal.value.errno == errno.ENOSPC
    assert holds(mount, random_pages(8192))


def test_large_pages_go_at_once(zramfs, backing):
    mount = zramfs(f"[disk0]\ndisksize = 64M\nspill_above = 2048\nbacking_dev = {backing}\n"
                   "backing_size = 64M\n")
    put(mount, random_pages(1000) + text_pages(1000))
    wait_until(lambda: bd_stat(mount)[0] == 1000, what="the pages to go")
    assert holds(mount, random_pages(1000) + text_pages(1000))
    mount.set("disk0", "spill_above", "0")
    put(mount, random_pages(100, 5), 3000)
    assert bd_stat(mount)[0] == 1000


# compcache, and what people see


def test_backing_swap(zramfs, backing):
    with backing.open("wb") as file:
        file.truncate(16 * MIB)
    backing.chmod(0o600)
    run("mkswap", "--label", "old", "--uuid", "01234567-89ab-cdef-0123-456789abcdef", backing)
    mount = zramfs(f"[zram0]\nbacking_swap = {backing}\nmemlimit_kb = 4096\n")
    assert mount.get("zram0", "disksize") == f"{16 * MIB}\n"
    assert mount.get("zram0", "label") == "old\n" and mount.get("zram0", "format") == "swap\n"
    assert mount.get("zram0", "uuid") == "01234567-89ab-cdef-0123-456789abcdef\n"
    assert mount.get("zram0", "spill_above") == "2048\n"
    assert mount.get("zram0", "mem_limit") == f"{4 * MIB}\n"
    assert mount.get("zram0", "backing_key") == "random\n"
    header = open(mount.disk("zram0"), "rb").read(PAGE)
    assert header.endswith(b"SWAPSPACE2") and b"old" in header
    put(mount, random_pages(2000), 1, "zram0")
    # The header, too, where the limit was reached first.
    wait_until(lambda: bd_stat(mount, "zram0")[0] >= 2000, what="the pages to go")
    assert random_pages(2000)[:64] not in backing.read_bytes()  # it is encrypted
    assert holds(mount, random_pages(2000), 1, "zram0")
    mount.stop()

    again = zramfs(f"[zram0]\nbacking_swap = {backing}\n")
    assert again.get("zram0", "disksize") == f"{16 * MIB}\n"


def test_statistics(backed, backing):
    put(backed, random_pages(10))
    backed.set("disk0", "writeback", "huge")
    assert holds(backed, random_pages(10))
    seen = backed.stats()["disk0"]
    assert seen["BackingSwap"].strip() == str(backing)
    assert [int(seen[key]) for key in ("WrittenBack", "BDevNumReads", "BDevNumWrites",
                                       "FailedBackingReads", "FailedBackingWrites")] == [
        10, 10, 10, 0, 0]
    assert seen["BackingFileSize"].split() == [str(64 * KIB), "kB"]
    text = (backed.point / ".metrics").read_text()
    assert 'zramfs_written_back_pages{disk="disk0"} 10\n' in text
    (backed.point / ".stats").unlink()
    assert bd_stat(backed) == (10, 0, 0)


def test_others_keep_their_hands_off(backed, backing):
    """It is locked as long as the daemon has it."""
    with backing.open("r+b") as file:
        assert errno_of(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB) == errno.EAGAIN
    assert stat.S_IMODE(backing.stat().st_mode) & 0o077 == 0
