"""Address space that is smaller than what RAM and swap would need: a limit, or a program of 32 bits.

The store is made as large as fits. That is said if the disks may take more; when it is used up
writes are refused, nothing is lost, and what is removed makes room.
"""

import errno
import os
import re

import pytest

from host import run
from zramfs import CTL, MIB, UNSAFE

# A limit below which a 32-bit program has less as well; what a worker needs beside the store is in.
SPACE = 700 * MIB

pytestmark = pytest.mark.needs("prlimit")


def small(zramfs, config):
    return zramfs(config, prefix=["prlimit", f"--as={SPACE}:{SPACE}", "--"])


def offsets(mount):
    for line in mount.control("zramfs", "safety").read_text().splitlines():
        name, word, *text = line.split(" ", 2)
        if name == "offsets":
            return None if word == "ok" else text[0]
    raise AssertionError("no line of offsets")


def test_disks_that_fit_are_no_news(zramfs):
    mount = small(zramfs, "[disk0]\ndisksize = 64M\n")
    assert offsets(mount) is None
    assert "offsets" not in mount.log.read_text()


def test_disks_that_may_not_fit(zramfs):
    mount = small(zramfs, "[disk0]\ndisksize = 2G\n")
    match = re.match(r"the address space has room for (\d+) MiB, and the disks may take 2048 MiB,",
                     offsets(mount))
    assert 100 <= int(match[1]) < SPACE // MIB
    assert mount.log.read_text().count(UNSAFE + "offsets: the address space has room for") == 1
    done = run(CTL, "check", check=False)
    assert f"the address space has room for {match[1]} MiB" in done.stdout

    # Limits change.
    mount.set("disk0", "mem_limit", "64M")
    assert offsets(mount) is None


def test_offsets_that_are_used_up(zramfs):
    mount = small(zramfs, "[disk0]\ndisksize = 2G\n")
    room = int(re.search(r"room for (\d+) MiB", offsets(mount))[1])
    data = os.urandom(MIB)
    n = 0
    with open(mount.disk("disk0"), "r+b", buffering=0) as disk:
        with pytest.raises(OSError) as caught:
            while n < 2048:
                assert os.pwrite(disk.fileno(), data, n * MIB) == MIB
                n += 1
        assert caught.value.errno in (errno.ENOMEM, errno.ENOSPC)
        assert room - 40 <= n <= room
        for at in (0, n // 2, n - 1):
            assert os.pread(disk.fileno(), MIB, at * MIB) == data
        run("fallocate", "--punch-hole", "--offset", "0", "--length", str(32 * MIB),
            mount.disk("disk0"))
        for at in range(16):
            assert os.pwrite(disk.fileno(), data, at * MIB) == MIB
