"""recomp_algorithm, recompress: the grammar and errnos of Documentation/admin-guide/blockdev/zram.rst,
and that pages stay what they are, whatever happens meanwhile.
"""

import contextlib
import errno
import os
import random
import re
import signal
import threading
import time

import pytest

import kills
from data import PAGE, random_page, text_page, text_pages, word_page
from host import errno_of, run, wait_until
from test_long_work import signals_to_me, write_errno
from zramfs import BINARY, CTL, MIB

ZSTD = "#{}: lzo-rle lzo lz4 lz4hc [zstd] \n"
LZ4HC = "#{}: lzo-rle lzo lz4 [lz4hc] zstd \n"

LINE = re.compile(r" *(\d+) +\d+\.\d{6} ([.s])([.w])([.h])([.i])([.r])([.n])")


def letters_page(seed):
    """Of 64 letters: lz4 stores it raw, zstd makes three quarters of it."""
    chance = random.Random(seed)
    return bytes(32 + chance.getrandbits(6) for _ in range(PAGE))


def mixed_page(seed):
    """Both codecs make something of it, zstd more."""
    return letters_page(seed)[:PAGE // 2] + text_page(seed)[:PAGE // 2]


@pytest.fixture
def fresh(zramfs):
    """A disk without a size, and without a second algorithm."""
    mount = zramfs("[defaults]\n")
    os.close(os.open(mount.disk("disk0"), os.O_CREAT | os.O_RDWR, 0o600))
    return mount


@pytest.fixture
def pages(zramfs):
    """disk0 with zstd to recompress with, and pages of each kind. Return: mount, contents."""
    mount = zramfs("[disk0]\ndisksize = 16M\nrecomp_algorithm = algo=zstd priority=1\n")
    kinds = (letters_page, mixed_page, text_page, random_page, word_page)
    contents = b"".join(kinds[i % len(kinds)](i + 1) for i in range(1000))
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(contents)
    return mount, contents


def refused(mount, attribute, text):
    return errno_of(mount.set, "disk0", attribute, text)


def flags(mount):
    """{page: flags} of block_state."""
    found = {}
    for line in mount.get("disk0", "block_state").splitlines():
        page, *letters = LINE.fullmatch(line).groups()
        found[int(page)] = "".join(letters)
    return found


def read_back(mount, n_bytes):
    with open(mount.disk("disk0"), "rb", buffering=0) as file:
        return b"".join(iter(lambda: file.read(MIB), b""))[:n_bytes]


# The grammar


@pytest.mark.parametrize("text, shown", [
    ("algo=zstd", ZSTD.format(1)),
    ("algo=zstd\n", ZSTD.format(1)),
    ("algo=zstd priority=1", ZSTD.format(1)),
    ("priority=3 algo=lz4hc", LZ4HC.format(3)),
    ("algo=zstd priority=2 level=9", ZSTD.format(2)),
    ("algo=zstd priority=2, algo=lz4hc", LZ4HC.format(1) + ZSTD.format(2)),
])
def test_recomp_algorithm(fresh, text, shown):
    assert fresh.get("disk0", "recomp_algorithm") == ""
    fresh.set("disk0", "recomp_algorithm", text)
    assert fresh.get("disk0", "recomp_algorithm") == shown
    fresh.set("disk0", "disksize", "8M")
    assert refused(fresh, "recomp_algorithm", text) == errno.EBUSY
    fresh.set("disk0", "reset", "1")
    assert fresh.get("disk0", "recomp_algorithm") == ""


@pytest.mark.parametrize("text", [
    "", "\n", "zstd", "algo", "algo=", "algo=deflate", "algo=ZSTD", "priority=1", "level=3",
    "algo=zstd priority", "algo=zstd priority=", "algo=zstd priority=0", "algo=zstd priority=4",
    "algo=zstd priority=x", "algo=zstd level=99", "algo=zstd nonsense=1", "algo=zstd,", "algo=zstd;",
    "algo=" + "x" * 127,
])
def test_what_recomp_algorithm_refuses(fresh, text):
    if text:  # a write of nothing is none
        assert refused(fresh, "recomp_algorithm", text) == errno.EINVAL
    assert fresh.get("disk0", "recomp_algorithm") == ""
    fresh.set("disk0", "disksize", "8M")
    if text:
        assert refused(fresh, "recomp_algorithm", text) == errno.EINVAL


def test_too_long_for_an_algorithm(fresh):
    for n in (128, 200, 1000):
        assert refused(fresh, "recomp_algorithm", "algo=" + "x" * n) == errno.E2BIG


def test_each_priority_by_itself(fresh):
    fresh.set("disk0", "recomp_algorithm", "algo=lz4hc priority=2")
    fresh.set("disk0", "recomp_algorithm", "algo=lz4hc priority=1")
    fresh.set("disk0", "recomp_algorithm", "algo=zstd priority=2")
    assert fresh.get("disk0", "recomp_algorithm") == LZ4HC.format(1) + ZSTD.format(2)


def test_algorithm_params(fresh):
    fresh.set("disk0", "recomp_algorithm", "algo=zstd priority=1")
    fresh.set("disk0", "recomp_algorithm", "algo=lz4hc priority=3")
    for text in ("priority=1 level=9", "algo=zstd level=9", "algo=zstd priority=1 level=9",
                 "level=3", "priority=0 level=3", "algo=lz4 level=3", "algo=lz4hc"):
        fresh.set("disk0", "algorithm_params", text)
    for text in ("priority=2 level=1", "priority=4 level=1", "priority=1 level=99", "algo=lzo level=1",
                 "algo=lz4hc priority=1", "algo=zstd priority=0", "priority=3 level=100", "algo=",
                 "priority=1 dict=/etc/passwd"):
        assert refused(fresh, "algorithm_params", text) == errno.EINVAL, text
    fresh.set("disk0", "disksize", "8M")
    assert refused(fresh, "algorithm_params", "priority=1 level=9") == errno.EBUSY


@pytest.mark.parametrize("text", [
    "", "\n", "type=idle", "type=huge", "type=huge_idle", "type=idle\n", "threshold=3000", "threshold=0",
    "threshold=3840", "max_pages=7", "max_pages=0", "algo=zstd", "priority=1",
    "type=idle algo=zstd priority=1 max_pages=9 threshold=100",
])
def test_recompress(pages, text):
    mount, contents = pages
    if text:
        mount.set("disk0", "recompress", text)
    assert read_back(mount, len(contents)) == contents


@pytest.mark.parametrize("text", [
    "idle", "huge", "type", "type=", "type=all", "type=incompressible", "type=IDLE", "threshold=3841",
    "threshold=4096", "threshold=-1", "threshold=1K", "threshold", "max_pages", "max_pages=",
    "max_pages=x", "max_pages=-1", "algo", "algo=", "algo=lz4", "algo=lz4hc", "algo=nonsense",
    "priority=0", "priority=2", "priority=4", "priority=x", "algo=zstd priority=2", "level=3",
    "page_index=1", "type=idle nonsense=1", "type=idle,algo=zstd",
])
def test_what_recompress_refuses(pages, text):
    mount, contents = pages
    before = flags(mount)
    assert refused(mount, "recompress", text) == errno.EINVAL
    assert flags(mount) == before


def test_recompress_wants_a_size_and_a_codec(fresh):
    assert refused(fresh, "recompress", "type=huge") == errno.EINVAL
    fresh.set("disk0", "recomp_algorithm", "algo=zstd")
    assert refused(fresh, "recompress", "type=huge") == errno.EINVAL
    fresh.set("disk0", "disksize", "8M")
    fresh.set("disk0", "recompress", "type=huge")
    fresh.set("disk0", "reset", "1")
    fresh.set("disk0", "disksize", "8M")
    assert refused(fresh, "recompress", "type=huge") == errno.EINVAL


# What becomes of pages


def test_all_pages(pages):
    """Of letters and mixed: recompressed; of noise: given up; of text, which is short already: one
    of both; same-filled ones: nothing."""
    mount, contents = pages
    before = mount.mm_stat("disk0")
    mount.set("disk0", "recompress", "algo=zstd")
    after = mount.mm_stat("disk0")
    assert after.orig_data_size == before.orig_data_size
    assert after.compr_data_size < before.compr_data_size * 0.85
    assert after.mem_used_total < before.mem_used_total * 0.9
    assert (before.huge_pages, after.huge_pages) == (400, 200)
    now = flags(mount)
    assert {now[i] for i in range(0, 1000, 5)} == {"....r."}
    assert {now[i] for i in range(1, 1000, 5)} == {"....r."}
    assert {now[i] for i in range(2, 1000, 5)} <= {"....r.", ".....n"}
    assert {now[i] for i in range(3, 1000, 5)} == {"..h..n"}
    assert {now[i] for i in range(4, 1000, 5)} == {"s....."}
    n_again = sum("r" in each for each in now.values())
    assert mount.json()["disks"][0]["recompressed_pages"] == n_again
    assert mount.stats()["disk0"]["RecompressedPages"].split()[0] == str(n_again)
    assert read_back(mount, len(contents)) == contents

    # Any write begins anew.
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), letters_page(7), 0)
        os.pwrite(file.fileno(), random_page(7), 3 * PAGE)
    now = flags(mount)
    assert (now[0], now[3]) == ("..h...", "..h...")


def test_types(pages):
    mount, contents = pages
    mount.set("disk0", "recompress", "type=idle")
    assert not any("r" in each or "n" in each for each in flags(mount).values())
    mount.set("disk0", "idle", "all")
    with open(mount.disk("disk0"), "rb", buffering=0) as file:
        for i in range(100):
            assert os.pread(file.fileno(), PAGE, i * PAGE) == contents[i * PAGE:(i + 1) * PAGE]
    mount.set("disk0", "recompress", "type=huge_idle")
    for page, now in flags(mount).items():
        tried = page >= 100 and page % 5 in (0, 3)
        assert ("r" in now or "n" in now) == tried, page
        assert ("i" in now) == (page >= 100 and not tried and page % 5 != 4), page  # used by it
    mount.set("disk0", "recompress", "type=huge")
    for page, now in flags(mount).items():
        assert ("r" in now or "n" in now) == (page % 5 in (0, 3)), page
    mount.set("disk0", "recompress", "type=idle")
    for page, now in flags(mount).items():
        tried = page % 5 in (0, 3) or (page >= 100 and page % 5 != 4)
        assert ("r" in now or "n" in now) == tried, page
    assert read_back(mount, len(contents)) == contents


def test_largest_first_and_so_many(pages):
    mount, contents = pages
    mount.set("disk0", "recompress", "max_pages=0")
    assert not any("r" in each or "n" in each for each in flags(mount).values())
    mount.set("disk0", "recompress", "max_pages=150")
    tried = {page for page, now in flags(mount).items() if "r" in now or "n" in now}
    assert len(tried) == 150
    assert {page % 5 for page in tried} == {0, 3}  # the huge ones
    mount.set("disk0", "recompress", "max_pages=250 priority=1")
    tried = {page for page, now in flags(mount).items() if "r" in now or "n" in now}
    assert len(tried) == 400 and {page % 5 for page in tried} == {0, 3}
    assert read_back(mount, len(contents)) == contents


def test_thresholds(pages):
    mount, contents = pages
    mount.set("disk0", "recompress", "threshold=3000")  # letters come to more
    now = flags(mount)
    assert not any("r" in each for each in now.values())
    assert {now[i] for i in range(0, 1000, 5)} == {"..h..."}  # and are not given up
    assert {now[i] for i in range(1, 1000, 5)} == {"......"}  # shorter already
    mount.set("disk0", "recompress", "threshold=3500")
    now = flags(mount)
    assert {now[i] for i in range(0, 1000, 5)} == {"....r."}
    assert {now[i] for i in range(1, 1000, 5)} == {"......"}
    assert read_back(mount, len(contents)) == contents


def test_priorities_in_their_order(zramfs):
    mount = zramfs("[disk0]\ndisksize = 16M\ncomp_algorithm = lz4\n"
                   "recomp_algorithm = algo=lz4hc level=9 priority=1, algo=zstd priority=2\n")
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(b"".join((letters_page, mixed_page)[i % 2](i) for i in range(200)))
    before = mount.mm_stat("disk0").compr_data_size
    mount.set("disk0", "recompress", "priority=1")
    assert {now for page, now in flags(mount).items() if page % 2 == 0} == {"..h..."}  # zstd is left
    between = mount.mm_stat("disk0").compr_data_size
    assert between < before
    mount.set("disk0", "recompress", "\n")
    assert {now[4:] for now in flags(mount).values()} == {"r."}
    assert mount.mm_stat("disk0").compr_data_size < between


# Meanwhile


def test_a_signal_ends_it(zramfs):
    """What was done of it stays."""
    mount = zramfs("[disk0]\ndisksize = 256M\nrecomp_algorithm = algo=zstd level=12\n")
    block = b"".join(mixed_page(i) for i in range(256))
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        for _ in range(20):
            file.write(block)
    for after in (0.05, 0.2, 0.5):
        with signals_to_me(after):
            code = write_errno(mount.control("disk0", "recompress"), "algo=zstd")
        n_done = sum("r" in now for now in flags(mount).values())
        if code == errno.EINTR and n_done > 0:
            break
    assert code == errno.EINTR and 0 < n_done < 20 * 256
    assert read_back(mount, 20 * MIB) == block * 20


@contextlib.contextmanager
def recompressing(mount):
    """All the time, of whatever there is."""
    end, failed = threading.Event(), []

    def work():
        while not end.is_set():
            try:
                mount.set("disk0", "recompress", "\n")
            except OSError as error:
                failed.append(error)
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    assert not failed, failed


def test_reads_and_writes_meanwhile(pages):
    """Whatever is read is what was written last, and no answer takes long."""
    mount, contents = pages
    expected = [contents[i * PAGE:(i + 1) * PAGE] for i in range(1000)]
    chance = random.Random(1)
    times = []
    with open(mount.disk("disk0"), "r+b", buffering=0) as file, recompressing(mount):
        for i in range(6000):
            page = chance.randrange(1000)
            begin = time.monotonic()
            if chance.random() < 0.3:
                expected[page] = chance.choice((letters_page, mixed_page, random_page))(i)
                begin = time.monotonic()
                os.pwrite(file.fileno(), expected[page], page * PAGE)
            else:
                assert os.pread(file.fileno(), PAGE, page * PAGE) == expected[page]
            times.append(time.monotonic() - begin)
    assert read_back(mount, 1000 * PAGE) == b"".join(expected)
    times.sort()
    assert times[len(times) // 2] < 0.005 and times[-1] < 2, times[-20:]


@pytest.mark.root
def test_a_kill_in_the_middle(zramfs):
    """The next worker does what is left; the caller notices nothing."""
    mount = zramfs("[disk0]\ndisksize = 256M\nrecomp_algorithm = algo=zstd level=9\n")
    block = b"".join((letters_page, mixed_page, random_page)[i % 3](i) for i in range(256))
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        for _ in range(30):
            file.write(block)
    kills.settled(mount)
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(errno_of(mount.set, "disk0", "recompress", "\n")))
    thread.start()
    for _ in range(3):
        time.sleep(0.1)
        served, _ = kills.kill(mount)
        kills.next_generation(mount, served)
    thread.join(60)
    assert answers == [0]
    assert all("r" in now or "n" in now for now in flags(mount).values())
    assert read_back(mount, 30 * MIB) == block * 30


# Said elsewhere


def test_the_configuration_round_trip(place):
    config = place / "some.ini"
    config.write_text("[a]\ndisksize = 8M\n"
                      "recomp_algorithm = algo=zstd level=9, algo=lz4hc priority=3\n")
    once = run(BINARY, "--check-config", config).stdout
    assert "recomp_algorithm = algo=zstd priority=1 level=9, algo=lz4hc priority=3\n" in once
    config.write_text(once)
    assert run(BINARY, "--check-config", config).stdout == once


def test_by_zramfsctl(fresh):
    disk = fresh.disk("disk0")
    run(CTL, "set", disk, "recomp_algorithm=algo=zstd priority=1, algo=lz4hc priority=2")
    run(CTL, "set", disk, "algorithm_params=priority=1 level=9")
    run(CTL, "set", disk, "algorithm_params=level=2")
    assert fresh.get("disk0", "recomp_algorithm") == ZSTD.format(1) + LZ4HC.format(2)
    done = run(CTL, "set", disk, "algorithm_params=priority=3 level=9", check=False)
    assert done.returncode == 2 and "not a value for it" in done.stderr
    done = run(CTL, "set", disk, "recomp_algorithm=algo=nonsense", check=False)
    assert done.returncode == 2 and "algo=NAME" in done.stderr
    run(CTL, "set", disk, "disksize=8M")
    disk.write_bytes(b"".join(mixed_page(i) for i in range(64)))
    run(CTL, "set", disk, "recompress=type=huge")
    run(CTL, "set", disk, "recompress=algo=lz4hc")
    run(CTL, "set", disk, "recompress=")
    assert all("r" in now or "n" in now for now in flags(fresh).values())
    run(CTL, "add", fresh.disk("more"), "disksize=8M", "recomp_algorithm=algo=zstd level=5")
    assert fresh.get("more", "recomp_algorithm") == ZSTD.format(1)
    fresh.hot_add('hot disksize=8M recomp_algorithm="algo=lz4hc priority=2"')
    assert fresh.get("hot", "recomp_algorithm") == LZ4HC.format(2)


def test_reload(zramfs):
    """A disk without a size takes everything from its section."""
    mount = zramfs("[disk0]\nrecomp_algorithm = algo=zstd\n")
    mount.set("disk0", "reset", "1")
    assert mount.get("disk0", "recomp_algorithm") == ""
    for said, shown in (("algo=zstd, algo=lz4hc priority=2", ZSTD.format(1) + LZ4HC.format(2)),
                        ("algo=zstd priority=2", ZSTD.format(2)),
                        ("", "")):
        mount.config.write_text(f"[disk0]\ndisksize = 8M\nrecomp_algorithm = {said}\n")
        os.kill(mount.process.pid, signal.SIGHUP)
        wait_until(lambda: mount.get("disk0", "initstate") == "1\n", what="the disk")
        assert mount.get("disk0", "recomp_algorithm") == shown
        mount.set("disk0", "reset", "1")
        mount.set("disk0", "recomp_algorithm", "algo=lz4hc priority=3")
