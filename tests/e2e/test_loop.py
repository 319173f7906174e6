"""Loop devices on disks: filesystems made, filled, checked, trimmed, and full."""

import errno
import os
import pathlib
import re
import signal
import time

import pytest

from data import PAGE, random_pages, text_pages
from host import errno_of, lacking, run, wait_until
from zramfs import MIB

pytestmark = [pytest.mark.loop, pytest.mark.needs("losetup")]

FILESYSTEMS = {
    "ext4": (["mkfs.ext4", "-q"], ["e2fsck", "-fn"]),
    "xfs": (["mkfs.xfs", "-q", "-f"], ["xfs_repair", "-n"]),
    "btrfs": (["mkfs.btrfs", "-q", "-f"], ["btrfs", "check"]),
}

TREES = ("/usr/include", "/usr/lib/python3", "/usr/share/perl", "/usr/share/doc", "/etc")


def bytes_below(path):
    return sum(os.lstat(os.path.join(directory, name)).st_size
               for directory, _, names in os.walk(path) for name in names)


@pytest.fixture(scope="module")
def tree():
    """Directories of this machine, about 50 MB in all."""
    chosen, total = [], 0
    for top in TREES:
        if not os.path.isdir(top):
            continue
        for path in sorted(pathlib.Path(top).iterdir()):
            taken = path.name in {other.name for other in chosen}  # they go side by side
            if path.is_dir() and not path.is_symlink() and not taken and total < 48 * MIB:
                size = bytes_below(path)
                if total + size < 64 * MIB:
                    chosen.append(path)
                    total += size
    assert total > 4 * MIB
    return chosen


def queue(device, name):
    return (pathlib.Path("/sys/block", pathlib.Path(device).name, name)).read_text().strip()


def detach_and_wait(machine, mount, device):
    """Until the daemon has seen the RELEASE too."""
    held = mount.stats()["disk0"]["InUse"]
    machine.detach(device)
    wait_until(lambda: mount.stats()["disk0"]["InUse"] != held, what="release")


@pytest.mark.limit(400)
@pytest.mark.parametrize("fstype", FILESYSTEMS)
def test_a_filesystem_with_a_real_tree(zramfs, machine, tree, fstype):
    """mkfs, mount, copy, unmount, fsck, mount, compare, remove, fstrim, fsck."""
    mkfs, fsck = FILESYSTEMS[fstype]
    if lacking(mkfs[0], fsck[0]):
        pytest.skip(f"no {lacking(mkfs[0], fsck[0])}")
    mount = zramfs("[disk0]\ndisksize = 1G\n", foreground=False)
    device = machine.attach(mount.disk("disk0"))
    run(*mkfs, device, timeout=120)
    point = machine.mount(device, "-t", fstype)
    run("cp", "-a", *tree, point, timeout=120)
    run("umount", point, timeout=120)
    run(*fsck, device, timeout=120)

    full = mount.mm_stat("disk0")
    assert full.compr_data_size < full.orig_data_size
    run("mount", device, point)
    for directory in tree:
        run("diff", "-r", "--no-dereference", directory, point / directory.name, timeout=120)

    run("rm", "-r", *[point / directory.name for directory in tree])
    run("sync", "-f", point)
    trimmed = run("fstrim", "-v", point, timeout=120).stdout
    assert not re.search(r": 0 B", trimmed)
    run("umount", point, timeout=120)
    after = mount.mm_stat("disk0")
    assert after.orig_data_size < full.orig_data_size // 2
    wait_until(lambda: mount.mm_stat("disk0").mem_used_total < full.mem_used_total // 2, timeout=5,
               what="half of the memory back")
    assert mount.io_stat("disk0").notify_free > 1000
    run(*fsck, device, timeout=120)
    assert (mount.io_stat("disk0").failed_reads, mount.io_stat("disk0").failed_writes) == (0, 0)
    detach_and_wait(machine, mount, device)


def test_the_queue(mount, machine):
    device = machine.attach(mount.disk("disk0"))
    assert queue(device, "loop/dio") == "1"
    assert queue(device, "queue/logical_block_size") == "4096"
    assert queue(device, "queue/discard_granularity") == "4096"
    assert int(queue(device, "queue/discard_max_bytes")) > 0
    assert int(run("blockdev", "--getsize64", device).stdout) == 64 * MIB


def test_data_through_the_device_is_in_the_file(mount, machine, place):
    device = machine.attach(mount.disk("disk0"))
    data = random_pages(512) + text_pages(512) + bytes(512 * PAGE)
    (place / "data").write_bytes(data)
    run("dd", f"if={place}/data", f"of={device}", "bs=64k", "oflag=direct", "seek=16")
    with open(mount.disk("disk0"), "rb") as file:
        file.seek(MIB)
        assert file.read(len(data)) == data
    run("dd", f"if={device}", f"of={place}/back", "bs=64k", "iflag=direct", "skip=16", "count=96")
    assert (place / "back").read_bytes() == data


def test_discard_gives_the_memory_back(mount, machine):
    device = machine.attach(mount.disk("disk0"))
    run("dd", "if=/dev/urandom", f"of={device}", "bs=1M", "count=16", "oflag=direct")
    assert mount.mm_stat("disk0").orig_data_size >= 16 * MIB
    run("blkdiscard", "-o", 4 * MIB, "-l", 8 * MIB, device)
    assert mount.mm_stat("disk0").orig_data_size == 8 * MIB
    run("blkdiscard", "-z", device)
    zeros = run("dd", f"if={device}", "bs=1M", "count=16", "iflag=direct", "status=none").stdout
    assert zeros == "\0" * (16 * MIB)
    run("blkdiscard", device)
    assert mount.mm_stat("disk0").orig_data_size == 0
    assert mount.mm_stat("disk0").compr_data_size == 0


def test_a_punch_that_is_refused_does_not_switch_discard_off(mount, machine):
    """Loop remembers EOPNOTSUPP for ever: discards at odd places must be answered with 0."""
    device = machine.attach(mount.disk("disk0"))
    for offset, length in ((0, PAGE), (60 * MIB, 4 * MIB), (PAGE, 63 * MIB)):
        run("blkdiscard", "-o", offset, "-l", length, device)
        run("blkdiscard", "-z", "-o", offset, "-l", length, device)
    assert int(queue(device, "queue/discard_max_bytes")) > 0


@pytest.mark.needs("resize2fs")
def test_growing_a_filesystem(mount, machine):
    """The disk grows while it is attached; the filesystem then offline, which needs less right."""
    device = machine.attach(mount.disk("disk0"))
    run("mkfs.ext4", "-q", device)
    point = machine.mount(device)
    (point / "file").write_bytes(text_pages(100))
    os.truncate(mount.disk("disk0"), 256 * MIB)
    run("losetup", "--set-capacity", device)
    run("umount", point)
    run("e2fsck", "-fp", device)
    run("resize2fs", device)
    run("mount", device, point)
    assert os.statvfs(point).f_blocks * os.statvfs(point).f_frsize > 200 * MIB
    (point / "large").write_bytes(os.urandom(100 * MIB))
    assert (point / "file").read_bytes() == text_pages(100)
    run("umount", point)
    run("e2fsck", "-fn", device)


def test_in_use_while_attached(mount, machine):
    device = machine.attach(mount.disk("disk0"))
    path = mount.disk("disk0")
    assert errno_of(os.unlink, path) == errno.EBUSY
    assert errno_of(os.truncate, path, 0) == errno.EBUSY
    assert errno_of(mount.set, "disk0", "reset", "1") == errno.EBUSY
    assert run("umount", mount.point, check=False).returncode != 0
    machine.detach(device)
    wait_until(lambda: errno_of(os.unlink, path) == 0, what="rm after detach")


def test_sigterm_is_refused_while_attached(mount, machine):
    device = machine.attach(mount.disk("disk0"))
    mount.process.send_signal(signal.SIGTERM)
    said = wait_until(mount.said, what="the refusal")
    assert "disk0" in said and len(said.splitlines()) == 1
    time.sleep(5.5)
    assert mount.process.poll() is None
    detach_and_wait(machine, mount, device)
    mount.process.send_signal(signal.SIGTERM)
    assert mount.wait(timeout=15) == 0


def test_several_at_once(zramfs, machine):
    mount = zramfs("".join(f"[d{i}]\ndisksize = 64M\n" for i in range(4)))
    devices = [machine.attach(mount.disk(f"d{i}")) for i in range(4)]
    for i, device in enumerate(devices):
        run("mkfs.ext4", "-q", "-L", f"disk{i}", device)
    points = [machine.mount(device) for device in devices]
    for i, point in enumerate(points):
        (point / "file").write_bytes(text_pages(500, seed=i * 1000))
    for point in points:
        run("umount", point)
    for i, device in enumerate(devices):
        run("e2fsck", "-fn", device)
        point = machine.mount(device)
        assert (point / "file").read_bytes() == text_pages(500, seed=i * 1000)


def test_ext4_on_a_disk_at_its_limit(zramfs, machine):
    """Programs are told "no space", what was there before is intact, and raising the limit helps."""
    mount = zramfs("[disk0]\ndisksize = 512M\nmem_limit = 32M\n")
    device = machine.attach(mount.disk("disk0"))
    run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", device)
    point = machine.mount(device, "-o", "commit=120")
    old = random_pages(2048, seed=1)
    (point / "old").write_bytes(old)
    run("sync", "-f", point)

    done = run("dd", "if=/dev/urandom", f"of={point}/new", "bs=64k", "count=1024", "oflag=direct",
               check=False, timeout=120)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    stat = mount.mm_stat("disk0")
    assert stat.mem_used_total <= 32 * MIB * 1.01 + 2 * MIB
    assert mount.io_stat("disk0").failed_writes > 0

    mount.set("disk0", "mem_limit", "128M")
    (point / "after").write_bytes(old)
    run("sync", "-f", point)
    run("umount", point, timeout=120)
    run("e2fsck", "-fn", device)
    run("mount", device, point)
    assert (point / "old").read_bytes() == old
    assert (point / "after").read_bytes() == old
