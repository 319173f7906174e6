"""What goes wrong is told to whoever asked, and costs nobody else anything."""

import errno
import mmap
import os
import pathlib
import signal
import subprocess

import pytest

from data import PAGE, random_page, random_pages, text_page, text_pages
from host import LIBC, MNT_DETACH, errno_of, mounts, run, wait_until
from zramfs import BINARY, MIB


def store_of(mount):
    """The memfd of a mount's daemon, as a path that can be opened."""
    for pid in mount.pids():
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            if os.readlink(fd) == "/memfd:zramfs (deleted)":
                return fd
    raise AssertionError("no daemon has a store")


def spoil(mount, marker):
    """Overwrite what follows each occurrence of marker in the store. Return: how many there were."""
    n_found = 0
    with open(store_of(mount), "r+b", buffering=0) as store:
        end = os.fstat(store.fileno()).st_size
        at = 0
        while at < end:
            try:
                start = os.lseek(store.fileno(), at, os.SEEK_DATA)
            except OSError:  # no data from here on
                break
            at = os.lseek(store.fileno(), start, os.SEEK_HOLE)
            text = os.pread(store.fileno(), at - start, start)
            found = text.find(marker)
            while found >= 0:
                os.pwrite(store.fileno(), b"\xff" * 64, start + found)
                n_found += 1
                found = text.find(marker, found + 1)
    return n_found


@pytest.mark.root
def test_a_page_that_does_not_decode_is_an_error_and_no_zeros(mount):
    """lz4 keeps the first bytes of text as they are, so that the object can be found and spoilt.
    Its reader gets EIO, again and again; the daemon, the pages beside it and writing go on."""
    disk = mount.disk("disk0")
    disk.write_bytes(text_page(1) + b"SPOIL ME" + text_page(2)[8:] + text_page(3))
    assert spoil(mount, b"SPOIL ME") == 1

    fd = os.open(disk, os.O_RDWR)
    for _ in range(3):
        assert errno_of(os.pread, fd, PAGE, PAGE) == errno.EIO
    assert os.pread(fd, PAGE, 0) == text_page(1)
    assert os.pread(fd, PAGE, 2 * PAGE) == text_page(3)
    assert errno_of(os.pwrite, fd, b"part", PAGE + 100) == errno.EIO  # it needs the old page
    stats = mount.stats()["disk0"]
    assert int(stats["UndecodablePages"]) == 4
    assert int(stats["FailedReads"]) == 3

    assert os.pwrite(fd, text_page(4), PAGE) == PAGE
    assert os.pread(fd, PAGE, PAGE) == text_page(4)
    os.close(fd)
    assert mount.said().count("does not decode") == 1  # once a second at most


def blocks_that_went(device, n_blocks):
    """Write different blocks of 1 MiB, straight to the device. Return: those the kernel took."""
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    block, took = mmap.mmap(-1, MIB), []
    for number in range(n_blocks):
        block[:] = random_pages(MIB // PAGE, seed=number)
        try:
            if os.pwrite(fd, block, number * MIB) == MIB:
                took.append(number)
        except OSError as error:
            assert error.errno in (errno.ENOSPC, errno.EIO)
    os.close(fd)
    return took


@pytest.mark.loop
@pytest.mark.needs("losetup")
@pytest.mark.parametrize("direct", ["on", "off"])
def test_a_loop_device_never_takes_what_did_not_fit(zramfs, machine, direct):
    """A loop device takes a short write for a whole one."""
    mount = zramfs("[disk0]\ndisksize = 64M\nmem_limit = 20M\n")
    device = run("losetup", f"--direct-io={direct}", "--sector-size", "4096", "--find", "--show",
                 mount.disk("disk0")).stdout.strip()
    try:
        took = blocks_that_went(device, 30)
        assert 16 <= len(took) <= 20
        content = pathlib.Path(mount.disk("disk0")).read_bytes()
        for number in took:
            kept = content[number * MIB:(number + 1) * MIB]
            assert kept == random_pages(MIB // PAGE, seed=number), f"block {number}"
    finally:
        run("losetup", "--detach", device)
    wait_until(lambda: mount.stats()["disk0"]["InUse"].strip() == "0", what="release")


def test_at_the_limit_memory_can_still_be_given_back(zramfs):
    """Zeroing part of a same-filled page needs an object: truncate and punch get it all the same."""
    mount = zramfs("[disk0]\ndisksize = 1M\nmem_limit = 64K\n")
    fd = os.open(mount.disk("disk0"), os.O_RDWR)
    os.pwrite(fd, b"\x07" * PAGE, 0)
    written = 1
    while errno_of(os.pwrite, fd, random_page(written), written * PAGE) == 0:
        written += 1
    assert errno_of(os.pwrite, fd, random_page(99), 0) == errno.ENOSPC
    os.ftruncate(fd, 100)
    assert os.pread(fd, PAGE, 0) == b"\x07" * 100
    os.close(fd)


@pytest.mark.root
def test_a_mount_over_ours_is_left_alone(zramfs):
    mount = zramfs()
    run("mount", "-t", "tmpfs", "none", mount.point)
    mount.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "something else is mounted over it" in mount.said(), what="a word about it")
    assert mount.process.poll() is None
    run("umount", mount.point)
    assert mount.mounted()


@pytest.mark.root
def test_a_connection_that_was_cut_leaves_no_dead_mount(zramfs):
    mount = zramfs()
    control = pathlib.Path("/sys/fs/fuse/connections")
    mounted_here = not any(control.iterdir())
    if mounted_here:
        run("mount", "-t", "fusectl", "none", control)
    try:
        minor = os.minor(os.stat(mount.point).st_dev)
        (control / str(minor) / "abort").write_text("1")
    finally:
        if mounted_here:
            run("umount", control)
    assert mount.wait() == 0
    assert not mount.mounted()


def test_it_starts_with_closed_standard_descriptors(zramfs, place):
    """The store must not become descriptor 1, nor /dev/fuse 0."""
    point = place / "closed"
    point.mkdir()
    subprocess.run(["sh", "-c", 'exec "$0" "$1" <&- >&- 2>&-', BINARY, point], timeout=20,
                   check=True)
    try:
        assert (point / ".stats").read_text()
    finally:
        run("umount" if os.geteuid() == 0 else "fusermount3", *[] if os.geteuid() == 0 else ["-u"],
            point)


def test_times_beyond_what_is_kept_become_the_nearest(mount):
    os.utime(mount.disk("disk0"), (1 << 34, 1 << 34))
    assert os.stat(mount.disk("disk0")).st_mtime > 9e9


def test_appending_to_a_control_file_is_writing_it(mount):
    """As in sysfs: >> there is no error."""
    with open(mount.control("disk0", "mem_limit"), "a", encoding="ascii") as file:
        file.write("32M\n")
    assert mount.get("disk0", "mem_limit") == f"{32 * MIB}\n"


def test_text_is_the_same_in_pieces(mount):
    mount.disk("disk0").write_bytes(text_pages(8))
    fd = os.open(mount.point / ".stats", os.O_RDONLY)
    whole = os.pread(fd, 1 << 16, 0)
    assert b"".join(os.pread(fd, 7, at) for at in range(0, len(whole) + 7, 7)) == whole
    os.close(fd)


@pytest.mark.root
def test_a_daemon_that_ends_late_leaves_the_next_mount_alone(zramfs, place):
    """The kernel gives the number of a device that went to the next one: it identifies nothing."""
    first = zramfs()
    first.process.send_signal(signal.SIGSTOP)
    assert LIBC.umount2(os.fsencode(first.point), 0) == 0  # umount(8) would ask the stopped one
    second = subprocess.Popen([BINARY, first.point, "-f"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: str(first.point) in mounts(), what="the second mount")
        first.process.send_signal(signal.SIGCONT)
        assert first.process.wait(timeout=20) == 0
        assert (first.point / ".stats").read_text()
        assert second.poll() is None
    finally:
        run("umount", "-l", first.point, check=False)
        second.wait(timeout=20)


def test_a_second_signal_ends_a_mount_that_is_not_where_it_was(zramfs, machine):
    """Unmounted lazily with a disk open: nobody can unmount it any more, and it still ends."""
    mount = zramfs()
    fd = os.open(mount.disk("zram0"), os.O_RDONLY)
    try:
        if os.geteuid() == 0:
            assert LIBC.umount2(os.fsencode(mount.point), MNT_DETACH) == 0
        else:
            run("fusermount3", "-uz", mount.point)
        mount.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "is in use" in mount.said(), what="a word about it")
        mount.process.send_signal(signal.SIGTERM)
        assert mount.process.wait(timeout=10) == 0
    finally:
        os.close(fd)


def test_fusermount3_that_fails_is_named_and_a_second_signal_ends(zramfs, place, user, fuse_for_all):
    """No disk is in use, so no disk may be named."""
    bin_ = place / "bin"
    bin_.mkdir()
    broken = bin_ / "fusermount3"
    broken.write_text('#!/bin/sh\ncase "$*" in *-u*) exit 1 ;; esac\n'
                      'exec /usr/bin/fusermount3 "$@"\n')
    broken.chmod(0o755)
    mount = zramfs(None, user=user, prefix=["env", f"PATH={bin_}:{os.environ['PATH']}"])
    mount.status = None
    pid = mount.pids()[0]
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: "cannot unmount" in mount.said(), what="a word about it")
    assert "is in use" not in mount.said()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not mount.pids(), what="its end")
    run("fusermount3", "-u", mount.point, user=user, check=False)


def test_a_session_that_the_kernel_or_libfuse_ends_is_an_error(refused, place, fuse_for_all):
    """With a thread that waits for a request that never comes, or without: it depends on the try."""
    point = place / "never"
    point.mkdir()
    for _ in range(20):
        line = refused(point, "-o", "max_read=4096")
        assert "ended before it was ready" in line and "read size" in line


HOARD = """
import errno, os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4000, 4000))
held = []
try:
    while len(held) < 3900:
        held.append(os.open(sys.argv[1], os.O_RDONLY))
except OSError as error:
    print(errno.errorcode[error.errno], len(held), flush=True)
else:
    print("all", len(held), flush=True)
sys.stdin.read()
"""


def resident(mount):
    """Bytes of private memory of the daemon: not what the disks take."""
    pid = mount.pids()[0]
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines()
                if line.startswith("RssAnon:"))


@pytest.mark.root
@pytest.mark.needs("setpriv", "python3")
def test_who_may_only_look_cannot_take_the_memory_or_the_handles(zramfs, user):
    """Text is kept for as long as its file is open. The owner still gets in, and it comes back."""
    mount = zramfs("".join(f"[d{i}]\ndisksize = 1M\n" for i in range(300)))
    path = mount.point / ".metrics"
    before, n_text = resident(mount), len(path.read_bytes())
    hoarder = subprocess.Popen([*user.prefix(), "/usr/bin/python3", "-c", HOARD, str(path)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        outcome, n_held = hoarder.stdout.readline().split()
        assert outcome == "ENFILE" and 1 <= int(n_held) <= (16 << 20) // n_text
        assert resident(mount) - before < 40 << 20 or "asan" in str(BINARY)
        assert len(path.read_bytes()) >= n_text  # to root
        assert mount.get("d1", "disksize") == f"{MIB}\n"
        mount.disk("d1").read_bytes()
    finally:
        hoarder.communicate("")
    if not any(name in str(BINARY) for name in ("asan", "tsan")):  # whose malloc() keeps it
        wait_until(lambda: resident(mount) - before < 8 << 20, what="the memory to come back")
    assert run("cat", path, user=user).stdout.startswith("# HELP")
