"""The script for OpenRC, run by OpenRC's own programs, which are unpacked and not installed.

They are laid over this machine's directories in a mount namespace of the test's own, since OpenRC and
what boots this machine are not for one system. A machine that boots with it is not tested.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from host import PATH, lacking, loops_on, processes_with, run, swaps, wait_until
from zramfs import BINARY, CTL

PACKAGES = ("openrc", "librc1", "libeinfo1")
SOURCE = pathlib.Path(__file__).resolve().parents[2] / "contrib/openrc"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")

DISKS = """
[disk0]
disksize = 16M
[swap0]
disksize = 64M
format = swap
swap_priority = 5
"""

# A runlevel that is up, or it begins with all services of the boot.
SETUP = """
set -e
mount -t tmpfs none /run
mount -t overlay none -o lowerdir={files}/lib:/usr/lib /usr/lib
mount -t overlay none -o lowerdir={files}/sbin:/usr/sbin /usr/sbin
mkdir -p {place}/upper {place}/work
mkdir -p {place}/etc
: >{place}/etc/insserv.conf
mount -t overlay none -o lowerdir={place}/etc:{files}/etc:/etc,upperdir={place}/upper,workdir={place}/work /etc
mkdir -p /etc/conf.d /run/openrc
cd /run/openrc
mkdir daemons exclusive failed hotplugged inactive options scheduled started starting stopping tmp \
	wasinactive
echo default >/run/openrc/softlevel
cp {script} /etc/init.d/zramfs
cp {conf} /etc/conf.d/zramfs
# What it needs on a real system is up there.
printf '#!/sbin/openrc-run\\nstart() {{ :; }}\\nstop() {{ :; }}\\n' >/etc/init.d/localmount
chmod +x /etc/init.d/localmount
echo ready
exec cat
"""

pytestmark = [pytest.mark.loop, pytest.mark.needs("unshare", "nsenter", "mkfs.ext4")]


@pytest.fixture(scope="session")
def openrc():
    """Where it is unpacked; kept between runs."""
    if lacking("apt-get", "dpkg-deb"):
        pytest.skip("no OpenRC: this is no Debian system")
    kept = CACHE / "zramfs-vm" / "openrc"
    if not (kept / "sbin/openrc-run").exists():
        kept.mkdir(parents=True, exist_ok=True)
        for package in PACKAGES:
            done = run("apt-get", "download", "-q", package, cwd=kept, check=False, timeout=120)
            if done.returncode != 0:
                pytest.skip(f"no OpenRC: apt-get download {package}: {done.stderr[-100:]}")
        for path in kept.glob("*.deb"):
            run("dpkg-deb", "-x", path, kept)
            path.unlink()
    return kept


class Service:
    def __init__(self, place, files):
        self.place, self.point, self.config = place, place / "z", place / "zram.ini"
        self.config.write_text(DISKS)
        script = place / "zramfs"
        text = (SOURCE / "zramfs.initd.in").read_text()
        script.write_text(text.replace("@bindir@/zramfsctl", str(CTL))
                              .replace("@bindir@/zramfs", str(BINARY)))
        script.chmod(0o755)
        (place / "conf").write_text(f"zramfs_mount={self.point}\nzramfs_config={self.config}\n")
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c",
             SETUP.format(files=files, place=place, script=script, conf=place / "conf")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PATH": PATH})
        assert self.holder.stdout.readline() == b"ready\n", "no namespace"
        self.root = pathlib.Path(f"/proc/{self.holder.pid}/root")

    def __call__(self, verb, status=0):
        done = self.run("/etc/init.d/zramfs", verb, check=False, timeout=120)
        said = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", done.stdout + done.stderr)
        assert done.returncode == status, f"{verb}: {done.returncode}\n{said}"
        return said

    def run(self, *args, **kwargs):
        return run("nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", *args, **kwargs)

    def inside(self, name):
        return pathlib.Path(f"{self.root}{self.point}") / name

    def mounted(self):
        return f" {self.point} " in pathlib.Path(f"/proc/{self.holder.pid}/mountinfo").read_text()

    def swap(self):
        return {device: row for device, row in swaps().items() if row[2] == 5}

    def end(self):
        if self.mounted():
            self.run(CTL, "detach", "--all", "--force", self.point, check=False)
            wait_until(lambda: self.run("umount", self.point, check=False).returncode == 0)
        wait_until(lambda: not processes_with(self.point), what="the daemon to end")
        self.holder.communicate(timeout=10)


@pytest.fixture
def service(place, openrc, machine):
    machine.swaps_alone()
    service = Service(place, openrc)
    yield service
    service.end()


def reload_with_another_disk(service):
    service.config.write_text(DISKS + "\n[disk1]\ndisksize = 1M\n")
    service("reload")
    wait_until(lambda: "disk1" in os.listdir(service.inside("")), what="the new disk")


def test_its_life(service, place):
    assert "stopped" in service("status", 3)
    service("start")
    assert service.mounted() and len(service.swap()) == 1
    said = service("status")
    assert "started" in said and "swap0" in said
    assert "already" in service("start")

    with open(service.inside("disk0"), "r+b") as file:
        file.write(b"x" * 4096)
    before = service.inside(".control/zramfs/generation").read_text()
    device = service.swap()
    service("restart")
    assert service.swap().keys() == device.keys()
    assert int(service.inside(".control/zramfs/generation").read_text().split()[0]) == \
        int(before.split()[0]) + 1
    with open(service.inside("disk0"), "rb") as file:
        assert file.read(4096) == b"x" * 4096

    reload_with_another_disk(service)

    service("stop")
    assert not service.mounted() and not service.swap() and not loops_on(place)
    wait_until(lambda: not processes_with(service.point), what="the daemon to end")


def test_reload_is_for_its_daemon(service, place):
    """Who has the same words on its command line, as zramfsctl top, is left alone."""
    other = subprocess.Popen(["sh", "-c", "sleep 100; :", "zramfs", service.point])
    try:
        service("start")
        reload_with_another_disk(service)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    service("stop")


def test_reload_is_not_for_what_a_user_runs(service, place, user):
    """By that name, with these words, and there before the daemon."""
    os.chmod(place, 0o755)
    own = place / "own"
    own.mkdir()
    shutil.copy(shutil.which("sh", path=PATH), own / "zramfs")
    other = subprocess.Popen(["nsenter", f"--mount=/proc/{service.holder.pid}/ns/mnt",
                              *user.prefix(), own / "zramfs", "-c", "sleep 100; :", "x",
                              service.point])
    try:
        wait_until(lambda: os.readlink(f"/proc/{other.pid}/exe") == str(own / "zramfs"))
        service("start")
        reload_with_another_disk(service)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    service("stop")


def test_links_on_the_way(service):
    """It is found where it is mounted."""
    (service.place / "real").mkdir()
    (service.place / "link").symlink_to("real")
    linked = service.place / "link" / "z"
    service.run("sh", "-c", f"echo zramfs_mount={linked} >>/etc/conf.d/zramfs")
    service.point = service.place / "real" / "z"
    service("start")
    assert service.mounted() and len(service.swap()) == 1
    service("stop")
    assert not service.mounted() and not service.swap()
    wait_until(lambda: not processes_with(service.point), what="the daemon to end")


@pytest.mark.parametrize("name", ["a 1", "back\\slash", "tab\t2"])
def test_odd_mountpoints(service, name):
    service.point = service.place / name
    service.run("sh", "-c", "printf 'zramfs_swap=no\nzramfs_mount=\"%s\"\n' \"$1\" >>/etc/conf.d/zramfs",
                "sh", str(service.point).replace("\\", "\\\\"))
    service("start")
    assert "started" in service("status")
    service("stop")
    assert "stopped" in service("status", 3)
    wait_until(lambda: not processes_with(service.point), what="the daemon to end")


def test_without_swap(service):
    service.run("sh", "-c", "echo zramfs_swap=no >>/etc/conf.d/zramfs")
    service("start")
    assert service.mounted() and not service.swap()
    service("stop")


def test_a_configuration_that_is_wrong(service):
    service.config.write_text("[disk0]\ndisksise = 1\n")
    said = service("start", 1)
    assert "disksise" in said and not service.mounted()
    service.config.write_text(DISKS)
    service("start")
    service.config.write_text("[disk0]\ndisksise = 1\n")
    assert "disksise" in service("checkconfig", 1)
    assert "disksise" in service("reload", 1)


def test_a_stop_that_finds_it_in_use(service):
    service("start")
    with open(service.inside("disk0"), "rb"):
        assert "goes on serving" in service("stop", 1)
        assert service.mounted()
    assert "started" in service("status")
    service("stop")
    assert not service.mounted()


def test_one_that_crashed(service):
    service("start")
    service.run(CTL, "detach", "--all", service.point)
    wait_until(lambda: service.run("umount", service.point, check=False).returncode == 0)
    assert "crashed" in service("status", 32)
    service("stop")
