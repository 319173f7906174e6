"""Starting and ending: options, readiness, errors before the daemon, signals, nothing left."""

import os
import re
import signal
import stat
import subprocess
import time

import pytest

from host import PATH, errno_of, memory_total, mounts, processes_with, run, wait_until
from zramfs import BINARY, MIB, PAGE

CONFIG = "[disk0]\ndisksize = 64M\n"


# What needs no mount


def test_help_names_every_option():
    done = run(BINARY, "-h")
    assert done.stderr == ""
    for word in ("MOUNTPOINT", "-c", "-f", "-d", "-o", "-V", "-h", "--check-config"):
        assert word in done.stdout, word
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_version():
    done = run(BINARY, "-V")
    assert re.fullmatch(r"zramfs \d+\.\d+\.\d+\n", done.stdout)
    assert done.stderr == ""


def test_check_config_accepts(place):
    config = place / "zram.ini"
    config.write_text(CONFIG)
    assert run(BINARY, "--check-config", config).stderr == ""


def test_check_config_refuses(place, refused):
    config = place / "zram.ini"
    config.write_text("[disk0]\ndisksize = 0\n")
    assert f"{config}:2" in refused("--check-config", config)


# Mounting


def test_default_disk_is_a_quarter_of_memory(zramfs):
    mount = zramfs()
    disks = [name for name in os.listdir(mount.point) if not name.startswith(".")]
    assert disks == ["zram0"]
    size = os.stat(mount.disk("zram0")).st_size
    assert size % PAGE == 0
    assert abs(size - memory_total() // 4) <= PAGE


def test_each_section_is_a_disk(zramfs):
    mount = zramfs("[swap0]\ndisksize = 8M\n[disk1]\ndisksize = 16M\n")
    names = os.listdir(mount.point)
    assert {"swap0", "disk1", ".stats", ".control"} <= set(names)
    assert len(names) == len(set(names))
    assert os.stat(mount.disk("swap0")).st_size == 8 * MIB
    assert os.stat(mount.disk("disk1")).st_size == 16 * MIB
    assert {"swap0", "disk1"} <= set(os.listdir(mount.point / ".control"))


def test_a_disk_is_a_private_regular_file(mount):
    status = os.stat(mount.disk("disk0"))
    assert stat.S_ISREG(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
    assert status.st_nlink == 1


def test_ready_when_the_command_returns(zramfs):
    """No polling: the very next system call must find the disk."""
    mount = zramfs(CONFIG, foreground=False)
    assert os.stat(mount.disk("disk0")).st_size == 64 * MIB
    assert mount.pids()


def test_silent_when_all_is_well(zramfs):
    assert zramfs(CONFIG, foreground=False).said() == ""


def test_background_leaves_the_terminal(zramfs):
    """Its own session, / as its directory, and none of the caller's descriptors."""
    mount = zramfs(CONFIG, foreground=False)
    for pid in mount.pids():
        assert os.getsid(pid) != os.getsid(0)
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        for fd in ("0", "1", "2"):
            assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_started_without_standard_descriptors(zramfs, closed):
    """What cron and some supervisors do: no descriptor of its own may end up as 0, 1 or 2."""
    mount = zramfs(CONFIG, foreground=False, prefix=["sh", "-c", f'exec "$@" {closed}', "sh"])
    mount.disk("disk0").write_bytes(b"x" * 10000)
    assert mount.disk("disk0").read_bytes() == b"x" * 10000
    assert "disk0" in mount.stats()


def test_relative_paths(place):
    """Of the mountpoint and of the configuration, though the daemon leaves the directory."""
    (place / "z").mkdir()
    (place / "zram.ini").write_text(CONFIG)
    run(BINARY, "z", "-c", "zram.ini", cwd=place)
    try:
        assert os.stat(place / "z" / "disk0").st_size == 64 * MIB
    finally:
        run("umount" if os.geteuid() == 0 else "fusermount3",
            *([] if os.geteuid() == 0 else ["-u"]), place / "z")


def test_mounted_as_fuse_zramfs(mount):
    fstype, _, options = mounts()[str(mount.point)]
    assert fstype == "fuse.zramfs"
    if os.geteuid() == 0:
        assert {"allow_other", "default_permissions"} <= set(options.split(","))


def test_fuse_options_reach_the_mount(zramfs):
    mount = zramfs(CONFIG, "-o", "ro,fsname=hello")
    _, source, options = mounts()[str(mount.point)]
    assert source == "hello"
    assert "ro" in options.split(",")
    with pytest.raises(OSError):
        os.open(mount.disk("disk0"), os.O_RDWR)


def test_debug_prints_requests_and_stays_in_the_foreground(place):
    point = place / "z"
    point.mkdir()
    config = place / "zram.ini"
    config.write_text(CONFIG)
    with open(place / "log", "wb") as log:
        process = subprocess.Popen([BINARY, point, "-c", config, "-d"], stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL, env={**os.environ, "PATH": PATH})
    try:
        wait_until(lambda: str(point) in mounts(), what="mount")
        os.stat(point / "disk0")
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=10)
    assert re.search(r"LOOKUP|lookup", (place / "log").read_text())


def test_two_mounts_are_two_stores(zramfs):
    one, two = zramfs(CONFIG), zramfs(CONFIG)
    one.disk("disk0").write_bytes(b"one")
    assert two.mm_stat("disk0").orig_data_size == 0


# Errors before the daemon


@pytest.fixture
def config(place):
    path = place / "zram.ini"
    path.write_text(CONFIG)
    return path


def test_no_mountpoint_given(refused):
    refused()


def test_too_many_arguments(place, refused, config):
    refused(place / "a", place / "b", "-c", config)


@pytest.mark.parametrize("options", [["--nonsense"], ["-x"], ["-o", "nonsense_option"], ["-c"],
                                     ["-o"]], ids=" ".join)
def test_bad_option(place, refused, options):
    (place / "z").mkdir()
    line = refused(place / "z", *options)
    assert options[-1].lstrip("-") in line


def test_mountpoint_missing(place, refused, config):
    line = refused(place / "z", "-c", config)
    assert str(place / "z") in line and "No such file" in line


def test_mountpoint_not_a_directory(place, refused, config):
    (place / "z").write_text("")
    line = refused(place / "z", "-c", config)
    assert str(place / "z") in line and re.search("[Nn]ot a directory", line)


def test_mountpoint_in_use(zramfs, refused, config):
    """Not a second mount on top of the first, which would hide its disks."""
    mount = zramfs(CONFIG)
    assert str(mount.point) in refused(mount.point, "-c", config)
    assert os.stat(mount.disk("disk0")).st_size == 64 * MIB


# A mount namespace whose /dev holds nothing but what is made here.
BARE_DEV = "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && "


def in_bare_dev(script, *prefix):
    return ["unshare", "-m", "sh", "-c", f'{BARE_DEV}{script}exec "$@"', "sh", *prefix]


@pytest.mark.root
@pytest.mark.needs("unshare")
def test_no_dev_fuse(place, refused, config):
    (place / "z").mkdir()
    assert "/dev/fuse" in refused(place / "z", "-c", config, prefix=in_bare_dev(""))


@pytest.mark.root
@pytest.mark.needs("unshare", "setpriv")
def test_no_permission_for_dev_fuse(refused, config, user):
    point = user.home / "z"
    point.mkdir()
    os.chown(point, user.uid, user.uid)
    line = refused(point, "-c", config, binary=user.binary,
                   prefix=in_bare_dev("mknod -m 600 /dev/fuse c 10 229 && ", *user.prefix()))
    assert "/dev/fuse" in line and "ermission" in line


@pytest.mark.root
def test_no_permission_for_the_mountpoint(place, refused, config, user, fuse_for_all):
    point = place / "roots"
    point.mkdir(mode=0o755)
    assert str(point) in refused(point, "-c", config, binary=user.binary, user=user)


@pytest.mark.root
def test_unreadable_config(place, refused, user, config):
    config.chmod(0o600)
    line = refused(place, "-c", config, binary=user.binary, user=user)
    assert str(config) in line and "ermission" in line


# Ending


@pytest.mark.parametrize("foreground", [True, False], ids=["foreground", "background"])
def test_unmounting_ends_the_daemon(zramfs, foreground):
    mount = zramfs(CONFIG, foreground=foreground)
    mount.unmount()
    assert mount.wait(timeout=10) in (0, None)
    assert not mount.mounted()


@pytest.mark.parametrize("foreground", [True, False], ids=["foreground", "background"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(zramfs, number, foreground):
    mount = zramfs(CONFIG, foreground=foreground)
    mount.disk("disk0").write_bytes(b"x" * PAGE)
    time.sleep(0.3)  # RELEASE is asynchronous, and a disk in use would be refused
    mount.signal(number)
    assert mount.wait(timeout=15) in (0, None)
    assert not mount.mounted()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_refused_while_a_disk_is_in_use(zramfs, machine, number):
    mount = zramfs(CONFIG)
    holder = machine.hold(mount.disk("disk0"))
    before = mount.said()
    mount.process.send_signal(number)
    said = wait_until(lambda: mount.said()[len(before):], what="the refusal")
    assert len(said.splitlines()) == 1, said
    assert said.startswith("zramfs: ") and "disk0" in said and "in use" in said
    time.sleep(1)
    assert mount.process.poll() is None
    assert os.stat(mount.disk("disk0")).st_size == 64 * MIB
    holder.release()
    time.sleep(5.5)  # a second signal within 5 s would be force
    mount.process.send_signal(number)
    assert mount.wait(timeout=15) == 0


def test_a_second_signal_within_5_s_forces(zramfs, machine):
    mount = zramfs(CONFIG)
    mount.status = None
    machine.hold(mount.disk("disk0"))
    mount.process.send_signal(signal.SIGTERM)
    wait_until(mount.said, what="the refusal")
    time.sleep(0.5)
    assert mount.process.poll() is None
    mount.process.send_signal(signal.SIGTERM)
    mount.wait(timeout=15)
    assert not mount.mounted()


def test_a_second_signal_later_is_refused_again(zramfs, machine):
    mount = zramfs(CONFIG)
    machine.hold(mount.disk("disk0"))
    mount.process.send_signal(signal.SIGTERM)
    wait_until(mount.said, what="the refusal")
    time.sleep(6)
    mount.process.send_signal(signal.SIGTERM)
    wait_until(lambda: len(mount.said().splitlines()) == 2, what="the second refusal")
    time.sleep(1)
    assert mount.process.poll() is None
    assert os.stat(mount.disk("disk0")).st_size == 64 * MIB


def test_an_open_virtual_file_does_not_hold_it(zramfs, machine):
    """In use is a disk's word: a monitor with .stats open must not keep a machine from stopping."""
    mount = zramfs(CONFIG)
    machine.hold(mount.point / ".stats")
    mount.process.send_signal(signal.SIGTERM)
    assert mount.wait(timeout=15) == 0
    assert not mount.mounted()


def test_a_lazy_unmount_ends_it_with_the_last_handle(zramfs, machine):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    mount = zramfs(CONFIG)
    holder = machine.hold(mount.disk("disk0"))
    run("umount", "-l", mount.point)
    time.sleep(0.5)
    assert mount.process.poll() is None
    holder.release()
    assert mount.wait(timeout=15) == 0


def test_nothing_stays_behind(zramfs):
    """Memory goes back too: the store is a memfd, which no name keeps alive."""
    shm = set(os.listdir("/dev/shm"))
    mount = zramfs(CONFIG, foreground=False)
    mount.disk("disk0").write_bytes(os.urandom(32 * MIB))
    assert {name for name in os.listdir("/dev/shm") if "zram" in name} <= shm
    mount.unmount()
    mount.wait()
    assert not processes_with(mount.point)
    assert not mount.mounted()
    assert errno_of(os.rmdir, mount.point) == 0
    mount.point.mkdir()


@pytest.mark.limit(300)
def test_start_and_stop_many_times(zramfs):
    for _ in range(25):
        mount = zramfs("[a]\ndisksize = 1M\n[b]\ndisksize = 1M\n", foreground=False)
        mount.disk("a").write_bytes(b"a" * 10000)
        mount.stop()
