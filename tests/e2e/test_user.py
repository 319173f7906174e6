"""As an ordinary user, without root: the file-level job, and not one warning that means nothing."""

import os
import signal
import subprocess

import pytest

from data import PAGE, random_pages, text_pages
from host import mounts, run, wait_until
from zramfs import MIB, parse_stats

pytestmark = [pytest.mark.needs("fusermount3"), pytest.mark.usefixtures("fuse_for_all")]

CONFIG = "[disk0]\ndisksize = 64M\n"


@pytest.fixture
def shell(user, machine):
    """shell(script): run as the user, in their home, with zramfs in the PATH."""
    def run_script(script, check=True, **kwargs):
        return run("sh", "-e", "-c", script, user=user, check=check, timeout=120, **kwargs)

    def clean():
        point = user.home / "z"
        if str(point) in mounts():
            run("fusermount3", "-uz", point, user=user)

    machine.later(clean)
    run_script(f"mkdir ~/z && printf '{CONFIG}' > zram.ini")
    return run_script


@pytest.mark.needs("mkfs.ext4", "e2fsck", "dd", "cmp")
def test_the_main_job(shell, user):
    """Typed exactly so, and silent where nothing is wrong."""
    done = shell("zramfs ~/z -c ~/zram.ini")
    assert (done.stdout, done.stderr) == ("", "")

    shell("mkfs.ext4 -q -F ~/z/disk0 && e2fsck -fn ~/z/disk0")
    stats = parse_stats(shell("cat ~/z/.stats").stdout)
    assert 0 < int(stats["disk0"]["PagesStored"]) < 64 * MIB // PAGE

    (user.home / "data").write_bytes(random_pages(1024) + text_pages(1024))
    shell("dd if=data of=z/disk0 bs=1M conv=notrunc status=none && cmp -n 8388608 data z/disk0")
    shell("dd if=z/disk0 of=back bs=1M count=8 status=none && cmp data back")

    with open(user.home / "image", "wb") as image:
        image.write(text_pages(100))
        image.truncate(40 * MIB)
    shell("cp --sparse=always image ~/z/ && cmp image ~/z/image")
    assert shell("stat -c '%s %b' ~/z/image").stdout == f"{40 * MIB} {100 * 8}\n"
    assert "[image]" in shell("cat ~/z/.stats").stdout
    shell("echo 16M > z/.control/disk0/mem_limit && rm z/image && echo 1 > z/.control/disk0/reset")

    done = shell("fusermount3 -u ~/z")
    assert (done.stdout, done.stderr) == ("", "")
    assert str(user.home / "z") not in mounts()


def test_silent_in_the_foreground_too(zramfs, user):
    mount = zramfs(CONFIG, user=user)
    run("sh", "-c", f"head -c 1000000 /dev/urandom > {mount.disk('new')}", user=user)
    mount.unmount()
    assert mount.wait() == 0
    assert mount.said() == ""


def test_the_disks_are_the_users(shell, user):
    shell("zramfs ~/z -c ~/zram.ini")
    assert shell("stat -c '%u %g %a' z/disk0").stdout == f"{user.uid} {user.uid} 600\n"
    shell("touch z/new && mv z/new z/newer && chmod 640 z/newer && rm z/newer")
    shell("fusermount3 -u z")


@pytest.mark.root
def test_nobody_else_sees_it(zramfs, user):
    """Not even root, without allow_root or allow_other: that is FUSE's rule."""
    mount = zramfs(CONFIG, user=user)
    with pytest.raises(PermissionError):
        os.listdir(mount.point)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(zramfs, user, number):
    mount = zramfs(CONFIG, user=user)
    mount.process.send_signal(number)
    assert mount.wait(timeout=15) == 0
    assert not mount.mounted()


@pytest.mark.root
def test_a_signal_is_refused_while_in_use(zramfs, user, machine):
    mount = zramfs(CONFIG, user=user)
    script = f"exec 3<{mount.disk('disk0')}; echo ready > {mount.place}/ready; exec sleep 600"
    holder = subprocess.Popen([*user.prefix(), "sh", "-c", script], cwd=user.home)
    machine.later(lambda: (holder.kill(), holder.wait(timeout=10)))
    wait_until((mount.place / "ready").exists, what="the holder")
    mount.process.send_signal(signal.SIGTERM)
    assert "disk0" in wait_until(mount.said, what="the refusal")
    assert mount.process.poll() is None
    mount.process.send_signal(signal.SIGTERM)
    mount.status = None
    mount.wait(timeout=15)
    assert not mount.mounted()


def test_at_the_limit(shell):
    shell("printf '[disk0]\\ndisksize = 64M\\nmem_limit = 2M\\n' > zram.ini")
    shell("zramfs ~/z -c zram.ini")
    done = shell("dd if=/dev/urandom of=z/disk0 bs=1M count=8 conv=notrunc", check=False)
    assert done.returncode != 0 and "No space left on device" in done.stderr
    shell("fusermount3 -u z")


def test_with_a_small_memlock_limit(zramfs, user):
    """The common default, 64 KiB or 8 MiB: works, and says nothing about what it cannot lock."""
    done = run("prlimit", "--memlock=65536:65536", "--", "true", check=False)
    if done.returncode != 0:
        pytest.skip("no prlimit")

    class Limited(type(user)):
        def prefix(self):
            return [*super().prefix(), "prlimit", "--memlock=65536:65536", "--"]

    mount = zramfs(CONFIG, user=Limited(user.uid, user.home))
    run("sh", "-c", f"head -c 4000000 /dev/urandom > {mount.disk('new')}", user=user)
    assert mount.said() == ""
