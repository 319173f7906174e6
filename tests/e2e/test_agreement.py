"""The figures agree with each other at every moment, and with the slots whenever one looks.

Several processes write, discard, shrink, reset, add and remove disks at once. Meanwhile thousands
of snapshots are taken, and what must hold inside each, and from one to the next, is checked. Then,
burst after burst, the pages are counted by other means: their states, their lengths, their bytes.
"""

import contextlib
import errno
import json
import multiprocessing
import os
import random
import re
import time

import pytest

from data import PAGE, half_page, random_page, text_page, text_pages, word_page
from host import KEEP_SIZE, PUNCH_HOLE, fallocate
from zramfs import MIB

STABLE = ("s0", "s1", "s2", "zstd")
VOLATILE = ("v0", "v1")
N_PAGES = 2048

CONFIG = "".join(f"[{name}]\ndisksize = 8M\n" for name in VOLATILE + STABLE) + \
    "comp_algorithm = zstd\n"

COUNTERS = ("num_reads", "num_writes", "failed_reads", "failed_writes", "invalid_io",
            "notify_free", "discard", "huge_pages_since", "undecodable_pages")
SUMS = ("orig_data_size", "compr_data_size", "mem_used_total", "pages_stored", "same_pages",
        "huge_pages", "tables")

PAGES = [bytes(PAGE), word_page(0x0123456789abcdef), word_page(7), word_page((1 << 64) - 1),
         word_page(0x0102030401020304)]
PAGES += [random_page(seed) for seed in range(5)]
PAGES += [text_page(seed) for seed in range(5)]
PAGES += [half_page(seed) for seed in range(5)]
PAGES += [random_page(seed)[:2560] + bytes(PAGE - 2560) for seed in range(5)]

FORK = multiprocessing.get_context("fork")


# Workers: each a process, until it is told to stop or its number of steps is done

def change_pages(fd, rng):
    """One step on a disk: a run of pages, a part of one, a read, or a hole."""
    page_no = rng.randrange(N_PAGES)
    kind = rng.randrange(10)
    if kind < 5:
        n_pages = min(rng.choice((1, 1, 4, 32)), N_PAGES - page_no)
        os.pwrite(fd, b"".join(rng.choices(PAGES, k=n_pages)), page_no * PAGE)
    elif kind < 6:
        os.pwrite(fd, rng.randbytes(rng.randrange(1, 200)), page_no * PAGE + rng.randrange(3000))
    elif kind < 8:
        os.pread(fd, 16 * PAGE, page_no * PAGE)
    else:
        n_pages = min(rng.choice((1, 8, 600)), N_PAGES - page_no)
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, page_no * PAGE, n_pages * PAGE)


def write(mount, rng, going_on):
    fds = [os.open(mount.disk(name), os.O_RDWR) for name in STABLE]
    while going_on():
        change_pages(rng.choice(fds), rng)


def reset(mount, rng, going_on):
    """Disks that are reset, cut short and made longer. Others may hold them: then it is EBUSY."""
    while going_on():
        name = rng.choice(VOLATILE)
        with open(mount.disk(name), "r+b", buffering=0) as file:
            for _ in range(20):
                change_pages(file.fileno(), rng)
        with contextlib.suppress(OSError):
            if rng.random() < 0.5:
                mount.set(name, "reset", "1")
                mount.set(name, "disksize", str(8 * MIB))
            else:
                os.truncate(mount.disk(name), rng.randrange(8 * MIB))


def add_and_remove(mount, rng, going_on):
    number = 0
    while going_on():
        path = mount.disk(f"t{rng.randrange(4)}-{os.getpid()}-{number}")
        number += 1
        with open(path, "w+b", buffering=0) as file:
            file.write(text_pages(rng.randrange(20)) + random_page(number))
        os.rename(path, f"{path}-renamed")
        os.unlink(f"{path}-renamed")


def tend(mount, rng, going_on):
    while going_on():
        name = rng.choice(STABLE)
        mount.set(name, rng.choice(("compact", "compact", "mem_used_max")), "0")
        mount.set(name, "idle", "all")
        mount.get(name, "mm_stat")
        time.sleep(0.005)


def start(work, mount, seed, going_on):
    def run_it():
        work(mount, random.Random(seed), going_on)
        os._exit(0)  # nothing of pytest's is this process's to end

    process = FORK.Process(target=run_it, daemon=True)
    process.start()
    return process


@contextlib.contextmanager
def at_work(mount, workers):
    stop = FORK.Event()
    processes = [start(work, mount, seed, lambda: not stop.is_set())
                 for seed, work in enumerate(workers)]
    try:
        yield processes
    finally:
        stop.set()
        for process in processes:
            process.join(30)
            if process.is_alive():
                process.kill()
                process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


# What must hold

def take(mount):
    return json.loads((mount.point / ".stats.json").read_bytes())


def check_pages(disk):
    stored, same, zero = disk["pages_stored"], disk["same_pages"], disk["zero_pages"]
    good, huge = disk["good_pages"], disk["huge_pages"]
    rest = stored - good - huge  # compressed to between a half and a whole page
    assert 0 <= zero <= same and good >= 0 and huge >= 0 and rest >= 0
    assert disk["orig_data_size"] == (stored + same) * PAGE
    if disk["name"] in STABLE:  # pages come before the size that grows, and go after it
        assert disk["orig_data_size"] <= -(-disk["disksize"] // PAGE) * PAGE
    low = good + rest * (PAGE // 2 + 1) + huge * PAGE
    high = good * (PAGE // 2) + rest * (PAGE - 1) + huge * PAGE
    assert low <= disk["compr_data_size"] <= high


def check_memory(disk):
    used = disk["mem_used_total"] - disk["fragmentation"]
    assert disk["fragmentation"] >= 0 and disk["tables"] % PAGE == 0
    # A cell is at most 128 bytes and a rounding larger than its object; a word has 16 bytes.
    assert disk["compr_data_size"] + disk["tables"] <= used
    assert used <= (disk["compr_data_size"] + disk["tables"] + disk["pages_stored"] * 144 +
                    disk["same_pages"] * 144)
    assert disk["mem_used_max"] >= disk["mem_used_total"]
    if disk["orig_data_size"] > 0:
        assert disk["tables"] > 0


def check_latency(latency):
    points = [latency[name] for name in ("p50_ns", "p90_ns", "p99_ns", "max_ns")]
    assert points == sorted(points)
    assert latency["count"] == 0 or latency["max_ns"] > 0


def check(snapshot):
    disks, total = snapshot["disks"], snapshot["total"]
    for disk in disks:
        check_pages(disk)
        check_memory(disk)
        check_latency(disk["read_latency"])
        check_latency(disk["write_latency"])
        for name in ("failed_reads", "failed_writes", "invalid_io", "undecodable_pages"):
            assert disk[name] == 0, name
    assert total["disks"] == len(disks) == len({disk["name"] for disk in disks})
    for name in SUMS:
        assert total[name] == sum(disk[name] for disk in disks), name
    # Each disk's is its share, rounded down; what is borrowed of larger cells is nobody's.
    assert sum(disk["fragmentation"] for disk in disks) <= total["fragmentation"]
    # What is in use stays in memory. The rest may go between the looks at the one and the other.
    assert total["store_memory"] > sum(disk["mem_used_total"] - disk["fragmentation"]
                                       for disk in disks)


def check_order(before, after):
    """Nobody resets counters of the disks that stay."""
    assert before["time_ns"] < after["time_ns"]
    assert before["total"]["pages_compacted"] <= after["total"]["pages_compacted"]
    olds = {disk["name"]: disk for disk in before["disks"]}
    for disk in after["disks"]:
        if disk["name"] in STABLE:
            old = olds[disk["name"]]
            for name in COUNTERS:
                assert old[name] <= disk[name], name
            for name in ("read_latency", "write_latency"):
                assert old[name]["count"] <= disk[name]["count"]
                assert old[name]["sum_ns"] <= disk[name]["sum_ns"]
                assert old[name]["max_ns"] <= disk[name]["max_ns"]


def explain(snapshot):
    return json.dumps(snapshot, indent=1)


@pytest.mark.limit(180)
def test_every_snapshot_under_load(zramfs):
    mount = zramfs(CONFIG)
    before, n_snapshots, numbers = take(mount), 0, set()
    deadline = time.monotonic() + 60
    with at_work(mount, (write, write, write, reset, add_and_remove, tend)) as processes:
        while n_snapshots < 2500 and time.monotonic() < deadline:
            assert all(process.is_alive() for process in processes)
            snapshot = take(mount)
            try:
                check(snapshot)
                check_order(before, snapshot)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{explain(before)}\n{explain(snapshot)}") from error
            numbers.add(snapshot["total"]["disks"])
            n_snapshots += 1
            before = snapshot
    assert n_snapshots >= 2000
    assert len(numbers) > 1, "disks came and went"
    assert before["total"]["pages_compacted"] > 0
    for disk in before["disks"]:
        if disk["name"] in STABLE:
            for name in ("num_reads", "num_writes", "notify_free", "huge_pages_since"):
                assert disk[name] > 100, (disk["name"], name)


# Counting by other means

BLOCK = re.compile(r" *(\d+) +(\d+\.\d{6}) ([s.][w.][h.][i.][r.][n.])")


def block_state(mount, name):
    """{page: flags}"""
    found = {}
    for line in mount.get(name, "block_state").splitlines():
        page_no, _, flags = BLOCK.fullmatch(line).groups()
        assert int(page_no) not in found
        found[int(page_no)] = flags
    return found


def histogram(mount, name):
    return [int(line.split()[2]) for line in mount.get(name, "histogram").splitlines()]


def data_pages(fd, size):
    """The pages that are not holes, as a copying program sees them."""
    found, at = set(), 0
    while True:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO
            return found
        end = os.lseek(fd, at, os.SEEK_HOLE)
        found.update(range(at // PAGE, -(-min(end, size) // PAGE)))
        at = end


def same_filled(page):
    return page == page[:8] * (PAGE // 8)


def check_by_counting(mount, disk):
    name, n_data = disk["name"], disk["orig_data_size"] // PAGE
    states = block_state(mount, name)
    flags = list(states.values())
    assert len(states) == n_data
    assert sum("s" in flag for flag in flags) == disk["same_pages"]
    assert sum("h" in flag for flag in flags) == disk["huge_pages"]

    lengths = histogram(mount, name)
    assert sum(lengths) == disk["pages_stored"]
    assert sum(lengths[:32]) == disk["good_pages"]
    assert lengths[-1] == disk["huge_pages"]
    assert sum(n * (64 * i + 1) for i, n in enumerate(lengths)) <= disk["compr_data_size"]
    assert sum(n * 64 * (i + 1) for i, n in enumerate(lengths)) >= disk["compr_data_size"]

    with open(mount.disk(name), "rb", buffering=0) as file:
        assert data_pages(file.fileno(), disk["disksize"]) == set(states)
        file.seek(0)
        whole = file.read()
    whole += bytes(-len(whole) % PAGE)
    assert len(whole) == disk["disksize"]
    pages = {page_no: whole[page_no * PAGE:(page_no + 1) * PAGE] for page_no in states}
    assert {page_no for page_no, page in pages.items() if same_filled(page)} == \
        {page_no for page_no, flag in states.items() if "s" in flag}
    assert sum(page == bytes(PAGE) for page in pages.values()) == disk["zero_pages"]
    rest = bytearray(whole)
    for page_no in states:
        rest[page_no * PAGE:(page_no + 1) * PAGE] = bytes(PAGE)
    assert not any(rest), "what is a hole reads as zeros"


def steps(number):
    """going_on() for so many steps."""
    left = iter(range(number))
    return lambda: next(left, None) is not None


@pytest.mark.limit(120)
def test_the_slots_say_the_same(zramfs):
    mount = zramfs(CONFIG)
    for burst in range(15):
        workers = [start(work, mount, 100 * burst + i, steps(n))
                   for i, (work, n) in enumerate(((write, 150), (write, 150), (reset, 4),
                                                  (add_and_remove, 10), (tend, 3)))]
        for process in workers:
            process.join(60)
        assert [process.exitcode for process in workers] == [0] * len(workers)

        snapshot = take(mount)
        check(snapshot)
        assert {disk["name"] for disk in snapshot["disks"]} == {*STABLE, *VOLATILE}
        for disk in snapshot["disks"]:
            check_by_counting(mount, disk)
    assert sum(disk["pages_stored"] for disk in snapshot["disks"]) > 500
