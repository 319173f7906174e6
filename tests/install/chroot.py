"""A Debian system in a directory, with processes and mounts of its own.

Its mounts are private and its processes are of a namespace that ends with it, so nothing of it is
left but what the kernel has for all: loop devices and swap, which are undone first.
"""

import contextlib
import os
import pathlib
import platform
import shutil
import subprocess
import time

import pytest

from host import CommandFailed, run, swaps, wait_until

WEEK_S = 7 * 24 * 3600

# Process 1 in there: it waits for whatever has no parent any more.
INIT = """
mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" && mount --rbind /sys "$1/sys" &&
exec chroot "$1" sh -c 'echo ready; while :; do sleep 3600 & wait $!; done'
"""


def release():
    """The codename of the Debian here, which the package was built for."""
    lines = pathlib.Path("/etc/os-release").read_text().splitlines()
    words = dict(line.split("=", 1) for line in lines if "=" in line)
    if words.get("ID") != "debian" or "VERSION_CODENAME" not in words:
        pytest.skip("no Debian of a name: there is no telling what to make a chroot of")
    return words["VERSION_CODENAME"]


def system(deb):
    """The archive of a small system, which knows what a package depends on. Made if need be."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    archive = cache / "zramfs-chroot" / f"{release()}-{platform.machine()}.tar"
    with contextlib.suppress(FileNotFoundError):
        if time.time() - archive.stat().st_mtime < WEEK_S:
            return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    new = archive.with_suffix(f".{os.getpid()}.tar")
    try:
        # The lists of packages stay in it, and what is downloaded now.
        run("mmdebstrap", "--variant=minbase", "--skip=cleanup/apt", f"--customize-hook=copy-in {deb} /root",
            f"--customize-hook=chroot \"$1\" apt-get install -y --no-install-recommends "
            f"--download-only /root/{deb.name} && rm \"$1/root/{deb.name}\"",
            release(), new, timeout=900)
        new.rename(archive)
    except CommandFailed as error:
        if "Could not connect" in str(error) or "Temporary failure resolving" in str(error):
            pytest.skip("no mirror of Debian can be reached, and there is no system in the cache")
        raise
    finally:
        new.unlink(missing_ok=True)
    return archive


def swap_on(device):
    """(kB, kB used, priority) of a device that is swapped to, or None. Its path is another in there."""
    for path, row in swaps().items():
        if pathlib.Path(path).name == pathlib.Path(device).name:
            return row
    return None


class Chroot:
    """with Chroot(archive, directory) as inside: inside.run("ls", "/")"""

    def __init__(self, archive, directory):
        self.root = pathlib.Path(directory)
        run("tar", "-xf", archive, "-C", self.root, timeout=120)
        self.root.chmod(0o755)
        with contextlib.suppress(FileNotFoundError):
            shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        self.holder = self.pid = None
        self.loops = []

    def __enter__(self):
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
             "sh", "-c", INIT, "sh", self.root], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.holder.stdout.readline() == "ready\n"
        children = pathlib.Path("/proc", str(self.holder.pid), "task", str(self.holder.pid),
                                "children")
        self.pid = int(children.read_text())
        return self

    def __exit__(self, *_):
        # Whoever serves swap lives until it is off: if that fails, all of it is left as it is.
        for device in self.loops:
            if swap_on(device):
                run("swapoff", device, timeout=300)
            run("losetup", "--detach", device, check=False)
        self.holder.kill()
        self.holder.wait(timeout=30)
        self.holder.stdout.close()
        # Processes are gone with their first one, and mounts with the last process.
        wait_until(lambda: not self.processes(), timeout=30, what="the chroot's processes to end")

    def processes(self, name=None):
        """Their ids, here; with a name those of that program."""
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(process / "root") == str(self.root) and name in (
                        None, (process / "comm").read_text().strip()):
                    found.append(int(process.name))
        return found

    def run(self, *args, **kwargs):
        kwargs.setdefault("timeout", 300)
        env = {"HOME": "/root", "DEBIAN_FRONTEND": "noninteractive",
               "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               **kwargs.pop("env", {})}
        return run("nsenter", f"--target={self.pid}", "--mount", "--pid", "--root",
                   "env", "--chdir=/root", *(f"{name}={value}" for name, value in env.items()), *args, **kwargs)

    def shell(self, text, **kwargs):
        return self.run("sh", "-ec", text, **kwargs)

    def apt(self, *args, **kwargs):
        """With what is in the cache if that will do, else with what the mirror has now."""
        command = ["apt-get", "-q", "-y", "--no-install-recommends", *args]
        done = self.run(*command, check=False, **kwargs)
        if done.returncode == 0:
            return done
        self.run("apt-get", "-q", "update")
        return self.run(*command, **kwargs)

    def put(self, path):
        """A file of this machine into its /root. Return: its path in there."""
        shutil.copy(path, self.root / "root")
        return f"/root/{pathlib.Path(path).name}"

    def path(self, inside):
        return self.root / inside.lstrip("/")

    def files(self):
        """All files that it has, but for what packages leave in caches and logs."""
        not_counted = ("proc", "sys", "dev", "root", "run", "tmp", "var/cache", "var/log",
                       "var/lib/dpkg", "var/lib/apt")
        found = set()
        for top, directories, names in os.walk(self.root):
            inside = os.path.relpath(top, self.root)
            directories[:] = [name for name in directories
                              if os.path.normpath(f"{inside}/{name}") not in not_counted]
            found |= {os.path.normpath(f"{inside}/{name}") for name in [*names, *directories]}
        return found
