"""Who serves what is measured: zramfs, the null daemon, nbdkit behind nbdfuse, the kernel's zram.

Each start puts its undoing on the list before it begins, and whatever hangs is ended by force.
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from host import MNT_DETACH, MNT_FORCE, LIBC, PATH, run, wait_until
from suite.command import Failed, stop
from zramfs import Zramfs

LOOP = ("losetup", "--direct-io=on", "--sector-size", "4096", "--find", "--show")


def _place(undo):
    place = pathlib.Path(tempfile.mkdtemp(prefix="zramfs-bench-"))
    undo.later(_remove, place)
    return place


def _remove(place):
    """Not what is still mounted below."""
    if any(os.path.ismount(path) for path in place.iterdir()):
        raise Failed(f"{place}: still mounted below")
    shutil.rmtree(place)


def _unmount(point):
    if os.path.ismount(point):
        command = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        with contextlib.suppress(AssertionError):
            wait_until(lambda: run(*command, point, check=False).returncode == 0, step=0.1,
                       what=f"umount {point}")
            return
        LIBC.umount2(os.fsencode(point), MNT_FORCE | MNT_DETACH)


def _mounted(process, point):
    wait_until(lambda: os.path.ismount(point) or process.poll() is not None,
               what=f"{process.args[0]} to mount")
    if process.poll() is not None:
        raise Failed(f"{process.args[0]}: status {process.returncode}")


def _start(undo, *args):
    process = subprocess.Popen([str(arg) for arg in args], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, start_new_session=True,
                               env={**os.environ, "PATH": PATH})
    undo.later(stop, process)
    return process


# zramfs


def zramfs(undo, config, prefix=()):
    """A mount of its own. Ends in order, or by force."""
    mount = Zramfs(_place(undo), config, prefix=prefix)
    undo.later(mount.stop)
    return mount.start()


def uses_uring(mount):
    """Whether one of its processes has a ring: asked for and refused, it would be a classic one."""
    links = []
    for pid in mount.pids():
        with contextlib.suppress(OSError):
            links += [os.readlink(entry) for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
    return any("io_uring" in link for link in links)


def attach(undo, build, mount, disk):
    """A loop device, as zramfsctl makes it."""
    device = run(build.ctl, "attach", mount.disk(disk)).stdout.strip()
    undo.later(_detach, build, device)
    return device


def _detach(build, device):
    if run(build.ctl, "detach", device, check=False).returncode != 0:
        run("losetup", "--detach", device)


# the floor


def null(undo, build, size, transport):
    """Return: the path of its file."""
    point = _place(undo) / "null"
    point.mkdir()
    words = ([build.null_uring, point, size] if transport == "io_uring" else
             [build.null_daemon, "-s", size, point])
    process = _start(undo, *words)
    undo.later(_unmount, point)
    _mounted(process, point)
    return point / "null"


def attach_null(undo, path):
    """As zramfsctl attaches disks of zramfs: without flushes."""
    device = run(*LOOP, path).stdout.strip()
    undo.later(run, "losetup", "--detach", device)
    cache = pathlib.Path("/sys/block", pathlib.Path(device).name, "queue/write_cache")
    before = cache.read_text()
    undo.later(cache.write_text, before)
    cache.write_text("write through")
    return device


# nbdkit


def nbdkit(undo, size):
    """Its memory plugin with zstd, mounted by nbdfuse over several connections."""
    place = _place(undo)
    point, socket = place / "nbd", place / "socket"
    point.mkdir()
    _start(undo, "nbdkit", "--foreground", "--exit-with-parent", "--unix", socket, "memory", size,
           "allocator=zstd")
    wait_until(socket.exists, what="nbdkit to listen")
    process = _start(undo, "nbdfuse", point / "disk", "--unix", socket)
    undo.later(_unmount, point)
    _mounted(process, point)
    return point / "disk"


# the kernel's


class KernelZram:
    SYS, DEVICE = pathlib.Path("/sys/block/zram0"), "/dev/zram0"

    def __init__(self, undo, codec, size):
        undo.later(self._reset)
        (self.SYS / "comp_algorithm").write_text(codec)
        (self.SYS / "disksize").write_text(str(size))
        self.size = size

    @classmethod
    def why_not(cls, codec):
        if os.geteuid() != 0:
            return "kernel zram wants root"
        if not cls.SYS.exists():
            return f"no {cls.DEVICE}: modprobe zram"
        if (cls.SYS / "disksize").read_text().strip() != "0":
            return f"{cls.DEVICE} is in use"
        if codec not in re.findall(r"[\w-]+", (cls.SYS / "comp_algorithm").read_text()):
            return f"this kernel's zram has no {codec}"
        return None

    def stat(self):
        """Bytes: compressed, and used for them with the slot table, 16 bytes a page."""
        fields = [int(field) for field in (self.SYS / "mm_stat").read_text().split()]
        return fields[1], fields[2] + self.size // 4096 * 16

    def _reset(self):
        """Whoever had it open a moment ago may still be at it."""
        def tried():
            with contextlib.suppress(OSError):
                (self.SYS / "reset").write_text("1")
                return True
            return False

        wait_until(tried, what=f"reset of {self.DEVICE}")
