"""The package in a Debian system of its own: the main job, an upgrade meanwhile, and gone again."""

import json
import re
import subprocess
import sys

import pytest

from data import text_pages
from chroot import swap_on
from host import PATH, Alone, Cgroup, wait_until
from zramfs import MIB, ROOT

SAMPLE = "/usr/share/doc/zramfs/examples/zram.ini"


def readme_job():
    """The commands of the README's main job."""
    section = (ROOT / "README.md").read_text().partition("\n## The main job\n")[2]
    block = re.search(r"^```sh\n(.*?)^```$|((?:^    [^\n]+\n)+)", section, re.M | re.S)
    lines = [line.split("#")[0].strip() for line in (block[1] or block[2]).splitlines()]
    for word in ("zramfs /mnt/z -c zram.ini", "losetup ", "swapon ", "cat /mnt/z/.stats"):
        assert sum(line.startswith(word) for line in lines) == 1, f"README.md: {word}? {lines}"
    return lines


def worker(chroot):
    number, pid = chroot.run("cat", "/mnt/z/.control/zramfs/generation").stdout.split()[:2]
    return int(number), int(pid)


class Job:
    """The main job, from the first command of the README to its undoing."""

    def __init__(self, chroot):
        self.chroot, self.device, self.alone = chroot, None, None

    def begin(self):
        self.alone = Alone("swap")
        self.chroot.shell(f"mkdir -p /mnt/z && cp {SAMPLE} zram.ini")
        for line in readme_job():
            said = self.chroot.shell(line.replace("/dev/loop0", str(self.device))).stdout
            if line.startswith("losetup"):
                self.device = said.strip()
                assert re.fullmatch(r"/dev/loop\d+", self.device)
                self.chroot.loops.append(self.device)
        assert swap_on(self.device)
        return said

    def end(self):
        self.chroot.run("swapoff", self.device)
        self.chroot.run("losetup", "--detach", self.device)
        self.chroot.loops.remove(self.device)
        wait_until(lambda: self.chroot.run("umount", "/mnt/z", check=False).returncode == 0,
                   what="umount")
        assert not swap_on(self.device)
        self.alone.release()


def test_main_job_upgraded_and_removed(chroot, package):
    """One walk, since an upgrade wants a disk in use, and a purge what was installed."""
    before = chroot.files()
    chroot.apt("install", chroot.put(package.deb))
    assert chroot.files() >= {"usr/bin/zramfs", "etc/zramfs"}

    job = Job(chroot)
    assert "[swap0]" in job.begin()
    assert len(chroot.processes("zramfs")) >= 2
    shown = json.loads(chroot.run("zramfsctl", "--json").stdout)["disks"]
    assert [(disk["name"], disk["mountpoint"]) for disk in shown] == [
        ("swap0", "[SWAP]"), ("disk0", None)]
    upgraded_while_used(chroot, package, job)
    job.end()
    wait_until(lambda: not chroot.processes("zramfs"), what="the daemon to end")

    purged_while_mounted(chroot)
    left = {path for path in chroot.files() - before if "zram" in path}
    assert left == set()


def swapped_to(device):
    return swap_on(device)[1] * 1024


def upgraded_while_used(chroot, package, job):
    """What serves is another program then, and a program's pages in the swap are as they were."""
    reason = Cgroup.why_not()
    if reason:
        pytest.skip(reason)
    cgroup = Cgroup(48 * MIB)
    program = subprocess.Popen([sys.executable, ROOT / "contrib/overcommit", "96", "100000"],
                               preexec_fn=cgroup.enter, env={"PATH": PATH},
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: swapped_to(job.device) > 16 * MIB, timeout=60, what="swapping")
        number, pid = worker(chroot)
        inode = chroot.run("stat", "-Lc", "%i", "/usr/bin/zramfs").stdout
        newer = package.newer(f"{package.version}+1")
        said = chroot.apt("install", chroot.put(newer))
        assert worker(chroot)[0] == number + 1 and worker(chroot)[1] != pid
        now = chroot.run("stat", "-Lc", "%i", "/usr/bin/zramfs").stdout
        exe = chroot.run("stat", "-Lc", "%i", f"/proc/{worker(chroot)[1]}/exe").stdout
        assert now == exe and now != inode
        assert f"/mnt/z: generation {number + 1}" in said.stdout
        assert swapped_to(job.device) > 16 * MIB
        wait_until(lambda: program.poll() is None, what="the program")
    finally:
        program.kill()
        output = program.communicate(timeout=60)[0]
        cgroup.remove()
    assert program.returncode == -9, output  # it found no page that was wrong until it was ended


def purged_while_mounted(chroot):
    """What is in use is left to whoever uses it, and is said."""
    chroot.shell("zramfs /mnt/z -c zram.ini")
    chroot.path("/root/pages").write_bytes(text_pages(20))
    chroot.shell("cat pages >/mnt/z/disk0")
    said = chroot.apt("purge", "zramfs")
    assert "/mnt/z is still mounted" in said.stdout + said.stderr
    assert not chroot.path("/usr/bin/zramfs").exists()
    chroot.shell("cmp -n $(stat -c %s pages) pages /mnt/z/disk0 && umount /mnt/z")


# What the scripts of the package ask of a systemd that runs there.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>/root/asked
"""


def test_what_is_asked_of_systemd(chroot, package):
    """An upgrade restarts what runs, which keeps its disks, and starts and stops nothing else."""
    chroot.apt("install", chroot.put(package.deb))
    chroot.path("/run/systemd/system").mkdir(parents=True)
    script = chroot.path("/usr/bin/systemctl")
    script.write_text(SYSTEMCTL)
    script.chmod(0o755)
    asked = chroot.path("/root/asked")

    chroot.apt("install", chroot.put(package.newer(f"{package.version}+2")))
    lines = asked.read_text().splitlines()
    assert lines[-1].split() == ["try-restart", "zramfs@*.service"]
    assert "--system daemon-reload" in lines[:-1]
    assert not [line for line in lines if re.search(r"\b(start|stop|restart|enable)\b", line)
                and "try-restart" not in line]

    asked.unlink()
    chroot.apt("remove", "zramfs")
    assert asked.read_text().splitlines()[0].split() == [
        "stop", "zramfs-swap@*.service", "zramfs-loop@*.service", "zramfs@*.service"]
