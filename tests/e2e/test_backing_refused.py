"""What cannot be a backing file: refused with one line that names the path and the remedy, and left
as it was. When zramfs is started, and when a disk is added to a mount.
"""

import errno
import os
import socket

import pytest

from backing import section
from data import random_pages
from host import errno_of, run
from zramfs import BINARY, MIB

SIZE = "8M"


class Case:
    """A path that must be refused: when a disk is added, by its errno, and by what is said."""

    def __init__(self, path, code, *words, size=SIZE, attributes=""):
        self.path, self.code, self.words, self.attributes = path, code, words, attributes
        self.size = size


def a_directory(place, machine):
    path = place / "directory"
    path.mkdir()
    return Case(path, errno.ENOTBLK, "a directory")


def a_missing_file_without_a_size(place, machine):
    return Case(place / "missing", errno.ENOENT, "not there", "backing_size", size=None)


def no_directory(place, machine):
    return Case(place / "no" / "such", errno.ENOENT, "directory", "make")


def an_empty_file_without_a_size(place, machine):
    (place / "empty").touch()
    return Case(place / "empty", errno.EINVAL, "empty", "backing_size", size=None)


def too_small(place, machine):
    return Case(place / "small", errno.EINVAL, "1 MiB", size="64K")


def foreign_data(place, machine):
    (place / "mine").write_bytes(random_pages(1024))
    return Case(place / "mine", errno.EEXIST, "has data in it", f"rm {place}/mine")


def a_filesystem(place, machine):
    path = place / "image"
    with open(path, "wb") as file:
        file.truncate(16 * MIB)
    run("mkfs.ext4", "-q", path)
    return Case(path, errno.EEXIST, "filesystem (ext4)", f"rm {path}")


def a_character_device(place, machine):
    return Case("/dev/null", errno.ENOTBLK, "a character device")


def a_pipe(place, machine):
    os.mkfifo(place / "pipe")
    return Case(place / "pipe", errno.ENOTBLK, "a pipe")


def a_socket(place, machine):
    listener = socket.socket(socket.AF_UNIX)
    machine.later(listener.close)
    listener.bind(str(place / "socket"))
    return Case(place / "socket", errno.ENOTBLK, "a socket")


def loop_over(place, machine):
    """A loop device over a plain file. Return: device, file."""
    path = place / "plain"
    with open(path, "wb") as file:
        file.truncate(32 * MIB)
    return machine.attach(path), path


def below_a_loop_device(place, machine):
    device, path = loop_over(place, machine)
    return Case(path, errno.EBUSY, "in use", f"losetup -d {device}")


def a_mounted_device(place, machine):
    device, _ = loop_over(place, machine)
    run("mkfs.ext4", "-q", device)
    machine.mount(device)
    return Case(device, errno.EBUSY, "in use", "mounted")


def a_device_with_a_filesystem(place, machine):
    device, _ = loop_over(place, machine)
    run("mkfs.ext4", "-q", device)
    return Case(device, errno.EEXIST, "filesystem (ext4)", f"wipefs -a {device}")


def a_device_that_is_too_small(place, machine):
    device, _ = loop_over(place, machine)
    return Case(device, errno.EINVAL, "backing_size", size="64M")


def an_active_swap_device(place, machine):
    device, _ = loop_over(place, machine)
    run("mkswap", device)
    machine.swapon(device)
    return Case(device, errno.EBUSY, "in use", "swapped on")


def an_active_swap_file(place, machine):
    path = place / "swap"
    path.write_bytes(bytes(8 * MIB))
    path.chmod(0o600)
    run("mkswap", path)
    if run("swapon", path, check=False).returncode != 0:
        pytest.skip(f"no swap files below {place}")
    machine.later(run, "swapoff", path)
    return Case(path, errno.EBUSY, "in use", "swapoff")


def no_room(place, machine):
    point = place / "small"
    point.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=2M", "none", point)
    machine.later(run, "umount", point)
    return Case(point / "file", errno.ENOSPC, "no room", "8 MiB",
                attributes="backing_preallocate=1")


def other(zramfs):
    return zramfs(section("other", disksize="64M"))


CASES = (a_directory, a_missing_file_without_a_size, no_directory, an_empty_file_without_a_size,
         too_small, foreign_data, a_filesystem, a_character_device, a_pipe, a_socket,
         below_a_loop_device, a_mounted_device, a_device_with_a_filesystem,
         a_device_that_is_too_small, an_active_swap_device, an_active_swap_file, no_room)


def look(path):
    """What must stay as it was."""
    if not os.path.lexists(path):
        return None
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mode, status.st_mtime_ns


def lines_with(text, *words):
    return [line for line in text.splitlines() if all(str(word) in line for word in words)]


@pytest.mark.loop
@pytest.mark.needs("losetup", "mkfs.ext4", "mkswap", "swapon", "wipefs")
@pytest.mark.parametrize("make", CASES)
def test_refused(zramfs, machine, place, refused, make):
    case = make(place, machine)
    before = look(case.path)
    keys = {"backing_size": case.size, **dict(word.split("=") for word in case.attributes.split())}

    config = place / "refused.ini"
    config.write_text(section(disksize="16M", spill_above=2048, backing_dev=case.path, **keys))
    (place / "z").mkdir()
    line = refused(place / "z", "-c", config)
    assert f"backing_dev {case.path}: " in line
    assert all(word in line for word in case.words), line
    assert look(case.path) == before

    mount = zramfs("[defaults]\n")
    size = f"backing_size={case.size}" if case.size else ""
    assert errno_of(mount.hot_add, f"new disksize=16M {size} {case.attributes} "
                                   f"backing_dev={case.path}") == case.code
    said = lines_with(mount.said(), f"backing_dev {case.path}: ", *case.words)
    assert len(said) == 1, mount.said()
    assert look(case.path) == before
    assert not mount.disk("new").exists()


# What lies on zramfs itself


def added(mount, path):
    """The errno of adding a disk that spills there, and the line about it."""
    code = errno_of(mount.hot_add, f"new disksize=16M backing_dev={path} backing_size={SIZE}")
    said = lines_with(mount.said(), f"backing_dev {path}: ")
    assert len(said) <= 1, said
    return code, said[0] if said else mount.said()


def test_a_file_of_this_mount(zramfs):
    mount = zramfs(section(disksize="64M"))
    for path in (mount.disk("disk0"), mount.disk("new2")):
        code, line = added(mount, path)
        assert code == errno.ELOOP and "zramfs" in line and "elsewhere" in line


def test_a_file_of_another_mount(zramfs):
    mount, second = zramfs("[defaults]\n"), other(zramfs)
    code, line = added(mount, second.disk("other"))
    assert code == errno.ELOOP and "zramfs" in line and "elsewhere" in line


def test_through_a_link(zramfs, place):
    mount = zramfs(section(disksize="64M"))
    (place / "link").symlink_to(mount.disk("disk0"))
    code, line = added(mount, place / "link")
    assert code == errno.ELOOP and "zramfs" in line


@pytest.mark.loop
@pytest.mark.needs("losetup", "mkfs.ext4")
@pytest.mark.parametrize("whose", ["this", "another"])
def test_a_loop_device_over_a_disk_and_a_filesystem_on_it(zramfs, machine, whose):
    mount = zramfs(section(disksize="64M"))
    disk = mount.disk("disk0") if whose == "this" else other(zramfs).disk("other")
    device = machine.attach(disk)
    code, line = added(mount, device)
    assert code == errno.ELOOP and "zramfs" in line and "elsewhere" in line
    run("mkfs.ext4", "-q", device)
    point = machine.mount(device)
    for path in (point / "file", point / "directory" / "file"):
        path.parent.mkdir(exist_ok=True)
        code, line = added(mount, path)
        assert code == errno.ELOOP and "zramfs" in line and "elsewhere" in line
    nested = point / "image"
    with open(nested, "wb") as file:
        file.truncate(16 * MIB)
    machine.place, kept = point, machine.place
    inner = machine.attach(nested)
    code, line = added(mount, inner)
    assert code == errno.ELOOP and "zramfs" in line and "elsewhere" in line
    machine.detach(inner)
    machine.place = kept


def test_below_the_mount_point_by_configuration(place, refused):
    """Before it is mounted, the path is one of the directory that will be covered."""
    point = place / "z"
    point.mkdir()
    config = place / "covered.ini"
    config.write_text(section(disksize="16M", backing_dev=point / "back", backing_size=SIZE,
                              spill_above=2048))
    line = refused(point, "-c", config)
    assert f"backing_dev {point}/back: " in line and "elsewhere" in line
    assert not (point / "back").exists()
    (point / "deep").mkdir()
    (place / "link").symlink_to(point / "deep")
    config.write_text(section(disksize="16M", backing_dev=place / "link/back", backing_size=SIZE,
                              spill_above=2048))
    assert "elsewhere" in refused(point, "-c", config)


# What is wrong with the text


@pytest.mark.parametrize("keys, words", [
    ({"backing_dev": "back"}, ["backing_dev", "back", "from / on"]),
    ({"backing_dev": "./back"}, ["backing_dev", "./back", "from / on"]),
    ({"backing_dev": "/back", "backing_size": "large"}, ["backing_size", "large", "K"]),
    ({"backing_dev": "/back", "backing_size": "65T"}, ["backing_size", "65T", "64T"]),
    ({"backing_dev": "/back", "backing_key": "secret"}, ["backing_key", "secret", "random"]),
    ({"backing_dev": "/back", "on_limit": "wait"}, ["on_limit", "wait", "enospc", "spill"]),
    ({"backing_dev": "/back", "spill_above": "4097"}, ["spill_above", "4097", "4096"]),
    ({"backing_dev": "/back", "writeback_at": "0"}, ["writeback_at", "0", "100"]),
    ({"backing_dev": "/back", "backing_preallocate": "maybe"}, ["backing_preallocate", "maybe"]),
])
def test_values(place, refused, keys, words):
    config = place / "bad.ini"
    config.write_text(section(disksize="16M", **keys))
    for line in (refused("--check-config", config), refused(place, "-c", config)):
        assert all(word in line for word in words), line
        assert f"{config}:" in line


def test_relative_and_too_long_when_a_disk_is_added(zramfs):
    mount = zramfs("[defaults]\n")
    assert errno_of(mount.hot_add, "new disksize=1M backing_dev=back") == errno.EINVAL
    mount.disk("disk0").touch()
    assert errno_of(mount.set, "disk0", "backing_dev", "back") == errno.EINVAL
    assert errno_of(mount.set, "disk0", "backing_dev", "/" + "x" * 255) == errno.ENAMETOOLONG
    assert mount.get("disk0", "backing_dev") == "none\n"


def test_check_config_says_it_all_and_touches_nothing(place):
    """It looks at the text alone: what the file is, is seen when it is opened."""
    config = place / "good.ini"
    keys = {"backing_size": 8 * MIB, "backing_dev": place / "back", "backing_key": "random",
            "backing_preallocate": 1, "backing_limit": 4 * MIB, "on_limit": "spill",
            "spill_above": 3000, "writeback_at": 70, "writeback_batch_size": 32,
            "compressed_writeback": 0}
    config.write_text(section(disksize="16M", **keys))
    said = run(BINARY, "--check-config", config).stdout.splitlines()
    assert not (place / "back").exists()
    for key, value in keys.items():
        assert f"{key} = {value}" in said
    again = place / "again.ini"
    again.write_text("\n".join(said))
    assert run(BINARY, "--check-config", again).stdout.splitlines() == said
