"""Swap: with mkswap and without, and a program larger than its memory cgroup."""

import errno
import os
import struct
import subprocess
import sys
import uuid

import pytest

from host import PATH, Cgroup, errno_of, run, swaps
from zramfs import MIB, PAGE, ROOT

OVERCOMMIT = ROOT / "contrib" / "overcommit"

UUID = "3f2a9c1e-7b64-4d0e-9a51-0c8de4f7b213"
SWAP = f"""
[swap0]
disksize = 256M
format = swap
label = zr-swap
uuid = {UUID}
"""


def system_page():
    return int(run("getconf", "PAGESIZE").stdout)


def header(path):
    """The swap header as the kernel's union swap_header has it."""
    with open(path, "rb") as file:
        page = file.read(system_page())
    assert page[-10:] == b"SWAPSPACE2"
    assert page[:1024] == bytes(1024)
    version, last_page, n_bad = struct.unpack_from("=III", page, 1024)
    return version, last_page, n_bad, str(uuid.UUID(bytes=page[1036:1052])), page[1052:1068]


# The header


def test_format_swap_writes_a_header(zramfs):
    mount = zramfs(SWAP)
    version, last_page, n_bad, found, label = header(mount.disk("swap0"))
    assert (version, last_page, n_bad) == (1, 256 * MIB // system_page() - 1, 0)
    assert found == UUID
    assert label.rstrip(b"\0") == b"zr-swap"


def test_a_uuid_of_its_own(zramfs):
    """Each disk another one, random (version 4) and never all zeros; no label."""
    mount = zramfs("[defaults]\ndisksize = 8M\nformat = swap\n[a]\n[b]\n")
    a, b = header(mount.disk("a")), header(mount.disk("b"))
    assert a[3] != b[3]
    assert uuid.UUID(a[3]).version == uuid.UUID(b[3]).version == 4
    assert a[4] == b[4] == bytes(16)


def test_format_none_writes_nothing(mount):
    assert mount.mm_stat("disk0").orig_data_size == 0


def test_a_swap_header_costs_one_page(zramfs):
    stat = zramfs(SWAP).mm_stat("swap0")
    assert stat.orig_data_size == max(PAGE, system_page())


def test_the_header_is_written_when_the_size_is_set(zramfs):
    mount = zramfs("[defaults]\nformat = swap\n")
    path = mount.disk("new")
    path.touch()
    mount.set("new", "disksize", "16M")
    assert header(path)[1] == 16 * MIB // system_page() - 1


@pytest.mark.needs("blkid")
def test_blkid_knows_it(zramfs):
    mount = zramfs(SWAP)
    out = run("blkid", "-p", "-o", "export", mount.disk("swap0")).stdout
    assert {"TYPE=swap", f"UUID={UUID}", "LABEL=zr-swap"} <= set(out.splitlines())


# The main job


def overcommit(limit_mib, n_mib, rounds=2):
    """Run the program in a cgroup; its output."""
    cgroup = Cgroup(limit_mib * MIB)
    try:
        done = subprocess.run([sys.executable, OVERCOMMIT, str(n_mib), str(rounds)],
                              preexec_fn=cgroup.enter, timeout=240, env={"PATH": PATH},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    finally:
        cgroup.remove()
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def cgroup_or_skip():
    reason = Cgroup.why_not()
    if reason:
        pytest.skip(reason)


@pytest.mark.loop
@pytest.mark.needs("losetup", "mkswap", "swapon")
@pytest.mark.limit(400)
@pytest.mark.parametrize("made_by", ["mkswap", "format"])
def test_a_program_larger_than_its_cgroup(zramfs, machine, cgroup_or_skip, made_by):
    config = SWAP if made_by == "format" else "[swap0]\ndisksize = 256M\n"
    mount = zramfs(config, foreground=False)
    device = machine.attach(mount.disk("swap0"))
    if made_by == "mkswap":
        run("mkswap", device)
    said = machine.swapon(device, "--discard=pages", "-p", "100")
    assert said.stderr == ""
    assert swaps()[device][2] == 100
    if made_by == "format":
        out = run("blkid", "-p", "-o", "export", device).stdout
        assert {"TYPE=swap", f"UUID={UUID}", "LABEL=zr-swap"} <= set(out.splitlines())

    overcommit(limit_mib=48, n_mib=160)

    stat, io_stat = mount.mm_stat("swap0"), mount.io_stat("swap0")
    assert int(mount.stats()["swap0"]["NumWrites"]) > 100 * MIB // PAGE
    assert int(mount.stats()["swap0"]["NumReads"]) > 10 * MIB // PAGE
    assert stat.mem_used_max > 10 * MIB
    assert (io_stat.failed_reads, io_stat.failed_writes) == (0, 0)
    run("swapoff", device, timeout=120)
    assert device not in swaps()


@pytest.mark.loop
@pytest.mark.needs("losetup", "swapon")
@pytest.mark.limit(300)
def test_swapoff_brings_everything_back(zramfs, machine, cgroup_or_skip):
    """With pages still out there: swapoff reads them all, and the program goes on with them."""
    mount = zramfs(SWAP, foreground=False)
    device = machine.attach(mount.disk("swap0"))
    machine.swapon(device, "--discard=pages", "-p", "100")
    cgroup = Cgroup(32 * MIB)
    try:
        program = (
            "import mmap, os, sys\n"
            "n = 24576\n"
            "m = mmap.mmap(-1, n * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
            "for i in range(n): m[i * 4096:(i + 1) * 4096] = (b'%08d' % i) * 512\n"
            "print('full', flush=True)\n"
            "sys.stdin.readline()\n"
            "bad = [i for i in range(n) if m[i * 4096:(i + 1) * 4096] != (b'%08d' % i) * 512]\n"
            "print('bad', len(bad), flush=True)\n")
        process = subprocess.Popen([sys.executable, "-c", program], preexec_fn=cgroup.enter,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "full\n"
            assert swaps()[device][1] > 32 * 1024
            cgroup.limit(512 * MIB)
            run("swapoff", device, timeout=120)
            assert device not in swaps()
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "bad 0\n"
        finally:
            process.kill()
            process.wait(timeout=20)
            process.stdin.close()
            process.stdout.close()
    finally:
        cgroup.remove()


@pytest.mark.loop
@pytest.mark.needs("losetup", "swapon")
def test_discard_gives_the_memory_back(zramfs, machine, cgroup_or_skip):
    """Whole clusters are discarded when they are freed; and all of it by the next swapon."""
    mount = zramfs(SWAP, foreground=False)
    device = machine.attach(mount.disk("swap0"))
    machine.swapon(device, "--discard", "-p", "100")
    overcommit(limit_mib=32, n_mib=96, rounds=1)
    assert mount.mm_stat("swap0").mem_used_max > 5 * MIB
    run("swapoff", device, timeout=120)
    run("swapon", "--discard", device)
    assert mount.mm_stat("swap0").orig_data_size < 2 * MIB
    run("swapoff", device, timeout=120)


@pytest.mark.loop
@pytest.mark.needs("losetup", "swapon")
def test_swap_in_use_is_refused_everything(zramfs, machine):
    mount = zramfs(SWAP)
    device = machine.attach(mount.disk("swap0"))
    machine.swapon(device)
    path = mount.disk("swap0")
    assert errno_of(os.unlink, path) == errno.EBUSY
    assert errno_of(os.truncate, path, 0) == errno.EBUSY
    assert errno_of(mount.set, "swap0", "reset", "1") == errno.EBUSY
    assert run("umount", mount.point, check=False).returncode != 0
    run("swapoff", device)
