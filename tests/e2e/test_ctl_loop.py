"""zramfsctl attach, swapon, detach and check: loop devices and swap, by one program alone."""

import concurrent.futures
import contextlib
import fcntl
import os
import pathlib
import re
import select
import signal
import stat
import subprocess
import sys

import pytest

from data import random_pages, text_pages
from fake import Fake
from host import PATH, Cgroup, Holder, errno_of, lacking, loops_on, mounts, run, swaps, wait_until
from kills import generation, keeper
from zramfs import BINARY, MIB, PAGE, ROOT

CTL = BINARY.parent / "zramfsctl"
OVERCOMMIT = ROOT / "contrib" / "overcommit"

# Names that no other mount of the machine has.
DISK, SWAP, FRESH = (f"{name}-{os.getpid()}" for name in ("disk", "swap", "fresh"))
DISKS = f"""
[{DISK}]
disksize = 64M

[{SWAP}]
disksize = 256M
format = swap
swap_priority = 42
"""

LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81

loop_test = pytest.mark.loop


def sysfs(device, name):
    return pathlib.Path("/sys/block", pathlib.Path(device).name, name)


def setting(device, name):
    return sysfs(device, f"queue/{name}").read_text().strip()


def ctl(*args, status=0, prefix=(), **kwargs):
    """Run it; the exit status is checked. Return: CompletedProcess."""
    done = run(*prefix, CTL, *args, check=False, **kwargs)
    assert done.returncode == status, f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def refusal(*args, status=1, **kwargs):
    """It says no, in one line, which is returned."""
    done = ctl(*args, status=status, **kwargs)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("zramfsctl: "), done.stderr
    return done.stderr.strip()


def printed(done):
    """Its one line of output, and no complaint."""
    assert done.stderr == ""
    assert re.fullmatch(r"/dev/loop\d+\n", done.stdout), done.stdout
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def everything_detached(place, machine):
    """Whatever a test attached goes, by zramfsctl first: it puts the settings back, too."""
    def detach():
        for device in loops_on(place):
            machine.swapoff(device)
            run(CTL, "detach", device, check=False)
            machine.detach(device)

    machine.swaps_alone()
    machine.later(detach)


@pytest.fixture
def own_device():
    """A loop device that nobody else finds: not the first that is free."""
    number = 500 + os.getpid() % 5000
    with open("/dev/loop-control", "rb") as control:
        fcntl.ioctl(control, LOOP_CTL_ADD, number)
        yield f"/dev/loop{number}"
        wait_until(lambda: errno_of(fcntl.ioctl, control, LOOP_CTL_REMOVE, number) == 0,
                   what="the end of the loop device")


@pytest.fixture
def disks(zramfs):
    return zramfs(DISKS, foreground=False)


# attach


@loop_test
@pytest.mark.parametrize("called", ["name", "path"])
def test_attach(disks, place, called):
    path = disks.disk(DISK)
    device = printed(ctl("attach", path if called == "path" else DISK))
    assert loops_on(place) == [device]
    assert sysfs(device, "loop/backing_file").read_text() == f"{path}\n"
    assert sysfs(device, "loop/dio").read_text() == "1\n"
    assert setting(device, "logical_block_size") == "4096"
    assert setting(device, "discard_max_bytes") == str(64 * MIB)
    assert setting(device, "write_cache") == "write through"
    assert sysfs(device, "size").read_text() == f"{64 * MIB // 512}\n"
    assert sysfs(device, "ro").read_text() == "0\n"

    run("dd", "if=/dev/urandom", f"of={device}", "bs=1M", "count=2", "oflag=direct")
    run("blkdiscard", "-l", MIB, device)
    assert disks.mm_stat(DISK).orig_data_size == MIB

    done = ctl("detach", device if called == "path" else DISK)
    assert (done.stdout, done.stderr) == ("", "")
    assert not loops_on(place)


@loop_test
def test_attach_for_reading(disks, place):
    path = disks.disk(DISK)
    path.write_bytes(text_pages(16))
    device = printed(ctl("attach", "--read-only", DISK))
    assert sysfs(device, "ro").read_text() == "1\n"
    assert pathlib.Path(device).read_bytes()[:16 * PAGE] == text_pages(16)
    assert run("dd", "if=/dev/zero", f"of={device}", "count=1", "bs=4k", "oflag=direct",
               check=False).returncode != 0
    ctl("detach", DISK)
    assert not loops_on(place)


@loop_test
def test_attach_to_a_device_of_choice(disks, place, own_device):
    assert printed(ctl("attach", f"--device={own_device}", DISK)) == own_device
    said = refusal("attach", f"--device={own_device}", SWAP)
    assert own_device in said and "in use" in said
    assert loops_on(place) == [own_device]
    assert "/dev/loop99999" in refusal("attach", "--device=/dev/loop99999", SWAP)
    assert "/dev/null" in refusal("attach", "--device=/dev/null", SWAP, status=2)
    ctl("detach", DISK)


@loop_test
def test_attach_refuses(disks, place):
    disks.disk("empty").touch()
    disks.disk("short").write_bytes(b"x" * 100)
    said = refusal("attach", "empty")
    assert "empty" in said and "resize" in said
    assert "100 bytes" in refusal("attach", "short")
    assert "nothing" in refusal("attach", "nothing")
    refusal("attach", disks.point / ".stats")
    refusal("attach", status=2)
    refusal("attach", DISK, SWAP, status=2)
    refusal("attach", "--nonsense", DISK, status=2)
    assert not loops_on(place)

    device = printed(ctl("attach", DISK))
    assert device in refusal("attach", DISK)
    assert loops_on(place) == [device]


@loop_test
def test_what_cannot_be_told_is_not_attached(disks, place):
    with open("/dev/full", "w") as full:
        done = subprocess.run([CTL, "attach", DISK], stdout=full, stderr=subprocess.PIPE, text=True,
                              timeout=20)
    assert done.returncode == 1
    assert re.fullmatch("zramfsctl: standard output: [^\n]+\n", done.stderr)
    assert not loops_on(place)


@loop_test
def test_attach_of_an_odd_size_says_so(disks):
    disks.disk(FRESH).write_bytes(random_pages(2) + b"x" * 1808)
    done = ctl("attach", FRESH)
    assert "1808 bytes" in done.stderr and done.stderr.count("\n") == 1
    device = done.stdout.strip()
    assert run("dd", f"if={device}", "bs=4096", "count=2", "iflag=direct", "status=none",
               f"of={disks.place}/back").returncode == 0
    assert (disks.place / "back").read_bytes() == random_pages(2)


@loop_test
def test_attach_refuses_what_was_attached_by_hand(disks, machine):
    device = machine.attach(disks.disk(DISK))
    assert device in refusal("attach", DISK)


@loop_test
def test_attach_without_the_right(disks, place, user):
    os.chmod(disks.disk(DISK), 0o666)
    run("cp", CTL, user.home / "bin")
    done = run(user.home / "bin" / "zramfsctl", "attach", DISK, user=user, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "ermission denied" in done.stderr
    assert not loops_on(place)


@loop_test
@pytest.mark.needs("setpriv")
def test_settings_that_are_refused_are_warnings(disks, place, user, own_device):
    """Whoever may open the device may attach; the settings are for root."""
    os.chmod(disks.disk(DISK), 0o666)
    os.chmod(own_device, 0o666)
    run("cp", CTL, user.home / "bin")
    done = run(user.home / "bin" / "zramfsctl", "attach", f"--device={own_device}", DISK, user=user)
    assert done.stdout == f"{own_device}\n"
    assert loops_on(place) == [own_device]
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"zramfsctl: {own_device}: ") for line in lines)
    assert "discard_max_bytes" in lines[0] and "write_cache" in lines[1]
    ctl("detach", DISK)


@loop_test
@pytest.mark.needs("unshare")
def test_a_device_attached_in_another_namespace(disks, own_device):
    """Its path says nothing here; the device knows which file it is on."""
    run("unshare", "--mount", "losetup", "--direct-io=on", "--sector-size", "4096", own_device,
        disks.disk(DISK))
    assert sysfs(own_device, "loop/backing_file").read_text() != f"{disks.disk(DISK)}\n"
    assert own_device in refusal("attach", DISK)
    assert "direct I/O" in of_device(ctl("check", DISK), own_device)
    ctl("detach", DISK)
    assert not sysfs(own_device, "loop").exists()


@loop_test
@pytest.mark.parametrize("how", ["attach", "read-only", "setro"])
def test_detach_puts_the_settings_back(disks, place, own_device, how):
    """They outlive the disk: "write through" would drop the flushes of the next file."""
    options = ["--read-only"] if how == "read-only" else []
    device = printed(ctl("attach", *options, f"--device={own_device}", DISK))
    assert setting(device, "write_cache") == "write through"
    if how == "setro":
        run("blockdev", "--setro", device)
    done = ctl("detach", DISK)
    assert done.stderr == ""

    other = place / "file"
    other.write_bytes(bytes(MIB))
    run("losetup", device, other)
    try:
        assert setting(device, "write_cache") == "write back"
        assert int(setting(device, "discard_max_bytes")) > 64 * MIB
    finally:
        run("losetup", "--detach", device)
        wait_until(lambda: not loops_on(place), what="detach")


@loop_test
def test_eight_at_once(zramfs, place):
    """Each finds the device that another is about to take."""
    zramfs("".join(f"[{DISK}-{i}]\ndisksize = 16M\n" for i in range(8)))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda i: ctl("attach", f"{DISK}-{i}"), range(8)))
        devices = [printed(one) for one in done]
        assert len(set(devices)) == 8
        for i, device in enumerate(devices):
            assert sysfs(device, "loop/backing_file").read_text().endswith(f"/{DISK}-{i}\n")
            assert sysfs(device, "loop/dio").read_text() == "1\n"
        list(pool.map(lambda i: ctl("detach", f"{DISK}-{i}"), range(8)))
    assert not loops_on(place)


@loop_test
def test_one_disk_is_attached_once(disks, place):
    """However many try: the others are refused."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: run(CTL, "attach", DISK, check=False), range(8)))
    assert sorted(one.returncode for one in done) == [0] + [1] * 7
    devices = [one.stdout.strip() for one in done if one.returncode == 0]
    assert loops_on(place) == devices
    assert all("attached already" in one.stderr for one in done if one.returncode != 0)


@loop_test
def test_attach_waits_for_another(disks, machine):
    """Who attaches holds the disk's lock, and looks for devices only then."""
    with open(disks.disk(DISK), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([CTL, "attach", DISK], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        waits = re.compile(rf"-> FLOCK .* {process.pid} ")
        wait_until(lambda: process.poll() is not None or
                   waits.search(pathlib.Path("/proc/locks").read_text()), what="its waiting")
        device = machine.attach(disks.disk(DISK))
    said, complaint = process.communicate(timeout=20)
    assert process.returncode == 1 and said == "" and device in complaint


# detach


@loop_test
@pytest.mark.parametrize("fstype", ["ext4", "btrfs"])
def test_detach_leaves_a_mounted_filesystem_alone(zramfs, machine, place, fstype):
    """btrfs is mounted under a device number of its own."""
    if lacking(f"mkfs.{fstype}"):
        pytest.skip(f"no mkfs.{fstype}")
    zramfs(f"[{DISK}]\ndisksize = 256M\n")
    device = printed(ctl("attach", DISK))
    run(f"mkfs.{fstype}", "-q", device)
    point = machine.mount(device)
    (point / "file").write_bytes(random_pages(64))

    for called in (DISK, device):
        said = refusal("detach", called)
        assert str(point) in said and "umount" in said
    assert "mounted" in refusal("swapon", "--priority=1", DISK)
    assert loops_on(place) == [device]
    run("sh", "-c", "echo 3 >/proc/sys/vm/drop_caches")
    assert (point / "file").read_bytes() == random_pages(64)

    run("umount", point)
    ctl("detach", DISK)
    assert not loops_on(place)


@loop_test
@pytest.mark.needs("mkfs.ext4", "unshare")
def test_detach_sees_what_is_mounted_elsewhere(disks, place):
    """In another mount namespace: mountinfo does not have it, the device knows."""
    device = printed(ctl("attach", DISK))
    run("mkfs.ext4", "-q", device)
    (place / "point").mkdir()
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c",
         f"mount {device} {place}/point && echo ready && read line"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        assert str(place / "point") not in mounts()
        said = refusal("detach", DISK)
        assert device in said and "in use" in said
        assert loops_on(place) == [device]
        assert setting(device, "write_cache") == "write through"
    finally:
        process.communicate(b"\n", timeout=20)
    ctl("detach", DISK)
    assert not loops_on(place)


@loop_test
def test_detach_while_somebody_reads(disks, place):
    """The kernel lets go when they close it; that is said, and by whom."""
    device = printed(ctl("attach", DISK))
    with Holder(device) as holder:
        said = refusal("detach", DISK)
        assert device in said and f"(pid {holder.process.pid})" in said
        assert loops_on(place) == [device]
        assert "last user" in refusal("attach", DISK)
    wait_until(lambda: not loops_on(place), what="the detach that was asked for")


@loop_test
@pytest.mark.needs("dmsetup")
def test_detach_names_a_holder(disks, machine, place):
    device = printed(ctl("attach", DISK))
    name = f"zramfs-e2e-{os.getpid()}"
    if run("dmsetup", "create", name, "--table", f"0 2048 linear {device} 0",
           check=False).returncode != 0:
        pytest.skip("no device mapper")
    machine.later(lambda: run("dmsetup", "remove", name, check=False))
    assert f"/dev/mapper/{name}" in refusal("detach", DISK)
    assert loops_on(place) == [device]
    run("dmsetup", "remove", name)
    ctl("detach", DISK)


@loop_test
@pytest.mark.needs("addpart", "mkfs.ext4", "mkswap")
def test_detach_looks_at_partitions(disks, machine, place):
    """One that is mounted keeps its device; one that is swapped to goes with it."""
    device = run("losetup", "--direct-io=on", "--sector-size", "4096", "--find", "--show",
                 "--partscan", disks.disk(DISK)).stdout.strip()
    partition = pathlib.Path(f"{device}p1")
    if run("addpart", device, "1", "2048", "65536", check=False).returncode != 0:
        pytest.skip("no partitions on loop devices")
    run("mkfs.ext4", "-q", partition)
    point = machine.mount(partition)
    said = refusal("detach", DISK)
    assert str(partition) in said and str(point) in said
    assert loops_on(place) == [device]
    run("umount", point)
    run("mkswap", partition)
    machine.swapon(str(partition))
    ctl("detach", DISK)
    assert not loops_on(place) and str(partition) not in swaps()


@loop_test
def test_detach_refuses(disks, place, own_device):
    assert "not attached" in refusal("detach", DISK)
    assert "nothing" in refusal("detach", "nothing")
    assert "not attached" in refusal("detach", own_device)
    refusal("detach", status=2)

    other = place / "file"
    other.write_bytes(bytes(MIB))
    device = run("losetup", "--find", "--show", other).stdout.strip()
    try:
        said = refusal("detach", device)
        assert str(other) in said and "losetup" in said
        assert device in loops_on(place)
    finally:
        run("losetup", "--detach", device)
        wait_until(lambda: not loops_on(place), what="detach")


@loop_test
def test_detach_takes_all_devices_of_a_disk(disks, machine, place):
    devices = [machine.attach(disks.disk(DISK)) for _ in range(2)]
    ctl("detach", devices[0])
    assert loops_on(place) == [devices[1]]
    devices[0] = machine.attach(disks.disk(DISK))
    ctl("detach", DISK)
    assert not loops_on(place)


@loop_test
@pytest.mark.needs("mkfs.ext4")
def test_detach_takes_none_of_them_if_one_cannot_go(disks, machine, place):
    devices = [machine.attach(disks.disk(DISK)) for _ in range(2)]
    run("mkfs.ext4", "-q", devices[1])
    machine.mount(devices[1])
    assert devices[1] in refusal("detach", DISK)
    assert sorted(loops_on(place)) == sorted(devices)


@loop_test
def test_detach_from_a_dead_daemon(disks, place):
    """By its device: the disk is no longer there to be named."""
    device = printed(ctl("attach", DISK))
    for pid in disks.pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not disks.pids(), what="the end of the daemon")
    if disks.ready():
        pytest.skip("the daemon survives this")
    done = ctl("check", status=1)
    assert findings(done)[f"daemon of {disks.point}"]["answer"][0] == "bad"
    ctl("detach", device)
    assert not loops_on(place)


# another file, meanwhile or elsewhere


def waiting(*args):
    """zramfsctl that waits for a disk's lock."""
    process = subprocess.Popen([CTL, *map(str, args)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    waits = re.compile(rf"-> FLOCK .* {process.pid} ")
    wait_until(lambda: process.poll() is not None or
               waits.search(pathlib.Path("/proc/locks").read_text()), what="its waiting")
    return process


@loop_test
@pytest.mark.parametrize("called", ["name", "device"])
def test_a_device_that_is_used_for_another_file_meanwhile(disks, machine, place, own_device,
                                                          called):
    """Whoever detaches looks what is on the disk when it is theirs to change, and not before."""
    device = printed(ctl("attach", f"--device={own_device}", DISK))
    other = place / "file"
    other.write_bytes(bytes(64 * MIB))
    with open(disks.disk(DISK), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = waiting("detach", DISK if called == "name" else device)
        run("losetup", "--detach", device)
        wait_until(lambda: not sysfs(device, "loop").exists(), what="detach")
        run("losetup", device, other)
        run("mkswap", device)
        machine.swapon(device, "-p", "1")
        sysfs(device, "queue/write_cache").write_text("write through")
    said, complaint = process.communicate(timeout=20)
    assert device in swaps()
    assert process.returncode == 1 and said == ""
    assert ("not attached" if called == "name" else "another file") in complaint
    assert setting(device, "write_cache") == "write through"
    assert sysfs(device, "loop/backing_file").read_text() == f"{other}\n"
    run("swapoff", device)
    run("losetup", "--detach", device)
    wait_until(lambda: not loops_on(place), what="detach")


@loop_test
def test_a_lock_that_is_waited_for_is_told_of(disks):
    with open(disks.disk(DISK), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = waiting("attach", DISK)
        line = process.stderr.readline() if select.select([process.stderr], [], [], 20)[0] else ""
        assert "locked" in line and DISK in line
    device, complaint = process.communicate(timeout=20)
    assert process.returncode == 0 and complaint == ""
    assert device.startswith("/dev/loop")


@loop_test
@pytest.mark.needs("unshare", "mkswap")
def test_the_same_path_in_another_namespace(disks, place, own_device):
    """A container's file of the same path is not our disk."""
    container = subprocess.Popen(
        ["unshare", "--mount", "sh", "-ec",
         f"mount -t tmpfs none {disks.point}; truncate -s 256M {disks.disk(SWAP)}; "
         f"mkswap {disks.disk(SWAP)} >&2; losetup {own_device} {disks.disk(SWAP)}; echo ready; "
         "read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert container.stdout.readline() == b"ready\n"
        backing = sysfs(own_device, "loop/backing_file")
        assert backing.read_text() == f"{disks.disk(SWAP)}\n"
        assert "not attached" in refusal("detach", SWAP)
        assert "no disk of zramfs" in refusal("detach", own_device)
        assert not of_heading(ctl("check", SWAP), own_device)
        device = printed(ctl("swapon", SWAP))
        assert device != own_device and own_device not in swaps()
        row = run(CTL, "--raw", "-n", "-o", "DEVICE,MOUNTPOINT", disks.disk(SWAP)).stdout.split()
        assert row == [device, "[SWAP]"]
        ctl("detach", SWAP)
        assert not sysfs(device, "loop").exists() and backing.exists()
    finally:
        container.communicate(b"\n", timeout=20)
        run("losetup", "--detach", own_device)
        wait_until(lambda: not sysfs(own_device, "loop").exists(), what="detach")


@loop_test
@pytest.mark.needs("unshare")
@pytest.mark.parametrize("told", [True, False])
def test_detach_from_a_mount_that_was_unmounted_lazily(disks, machine, own_device, told):
    """Where the kernel tells that it is FUSE's, and where it does not."""
    elsewhere = ["unshare", "--mount", "sh", "-ec",
                 "umount /sys/fs/fuse/connections 2>/dev/null || :; " +
                 ("mount -t fusectl none /sys/fs/fuse/connections; " if told else "") +
                 'exec "$@"', "sh"]
    device = printed(ctl("attach", f"--device={own_device}", DISK))
    machine.later(run, "losetup", "--detach", device, check=False)
    run("umount", "-l", disks.point)
    said = refusal("detach", device, prefix=elsewhere)
    assert sysfs(device, "loop").exists() and setting(device, "write_cache") == "write through"
    if told:
        assert "--force" in said
        ctl("detach", "--force", device, prefix=elsewhere)
    else:
        commands = re.search(r"(losetup --detach \S+); .*: (echo .*)", said)
        run("sh", "-ec", f"{commands[1]}; {commands[2]}")
    wait_until(lambda: not sysfs(device, "loop").exists(), what="detach")
    assert setting(device, "write_cache") == "write back"
    wait_until(lambda: not disks.pids(), what="the end of the daemon")


@loop_test
def test_a_daemon_that_hangs_is_given_up(disks):
    device = printed(ctl("attach", DISK))
    try:
        for pid in disks.pids():
            os.kill(pid, signal.SIGSTOP)
        said = refusal("detach", device, timeout=40)
        assert device in said and "does not answer" in said
        done = run(CTL, "list", check=False, timeout=40)
        assert f"{disks.point}: its daemon does not answer" in done.stderr
    finally:
        for pid in disks.pids():
            os.kill(pid, signal.SIGCONT)
    ctl("detach", device)


@loop_test
def test_what_a_mount_says_of_its_source(disks, place):
    """Free text, which an ordinary user's mount may fill with the name of a device."""
    device = printed(ctl("swapon", SWAP))
    with Fake(place / "fake", {"file": b""}, user_id=65534, source=device, fstype="fuse.sshfs"):
        row = run(CTL, "--raw", "-n", "-o", "MOUNTPOINT", disks.disk(SWAP)).stdout
        assert row == "[SWAP]\n"
        ctl("detach", SWAP)
    assert device not in swaps()


# swapon


@loop_test
@pytest.mark.parametrize("asked, priority", [((), 42), (("--priority=7",), 7),
                                             (("--priority", "0"), 0), (("--priority=-1",), None)])
def test_swapon(disks, place, asked, priority):
    device = printed(ctl("swapon", *asked, SWAP))
    assert loops_on(place) == [device]
    assert sysfs(device, "loop/dio").read_text() == "1\n"
    if priority is None:
        assert swaps()[device][2] < 0  # the kernel's own are below 0
    else:
        assert swaps()[device][2] == priority
    assert "already on" in refusal("swapon", SWAP)
    assert device in swaps()

    ctl("detach", SWAP)
    assert device not in swaps() and not loops_on(place)


@loop_test
@pytest.mark.needs("mkswap")
def test_swapon_uses_the_device_there_is(disks, place):
    device = printed(ctl("attach", DISK))
    said = refusal("swapon", DISK)
    assert "format=swap" in said and "mkswap" in said
    run("mkswap", disks.disk(DISK))
    assert printed(ctl("swapon", "--priority=3", DISK)) == device
    assert loops_on(place) == [device] and swaps()[device][2] == 3


@loop_test
def test_swapon_refuses_and_leaves_nothing(disks, place):
    said = refusal("swapon", DISK)
    assert DISK in said and "mkswap" in said
    disks.disk("empty").touch()
    refusal("swapon", "empty")
    for priority in ("-2", "32768", "high", ""):
        said = refusal("swapon", f"--priority={priority}", SWAP, status=2)
        assert "32767" in said
    assert not loops_on(place)


@loop_test
def test_swapon_that_the_kernel_refuses(disks, place):
    """A header of a version that does not exist: found by the kernel, after the attaching."""
    before = disks.disk(SWAP).read_bytes()[:PAGE]
    with open(disks.disk(SWAP), "r+b") as file:
        file.write(before[:1024] + b"\x63\0\0\0" + before[1028:])
    said = refusal("swapon", SWAP)
    assert "header" in said
    wait_until(lambda: not loops_on(place), what="what it attached to go")

    device = printed(ctl("attach", SWAP))
    refusal("swapon", SWAP)
    assert loops_on(place) == [device]


@loop_test
def test_swapon_of_what_cannot_be_swapped_to(disks, place):
    device = printed(ctl("attach", "--read-only", SWAP))
    said = refusal("swapon", SWAP)
    assert device in said and "reading" in said
    assert loops_on(place) == [device] and device not in swaps()


@pytest.fixture
def cgroup_or_skip():
    reason = Cgroup.why_not()
    if reason:
        pytest.skip(reason)


@contextlib.contextmanager
def program_swapped_out(device, n_pages=24576):
    """A program most of whose pages are out there. Yields: (its cgroup, checked())."""
    cgroup = Cgroup(32 * MIB)
    program = (
        "import mmap, sys\n"
        f"n = {n_pages}\n"
        "m = mmap.mmap(-1, n * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "for i in range(n): m[i * 4096:(i + 1) * 4096] = (b'%08d' % i) * 512\n"
        "print('full', flush=True)\n"
        "sys.stdin.readline()\n"
        "bad = [i for i in range(n) if m[i * 4096:(i + 1) * 4096] != (b'%08d' % i) * 512]\n"
        "print('bad', len(bad), flush=True)\n")
    process = subprocess.Popen([sys.executable, "-c", program], preexec_fn=cgroup.enter,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def checked():
        process.stdin.write("\n")
        process.stdin.flush()
        return process.stdout.readline()

    try:
        assert process.stdout.readline() == "full\n"
        assert swaps()[device][1] > 32 * 1024
        yield cgroup, checked
    finally:
        process.kill()
        process.wait(timeout=20)
        process.stdin.close()
        process.stdout.close()
        cgroup.remove()


@loop_test
@pytest.mark.limit(300)
def test_detach_brings_everything_back(disks, place, cgroup_or_skip):
    device = printed(ctl("swapon", SWAP))
    with program_swapped_out(device) as (cgroup, checked):
        cgroup.limit(512 * MIB)
        ctl("detach", SWAP, timeout=120)
        assert device not in swaps() and not loops_on(place)
        assert checked() == "bad 0\n"


@loop_test
@pytest.mark.needs("unshare")
@pytest.mark.limit(300)
def test_detach_refuses_what_memory_cannot_hold(disks, place, cgroup_or_skip):
    """With a /proc/meminfo that says so; --force does it all the same."""
    if swaps():
        pytest.skip("this machine has other swap")
    meminfo = place / "meminfo"
    meminfo.write_text("MemTotal: 1000000 kB\nMemAvailable:   20480 kB\n")
    short = ["unshare", "--mount", "sh", "-c",
             f'mount --bind {meminfo} /proc/meminfo && exec "$@"', "sh"]
    device = printed(ctl("swapon", SWAP))
    ctl("detach", SWAP, prefix=short)  # nothing is out there: there is room for that
    device = printed(ctl("swapon", SWAP))
    with program_swapped_out(device) as (cgroup, checked):
        run("mkswap", disks.disk(DISK))
        ctl("swapon", "--priority=1", DISK)  # no room: it is memory itself
        before = swaps()[device][1] // 1024  # the kernel may still be at it
        said = refusal("detach", SWAP, prefix=short)
        after = swaps()[device][1] // 1024
        ctl("detach", DISK)
        used, room = (int(number) for number in re.findall(r"(\d+) MiB", said))
        assert before - 1 <= used <= after + 1 and room == 20 and "--force" in said
        assert device in swaps() and loops_on(place) == [device]
        cgroup.limit(512 * MIB)
        ctl("detach", "--force", SWAP, prefix=short, timeout=120)
        assert checked() == "bad 0\n"


# all at once


ALL = f"""{DISKS}
[{FRESH}]
disksize = 128M
format = swap
swap_priority = 41
"""


@loop_test
def test_swapon_all(zramfs, place):
    """Every disk that is made for swap, and no other; those that are on stay as they are."""
    mount = zramfs(ALL)
    first = printed(ctl("swapon", "--priority=9", SWAP))
    done = ctl("swapon", "--all", mount.point)
    second = printed(done)
    assert {device: swaps()[device][2] for device in (first, second)} == {first: 9, second: 41}
    assert sorted(loops_on(place)) == sorted([first, second])
    done = ctl("swapon", "-a", mount.point)
    assert (done.stdout, done.stderr) == ("", "")

    done = ctl("detach", "--all", mount.point)
    assert (done.stdout, done.stderr) == ("", "")
    assert not loops_on(place) and first not in swaps() and second not in swaps()
    assert ctl("detach", "-a", mount.point).stderr == ""


@loop_test
def test_swapon_all_says_what_it_could_not_do(zramfs, place):
    mount = zramfs(ALL)
    with open(mount.disk(FRESH), "r+b") as file:
        file.write(bytes(PAGE))
    done = ctl("swapon", "--all", "--priority=3", mount.point, status=1)
    assert done.stderr.count("\n") == 1 and FRESH in done.stderr
    device = done.stdout.strip()
    assert loops_on(place) == [device] and swaps()[device][2] == 3
    ctl("detach", "--all", mount.point)


@loop_test
def test_all_of_which_mount(disks, zramfs, place):
    other = zramfs(f"[{FRESH}]\ndisksize = 64M\n")
    assert "format = swap" in refusal("swapon", "--all", other.point)
    assert "a mount" in refusal("swapon", "--all", disks.disk(SWAP))
    assert "not a disk" in refusal("detach", "--all", place)
    assert "nothing" in refusal("detach", "--all", place / "nothing")
    refusal("swapon", "--all", other.point, disks.point, status=2)
    refusal("detach", "--all", other.point, disks.point, status=2)
    assert "--all" in refusal("detach", "--swap", SWAP, status=2)
    refusal("detach", status=2)

    device = printed(ctl("swapon", "--all", disks.point))
    ctl("detach", "--all", other.point)
    assert loops_on(place) == [device] and device in swaps()


@loop_test
@pytest.mark.needs("mkfs.ext4")
def test_detach_all_leaves_what_is_mounted(disks, machine, place):
    """And says so; the others are gone. With --swap it is none of its business."""
    device = printed(ctl("attach", DISK))
    run("mkfs.ext4", "-q", device)
    point = machine.mount(device)
    swap = printed(ctl("swapon", SWAP))
    said = refusal("detach", "--all", disks.point)
    assert str(point) in said and loops_on(place) == [device] and swap not in swaps()

    swap = printed(ctl("swapon", SWAP))
    ctl("detach", "--all", "--swap", disks.point)
    assert loops_on(place) == [device] and swap not in swaps()
    swap = printed(ctl("swapon", SWAP))
    run("swapoff", swap)
    ctl("detach", "--all", "--swap", disks.point)
    assert loops_on(place) == [device]
    run("umount", point)
    ctl("detach", "--all", "--swap", disks.point)
    assert loops_on(place) == [device]
    ctl("detach", "--all", disks.point)
    assert not loops_on(place)


@loop_test
@pytest.mark.limit(300)
def test_detach_waits_for_another_that_swaps_off(disks, place, cgroup_or_skip):
    """As at a shutdown: the kernel tells the second that there is nothing to end, but it goes on."""
    for _ in range(3):
        device = printed(ctl("swapon", "--priority=32767", SWAP))
        with program_swapped_out(device) as (cgroup, checked):
            cgroup.limit(512 * MIB)
            other = subprocess.Popen(["swapoff", device], stderr=subprocess.PIPE, env={"PATH": PATH})
            done = ctl("detach", "--all", disks.point, timeout=120)
            assert done.stderr == ""
            assert not loops_on(place) and device not in swaps()
            # Whichever came second was told so.
            assert b"Invalid argument" in other.communicate(timeout=60)[1] or not other.returncode
            assert checked() == "bad 0\n"


@loop_test
def test_detach_all_of_a_dead_daemon(disks, place):
    devices = [printed(ctl("attach", DISK)), printed(ctl("attach", SWAP))]
    wait_until(lambda: disks.kill() or not disks.pids(), what="the end of the daemon")
    assert not disks.ready()
    assert sorted(loops_on(place)) == sorted(devices)
    disks.status = None
    done = ctl("detach", "--all", disks.point)
    assert done.stderr == "" and not loops_on(place)


@loop_test
@pytest.mark.limit(300)
def test_freed_pages_are_discarded(disks, cgroup_or_skip):
    device = printed(ctl("swapon", SWAP))
    with program_swapped_out(device):
        taken = disks.mm_stat(SWAP).orig_data_size
        assert taken > 32 * MIB
    wait_until(lambda: disks.mm_stat(SWAP).orig_data_size < taken // 2, what="discards")
    assert disks.io_stat(SWAP).notify_free > 0


@loop_test
@pytest.mark.limit(300)
def test_the_whole_life_of_a_swap_disk(zramfs, place, cgroup_or_skip):
    mount = zramfs(f"[{DISK}]\ndisksize = 1M\n", foreground=False)
    ctl("add", "--mount", mount.point, FRESH, "disksize=256M", "format=swap", "swap_priority=77")
    device = printed(ctl("swapon", FRESH))
    assert swaps()[device][2] == 77
    assert device in refusal("remove", FRESH)
    cgroup = Cgroup(48 * MIB)
    try:
        done = subprocess.run([sys.executable, OVERCOMMIT, "128", "2"], preexec_fn=cgroup.enter,
                              timeout=240, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    finally:
        cgroup.remove()
    assert done.returncode == 0, done.stdout
    stats = mount.io_stat(FRESH)
    assert (stats.failed_reads, stats.failed_writes) == (0, 0)
    assert mount.mm_stat(FRESH).mem_used_max > 10 * MIB
    ctl("detach", FRESH, timeout=120)
    ctl("remove", FRESH)
    assert not mount.disk(FRESH).exists() and not loops_on(place)


# check


def findings(done):
    """{heading: {what: (state, message, remedy)}}, with lines that were wrapped put together."""
    sections, section, last, is_remedy = {}, None, None, False
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    for line in text.splitlines():
        found = re.fullmatch(r"  (ok|warn|bad ?) {2,4}(\S.*?) {1,}(?<=.{26})(\S.*)", line) or \
            re.fullmatch(r"  (ok|warn|bad) +(.{18}) (.*)", line)
        if found:
            last = found[2].strip()
            section[last] = (found[1].strip(), found[3], "")
            is_remedy = False
        elif line.startswith("        ") and last:
            is_remedy = is_remedy or not line.startswith(" " * 27)
            state, message, remedy = section[last]
            if is_remedy:
                section[last] = (state, message, f"{remedy} {line.strip()}".strip())
            else:
                section[last] = (state, f"{message} {line.strip()}", remedy)
        elif line and not re.fullmatch(r"nothing to do|bad: \d+, warnings: \d+", line):
            section, last = sections.setdefault(line, {}), None
    return sections


def states(section):
    return {what: found[0] for what, found in section.items()}


def of_heading(done, device):
    return [heading for heading in findings(done) if heading.startswith(f"{device} on ")]


def of_device(done, device):
    sections = [section for heading, section in findings(done).items()
                if heading.startswith(f"{device} on ")]
    assert len(sections) == 1, done.stdout
    return sections[0]


@loop_test
def test_check_of_what_attach_made(disks):
    device = printed(ctl("attach", DISK))
    for called in (device, DISK, disks.disk(DISK)):
        done = ctl("check", called)
        assert set(states(of_device(done, device)).values()) == {"ok"}
        assert done.stderr == "" and done.stdout.endswith("nothing to do\n")


@loop_test
def test_check_of_what_was_attached_badly(disks, machine):
    """Its remedies are commands: they are run, and then there is nothing left to say."""
    device = run("losetup", "--find", "--show", "--sector-size", "4096",
                 disks.disk(DISK)).stdout.strip()
    if "[mq-deadline]" not in setting(device, "scheduler"):
        with contextlib.suppress(OSError):
            sysfs(device, "queue/scheduler").write_text("mq-deadline")
    sysfs(device, "queue/rotational").write_text("1")
    done = ctl("check", device)
    found = of_device(done, device)
    assert found["direct I/O"][0] == "warn" and found["rotational"][0] == "warn"
    assert found["discard_max_bytes"][0] == "warn" and found["write_cache"][0] == "warn"
    assert found["sector"][0] == "ok"
    for state, _, remedy in found.values():
        assert bool(remedy) == (state != "ok")
        if remedy:
            run("sh", "-c", remedy)
    done = ctl("check", device)
    assert set(states(of_device(done, device)).values()) == {"ok"}, done.stdout


@loop_test
def test_check_sees_small_sectors(disks, machine):
    device = run("losetup", "--find", "--show", disks.disk(DISK)).stdout.strip()
    found = of_device(ctl("check", DISK), device)
    assert found["sector"][0] == "warn" and "512" in found["sector"][1]


@loop_test
def test_check_of_buffered_swap_is_bad(disks, machine):
    device = run("losetup", "--find", "--show", "--sector-size", "4096",
                 disks.disk(SWAP)).stdout.strip()
    machine.swapon(device, "-p", "5")
    found = of_device(ctl("check", SWAP, status=1), device)
    assert found["direct I/O"][0] == "bad"
    assert "priority 5" in found["swap"][1]


@loop_test
def test_check_of_two_devices_on_a_disk(disks, machine):
    devices = [machine.attach(disks.disk(DISK)) for _ in range(2)]
    found = of_device(ctl("check", devices[0]), devices[0])
    assert found["attached twice"][0] == "warn" and devices[1] in found["attached twice"][1]


@loop_test
def test_check_finds_a_file_without_flushes(disks, place, own_device):
    """losetup --detach leaves "write through" behind, for whatever file comes next."""
    device = printed(ctl("attach", f"--device={own_device}", DISK))
    run("losetup", "--detach", device)
    wait_until(lambda: not loops_on(place), what="detach")
    other = place / "file"
    other.write_bytes(bytes(MIB))
    run("losetup", device, other)
    try:
        found = of_device(ctl("check", status=1), device)
        assert found["write_cache"][0] == "bad"
        run("sh", "-c", found["write_cache"][2])
        assert device not in run(CTL, "check", check=False).stdout
    finally:
        run("losetup", "--detach", device)
        wait_until(lambda: not loops_on(place), what="detach")


@pytest.mark.root
@pytest.mark.needs("unshare")
@pytest.mark.parametrize("path, text, heading, what, state", [
    ("/proc/sys/vm/page-cluster", "3", "swapping to a disk", "vm.page-cluster", "warn"),
    ("/proc/sys/vm/page-cluster", "0", "swapping to a disk", "vm.page-cluster", "ok"),
    ("/proc/sys/vm/swappiness", "1", "swapping to a disk", "vm.swappiness", "warn"),
    ("/proc/sys/vm/swappiness", "180", "swapping to a disk", "vm.swappiness", "ok"),
    ("/proc/sys/vm/overcommit_memory", "2", "swapping to a disk", "overcommit", "warn"),
    ("/proc/sys/vm/max_map_count", "100", "swapping to a disk", "vm.max_map_count", "warn"),
    ("/sys/module/zswap/parameters/enabled", "Y", "swapping to a disk", "zswap", "warn"),
    ("/sys/module/zswap/parameters/enabled", "N", "swapping to a disk", "zswap", "ok"),
])
def test_check_of_the_kernels_settings(place, path, text, heading, what, state):
    """Files that say so, in a mount namespace of their own."""
    if not os.path.exists(path):
        pytest.skip(f"no {path}")
    (place / "file").write_text(f"{text}\n")
    done = run("unshare", "--mount", "sh", "-c", f'mount --bind {place}/file {path} && exec "$@"',
               "sh", CTL, "check", check=False)
    found = findings(done)[heading][what]
    assert found[0] == state
    assert bool(found[2]) == (state == "warn")


@loop_test
@pytest.mark.needs("unshare")
def test_check_of_sleep(disks, place):
    """A system that would hibernate to memory, by a /sys/power that says so."""
    device = printed(ctl("swapon", SWAP))
    (place / "power").mkdir()
    number = os.stat(device).st_rdev
    (place / "power" / "resume").write_text(f"{os.major(number)}:{os.minor(number)}\n")
    (place / "power" / "state").write_text("freeze mem disk\n")
    elsewhere = ["unshare", "--mount", "sh", "-c",
                 f'mount --bind {place}/power /sys/power && exec "$@"', "sh"]
    found = findings(ctl("check", prefix=elsewhere, status=1))["swapping to a disk"]
    assert found["hibernation"][0] == "bad" and device in found["hibernation"][1]
    assert found["suspend"][0] == "warn"
    (place / "power" / "resume").write_text("8:1\n")
    assert "hibernation" not in findings(run(*elsewhere, CTL, "check", check=False))[
        "swapping to a disk"]


@pytest.mark.root
@pytest.mark.needs("unshare", "setpriv", "fusermount3")
@pytest.mark.parametrize("line, state", [("user_allow_other", "ok"), ("#user_allow_other", "warn"),
                                         (" user_allow_other \n", "ok"),
                                         ("user_allow_others", "warn"), ("", "warn")])
def test_check_of_fuse_conf(place, user, line, state):
    (place / "conf").write_text(f"# what users may do\n{line}\nmount_max = 7\n")
    run("cp", CTL, user.home / "bin")
    done = run("unshare", "--mount", "sh", "-c",
               f'mount --bind {place}/conf /etc/fuse.conf && exec "$@"', "sh", *user.prefix(),
               user.home / "bin" / "zramfsctl", "check", check=False)
    assert findings(done)["system"]["user_allow_other"][0] == state


@pytest.mark.root
def test_check_with_no_mount(place):
    """Nothing to look at but the system."""
    if "fuse.zramfs" in {kind for kind, _, _ in mounts().values()}:
        pytest.skip("a zramfs is mounted here")
    done = run(CTL, "check", check=False)
    assert done.stderr == ""
    assert {"system", "swapping to a disk"} <= set(findings(done))
    assert not [heading for heading in findings(done) if heading.startswith("daemon")]


def test_check_refuses_what_is_not_there(place):
    refusal("check", place / "nothing")
    refusal("check", "/dev/loop99999")
    refusal("check", "--nonsense", status=2)


@pytest.mark.root
def test_check_of_the_daemon(disks):
    heading = f"daemon of {disks.point}"
    pid, pids = generation(disks).pid, disks.pids()
    found = findings(ctl("check", disks.point))[heading]
    assert found["keeper"][1] == str(keeper(disks))
    assert found["worker"][1].startswith(f"{pid}, generation ")
    assert found["oom_score_adj"][0] == "warn" or \
        pathlib.Path(f"/proc/{pid}/oom_score_adj").read_text() == "-1000\n"
    for score, state in (("500", "warn"), ("-1000", "ok")):
        files = [pathlib.Path(f"/proc/{each}/oom_score_adj") for each in pids]
        if not any([errno_of(file.write_text, score) for file in files]):
            now = findings(ctl("check", disks.point))[heading]["oom_score_adj"]
            assert now[0] == state and now[1].count(score) == 2
    locked = re.search(r"VmLck:\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]
    assert found["locked memory"][0] == ("warn" if locked == "0" else "ok")
    assert found["mem_limit"][0] == "ok" and "320M" in found["mem_limit"][1]


@pytest.mark.root
@pytest.mark.needs("setpriv")
def test_check_is_not_taken_in_by_a_name(disks, user):
    """Anyone may have a process that is called zramfs and has the mount point as an argument."""
    run("cp", "/bin/sh", user.home / "zramfs")
    pretender = subprocess.Popen(
        [*user.prefix(), str(user.home / "zramfs"), "-c", "echo ready; read line; :",
         str(disks.point)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")
    try:
        assert pretender.stdout.readline() == b"ready\n"
        done = ctl("check", disks.point)
        assert str(pretender.pid) not in re.findall(r"\d+", done.stdout)
    finally:
        pretender.communicate(b"\n", timeout=20)


@pytest.mark.root
def test_check_of_a_daemon_that_hangs(disks):
    heading = f"daemon of {disks.point}"
    try:
        for pid in disks.pids():
            os.kill(pid, signal.SIGSTOP)
        found = findings(ctl("check", status=1, timeout=20))[heading]
        assert found["answer"][0] == "bad" and "hangs" in found["answer"][1]
    finally:
        for pid in disks.pids():
            os.kill(pid, signal.SIGCONT)


@pytest.mark.root
def test_check_of_disks_larger_than_memory(zramfs):
    mount = zramfs(f"[{DISK}]\ndisksize = 100T\n", foreground=False)
    heading = f"daemon of {mount.point}"
    found = findings(ctl("check", mount.point))[heading]
    assert found["mem_limit"][0] == "warn" and "100T" in found["mem_limit"][1]
    mount.set(DISK, "mem_limit", "64M")
    found = findings(ctl("check", mount.point))[heading]
    assert found["mem_limit"][0] == "ok" and "64M" in found["mem_limit"][1]


@pytest.mark.root
def test_check_of_a_memory_cgroup(zramfs, cgroup_or_skip):
    """Its limit is less than what the disks may come to take."""
    cgroup = Cgroup(200 * MIB)
    try:
        mount = zramfs(f"[{DISK}]\ndisksize = 512M\n", foreground=False, prefix=cgroup.prefix())
        heading = f"daemon of {mount.point}"
        found = findings(ctl("check", mount.point, status=1))[heading]["memory cgroup"]
        assert found[0] == "bad" and "200M" in found[1] and "512M" in found[1]
        mount.set(DISK, "mem_limit", "128M")
        assert findings(ctl("check", mount.point))[heading]["memory cgroup"][0] == "ok"
        mount.stop()
    finally:
        cgroup.remove()


@pytest.mark.root
@pytest.mark.needs("setpriv", "fusermount3")
def test_check_by_an_ordinary_user(disks, user):
    """Other people's settings are not theirs to see, and nothing goes wrong over that."""
    run("cp", CTL, user.home / "bin")
    mode = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    done = run(user.home / "bin" / "zramfsctl", "check", user=user, check=False)
    found = findings(done)
    assert done.stderr == ""
    assert found["system"]["/dev/fuse"][0] == ("ok" if mode & 0o666 == 0o666 else "bad")
    assert found["system"]["fusermount3"][0] == "ok"
    assert "user_allow_other" in found["system"]
    assert f"daemon of {disks.point}" in found
    assert done.returncode == int(any(one[0] == "bad" for section in found.values()
                                      for one in section.values()))


@pytest.mark.root
def test_check_of_another_users_mount(zramfs, user, fuse_for_all):
    """Root may not look into it, which is no fault."""
    mount = zramfs(f"[{DISK}]\ndisksize = 1M\n", user=user)
    done = run(CTL, "check", check=False)
    found = findings(done)[f"daemon of {mount.point}"]
    assert "not visible" in found["answer"][1]
    assert found["keeper"][1] in map(str, mount.pids())
    assert found["worker"][1] in map(str, mount.pids())


@loop_test
@pytest.mark.parametrize("columns", [60, 80, 140])
def test_check_fits_the_terminal(disks, columns):
    """Words that are longer than a line aside: paths and commands."""
    printed(ctl("attach", DISK))
    done = run(CTL, "check", check=False, env={"COLUMNS": str(columns)})
    for line in done.stdout.splitlines():
        assert len(line) <= columns or " " not in line[27:].strip() or " on " in line, line
    assert "\x1b" not in done.stdout


@pytest.mark.root
@pytest.mark.needs("script")
@pytest.mark.parametrize("env, coloured", [({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False),
                                           ({"TERM": "dumb"}, False)])
def test_check_is_coloured_on_a_terminal(env, coloured):
    done = run("script", "-qec", f"{CTL} check", "/dev/null", check=False,
               env={"TERM": "xterm", **env})
    assert ("\x1b[32mok" in done.stdout) == coloured
