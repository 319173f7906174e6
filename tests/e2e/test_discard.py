"""A large discard has a thread of its own: whatever it takes, nobody but who writes to the same disk
waits for it, and it is lost neither by a worker that is replaced nor by one that is killed.

Stopping that thread shows what needs it, and how long it takes does not matter then.
"""

import concurrent.futures
import os

import pytest

import kills
from data import PAGE, text_page, text_pages
from host import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, fallocate
from test_long_work import AT_ONCE, stopped
from zramfs import MIB

pytestmark = pytest.mark.root

SIZE = 8 * MIB
LARGE = 2 * MIB


@pytest.fixture
def mount(zramfs):
    mount = zramfs(f"[disk0]\ndisksize = {SIZE}\n[disk1]\ndisksize = {SIZE}\n")
    for name in ("disk0", "disk1"):
        mount.disk(name).write_bytes(text_pages(SIZE // PAGE))
    return mount


@pytest.fixture
def fds(mount):
    opened = [os.open(mount.disk(name), os.O_RDWR) for name in ("disk0", "disk1")]
    yield opened
    for fd in opened:
        os.close(fd)


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor() as executor:
        yield executor


def is_waiting(future):
    """Long enough for an answer that does come."""
    return not concurrent.futures.wait([future], timeout=0.2).done


def test_others_go_on(mount, fds, pool):
    with stopped(mount, "punch"):
        first = pool.submit(fallocate, fds[0], PUNCH_HOLE | KEEP_SIZE, 0, LARGE)
        assert is_waiting(first)
        # The same disk is read, the other one is all that a disk is.
        assert os.pread(fds[0], PAGE, 5 * MIB) == text_page(5 * MIB // PAGE)
        assert pool.submit(os.pwrite, fds[1], text_page(3), 0).result(timeout=AT_ONCE) == PAGE
        pool.submit(fallocate, fds[1], PUNCH_HOLE | KEEP_SIZE, 0, MIB).result(timeout=AT_ONCE)
        second = pool.submit(fallocate, fds[1], ZERO_RANGE | KEEP_SIZE, 4 * MIB, LARGE)
        assert is_waiting(second) and is_waiting(first)
    first.result(timeout=AT_ONCE)
    second.result(timeout=AT_ONCE)
    assert os.pread(fds[0], LARGE, 0) == bytes(LARGE)
    assert os.pread(fds[0], PAGE, LARGE) == text_page(LARGE // PAGE)
    assert os.pread(fds[1], LARGE, 4 * MIB) == bytes(LARGE)


def test_one_after_another(mount, fds):
    """The next one of a disk comes as soon as the one before is answered."""
    for _ in range(300):
        for fd in fds:
            fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, SIZE)
    assert all(os.pread(fd, SIZE, 0) == bytes(SIZE) for fd in fds)


@pytest.mark.parametrize("mode", [PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE])
def test_large_and_small_are_the_same(mount, fds, mode):
    fallocate(fds[0], mode, PAGE, LARGE)
    for at in range(0, LARGE, MIB):
        fallocate(fds[1], mode, PAGE + at, MIB)
    assert os.pread(fds[0], SIZE, 0) == os.pread(fds[1], SIZE, 0)
    assert mount.mm_stat("disk0").orig_data_size == mount.mm_stat("disk1").orig_data_size


def test_a_death_in_the_middle(zramfs, place):
    """The kernel asks the next worker for it, and who waits does not notice."""
    token = place / "token"
    mount = zramfs(f"[disk0]\ndisksize = {SIZE}\n",
                   prefix=["env", f"ZRAMFS_CRASH=punch-leaf:{token}"])
    mount.disk("disk0").write_bytes(text_pages(SIZE // PAGE))
    served = kills.generation(mount)
    token.touch()
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, 2 * LARGE)
        if token.exists():
            pytest.skip("this build has no points at which it dies")
        assert kills.generation(mount).number == served.number + 1
        assert os.pread(file.fileno(), 2 * LARGE, 0) == bytes(2 * LARGE)
        assert os.pread(file.fileno(), PAGE, 2 * LARGE) == text_page(2 * LARGE // PAGE)
