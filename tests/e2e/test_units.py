"""Units of systemd: what systemd-analyze says of them, and the script that they share.

The machine that boots with them is tests/boot/run.
"""

import os
import pathlib
import re
import signal

import pytest

from host import lacking, loops_on, run, swaps
from zramfs import BINARY, CTL

UNITS = BINARY.parents[1] / "contrib/systemd"
SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "contrib/systemd/zramfs-unit.in"
MAKEFS = pathlib.Path("/lib/systemd/systemd-makefs")

SYSTEM = {"zramfs@.service": "mnt-z", "zramfs-swap@.service": "mnt-z",
          "zramfs-loop@.service": "mnt-z-disk0"}

# What each makes: mounts that only the service sees.
OWN_MOUNTS = ("ProtectSystem", "ProtectHome", "ProtectKernelTunables", "ProtectKernelModules",
              "ProtectKernelLogs", "ProtectControlGroups", "ProtectProc", "ProcSubset",
              "PrivateTmp", "PrivateDevices", "PrivateMounts", "PrivateIPC", "ReadWritePaths",
              "ReadOnlyPaths", "InaccessiblePaths", "BindPaths", "BindReadOnlyPaths",
              "TemporaryFileSystem", "RootDirectory", "RootImage", "MountFlags", "DynamicUser",
              "ExecPaths", "NoExecPaths", "PrivateUsers")

# As systemd 252 counts them; 10 is everything permitted.
EXPOSURE = {"zramfs@.service": 3.1, "zramfs-swap@.service": 3.3, "zramfs-loop@.service": 3.1}

SWAP = f"swap-{os.getpid()}"
DISK = f"disk-{os.getpid()}"
DISKS = f"[{DISK}]\ndisksize = 64M\n[{SWAP}]\ndisksize = 64M\nformat = swap\n"


@pytest.fixture
def units(place):
    """The units of this build, as they would be if it was installed, in a directory."""
    if lacking("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    if not (UNITS / "zramfs@.service").exists():
        pytest.skip("built without units: meson found no systemd.pc")
    for source in (UNITS, UNITS / "user"):
        target = place / source.relative_to(UNITS.parent)
        target.mkdir()
        for path in source.glob("*.service"):
            text = re.sub(r"/\S+/zramfs-unit\b", str(UNITS / "zramfs-unit"), path.read_text())
            text = re.sub(r"/\S+/bin/zramfsctl\b", str(CTL), text)
            (target / path.name).write_text(re.sub(r"/\S+/bin/zramfs\b", str(BINARY), text))
    return place / "systemd"


def verify(directory, *words):
    return run("systemd-analyze", "verify", "--man=no", *words, cwd=directory, check=False,
               env={"SYSTEMD_UNIT_PATH": f"{directory}:", "XDG_RUNTIME_DIR": str(directory)})


@pytest.mark.parametrize("name", SYSTEM)
def test_units_are_clean(units, name):
    done = verify(units, name.replace("@", f"@{SYSTEM[name]}"))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_of_users_is_clean(units):
    done = verify(units / "user", "--user", "zramfs@home-alice-z.service")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_is_not_clean_is_found(units):
    path = units / "zramfs@.service"
    path.write_text(path.read_text().replace("Type=notify", "Type=notable"))
    assert "notable" in verify(units, "zramfs@mnt-z.service").stderr


@pytest.mark.parametrize("name", SYSTEM)
def test_exposure(units, name, capsys):
    done = run("systemd-analyze", "security", "--offline=yes", "--no-pager", units / name)
    said = re.search(r"Overall exposure level for (\S+): ([\d.]+) (\w+)", done.stdout)
    with capsys.disabled():
        print(f"\n    systemd-analyze security {name}: {said[2]} {said[3]}", end=" ")
    assert float(said[2]) <= EXPOSURE[name] + 0.3  # versions weigh differently


@pytest.mark.parametrize("name", SYSTEM)
def test_mounts_are_seen_by_all(units, name):
    lines = (units / name).read_text().splitlines()
    keys = [line.split("=")[0] for line in lines if "=" in line and line != "PrivateMounts=no"]
    assert not set(keys) & set(OWN_MOUNTS)
    # Which systemd 254 and later take to mean PrivateMounts=yes where that is not denied.
    if "PrivateNetwork=yes" in lines:
        assert "PrivateMounts=no" in lines


# the script


class Unit:
    """The script, with a systemctl of the test's own, which does what it is told to."""

    def __init__(self, place):
        self.bin = place / "bin"
        self.bin.mkdir()
        self.script = self.bin / "zramfs-unit"
        self.calls = place / "calls"
        self.script.write_text(SCRIPT.read_text().replace("@bindir@", str(self.bin)))
        self.script.chmod(0o755)
        (self.bin / "zramfsctl").symlink_to(CTL)
        self.systemctl()

    def systemctl(self, job="", kind="", state="running", stop=":"):
        path = self.bin / "systemctl"
        path.write_text(f"""#!/bin/sh
[ "$1" != --user ] || shift
printf '%s\\n' "$*" >>{self.calls}
case $1 in
show) echo "{job}" ;;
list-jobs) printf '7 other.service stop waiting\\n{job} zramfs@x.service {kind} running\\n' ;;
is-system-running) echo {state} ;;
stop) {stop} ;;
esac
""")
        path.chmod(0o755)

    def __call__(self, *args, check=True, **kwargs):
        return run(self.script, *args, check=check, **kwargs)

    def called(self):
        return self.calls.read_text() if self.calls.exists() else ""


@pytest.fixture
def unit(place):
    return Unit(place)


@pytest.mark.root
@pytest.mark.parametrize("job, kind", [("", ""), ("0", ""), ("9", "restart"), ("9", "start")])
def test_only_a_stop_unmounts(unit, mount, job, kind):
    unit.systemctl(job, kind)
    unit("stop", "zramfs@x.service", mount.point)
    assert mount.mounted() and "stop" not in unit.called().split()


@pytest.mark.root
def test_no_answer_of_systemd_is_no_stop(unit, mount):
    (unit.bin / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    done = unit("stop", "zramfs@x.service", mount.point, check=False)
    assert done.returncode == 1 and "nothing is unmounted" in done.stderr
    assert mount.mounted()


@pytest.mark.loop
def test_a_stop_ends_all_of_it(unit, zramfs, machine, place):
    machine.swaps_alone()
    mount = zramfs(DISKS)
    unit.systemctl("9", "stop")
    device = run(CTL, "swapon", SWAP).stdout.strip()
    run(CTL, "attach", DISK)
    unit("stop", r"zramfs@mnt-a\x2db.service", mount.point)
    assert not mount.mounted() and not loops_on(place) and device not in swaps()
    assert (r"stop -- zramfs-swap@mnt-a\x2db.service zramfs-loop@mnt-a\x2db-*.service"
            in unit.called())
    assert mount.wait() == 0
    unit("stop", "zramfs@x.service", mount.point)


@pytest.mark.root
def test_a_stop_that_finds_it_in_use(unit, mount, machine):
    unit.systemctl("9", "stop")
    with machine.hold(mount.disk("disk0")):
        done = unit("stop", "zramfs@x.service", mount.point, check=False)
        assert done.returncode == 1 and "goes on serving" in done.stderr
        assert mount.mounted() and mount.ready()


def test_a_stop_for_a_user(unit, zramfs, user, fuse_for_all):
    if lacking("fusermount3"):
        pytest.skip("no fusermount3")
    mount = zramfs("[disk0]\ndisksize = 16M\n", user=user)
    os.chmod(mount.place.parent, 0o777)
    unit.systemctl("9", "stop")
    unit("stop", "--user", "zramfs@x.service", mount.point, user=user)
    assert not mount.mounted() and mount.wait() == 0
    assert "zramfs-swap" not in unit.called()


def test_the_mountpoint_is_made(unit, place):
    point = place / "a b" / "c"
    unit("prepare", point)
    unit("prepare", point)
    assert point.is_dir()


@pytest.mark.needs("systemd-escape")
def test_links_on_the_way(unit, place):
    """The unit's name would be another than that of the mount: it would stop nothing."""
    (place / "real").mkdir()
    (place / "link").symlink_to("real")
    done = unit("prepare", place / "link" / "z", check=False)
    name = run("systemd-escape", "--path", place / "real" / "z").stdout.strip()
    assert done.returncode == 1 and f"the unit is zramfs@{name}.service" in done.stderr
    assert not list((place / "real").iterdir())


@pytest.mark.root
def test_nobody_is_asked_for_a_mountpoint_that_is_mounted(unit, mount):
    """At a restart there may be nobody to answer."""

    pids = mount.pids()
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        unit("prepare", mount.point, timeout=10)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.root
@pytest.mark.parametrize("name", ["a 1", "a\t2", "a\n3", "back\\slash"])
def test_odd_mountpoints(unit, place, name):
    """What is mounted is found, however mountinfo writes it."""
    point = place / name
    point.mkdir()
    run(BINARY, point)
    try:
        unit.systemctl("1", "stop")
        unit("stop", "zramfs@x.service", point)
        assert not os.path.ismount(point)
    finally:
        run("umount", point, check=False)


@pytest.mark.loop
@pytest.mark.parametrize("state", ["running", "stopping"])
def test_swapoff(unit, zramfs, machine, place, state):
    """At shutdown systemd is asked to do it, since it does it anyway."""
    machine.swaps_alone()
    mount = zramfs(DISKS)
    run(CTL, "attach", DISK)
    device = run(CTL, "swapon", SWAP).stdout.strip()
    unit.systemctl(state=state, stop=f"swapoff {device}")
    unit("swapoff", mount.point)
    assert device not in swaps() and len(loops_on(place)) == 1
    asked = f"stop -- dev-{pathlib.Path(device).name}.swap"
    assert (asked in unit.called()) == (state == "stopping")
    run(CTL, "detach", DISK)
    mount.stop()
    unit("swapoff", mount.point)


@pytest.mark.loop
@pytest.mark.needs("blkid", "mkfs.ext4")
@pytest.mark.skipif(not MAKEFS.exists(), reason="no systemd-makefs")
def test_a_disk_as_a_device(unit, zramfs, machine, place):
    mount = zramfs(DISKS)
    link = place / "link"
    unit("attach", mount.disk(DISK), link, "ext4")
    name = run("systemd-escape", "--path", mount.point).stdout.strip()
    assert f"start -- zramfs@{name}.service" in unit.called()
    assert [str(link.readlink())] == loops_on(place)
    point = machine.mount(link.readlink())
    (point / "file").write_text("text")
    done = unit("detach", mount.disk(DISK), link, check=False)
    assert done.returncode == 1 and str(point) in done.stderr and link.exists()
    run("umount", point)
    unit("detach", mount.disk(DISK), link)
    assert not loops_on(place) and not link.is_symlink()

    # What is not empty stays what it is.
    unit("attach", mount.disk(DISK), link, "ext4")
    point = machine.mount(link.readlink())
    assert (point / "file").read_text() == "text"
    run("umount", point)
    unit("detach", mount.disk(DISK), link)

    # A filesystem that cannot be made leaves nothing behind.
    mount.disk(DISK).write_bytes(b"")
    run("truncate", "-s", "64M", mount.disk(DISK))
    done = unit("attach", mount.disk(DISK), link, "nonsense", check=False)
    assert done.returncode != 0 and not loops_on(place) and not link.is_symlink()


@pytest.mark.loop
def test_without_systemd_makefs(unit, zramfs, machine, place):
    unit.script.write_text(unit.script.read_text().replace("/systemd-makefs", "/nothing"))
    mount = zramfs(DISKS)
    link = place / "link"
    done = unit("attach", mount.disk(DISK), link, "ext4", check=False)
    assert done.returncode == 1 and "no systemd-makefs" in done.stderr
    assert not loops_on(place) and not link.is_symlink()


def test_its_usage(unit):
    assert "prepare" in unit("--help").stdout
    for args in ((), ("stop", "x"), ("nonsense",), ("prepare", "--user", "x")):
        done = unit(*args, check=False)
        assert done.returncode == 2 and "usage" in done.stderr
