"""Lines of fstab: zramfs as mount(8) calls it, by its helper's name and through mount.fuse3."""

import os
import pathlib
import shutil
import subprocess

import pytest

from host import PATH, lacking, processes_with, run, wait_until
from zramfs import BINARY, MIB

DISKS = "[disk0]\ndisksize = 64M\n"

pytestmark = pytest.mark.root


# mount(8) looks where the system's programs are, and nowhere else: there, in a mount namespace of the
# test's own, is either the helper or only the program, which mount.fuse3 then calls.
SETUP = {
    "helper": "mount -t overlay none -o lowerdir={bin}:/usr/sbin /usr/sbin",
    "mount.fuse3": "mkdir {place}/sbin && cp {bin}/zramfs {place}/sbin && "
                   "mount --bind {place}/sbin /usr/local/sbin",
}


class Line:
    """A line of an fstab of one's own, and its mount."""

    def __init__(self, place, way):
        self.point = place / "point"
        self.config = place / "disks.ini"
        self.fstab = place / "fstab"
        self.bin = place / "bin"
        self.helper = self.bin / "mount.fuse.zramfs"
        for directory in (self.point, self.bin):
            directory.mkdir()
        shutil.copy(BINARY, self.bin / "zramfs")
        self.helper.symlink_to("zramfs")
        self.config.write_text(DISKS)
        setup = SETUP[way].format(bin=self.bin, place=place)
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", f"{setup} && echo ready && exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PATH": PATH})
        assert self.holder.stdout.readline() == b"ready\n", "no namespace"
        self.proc = pathlib.Path(f"/proc/{self.holder.pid}")

    def run(self, *args, **kwargs):
        return run("nsenter", f"--mount={self.proc}/ns/mnt", *args, **kwargs)

    def write(self, options="defaults", source=None):
        self.fstab.write_text(f"{source or self.config} {self.point} fuse.zramfs {options} 0 0\n")

    def mount(self, *args, **kwargs):
        return self.run("mount", *args, "-T", self.fstab, **kwargs)

    def call(self, *args, **kwargs):
        """The helper, as mount(8) does."""
        return self.run(self.helper, *args, **kwargs)

    def shown(self):
        """[(type, source, options)] of what is mounted there."""
        found = []
        table = (self.proc / "mountinfo").read_bytes().decode()
        for text in table.split("\n")[:-1]:
            left, right = text.split(" - ")
            if left.split()[4] == str(self.point):
                fstype, source, options = right.split(" ")
                found.append((fstype, source, set((left.split()[5] + "," + options).split(","))))
        return found

    def inside(self, name=""):
        return pathlib.Path(f"{self.proc}/root{self.point}") / name

    def disks(self):
        return sorted(name for name in os.listdir(self.inside()) if not name.startswith("."))

    def umount(self):
        wait_until(lambda: self.run("umount", self.point, check=False).returncode == 0,
                   what="umount")
        wait_until(lambda: not processes_with(self.point), what="the daemon to end")

    def end(self):
        while self.shown():
            self.umount()
        self.holder.communicate(timeout=10)


@pytest.fixture(params=["helper", "mount.fuse3"])
def way(request):
    if lacking("unshare", "nsenter", *(["mount.fuse3"] if request.param == "mount.fuse3" else [])):
        pytest.skip("no unshare, nsenter or mount.fuse3")
    return request.param


@pytest.fixture
def line(place, way):
    line = Line(place, way)
    yield line
    line.end()


only_helper = pytest.mark.parametrize("way", ["helper"])


def test_a_line_is_mounted_and_unmounted(line):
    line.write("defaults,nosuid,noatime,noauto,nofail,_netdev,x-systemd.after=x,comment=y")
    line.mount(line.point)
    [(fstype, source, options)] = line.shown()
    assert (fstype, source) == ("fuse.zramfs", str(line.config))
    assert {"nosuid", "noatime", "rw"} <= options
    assert line.disks() == ["disk0"]
    disk = line.inside("disk0")
    assert disk.stat().st_size == 64 * MIB
    with open(disk, "r+b") as file:
        file.write(b"x" * 8192)
    with open(disk, "rb") as file:
        assert file.read(8193) == b"x" * 8192 + b"\0"
    line.umount()
    assert not line.shown()


def test_all_lines_twice(line):
    """The second time it is there already, and that is no error."""
    line.write()
    for _ in range(2):
        done = line.mount("--all", "-v")
        assert line.disks() == ["disk0"]
    assert "already mounted" in done.stdout
    assert len(line.shown()) == 1


@pytest.mark.parametrize("word", ["none", "zramfs"])
def test_a_source_that_is_no_file(line, word):
    line.write(source=word)
    line.mount(line.point)
    assert line.shown()[0][1] == word and line.disks() == ["zram0"]
    line.umount()
    line.write(f"config={line.config}", source=word)
    line.mount(line.point)
    assert line.shown()[0][1] == word and line.disks() == ["disk0"]


def test_what_is_wrong_is_said(line):
    for options, source, said in [
            ("defaults", line.point / "nothing.ini", "nothing.ini: No such file"),
            ("defaults", line.point, "directory"),
            (f"config={line.config}", line.config, "said twice"),
            ("nonsense", None, "nonsense"),
            ("remount", None, "umount it first")]:
        line.write(options, source)
        done = line.mount(line.point, check=False)
        assert done.returncode != 0 and said in done.stderr, done.stderr
        assert not line.shown()


# the helper by itself


@only_helper
@pytest.mark.parametrize("after", [("-o", "rw,noexec"), ("-s", "-o", "rw,surprise=1,noexec"),
                                   ("-n", "-o", "rw", "-o", "noexec", "-t", "fuse.zramfs")])
def test_the_words_of_helpers(line, after):
    done = line.call(line.config, line.point, *after)
    assert "noexec" in line.shown()[0][2]
    assert line.disks() == ["disk0"]
    assert done.stdout == ""
    assert ("surprise=1" in done.stderr) == ("-s" in after)


@only_helper
def test_a_helper_that_tells(line):
    done = line.call(line.config, line.point, "-v", "-o", "rw")
    assert done.stdout.count("\n") == 1 and f"{line.config} on {line.point}" in done.stdout
    assert line.shown()


@only_helper
def test_a_helper_that_only_pretends(line):
    done = line.call(line.config, line.point, "-f")
    assert (done.stdout, done.stderr) == ("", "") and not line.shown()
    line.config.write_text("[disk0]\ndisksise = 1\n")
    done = line.call(line.config, line.point, "-f", check=False)
    assert done.returncode == 32 and "disksise" in done.stderr
    done = line.call("none", line.point / "nothing", "-f", check=False)
    assert done.returncode == 32 and "nothing: No such file" in done.stderr


@only_helper
def test_what_a_helper_refuses(line):
    for args, said in [((line.config,), "a source and a mountpoint"),
                       ((line.config, line.point, "more"), "more"),
                       ((line.config, line.point, "-x"), "-x"),
                       ((line.config, line.point, "-o"), "-o: needs"),
                       ((line.config, line.point, "-N", "/proc/1/ns/mnt"), "nsenter"),
                       ((line.config, line.point, "-t", "ext4"), "ext4"),
                       ((line.config, line.point, "-o", "remount,ro"), "remount"),
                       ((line.config, line.point, "-o", "surprise"), "surprise")]:
        done = line.call(*args, check=False)
        assert done.returncode != 0 and said in done.stderr, (args, done.stderr)
        assert done.stderr.count("\n") == 1 and not line.shown()
    assert "SOURCE" in line.call("--help").stdout


@only_helper
def test_a_name_with_a_comma(line, place):
    config = place / "a,b\\c.ini"
    config.write_text(DISKS)
    line.call(config, line.point)
    assert line.shown()[0][1].encode().decode("unicode_escape") == str(config)


@only_helper
def test_two_words_by_hand(line):
    """As mount.fuse3 types it; and what is no configuration is refused."""
    line.run(line.bin / "zramfs", line.config, line.point, "-o", "rw,x-gvfs-show")
    assert line.disks() == ["disk0"]
    line.umount()
    done = line.run(line.bin / "zramfs", line.point, line.point, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and not line.shown()
