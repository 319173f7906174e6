# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's kernel: Debian's, unpacked into a cache directory and never installed.

Debian 12's own kernel, 6.1, cannot ask for unanswered FUSE requests again; 6.9 and later can. So the
package is that of 6.12, from the same archive. Its "cloud" flavour is a third of the size: it lacks
drivers for hardware that a virtual machine has not.
"""

import lzma
import os
import pathlib
import re
import shutil
import subprocess

PACKAGE = "linux-image-6.12-cloud-amd64"

# In this order; what they depend on comes with them. FUSE is built in, or not.
MODULES = ["fuse", "loop"]


class Missing(Exception):
    """The machine lacks something that the test needs; says what."""


def cache():
    """Where the kernel is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "zramfs-vm"


def package_now():
    """The package with the kernel in it, which the one named PACKAGE depends on."""
    if not shutil.which("apt-get"):
        raise Missing(f"no kernel for the guest: this is no Debian system, so name one with "
                      f"--kernel (what {PACKAGE} has, or any of Linux 6.9 and later)")
    text = subprocess.run(["apt-cache", "depends", PACKAGE], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True).stdout
    found = re.search(r"Depends: (linux-image-\S+)", text)
    if not found:
        raise Missing(f"no kernel for the guest: apt knows no package {PACKAGE} (apt-get update?)")
    return found.group(1)


def download(package, directory):
    """Unpack a package into directory, all of it or nothing."""
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    done = subprocess.run(["apt-get", "download", "-q", package], cwd=partial,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    debs = list(partial.glob("*.deb"))
    if done.returncode or not debs:
        raise Missing(f"no kernel for the guest: apt-get download {package}: "
                      f"{done.stdout.strip().splitlines()[-1:]}")
    subprocess.run(["dpkg-deb", "-x", debs[0], partial], check=True)
    debs[0].unlink()
    partial.rename(directory)


def unpacked():
    """The directory of Debian's kernel: the newest that apt knows, or else what is there."""
    try:
        package = package_now()
        directory = cache() / package
        if not directory.exists():
            download(package, directory)
        return directory
    except Missing:
        kept = [path for path in sorted(cache().glob("linux-image-*"))
                if path.suffix != ".partial"]
        if not kept:
            raise
        return kept[-1]


class Kernel:
    """An image, and the modules of the same version, below a directory."""

    def __init__(self, directory):
        images = sorted(pathlib.Path(directory).glob("boot/vmlinuz-*"))
        if not images:
            raise Missing(f"no kernel for the guest: {directory} has no boot/vmlinuz-*")
        self.image = images[-1]
        self.version = self.image.name[len("vmlinuz-"):]
        self.tree = pathlib.Path(directory) / "lib/modules" / self.version

    def modules(self, names=MODULES):
        """[(name, bytes)] of what must be loaded, in order."""
        files = {path.name.split(".ko")[0].replace("-", "_"): path
                 for path in self.tree.rglob("*.ko*")}
        loaded = {}
        for name in names:
            self.add(name, files, loaded)
        return list(loaded.items())

    def add(self, name, files, loaded):
        """A module after those that it depends on; one that is no file is built in."""
        if name not in files or name in loaded:
            return
        content = uncompressed(files[name])
        found = re.search(rb"\0depends=([^\0]*)\0", content)
        for other in found.group(1).decode().split(",") if found and found.group(1) else []:
            self.add(other.replace("-", "_"), files, loaded)
        loaded[name] = content


def uncompressed(path):
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dc", path], stdout=subprocess.PIPE, check=True).stdout
    return path.read_bytes()
