"""Counters that start again: rm .stats, or 0 written to it; and who may."""

import errno
import os
import re
import stat

import pytest

from data import PAGE, random_pages, text_pages
from host import KEEP_SIZE, PUNCH_HOLE, errno_of, fallocate, run
from zramfs import MIB, write_once

FILES = {".stats": 0o644, ".stats.json": 0o444, ".metrics": 0o444}

# Things that happened, by their names below .control/; and what is derived from what is there.
COUNTERS = ("num_reads", "num_writes", "notify_free", "discard", "failed_reads", "failed_writes",
            "invalid_io")
GAUGES = ("disksize", "zero_pages", "orig_data_size", "compr_data_size", "mem_limit")


@pytest.fixture
def used(mount):
    """disk0 after writes, reads and a discard."""
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        file.write(text_pages(100) + random_pages(20) + bytes(5 * PAGE))
        os.pread(file.fileno(), 50 * PAGE, 0)
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, 10 * PAGE)
    assert counters(mount) == dict(zip(COUNTERS, (50, 125, 10, 1, 0, 0, 0)))
    return mount


def counters(mount, disk="disk0"):
    return {name: int(mount.get(disk, name)) for name in COUNTERS}


def latencies(mount, disk="disk0"):
    return dict(line.split() for line in mount.get(disk, "latency").splitlines())


def remove(mount):
    os.unlink(mount.point / ".stats")


def write_zero(mount):
    write_once(mount.point / ".stats", "0")


def echo(mount):
    run("sh", "-c", f"echo 0 > {mount.point}/.stats")


@pytest.mark.parametrize("reset", [remove, write_zero, echo])
def test_counters_start_again_and_data_stays(used, reset):
    used.hot_add("other disksize=8M")
    with open(used.disk("other"), "r+b", buffering=0) as file:
        file.write(text_pages(3))
    gauges = {name: used.get("disk0", name) for name in GAUGES}
    mm_stat = used.mm_stat("disk0")
    assert (mm_stat.huge_pages, mm_stat.huge_pages_since) == (20, 20)

    reset(used)
    for disk in ("disk0", "other"):
        assert set(counters(used, disk).values()) == {0}
        assert set(latencies(used, disk).values()) == {"0"}
    assert {name: used.get("disk0", name) for name in GAUGES} == gauges
    after = used.mm_stat("disk0")
    assert after._replace(huge_pages_since=20) == mm_stat
    assert after.huge_pages_since == 0
    assert (used.point / ".stats").read_text().startswith("[disk0]\n")

    with open(used.disk("disk0"), "r+b", buffering=0) as file:
        assert os.pread(file.fileno(), 90 * PAGE, 10 * PAGE) == text_pages(90, seed=10)
    assert counters(used)["num_reads"] == 90
    assert latencies(used)["read_count"] == "1"


def test_rm_leaves_it_listed(used):
    for _ in range(3):
        run("rm", used.point / ".stats")
        assert ".stats" in os.listdir(used.point)
        assert os.stat(used.point / ".stats").st_nlink == 1
        assert re.search(r"NumReads:\t +0\n", (used.point / ".stats").read_text())


def test_a_text_that_is_open_stays(used):
    with open(used.point / ".stats", "rb", buffering=0) as file:
        text = file.read()
        os.unlink(used.point / ".stats")
        file.seek(0)
        assert file.read() == text
    assert re.search(rb"NumReads:\t +50\n", text)


@pytest.mark.parametrize("text", ["1", "00", "", "\n", "0\n0", "0 ", " 0", "zero", "x" * 5000],
                         ids=lambda text: repr(text)[:8])
def test_other_text_is_refused(used, text):
    path = used.point / ".stats"
    if text:
        assert errno_of(write_once, path, text) == errno.EINVAL
    assert counters(used)["num_reads"] == 50
    fd = os.open(path, os.O_WRONLY)
    try:
        assert errno_of(os.pwrite, fd, b"0", 1) == errno.EINVAL
    finally:
        os.close(fd)
    assert counters(used)["num_reads"] == 50


def test_what_may_be_done_with_each(used):
    for name, mode in FILES.items():
        path = used.point / name
        assert stat.S_IMODE(os.stat(path).st_mode) == mode
        assert (os.stat(path).st_uid, os.stat(path).st_size) == (os.geteuid(), 0)
        assert path.read_text() != ""
        if name != ".stats":
            assert errno_of(os.unlink, path) == errno.EPERM
            assert errno_of(os.open, path, os.O_WRONLY) == errno.EACCES
        assert errno_of(os.rename, path, used.point / "stats") == errno.EPERM
        assert errno_of(os.rename, used.disk("disk0"), path) == errno.EINVAL
        assert errno_of(os.chmod, path, 0o600) == errno.EPERM
    assert sorted(os.listdir(used.point)) == [".control", *sorted(FILES), "disk0"]


@pytest.mark.root
@pytest.mark.needs("setpriv")
def test_others_may_read_and_nothing_else(used, user):
    for name in FILES:
        path = used.point / name
        assert run("cat", path, user=user).stdout != ""
        for script in (f"rm -f {path}", f"echo 0 > {path}", f"echo 0 >> {path}"):
            assert run("sh", "-c", script, user=user, check=False).returncode != 0, script
    assert counters(used)["num_reads"] == 50


def test_json_is_of_the_same_counters(used):
    disk = used.json()["disks"][0]
    assert (disk["name"], disk["disksize"]) == ("disk0", 64 * MIB)
    assert {name: disk[name] for name in COUNTERS} == counters(used)
    assert disk["read_latency"]["count"] == 1 and disk["write_latency"]["count"] == 1
    with open(used.disk("disk0"), "rb", buffering=0):
        assert used.json()["disks"][0]["in_use"] == 1
    remove(used)
    assert used.json()["disks"][0]["num_reads"] == 0


def test_latency_counts_requests(mount):
    assert set(latencies(mount).values()) == {"0"}
    with open(mount.disk("disk0"), "r+b", buffering=0) as file:
        for i in range(200):
            os.pwrite(file.fileno(), text_pages(1, seed=i), i * PAGE)
        for i in range(100):
            os.pread(file.fileno(), PAGE, i * PAGE)
    got = {name: int(text) for name, text in latencies(mount).items()}
    assert (got["write_count"], got["read_count"]) == (200, 100)
    for what in ("read", "write"):
        assert 0 < got[f"{what}_p50_ns"] <= got[f"{what}_p90_ns"] <= got[f"{what}_p99_ns"]
        assert got[f"{what}_p99_ns"] <= got[f"{what}_max_ns"] < 10 ** 10
