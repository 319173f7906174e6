"""vm-disk: the disk of a virtual machine."""

import os
import pathlib
import sys

import pytest

from data import random_pages, text_pages
from host import run
from zramfs import MIB

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "soak/vm"))

import kernel  # noqa: E402

pytestmark = pytest.mark.needs("qemu-system-x86_64", "qemu-img")

# Each of which opens the file in another way, or asks for it otherwise.
MODES = [("none", "threads"), ("none", "native"), ("none", "io_uring"), ("directsync", "native"),
         ("writeback", "threads"), ("writeback", "io_uring")]


@pytest.fixture(scope="module")
def guest_kernel():
    try:
        return kernel.unpacked()
    except kernel.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def files(place):
    """2 MiB, half of which compresses."""
    directory = place / "files/below"
    directory.mkdir(parents=True)
    (directory / "random").write_bytes(random_pages(256))
    (directory / "a text").write_bytes(text_pages(256))
    return directory.parent


@pytest.fixture
def boot_image(place):
    """boot.S, on a disk of 8 MiB."""
    image, object_ = place / "boot.raw", place / "boot.o"
    run("as", "--32", "-o", object_, HERE / "boot.S")
    run("ld", "-m", "elf_i386", "-Ttext=0x7c00", "--oformat=binary", "-o", image, object_)
    with open(image, "r+b") as file:
        file.truncate(8 * MIB)
    return image


@pytest.mark.needs("mkfs.ext4", "e2fsck", "debugfs", "busybox")
def test_it_shows_all(recipe, files, guest_kernel):
    done = recipe("vm-disk", "--data", files, "--kernel", guest_kernel, timeout=170)
    for what in ("the disk is the image", "the guest says: files are right",
                 "the guest says: a copy is written", "the guest says: the copy is discarded",
                 "its filesystem is clean", "what it wrote is on the disk"):
        assert done.ok(what), done.stdout
    for when in ("as it was", "with a copy", "without it"):
        assert done.row(f"{when}: in zramfs") < done.row(f"{when}: in tmpfs")
    for where in ("tmpfs", "zramfs"):
        before, copied, after = (done.row(f"{when}: in {where}")
                                 for when in ("as it was", "with a copy", "without it"))
        # Beside the copy there is what a mount writes to the filesystem's own books.
        assert copied - before > (1.9 if where == "tmpfs" else 0.8)
        assert copied - after > (1.9 if where == "tmpfs" else 0.8)


@pytest.mark.needs("as", "ld")
@pytest.mark.parametrize("cache, aio", MODES, ids=map("-".join, MODES))
def test_an_image_that_is_there(recipe, place, boot_image, cache, aio):
    """It boots by itself, and what it writes is there to be read."""
    image = place / "boot.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", boot_image, image)
    before = image.read_bytes()
    done = recipe("vm-disk", "--image", image, "--cache", cache, "--aio", aio, "--", "-m", "32M",
                  "-net", "none")
    assert "guest: all right" in done.stdout
    assert done.ok("the disk is the image")
    assert done.row("as it was: in tmpfs") == 0
    assert done.row("at the end: in tmpfs") == 2
    assert 0 < done.row("at the end: in zramfs") < 1
    assert image.read_bytes() == before


@pytest.mark.needs("as", "ld")
def test_what_tmpfs_takes(place, boot_image):
    """The recipe counts blocks that are not holes: tmpfs would take no more, nor less."""
    if run("stat", "-f", "-c", "%T", "/dev/shm").stdout != "tmpfs\n":
        pytest.skip("/dev/shm is no tmpfs")
    with open(boot_image, "r+b") as file:
        file.seek(3 * MIB)
        file.write(text_pages(100))
    copy = pathlib.Path(f"/dev/shm/recipes-{os.getpid()}-copy")
    try:
        run("qemu-img", "convert", "-f", "raw", "-O", "raw", boot_image, copy)
        assert copy.stat().st_blocks == boot_image.stat().st_blocks == 101 * 8
    finally:
        copy.unlink(missing_ok=True)


@pytest.mark.parametrize("args, why", [
    (("--image", "/no/such"), "--image /no/such: there is no such file"),
    (("--data", "/no/such"), "--data /no/such: there is no such directory"),
    (("--", "-m", "1G"), "options of qemu go with an --image"),
    (("--image", "/etc/passwd", "--data", "/etc"),
     "--data is for the image that is made, and --image is there"),
])
def test_what_is_wrong_is_said(recipe, args, why):
    done = recipe("vm-disk", *args, status=1)
    assert (done.stdout, done.stderr) == ("", f"vm-disk: {why}\n")


def test_what_is_missing_is_named(recipe, place):
    env = {"PATH": recipe.path_without("qemu-img", "qemu-system-x86_64")}
    assert recipe("vm-disk", status=77, env=env).stderr == (
        "vm-disk: there is no qemu-system-x86_64, qemu-img here; on Debian: "
        "apt-get install qemu-system-x86 qemu-utils\n")
    assert recipe("vm-disk", "--kernel", place, "--data", place, status=77).stderr == (
        f"vm-disk: there is no kernel in {place}/boot; on Debian: "
        "apt-get install linux-image-amd64, or see --help\n")
