# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's root filesystem: the least of Debian that systemd boots, as an ext4 image in a cache.

Of the release that this machine runs, since what was built here runs there. It is made once for a
list of packages (about a minute), and never written to: qemu keeps the guest's writes to itself.
"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess

from initramfs import libraries_of
from kernel import Missing, cache

PACKAGES = ["systemd", "systemd-sysv", "udev", "kmod", "mount", "util-linux", "e2fsprogs", "fuse3"]

# Nobody reads there, and what is not there need not be copied.
EXCLUDED = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"]

SIZE = "640M"


def release():
    """Debian's or Ubuntu's name of it."""
    try:
        text = pathlib.Path("/etc/os-release").read_text()
    except OSError:
        text = ""
    found = re.search(r"^VERSION_CODENAME=(\w+)", text, re.M)
    if not found:
        raise Missing("no root filesystem for the guest: this is no Debian system")
    return found.group(1)


def package_of(path):
    """The package that a library is of; its file may be known by a path through a link."""
    for name in (path, os.path.realpath(path), re.sub("^/usr", "", os.path.realpath(path))):
        done = subprocess.run(["dpkg", "-S", name], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
        if done.returncode == 0:
            return done.stdout.split(":")[0]
    return None


def packages_for(programs):
    """What the guest needs to run these, which are linked here."""
    found = set(PACKAGES)
    for program in programs:
        found |= {package_of(path) for path in libraries_of(program)}
    return sorted(found - {None})


def path_for(packages):
    words = " ".join([release(), SIZE, *packages])
    return cache() / f"root-{release()}-{hashlib.sha256(words.encode()).hexdigest()[:12]}.ext4"


# Run where files have the owners that they are to have, with or without root. A copy, since /proc and
# others are mounted in the original.
HOOK = ('set -e; copy=$(mktemp -d); trap "rm -rf \\"$copy\\"" EXIT; '
        'tar --one-file-system -C "$1" -cf - . | tar -C "$copy" -xf -; '
        'mkfs.ext4 -q -m 0 -d "$copy" "{image}" {size}')


def make(path, packages):
    for program in ("mmdebstrap", "mkfs.ext4"):
        if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
            raise Missing(f"no {program} (Debian: {'e2fsprogs' if 'mkfs' in program else program})")
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    done = subprocess.run(
        ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}",
         *[f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED],
         f"--customize-hook={HOOK.format(image=partial, size=SIZE)}",
         "--format=null", release(), "/dev/null"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.startswith(("E:", "W:", "Err"))]
        partial.unlink(missing_ok=True)
        raise Missing(f"no root filesystem for the guest: mmdebstrap: {'; '.join(lines[:3])}")
    for old in path.parent.glob(f"root-{release()}-*.ext4"):
        old.unlink()
    partial.rename(path)


def image(programs):
    """(the image, whether it was made just now)"""
    packages = packages_for(programs)
    path = path_for(packages)
    if path.exists():
        return path, False
    make(path, packages)
    return path, True
