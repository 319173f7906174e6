"""The kernel's zram and a disk of ours, asked the same by one script: it must print the same."""

import contextlib
import difflib
import fcntl
import os
import pathlib

import pytest

from host import mounts, run, wait_until
from zramfs import ROOT

SCRIPT = ROOT / "tests/cases/parity.sh"
RECOMPRESS = ROOT / "tests/cases/parity-recompress.expected"
WRITEBACK = ROOT / "tests/cases/parity-writeback.expected"
ZRAM = pathlib.Path("/sys/block/zram0")

# No other test's --find comes to it: that takes the lowest free number.
LOOP = 240
LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81

HOOK = """#!/bin/sh
backing=/sys/block/loop{number}/loop/backing_file
case $1 in
up)
    losetup --direct-io=on --sector-size 4096 /dev/loop{number} {disk}
    ;;
down)
    if [ -e $backing ]; then losetup --detach /dev/loop{number}; fi
    while [ -e $backing ]; do sleep 0.01; done
    ;;
esac
"""

pytestmark = [
    pytest.mark.root, pytest.mark.loop, pytest.mark.limit(240),
    pytest.mark.needs("losetup", "blkdiscard", "blockdev", "mountpoint", "mkfs.ext4", "e2fsck"),
]


@pytest.fixture
def zram():
    """The kernel's zram0, which must be unused, and is again afterwards."""
    if not ZRAM.exists() or not pathlib.Path("/dev/zram0").is_block_device():
        pytest.skip("no /dev/zram0")
    if (ZRAM / "disksize").read_text() != "0\n":
        pytest.skip("/dev/zram0 is in use")
    algorithms = (ZRAM / "comp_algorithm").read_text().split()
    if not {"lzo-rle", "lzo", "lz4"} <= {name.strip("[]") for name in algorithms}:
        pytest.skip("the kernel's zram lacks lzo-rle, lzo or lz4")
    yield ZRAM
    for point, (_, source, _) in mounts().items():
        if source == "/dev/zram0":
            run("umount", point)
    (ZRAM / "reset").write_text("1")
    assert (ZRAM / "disksize").read_text() == "0\n"


@pytest.fixture
def loop_number():
    control = os.open("/dev/loop-control", os.O_RDWR)
    node = pathlib.Path(f"/dev/loop{LOOP}")
    try:
        with contextlib.suppress(FileExistsError):
            fcntl.ioctl(control, LOOP_CTL_ADD, LOOP)
        wait_until(node.is_block_device, what=str(node))
        yield LOOP
        wait_until(lambda: not pathlib.Path(f"/sys/block/loop{LOOP}/loop").exists(),
                   what="the loop device to be free")
        fcntl.ioctl(control, LOOP_CTL_REMOVE, LOOP)
    finally:
        os.close(control)


def answers(*args):
    done = run(SCRIPT, *args, timeout=110)
    assert done.stderr == "", done.stderr
    return done.stdout


def control_directory(mount, loop_number, place):
    """A disk for the script, and the command that attaches it. Return: arguments of answers()."""
    os.close(os.open(mount.disk("zram0"), os.O_CREAT | os.O_RDWR, 0o600))
    hook = place / "hook"
    hook.write_text(HOOK.format(number=loop_number, disk=mount.disk("zram0")))
    hook.chmod(0o755)
    return mount.control("zram0", ""), f"/dev/loop{loop_number}", hook


def test_the_same_script_on_both(zramfs, zram, loop_number, place):
    chosen = [name for name in (zram / "comp_algorithm").read_text().split() if "[" in name]
    mount = zramfs(f"[defaults]\ncomp_algorithm = {chosen[0].strip('[]')}\n", foreground=False)
    theirs = answers(zram, "/dev/zram0")
    ours = answers(*control_directory(mount, loop_number, place))
    assert theirs.count("\n") > 300
    differences = list(difflib.unified_diff(theirs.splitlines(), ours.splitlines(),
                                            "the kernel", "zramfs", lineterm="", n=3))
    assert not differences, "\n".join(differences)


def test_recompression_as_documented(zramfs, loop_number, place):
    """Against a text, since few kernels are built with it."""
    mount = zramfs("[defaults]\ncomp_algorithm = lz4\n", foreground=False)
    ours = answers("--recompress", *control_directory(mount, loop_number, place))
    wanted = RECOMPRESS.read_text()
    differences = list(difflib.unified_diff(wanted.splitlines(), ours.splitlines(),
                                            "documented", "zramfs", lineterm="", n=3))
    assert not differences, "\n".join(differences)


@pytest.fixture
def backing_device(place):
    """A block device that nothing is on."""
    file = place / "backing"
    with file.open("wb") as sized:
        sized.truncate(32 << 20)
    device = run("losetup", "--find", "--show", file).stdout.strip()
    yield device
    run("losetup", "--detach", device)
    wait_until(lambda: not pathlib.Path("/sys/block", pathlib.Path(device).name, "loop").exists(),
               what=f"{device} to be free")


def test_pages_are_written_back_as_documented(backing_device, zramfs, loop_number, place):
    """Few kernels have it: what their source says is in a file."""
    mount = zramfs("[defaults]\ncomp_algorithm = lzo-rle\n", foreground=False)
    ours = answers(*control_directory(mount, loop_number, place), backing_device)
    assert ours.splitlines() == WRITEBACK.read_text().splitlines()


def test_the_kernel_writes_pages_back_as_documented(backing_device, zram):
    if not (zram / "backing_dev").exists():
        pytest.skip("a kernel without CONFIG_ZRAM_WRITEBACK")
    theirs = answers(zram, "/dev/zram0", "true", backing_device)
    assert theirs.splitlines() == WRITEBACK.read_text().splitlines()


def test_the_script_refuses_what_has_a_size(mount, machine):
    device = machine.attach(mount.disk("disk0"))
    done = run(SCRIPT, mount.control("disk0", ""), device, check=False)
    assert done.returncode == 2 and "has a size already" in done.stderr
    assert mount.get("disk0", "disksize") == f"{64 << 20}\n"
    assert run(SCRIPT, check=False).returncode == 2
