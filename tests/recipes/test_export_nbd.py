"""export-nbd: a disk for other machines."""

import os
import signal
import socket

import pytest

from data import random_pages, text_pages
from host import run, wait_until
from zramfs import MIB, Zramfs

PROGRAMS = ("nbdkit", "qemu-nbd", "qemu-io", "qemu-img", "nbdinfo", "nbdcopy")
pytestmark = pytest.mark.needs(*PROGRAMS)
ENGINES = ("nbdkit", "qemu-nbd")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def mount(place):
    """A mount of our own, with a disk of 32 MiB that has something on it."""
    own = place / "own"
    own.mkdir()
    mount = Zramfs(own, "[disk0]\ndisksize = 32M\n").start()
    with open(mount.disk("disk0"), "r+b") as disk:
        disk.seek(4 * MIB)
        disk.write(random_pages(256) + text_pages(768))
    yield mount
    mount.stop()


@pytest.fixture
def exported(recipe, mount):
    """exported(*arguments): the recipe, which stays until the test ends. Return: its URI."""
    processes = []

    def start(*args):
        process = recipe.begin("export-nbd", *args)
        processes.append(process)
        recipe.stays(process)
        said = dict(line.split(None, 1) for line in recipe.said().splitlines()
                    if line.startswith(("    at: ", "    here: ")))
        return said["at:"], said["here:"]

    yield start
    for process in processes:
        process.send_signal(signal.SIGINT)
        recipe.end(process, status=130)


@pytest.mark.parametrize("engine, options", [("nbdkit", ()), ("qemu-nbd", ("--tls", "--port"))],
                         ids=["nbdkit, socket", "qemu-nbd, port and TLS"])
def test_it_shows_all(recipe, engine, options):
    if "--port" in options:
        options += (free_port(),)
    done = recipe("export-nbd", "--engine", engine, "--size", "32M", *options)
    for what in ("the disk is the image", "its holes take nothing", "the copy is the image",
                 "the copy has its holes", "qemu-img reads the same", "all is zeros",
                 "what it wrote is on the disk"):
        assert done.ok(what), done.stdout
    assert done.row("written by the client") == 4
    memory = done.row("memory for it")
    assert 1 < memory < 3
    assert done.row("after one part was discarded") < 0.75 * memory
    assert done.row("after both were") < 0.25


@pytest.mark.parametrize("engine", ENGINES)
def test_read_only(recipe, engine):
    done = recipe("export-nbd", "--engine", engine, "--size", "32M", "--read-only")
    assert done.ok("writing is refused") and done.ok("the disk is as it was")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_disk_that_is_there(exported, mount, place, engine):
    """What the test's own client writes is in the disk, with its holes, and what it zeroes is not."""
    disk, copy, image = mount.disk("disk0"), place / "copy", place / "image"
    uri, _ = exported("--engine", engine, "--disk", disk, "--port", free_port())
    before = disk.read_bytes()
    run("nbdcopy", uri, copy)
    assert copy.read_bytes() == before
    assert copy.stat().st_blocks * 512 == 4 * MIB

    with open(image, "wb") as file:
        file.truncate(32 * MIB)
        file.seek(20 * MIB)
        file.write(text_pages(512))
    run("nbdcopy", image, uri)
    assert disk.read_bytes() == image.read_bytes()
    assert disk.stat().st_blocks * 512 == 2 * MIB
    assert mount.mm_stat("disk0").orig_data_size == 2 * MIB

    before = mount.mm_stat("disk0").mem_used_total
    run("qemu-io", "-f", "raw", "-c", "discard 20M 2M", uri)
    wait_until(lambda: mount.mm_stat("disk0").mem_used_total < before / 4, what="memory")
    assert disk.stat().st_blocks == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_who_has_no_key_is_kept_out(exported, mount, engine):
    port = free_port()
    uri, here = exported("--engine", engine, "--disk", mount.disk("disk0"), "--port", port, "--tls")
    assert f"{uri} ".startswith(f"nbds://zramfs@127.0.0.1:{port}?")
    assert run("nbdinfo", "--size", uri, cwd=here).stdout == f"{32 * MIB}\n"
    assert os.stat(f"{here}/tls").st_mode & 0o077 == 0
    assert run("nbdinfo", "--size", f"nbd://127.0.0.1:{port}", check=False).returncode != 0
    with open(f"{here}/wrong.psk", "w") as key:
        key.write(f"zramfs:{'00' * 32}\n")
    assert run("nbdinfo", "--size", uri.replace("tls/keys", "wrong"), cwd=here,
               check=False).returncode != 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_port_that_another_has(recipe, engine):
    """It must not take that one for its own, and write to it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = recipe("export-nbd", "--engine", engine, "--port", port, status=1)
        other.settimeout(0)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert done.stderr.startswith("export-nbd: export ended: ")
    assert "already in use" in done.stderr


@pytest.mark.parametrize("args, why", [
    (("--port", "0"), "--port 0: a number from 1 to 65535"),
    (("--port", "65536"), "--port 65536: a number from 1 to 65535"),
    (("--port", "x"), "--port x: a number from 1 to 65535"),
    (("--engine", "nfs"), "--engine nfs: nbdkit or qemu-nbd"),
    (("--port", "1", "--address", "0.0.0.0"),
     "--address 0.0.0.0 wants --tls: whoever reaches the port could read and write the disk"),
    (("--address", "0.0.0.0", "--tls"), "--address 0.0.0.0 wants a --port"),
    (("--port", "1", "--address", "::", "--tls"),
     "--address ::: one of IPv4 is wanted, since TLS fails with others"),
    (("--disk", "/no/such"), "--disk /no/such: there is no such file"),
])
def test_what_is_wrong_is_said(recipe, args, why):
    done = recipe("export-nbd", *args, status=1)
    assert (done.stdout, done.stderr) == ("", f"export-nbd: {why}\n")


def test_what_is_missing_is_named(recipe):
    env = {"PATH": recipe.path_without("nbdkit", "nbdcopy", "nbdinfo")}
    assert recipe("export-nbd", status=77, env=env).stderr == (
        "export-nbd: there is no nbdkit here; on Debian: apt-get install nbdkit\n")
    assert recipe("export-nbd", "--engine", "qemu-nbd", status=77, env=env).stderr == (
        "export-nbd: there is no nbdinfo, nbdcopy here; on Debian: apt-get install libnbd-bin\n")


def test_installed(recipe, user):
    """Beside no sources it finds what is in the PATH, or says so."""
    args = ("export-nbd", "--read-only", "--size", "16M")
    done = recipe(*args, user=user, env={"ZRAMFS_BIN": ""})
    assert f"\n$ {user.home}/bin/zramfs " in done.stdout
    path = recipe.path_without("zramfs", "zramfsctl")
    done = recipe(*args, user=user, env={"ZRAMFS_BIN": "", "PATH": path}, status=77)
    assert done.stderr == ("export-nbd: there is no zramfs here: contrib/quickstart builds it\n")
