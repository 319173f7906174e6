# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's only filesystem: an archive that its kernel unpacks into memory.

Made from this machine's own files: busybox, zramfs and zramfsctl with the libraries that they are
linked with, and the program of guest/, which is compiled here.
"""

import os
import pathlib
import re
import shlex
import shutil
import stat
import subprocess

from kernel import Missing

GUEST = pathlib.Path(__file__).resolve().parent / "guest"

CFLAGS = ["-std=gnu11", "-O2", "-g", "-D_GNU_SOURCE", "-static", "-pthread", "-Wall", "-Wextra",
          "-Werror", "-Wshadow", "-Wvla", "-Wwrite-strings", "-Wmissing-prototypes",
          "-Wno-unused-parameter"]

CONFIG = """\
[zramfs]
mem_limit = {mem_limit}

[swap0]
disksize = {disksize}
format = swap
comp_algorithm = {codec}
"""


class Archive:
    """Files in the order they are added, in the "newc" format of cpio."""

    def __init__(self):
        self.members = []
        self.names = set()

    def add(self, name, mode, content=b"", device=(0, 0)):
        name = name.strip("/")
        if name in self.names:
            return
        self.names.add(name)
        if "/" in name:
            self.directory(name.rsplit("/", 1)[0])
        self.members.append((name, mode, content, device))

    def directory(self, name):
        self.add(name, stat.S_IFDIR | 0o755)

    def file(self, name, content, mode=0o644):
        self.add(name, stat.S_IFREG | mode, content)

    def program(self, name, path):
        self.file(name, pathlib.Path(path).read_bytes(), 0o755)

    def link(self, name, target):
        self.add(name, stat.S_IFLNK | 0o777, target.encode())

    def write(self, path):
        with open(path, "wb") as out:
            for number, member in enumerate(self.members + [("TRAILER!!!", 0, b"", (0, 0))], 1):
                self.write_member(out, number, *member)

    @staticmethod
    def write_member(out, number, name, mode, content, device):
        encoded = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(encoded), 0]
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
        out.write(head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4))


def libraries_of(program):
    """{where the program looks for it: the file}, its loader included; of a static one, none."""
    done = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    lost = re.search(r"(\S+) => not found", done.stdout)
    if "not a dynamic executable" in done.stdout:
        return {}
    if done.returncode or lost:
        raise Missing(f"{program} does not run here: {lost.group(0) if lost else done.stdout}")
    return {path: os.path.realpath(path) for path in re.findall(r"(/\S+) \(0x", done.stdout)}


def compile_soak(directory):
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if not shutil.which(compiler[0]):
        raise Missing(f"no C compiler: {compiler[0]}")
    program = directory / "soak"
    subprocess.run([*compiler, *CFLAGS, "-o", program, *sorted(GUEST.glob("*.c"))], check=True)
    return program


def busybox():
    path = shutil.which("busybox", path="/bin:/usr/bin:/sbin:/usr/sbin")
    if not path:
        raise Missing("no busybox (Debian: busybox-static)")
    return path


def make(path, kernel, zramfs, settings, config):
    """Write the archive. @settings: what guest/init reads; @config: of CONFIG."""
    archive = Archive()
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    for name in ["proc", "sys", "tmp", "run", "modules", settings["MOUNT"]]:
        archive.directory(name)
    archive.program("init", GUEST / "init")
    archive.link("begin", "init")
    archive.link("end", "init")
    programs = {"busybox": busybox(), "zramfs": zramfs,
                "zramfsctl": zramfs.with_name("zramfsctl"),
                "soak": compile_soak(path.parent)}
    for name, program in programs.items():
        archive.program(f"bin/{name}", program)
        for where, library in libraries_of(program).items():
            archive.program(where, library)
    for number, (name, content) in enumerate(kernel.modules()):
        archive.file(f"modules/{number:02}-{name}.ko", content)
    archive.file("settings", "".join(f"{key}={shlex.quote(str(value))}\n"
                                     for key, value in settings.items()).encode())
    archive.file("zram.ini", CONFIG.format(**config).encode())
    archive.write(path)
