"""How much memory the daemon takes for its data: in a memory cgroup of its own, page tables and
all, less what it takes with empty disks."""

import errno
import os
import pathlib
import random
import time

import pytest

from data import PAGE
from host import KEEP_SIZE, PUNCH_HOLE, Cgroup, fallocate
from zramfs import GIB, KIB, MIB, TIB

SIZE = 256 * MIB
TREES = ("/usr/lib", "/usr/include", "/usr/share", "/usr/bin")
BATCH = 64 * KIB


@pytest.fixture(scope="module")
def pages():
    """Real pages of this machine, a file after the other; few are the same."""
    found, n_bytes = [], 0
    for tree in TREES:
        for path in sorted(pathlib.Path(tree).rglob("*")):
            if n_bytes >= SIZE:
                break
            if path.is_symlink() or not path.is_file():
                continue
            data = path.read_bytes()
            found.append(data[:len(data) // PAGE * PAGE])
            n_bytes += len(found[-1])
    if n_bytes < SIZE:
        pytest.skip(f"less than {SIZE // MIB} MiB installed")
    return b"".join(found)[:SIZE]


@pytest.fixture
def daemon(zramfs):
    """daemon(config): a mount, its cgroup and what it is charged while empty."""
    if "ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ:
        pytest.skip("sanitizers take memory of their own")
    if os.geteuid() != 0 or Cgroup.why_not():
        pytest.skip(Cgroup.why_not() or "needs root")
    groups = []

    def start(config):
        group = Cgroup(4 * GIB)
        groups.append(group)
        mount = zramfs(config, prefix=group.prefix())
        time.sleep(1.2)  # until upkeep has looked around
        return mount, group, group.charged()

    yield start
    for group in groups:
        group.leave()


@pytest.fixture
def fd(mount):
    fd = os.open(mount.disk("disk0"), os.O_RDWR)
    yield fd
    os.close(fd)


def compressed(mount, disks):
    return sum(mount.mm_stat(disk).compr_data_size for disk in disks)


def within(mount, group, empty, disks, bound, seconds=5):
    """Poll until the charge over the data is no more than the bound."""
    deadline = time.monotonic() + seconds
    while True:
        ratio = (group.charged() - empty) / compressed(mount, disks)
        if ratio <= bound or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    print(f"{ratio:.4f}, bound {bound}")
    assert ratio <= bound


# At a gigabyte the bounds are 1.03, 1.03 and 1.045 (tests/bench/memory); with a quarter of it the
# reserve and the ends, 1 MiB and a half, weigh more.
@pytest.mark.limit(300)
@pytest.mark.parametrize("n_disks", [1, 16])
def test_memory_for_real_pages(daemon, pages, n_disks):
    share = SIZE // n_disks
    disks = [f"disk{i}" for i in range(n_disks)]
    mount, group, empty = daemon("".join(f"[{disk}]\ndisksize = {share}\n" for disk in disks))
    files = [os.open(mount.disk(disk), os.O_RDWR) for disk in disks]
    chance = random.Random(1)
    try:
        for at in range(0, SIZE, BATCH):
            os.pwrite(files[at // share], pages[at:at + BATCH], at % share)
        within(mount, group, empty, disks, 1.04)

        for _ in range(3):
            for where in chance.sample(range(SIZE // PAGE), SIZE // PAGE):
                what = chance.randrange(SIZE // PAGE) * PAGE
                os.pwrite(files[where * PAGE // share], pages[what:what + PAGE],
                          where * PAGE % share)
        within(mount, group, empty, disks, 1.04)

        for where in range(SIZE // PAGE):
            if chance.random() < 0.5:
                fallocate(files[where * PAGE // share], PUNCH_HOLE | KEEP_SIZE,
                          where * PAGE % share, PAGE)
        within(mount, group, empty, disks, 1.07)
    finally:
        for fd in files:
            os.close(fd)


def test_an_empty_terabyte(daemon):
    mount, group, empty = daemon("[disk0]\ndisksize = 1T\n")
    fd = os.open(mount.disk("disk0"), os.O_RDONLY)
    try:
        chance = random.Random(1)
        for at in range(0, TIB, GIB):
            assert os.pread(fd, PAGE, at) == bytes(PAGE)
        for _ in range(5000):
            os.pread(fd, BATCH, chance.randrange(TIB // PAGE) * PAGE)
    finally:
        os.close(fd)
    assert mount.stats()["disk0"]["Tables"].split() == ["0", "kB"]
    memory, unit = mount.stats()["total"]["StoreMemory"].split()
    assert int(memory) <= 64 and unit == "kB"  # a page for the disk, and what outlives workers
    assert group.charged() - empty <= MIB


def test_compact_gives_back_what_free_cells_hold(mount, fd):
    """Also at once, for who asks; and what is there stays what it was."""
    chance = random.Random(1)
    want = {}
    for page in range(4096):
        want[page] = chance.randbytes(chance.randrange(200, 2000)).ljust(PAGE, b"x")
        os.pwrite(fd, want[page], page * PAGE)
    for page in chance.sample(range(4096), 3000):
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, page * PAGE, PAGE)
        want[page] = bytes(PAGE)
    mount.set("disk0", "compact", "1")
    stat = mount.mm_stat("disk0")
    assert stat.mem_used_total < stat.mem_used_max // 2
    assert stat.pages_compacted > 0
    for page, data in want.items():
        assert os.pread(fd, PAGE, page * PAGE) == data


def test_compact_of_a_disk_without_a_size(mount):
    mount.disk("new").touch()
    with pytest.raises(OSError) as error:
        mount.set("new", "compact", "1")
    assert error.value.errno == errno.EINVAL
