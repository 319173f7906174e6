"""zramfsctl: the list, the verbs that speak to files, top, and completion."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from data import PAGE, random_pages, text_pages
from fake import Endless, Fake, Link, Pipe
from host import Holder, lacking, memory_total, mounts, run, wait_until
from zramfs import CTL, GIB, KIB, MIB, ROOT

USUAL = ["NAME", "ALGORITHM", "DISKSIZE", "DATA", "COMPR", "TOTAL", "RATIO", "LIMIT", "MOUNTPOINT"]

# Runs a command that sees no zramfs but those below a directory, whatever else is mounted on the
# machine.
ALONE = r"""
import ctypes, os, sys
place = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0
assert libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None) == 0
for line in open("/proc/self/mountinfo", "rb").read().split(b"\n")[:-1]:
    point = line.split(b" ")[4].decode("latin-1")
    point = os.fsdecode(point.encode().decode("unicode_escape").encode("latin-1"))
    if b" - fuse.zramfs " in line and not point.startswith(place + "/"):
        libc.umount2(os.fsencode(point), 2)
os.execvp(sys.argv[2], sys.argv[2:])
"""


# Runs a command on a kernel that has no openat2(2).
OLD_KERNEL = r"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = b"".join(struct.pack("=HBBI", *step) for step in (
    (0x20, 0, 0, 0), (0x15, 0, 1, 437), (0x06, 0, 0, 0x50026), (0x06, 0, 0, 0x7fff0000)))
text = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HP", 4, ctypes.addressof(text)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


def alone_prefix(place):
    if os.geteuid() != 0:
        if any(fstype == "fuse.zramfs" and not point.startswith(f"{place}/")
                       for point, (fstype, *_) in mounts().items()):
            pytest.skip("needs root, to see its own mounts alone")
        return []
    # Others may come while the test runs.
    return [sys.executable, "-c", ALONE, str(place)]


@pytest.fixture
def ctl(place):
    """ctl(*arguments, status=0): what it says, where no other mounts are seen than the test's."""

    def call(*args, status=0, prefix=(), **kwargs):
        done = run(*alone_prefix(place), *prefix, CTL, *args, check=False, **kwargs)
        assert done.returncode == status, f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    return call


@pytest.fixture
def says_no(ctl):
    """says_no(*arguments, status=1): its one line, without its name."""

    def call(*args, status=1, **kwargs):
        done = ctl(*args, status=status, **kwargs)
        assert done.stdout == "", done.stdout
        assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n"), done.stderr
        assert done.stderr.startswith("zramfsctl: ")
        return done.stderr[len("zramfsctl: "):-1]

    return call


@pytest.fixture
def table(ctl):
    """table(*arguments): the list as JSON has it, {NAME: {column: value}}."""

    def call(*args, **kwargs):
        rows = json.loads(ctl("--json", *args, **kwargs).stdout)["disks"]
        return {row["name"]: row for row in rows}

    return call


def write(mount, disk, data, offset=0):
    fd = os.open(mount.disk(disk), os.O_WRONLY)
    with contextlib.closing(os.fdopen(fd, "wb", buffering=0)) as file:
        file.seek(offset)
        for at in range(0, len(data), MIB):
            file.write(data[at:at + MIB])


def unraw(word):
    """A word of --raw as bytes."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), word)


@pytest.fixture
def filled(zramfs):
    """disk0 with 4 MiB that compress and a limit, disk1 with 1 MiB that do not, disk2 empty."""
    mount = zramfs("[disk0]\ndisksize = 1536M\nmem_limit = 256K\n"
                   "[disk1]\ndisksize = 64M\ncomp_algorithm = zstd\n"
                   "[disk2]\ndisksize = 5000\nformat = none\n")
    write(mount, "disk0", text_pages(4 * MIB // PAGE, 1))
    write(mount, "disk1", random_pages(MIB // PAGE, 2))
    return mount


# The list


def test_nothing_is_mounted(ctl, says_no):
    assert ctl().stdout == ctl("list").stdout == ctl("--raw").stdout == ""
    assert json.loads(ctl("--json").stdout) == {"disks": []}
    assert says_no("reset", "disk0") == "no zramfs is mounted"
    assert says_no("add", "disk0") == "no zramfs is mounted"


def test_the_list_shows_what_the_control_files_say(filled, table):
    rows = table("--output-all")
    assert list(rows) == ["disk0", "disk1", "disk2"]
    for name, row in rows.items():
        stat, io = filled.mm_stat(name), filled.io_stat(name)
        assert row["disksize"] == int(filled.get(name, "disksize"))
        assert row["data"] == stat.orig_data_size and row["compr"] == stat.compr_data_size
        assert row["mem-limit"] == stat.mem_limit and row["limit"] == (stat.mem_limit or None)
        assert row["same-pages"] == stat.same_pages and row["huge-pages"] == stat.huge_pages
        assert row["mem-used"] >= row["total"] - row["frag"]
        assert row["zero-pages"] == int(filled.get(name, "zero_pages"))
        assert row["failed"] == io.failed_reads + io.failed_writes == 0
        assert row["streams"] == int(filled.get(name, "max_comp_streams"))
        assert row["path"] == str(filled.disk(name)) and row["format"] == "none"
        assert row["device"] is row["mountpoint"] is row["read-p99"] is None
    assert [row["algorithm"] for row in rows.values()] == ["lz4", "zstd", "lz4"]
    assert rows["disk0"]["data"] == 4 * MIB and rows["disk1"]["data"] == MIB
    assert rows["disk0"]["ratio"] == pytest.approx(4 * MIB / rows["disk0"]["total"], abs=0.006)
    assert rows["disk0"]["comp-ratio"] == pytest.approx(4 * MIB / rows["disk0"]["total"], abs=6e-5)
    assert rows["disk2"]["ratio"] is rows["disk2"]["write-p99"] is None
    assert rows["disk1"]["huge-pages"] == MIB // PAGE and rows["disk0"]["write-p99"] > 0


def test_columns_are_aligned(filled, ctl):
    lines = ctl(env={"COLUMNS": "140"}).stdout.splitlines()
    assert lines[0].split() == USUAL
    for title, pattern in (("DISKSIZE", r"1\.5G|64M|8K"), ("DATA", "4M|1M|0B"),
                           ("LIMIT", "256K|-"), ("RATIO", r"\d+\.\d\d|-")):
        end = lines[0].index(title) + len(title)
        for line in lines[1:]:
            assert re.fullmatch(pattern, line[:end].split()[-1]), (title, line)
            assert line[end:end + 1] in ("", " ")
    for line in lines[1:]:
        assert line[lines[0].index("ALGORITHM"):].startswith(("lz4 ", "zstd "))


@pytest.mark.parametrize("n_bytes, text", [
    (4096, "4K"), (1020 * KIB, "1020K"), (1536 * KIB, "1.5M"), (1000 * MIB, "1000M"),
    (1048524 * KIB, "1023.9M"), (1048528 * KIB, "1G"), (GIB + 51 * MIB, "1G"),
    (GIB + 52 * MIB, "1.1G"), (256 << 40, "256T")])
def test_sizes_for_people(zramfs, ctl, n_bytes, text):
    mount = zramfs("[disk0]\ndisksize = 4K\n")
    os.truncate(mount.disk("disk0"), n_bytes)
    assert ctl("--raw", "--noheadings", "-o", "disksize").stdout == f"{text}\n"
    assert ctl("--bytes", "-n", "-o", "DISKSIZE").stdout.strip() == str(n_bytes)


def test_every_output_can_be_read_back(filled, ctl, table):
    names = ["NAME", "DISKSIZE", "DATA", "COMPR", "MEM-LIMIT", "ALGORITHM"]  # TOTAL may fall
    rows = table("-o", ",".join(names))
    raw = ctl("--raw", "--bytes", "-o", ",".join(names)).stdout.splitlines()
    assert raw[0].split(" ") == names
    for line, row in zip(raw[1:], rows.values(), strict=True):
        assert line.split(" ") == [str(row[name.lower()]) for name in names]
    plain = ctl("--bytes", "--noheadings", "-o", ",".join(names)).stdout.splitlines()
    assert [line.split() for line in plain] == [line.split(" ") for line in raw[1:]]


def test_which_columns(filled, ctl, says_no):
    def titles(*args):
        return ctl(*args).stdout.splitlines()[0].split()

    assert titles() == USUAL
    assert titles("-o", "name,Data") == ["NAME", "DATA"]
    assert titles("--output=+frag,PATH") == [*USUAL, "FRAG", "PATH"]
    assert titles("-o", "NAME", "-o", "DATA") == ["DATA"]
    every = ctl("help", "--list-columns").stdout.split()
    assert titles("--output-all") == every and len(set(every)) == len(every) == 28
    help_text = ctl("--help").stdout
    manual = (ROOT / "zramfs" / "zramfsctl.8.in").read_text()
    for name in every:
        assert re.search(rf"^ +{name}  +\w", help_text, re.M), name
        assert re.search(rf"^\.It Cm ([A-Z0-9-]+ , )*{name}( |$)", manual, re.M), name
    for verb in ctl("help", "--list-verbs").stdout.split():
        assert f".It Cm {verb}\n" in manual, verb
    assert says_no("-o", "NAME,DISKSZE", status=2) == (
        "DISKSZE: no such column; the nearest is DISKSIZE; see zramfsctl help list")
    assert says_no("-o", "", status=2).startswith(": no such column")
    assert says_no("-o", ",".join(["NAME"] * 65), status=2).startswith("too many columns")


@pytest.mark.needs("zramctl")
def test_zramctls_columns_are_all_there(ctl):
    theirs = re.findall(r"^ +([A-Z][A-Z-]+)  \w", run("zramctl", "--help").stdout, re.M)
    assert "MOUNTPOINT" in theirs
    assert set(theirs) <= set(ctl("help", "--list-columns").stdout.split())


@pytest.mark.parametrize("width", [40, 80, 140])
def test_narrow_and_wide(zramfs, ctl, width):
    mount = zramfs("[a]\ndisksize = 1023G\n[name-of-30-characters-xxxxxxxxx]\ndisksize = 1G\n")
    write(mount, "a", text_pages(100, 1))
    lines = ctl(env={"COLUMNS": str(width)}).stdout.splitlines()
    titles = lines[0].split()
    assert [name for name in USUAL if name in titles] == titles
    assert {"NAME", "DATA", "TOTAL", "RATIO", "LIMIT", "MOUNTPOINT"} <= set(titles)
    if width == 40:
        assert set(USUAL) - set(titles) == {"ALGORITHM", "COMPR", "DISKSIZE"}
    else:
        assert max(map(len, lines)) <= width
        assert (titles == USUAL) == (width == 140)
    # A name is whole wherever it stands, and so is what was asked for.
    assert any(line.startswith("name-of-30-characters-xxxxxxxxx ") for line in lines)
    asked = ctl("-o", ",".join(USUAL), env={"COLUMNS": str(width)}).stdout.splitlines()
    assert asked[0].split() == USUAL


ODD_NAMES = ["with blank", "tab-less  two", "schön-磁盘", "back\\slash", 'quo"te', "-dash",
             "a=b", "x" * 63]
ODD_BYTES = [b"raw-\xff\xfe", b"half-\xc3"]


def odd_mount(zramfs):
    mount = zramfs("[defaults]\n")
    names = [os.fsencode(name) for name in ODD_NAMES] + ODD_BYTES
    for name in names:
        os.close(os.open(os.fsencode(mount.point) + b"/" + name, os.O_CREAT | os.O_RDWR, 0o600))
    return mount, names


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_odd_names(zramfs, place, locale):
    mount, names = odd_mount(zramfs)
    base = os.fsencode(mount.point)

    def ask(*args):
        env = {**os.environ, "LC_ALL": locale}
        return subprocess.run([*alone_prefix(place), CTL, *args], env=env, check=True,
                              stdout=subprocess.PIPE, timeout=30).stdout

    raw = ask("--raw", "--noheadings", "-o", "NAME,PATH,DATA").splitlines()
    assert [[unraw(word) for word in line.split(b" ")] for line in raw] == [
        [name, base + b"/" + name, b"0B"] for name in names]

    rows = json.loads(ask("--json", "-o", "NAME"))["disks"]
    assert [row["name"] for row in rows][:-2] == ODD_NAMES
    assert [row["name"] for row in rows][-2:] == ["raw-\xff\xfe", "half-\xc3"]

    assert len(ask().splitlines()) == 1 + len(names)
    for name in names:
        assert ask("get", b"--", name, "initstate") == b"initstate=0\n", name


@pytest.mark.parametrize("names", [[b"b\xe9", "b\u00e9".encode()], ["b\u00e9".encode(), b"b\xe9"]])
def test_names_that_are_told_the_same(zramfs, ctl, names):
    """JSON has no bytes that are no characters: each disk keeps its own figures all the same."""
    mount = zramfs("[defaults]\n")
    base = os.fsencode(mount.point)
    for i, name in enumerate(names):
        os.close(os.open(base + b"/" + name, os.O_CREAT | os.O_RDWR, 0o600))
        os.truncate(base + b"/" + name, (i + 1) * MIB)
    lines = ctl("--raw", "-n", "--bytes", "-o", "PATH,DISKSIZE").stdout.splitlines()
    found = {unraw(os.fsencode(path)): int(size) for path, size in map(str.split, lines)}
    assert found == {base + b"/" + name: (i + 1) * MIB for i, name in enumerate(names)}


def test_several_mounts(zramfs, ctl, says_no, table):
    first, second = (zramfs(f"[disk0]\ndisksize = 1M\n[only{i}]\ndisksize = {i}M\n")
                     for i in (1, 2))
    paths = [str(mount.disk(name)) for mount, name in
             ((first, "disk0"), (first, "only1"), (second, "disk0"), (second, "only2"))]
    assert list(table()) == paths
    assert list(table("list", "only2")) == [paths[3]]
    assert list(table("list", first.point, paths[2])) == paths[:3]
    assert list(table(first.disk("disk0"))) == [paths[0]]  # as zramctl /dev/zram0

    line = says_no("reset", "disk0")
    assert line == f"disk0: there are 2 of that name; say which: {paths[0]} or {paths[2]}"
    assert ctl("get", "only2", "disksize").stdout == f"disksize={2 * MIB}\n"
    assert says_no("add", "new") == (
        f"there are 2 mounts; say which: --mount {first.point} or {second.point}")
    assert says_no("get", "zramfs").startswith("zramfs: there are 2 of that name; say which: ")
    done = ctl("list", "only1", "nope", status=1)
    assert done.stderr == "zramfsctl: nope: no such disk\n" and paths[1] in done.stdout


def test_names_are_paths_links_and_nothing_else(zramfs, ctl, says_no, place):
    mount = zramfs("[disk0]\ndisksize = 1M\n")
    (place / "link").symlink_to(mount.disk("disk0"))
    for name in ("disk0", mount.disk("disk0"), place / "link", f"{mount.point}/../z/disk0"):
        assert ctl("get", name, "disksize").stdout == f"disksize={MIB}\n", name
    assert ctl("get", "./disk0", "initstate", cwd=mount.point).stdout == "initstate=1\n"
    for name, why in ((mount.point / ".stats", "not a disk of zramfs"),
                      (mount.control("disk0", "mm_stat"), "not a disk of zramfs"),
                      (mount.point / ".control", "not a disk of zramfs"),
                      ("/etc/passwd", "not a disk of zramfs"),
                      (mount.disk("nope"), "no such disk"), ("nope", "no such disk")):
        assert says_no("reset", name) == f"{name}: {why}"
    assert "must not begin with a dot" in says_no("reset", ".stats")
    assert says_no("reset", mount.point).endswith("the name of a disk is needed")
    assert says_no("reset", "zramfs").endswith("the name of a disk is needed")


def test_a_mount_that_is_hidden_is_not_listed(zramfs, ctl, table):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    below, other = zramfs("[below]\ndisksize = 1M\n"), zramfs("[other]\ndisksize = 1M\n")
    assert len(table()) == 2
    run("mount", "-t", "tmpfs", "none", below.point)
    try:
        assert list(table()) == ["other"]
    finally:
        run("umount", below.point)
    run("mount", "-t", "tmpfs", "none", below.place)
    try:
        assert list(table()) == ["other"]
    finally:
        run("umount", below.place)
    bound = other.place / "bound"
    bound.mkdir()
    run("mount", "--bind", other.point, bound)
    try:
        assert len(table()) == 2
        assert list(table("list", bound / "other")) == [str(other.disk("other"))]
    finally:
        run("umount", bound)


@pytest.mark.root
@pytest.mark.needs("unshare")
def test_a_root_that_is_its_own_parent(zramfs, place):
    """As on systems that run from their initramfs: it lies above nothing."""
    mount = zramfs("[disk0]\ndisksize = 1M\n")
    line = next(line for line in open("/proc/self/mountinfo", newline="\n")
                if line.split(" ")[4] == str(mount.point))
    number, _, rest = line.split(" ", 2)
    (place / "mountinfo").write_text(f"1 1 0:2 / / rw - rootfs rootfs rw\n{number} 1 {rest}\n")
    done = run("unshare", "--mount", "sh", "-c",
               f'mount --bind {place}/mountinfo /proc/$$/mountinfo && exec "$@"', "sh", CTL,
               "--raw", "--noheadings", "-o", "PATH")
    assert done.stdout == f"{mount.disk('disk0')}\n"


def test_a_dead_mount_and_one_that_hangs(zramfs, ctl):
    well, dead, hung = (zramfs(f"[disk0]\ndisksize = 1M\n[only{i}]\ndisksize = 1M\n")
                        for i in range(3))
    dead.status = None
    dead.kill()
    dead.wait()
    for pid in hung.pids():
        os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        done = ctl("--json", "-o", "PATH", status=1)
        # The others can be spoken to, and found by name.
        assert ctl("get", "only0", "initstate").stdout == "initstate=1\n"
        assert time.monotonic() - started < 30
    finally:
        for pid in hung.pids():
            os.kill(pid, signal.SIGCONT)
    assert [row["path"] for row in json.loads(done.stdout)["disks"]] == [
        str(well.disk(name)) for name in ("disk0", "only0")]
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"zramfsctl: {dead.point}: its daemon is gone")
    assert lines[1] == f"zramfsctl: {hung.point}: its daemon does not answer"


@pytest.mark.root
@pytest.mark.needs("setpriv")
def test_a_user_and_roots_mounts(zramfs, place, user, fuse_for_all):
    shared = zramfs("[disk1]\ndisksize = 1M\n")
    own = zramfs("[disk2]\ndisksize = 1M\n", user=user)
    run("cp", CTL, user.home / "bin")
    prefix = alone_prefix(place)

    def ask(*args):
        return run(*prefix, *user.prefix(), user.home / "bin" / "zramfsctl", *args, check=False,
                   cwd="/")

    done = ask("--raw", "--noheadings", "-o", "PATH")
    assert done.stdout.split() == [str(shared.disk("disk1")), str(own.disk("disk2"))]
    assert (done.stderr, done.returncode) == ("", 0)

    # Root leaves a user's mount out, and may not even look into it: FUSE's rule.
    done = run(*prefix, CTL, "--raw", "--noheadings", "-o", "PATH", check=False)
    assert done.stdout.split() == [str(shared.disk("disk1"))]
    assert (done.stderr, done.returncode) == ("", 0)
    done = run(*prefix, CTL, "list", own.point, check=False)
    assert done.stdout == "" and "ermission denied" in done.stderr and done.returncode == 1

    assert ask("stats", shared.disk("disk1")).stdout.startswith("[disk1]\n")
    assert ask("get", shared.disk("disk1"), "disksize").stdout == f"disksize={MIB}\n"
    for args in (("set", shared.disk("disk1"), "mem_limit=1G"), ("reset", shared.disk("disk1")),
                 ("remove", shared.disk("disk1")), ("resize", shared.disk("disk1"), "2M"),
                 ("add", shared.disk("new")), ("stats", "--reset", shared.point),
                 ("compact", shared.point)):
        done = ask(*args)
        assert done.returncode == 1 and "permission denied" in done.stderr, args
        assert done.stderr.count("\n") == 1, done.stderr
    assert ask("set", own.disk("disk2"), "mem_limit=1G").returncode == 0
    assert ask("get", own.disk("disk2"), "mem_limit").stdout == f"mem_limit={GIB}\n"
    assert ask("add", "--mount", own.point).stdout == f"{own.disk('zram0')}\n"
    assert ask("resize", own.disk("zram0"), "2M").returncode == 0
    assert ask("reset", own.disk("zram0")).returncode == 0
    assert ask("remove", own.disk("zram0")).returncode == 0


# Mounts of other versions, and of others altogether


@pytest.fixture
def pretend(place, ctl):
    """pretend(text, *arguments): what zramfsctl says where that is the text of .stats.json."""
    if os.geteuid() != 0:
        pytest.skip("needs root")

    def call(text, *args, **kwargs):
        with Fake(place / "fake", {".stats.json": text.encode(),
                                   ".control/disk0/compact": b""}):
            return ctl(*args, **kwargs)

    return call


VICTIM = "root:x:0:0:root\n"
NOBODY = 65534


@pytest.mark.root
@pytest.mark.parametrize("prefix", [(), (sys.executable, "-c", OLD_KERNEL)], ids=["", "old"])
def test_links_below_a_mount_are_not_followed(place, ctl, prefix):
    """Root's hand must not be led to other files, and no file of root's be read out."""
    victim = place / "victim"
    victim.write_text(VICTIM)
    lead = Link(victim)
    files = {".stats": lead, ".stats.json": b'{"schema": 1, "disks": [{"name": "disk0", '
             b'"disksize": 4096}]}', ".control/hot_add": lead, ".control/hot_remove": lead,
             ".control/disk0/initstate": b"1\n", "disk0": lead}
    files |= {f".control/disk0/{name}": lead for name in ("compact", "reset", "mem_limit")}
    with Fake(place / "fake", files) as fake:
        for args in (["compact"], ["compact", "disk0"], ["stats"], ["stats", "--reset"],
                     ["reset", "disk0"], ["set", "disk0", "mem_limit=1"], ["add", "new"],
                     ["get", "disk0", "mem_limit"], ["remove", "disk0"], ["attach", "disk0"],
                     ["resize", "disk0", "1M"], ["swapon", "--priority=1", "disk0"],
                     ["detach", "disk0"]):
            done = ctl(*args, status=1, prefix=prefix)
            assert "not a file of zramfs" in done.stderr and done.stderr.count("\n") == 1, args
            assert "x:0:0" not in done.stdout + done.stderr
        assert not fake.writes and not fake.sizes
        assert ctl("get", "disk0", "initstate", prefix=prefix).stdout == "initstate=1\n"
    assert victim.read_text() == VICTIM


@pytest.mark.root
@pytest.mark.parametrize("prefix", [(), (sys.executable, "-c", OLD_KERNEL)], ids=["", "old"])
def test_no_link_on_the_way_either(place, ctl, prefix):
    (place / "zramfs").mkdir()
    (place / "zramfs" / "mem_limit").write_text(VICTIM)
    with Fake(place / "fake", {".control": Link(place)}):
        done = ctl("set", "zramfs", "mem_limit=1G", status=1, prefix=prefix)
        assert done.stderr.count("\n") == 1
        ctl("get", "zramfs", "mem_limit", status=1, prefix=prefix)
    assert (place / "zramfs" / "mem_limit").read_text() == VICTIM


@pytest.mark.root
def test_what_is_no_file(place, ctl):
    with Fake(place / "fake", {".control/zramfs/mem_limit": Pipe()}):
        for args in (["get", "zramfs", "mem_limit"], ["set", "zramfs", "mem_limit=1G"]):
            ctl(*args, status=1, timeout=10)


@pytest.mark.root
def test_roots_names_are_not_for_others_to_make(zramfs, place, ctl, says_no, table):
    """A mount of an ordinary user is left out, unless it is named by its path."""
    mount = zramfs("[disk0]\ndisksize = 1M\n")
    files = {".stats.json": b'{"schema": 1, "disks": [{"name": "disk0", "disksize": 4096}]}',
             ".stats": b"theirs\n", ".control/hot_add": b"", "disk0": b""}
    files |= {f".control/{disk}/{name}": b"0\n" for disk in ("disk0", "disk9", "zramfs")
              for name in ("initstate", "disksize", "compact", "mem_limit")}
    theirs = place / "theirs"
    with Fake(theirs, files, user_id=NOBODY) as fake:
        assert [row["path"] for row in table("-o", "NAME,PATH").values()] == [
            str(mount.disk("disk0"))]
        assert list(table()) == ["disk0"]
        assert ctl("get", "disk0", "disksize").stdout == f"disksize={MIB}\n"
        ctl("get", "zramfs", "mem_limit")
        assert ctl("add", "new").stdout == f"{mount.disk('new')}\n"
        assert ctl("compact").stdout.startswith(f"{mount.point}: ")
        assert "theirs" not in ctl("stats").stdout
        ctl("stats", "--reset")
        assert "theirs" not in ctl("top", "-c1", "-d0.05").stdout
        line = says_no("get", "disk9")
        assert line.startswith("disk9: no such disk") and f"{theirs}/disk9" in line
        assert not fake.writes

        assert list(table("list", theirs)) == [f"{theirs}/disk0"]
        assert ctl("get", theirs / "disk0", "disksize").stdout == "disksize=0\n"
        assert ctl("stats", theirs).stdout == "theirs\n"
        mount.stop()
        assert str(theirs) in says_no("add", "new") and str(theirs) in says_no("get", "zramfs")
        assert json.loads(ctl("--json").stdout) == {"disks": []}


@pytest.mark.root
def test_a_daemon_that_goes_on_and_on(place, ctl, says_no):
    with Fake(place / "fake", {".stats.json": Endless(b" "), ".stats": Endless(b"x\n"),
                               ".control/zramfs/mem_limit": Endless(b"9")}) as fake:
        why = "its daemon says more than zramfsctl takes"
        assert ctl("list", status=1).stderr == f"zramfsctl: {fake.point}: {why}\n"
        assert says_no("stats") == f"{fake.point}: {why}"
        assert says_no("get", "zramfs", "mem_limit") == f"{fake.point}: mem_limit: {why}"


@pytest.mark.root
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_get_of_what_is_long(place, ctl, end):
    """What a large disk has to say of its pages is not held in memory."""
    lines = [b"%d" % i for i in range(2500000)]
    text = b"\n".join(lines) + end
    assert len(text) > 17 * MIB
    with Fake(place / "fake", {".control/disk0/initstate": b"1\n",
                               ".control/disk0/block_state": text}):
        out = subprocess.run([*alone_prefix(place), CTL, "get", "disk0", "block_state"],
                             stdout=subprocess.PIPE, check=True, timeout=60).stdout
    assert out == b"".join(b"block_state=%s\n" % line for line in lines)


@pytest.mark.root
def test_what_a_terminal_would_obey(place, ctl):
    """Escapes, and those of one character: U+009B is a CSI, U+009D an OSC."""
    name = "a\u009b31mred\x1b]0;b"
    odd = "\x1b]0;pwned\a\u009d0;b\u009c\xfe"
    said = odd.encode("latin-1").replace(b"\x9d", b"\xc2\x9d").replace(b"\x9c", b"\xc2\x9c")
    files = {".stats.json": json.dumps({"schema": 1, "disks": [{"name": name}]}).encode(),
             ".stats": b"one\ttwo\n" + said + b"\n", ".control/zramfs/mem_limit": said}
    with Fake(place / "fake\x1b]0;c", files) as fake:
        for args in (["stats"], ["get", "zramfs", "mem_limit"], ["top", "-c1"], ["list"],
                     ["get", f"{fake.point}/no\u009bthing", "mem_limit"], ["check", fake.point]):
            terminal = Terminal([*alone_prefix(place), CTL, *args])
            terminal.end()
            text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.text)  # our own
            assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]", text), (args, text)
            assert args != ["stats"] or "one\ttwo" in text or "one     two" in text
        got = subprocess.run([*alone_prefix(place), CTL, "stats"], stdout=subprocess.PIPE,
                             check=True).stdout
        assert got == files[".stats"], "programs get what there is"


def test_a_newer_and_an_older_daemon(pretend):
    text = json.dumps({"schema": 1, "news": [1, {"a": None}], "disks": [
        {"name": "disk0", "mood": "fine", "disksize": 2 ** 48, "read_latency": {"count": 1},
         "tables": "many"}]})
    row = json.loads(pretend(text, "--json", "--output-all").stdout)["disks"][0]
    assert row["name"] == "disk0" and row["disksize"] == 2 ** 48
    for column in ("data", "total", "ratio", "read-p99", "write-p99", "tables", "algorithm",
                   "failed", "migrated", "format"):
        assert row[column] is None, column
    words = pretend(text, "--raw", "-n", "-o", "NAME,DATA,RATIO,DISKSIZE").stdout.split()
    assert words == ["disk0", "-", "-", "256T"]
    assert "total" in pretend(text, "top", "-c1", "-d0.05").stdout
    pretend(text, "compact")
    assert json.loads(pretend('{"schema": 1}', "--json").stdout) == {"disks": []}


def test_a_bar_of_figures_that_cannot_be(pretend):
    text = json.dumps({"schema": 1, "disks": [{"name": "disk0", "mem_used_total": 2 ** 64 - 2,
                                               "mem_limit": 1}]})
    done = pretend(text, "top", "-c1", "-d0.05", env={"COLUMNS": "140"})
    assert re.search(r"\[#+\]", done.stdout), done.stdout


@pytest.mark.parametrize("text, why", [
    ('{"schema": 2, "disks": []}', "schema 2"), ("", "cannot be read"), ("[1]", "cannot be read"),
    ('{"schema": 1, "disks": [', "cannot be read"), ('{"schema": "1"}', "cannot be read"),
    ("null", "cannot be read"), ("\0", "cannot be read")])
def test_what_is_no_statistics(pretend, text, why):
    for args in ((), ("top", "-c1", "-d0.05"), ("compact",)):
        done = pretend(text, *args, status=0 if args[:1] == ("top",) else 1)
        said = done.stdout if args[:1] == ("top",) else done.stderr
        assert said.count(why) == 1, said


# What is wrong, in one line


@pytest.mark.parametrize("args, line", [
    (["rseet"], "rseet: no such verb; the nearest is reset; see zramfsctl --help"),
    (["xyzzy"], "xyzzy: no such verb; see zramfsctl --help"),
    (["help", "xyzzy"], "xyzzy: no such verb; see zramfsctl --help"),
    (["help", "a", "b"], "help: one verb at most is needed; see zramfsctl --help"),
    (["--josn"], "--josn: unknown option; the nearest is --json; see zramfsctl help list"),
    (["-x"], "-x: unknown option; see zramfsctl help list"),
    (["list", "-bx"], "-x: unknown option; see zramfsctl help list"),
    (["--bytes=1"], "--bytes=1: takes no argument; see zramfsctl help list"),
    (["--output"], "--output: needs an argument; see zramfsctl help list"),
    (["-o"], "-o: needs an argument; see zramfsctl help list"),
    (["list", "--out", "NAME"], "--out: short for several options; see zramfsctl help list"),
    (["--json", "-xb"], "-x: unknown option; see zramfsctl help list"),
    (["--json", "--raw"], "--json and --raw exclude each other; see zramfsctl help list"),
    (["reset", "--force"], "--force: unknown option; see zramfsctl help reset"),
    (["--bytes", "reset"], "--bytes: unknown option; see zramfsctl help reset"),
    (["remove"], "the name of a disk is needed; see zramfsctl help remove"),
    (["reset"], "the name of a disk is needed; see zramfsctl help reset"),
    (["init"], "the name of a disk is needed; see zramfsctl help init"),
    (["get"], "a name is needed; see zramfsctl help get"),
    (["set", "disk0"], "a name and ATTR=VALUE are needed; see zramfsctl help set"),
    (["resize", "disk0"], "the name of a disk and a size are needed; see zramfsctl help resize"),
    (["resize", "-x", "1M"], "-x: unknown option; see zramfsctl help resize"),
    (["resize", "disk0", "1Q"], "disk0: 1Q: not a size; allowed: SIZE, +SIZE or -SIZE: bytes, a "
     "number with K, M, G, T, P or E, or a percentage of RAM (50%)"),
    (["resize", "disk0", "300T"], "disk0: 300T: too large: up to 256T; allowed: SIZE, +SIZE or "
     "-SIZE: bytes, a number with K, M, G, T, P or E, or a percentage of RAM (50%)"),
    (["resize", "disk0", "-64M"],
     "disk0: -64M would leave nothing; to drop all data: zramfsctl reset"),
    (["compact", "a", "b"], "one name at most is needed; see zramfsctl help compact"),
    (["top", "--delay", "0"],
     "--delay 0: allowed: 0.05 to 86400 seconds; see zramfsctl help top"),
    (["top", "--delay", "nan"],
     "--delay nan: allowed: 0.05 to 86400 seconds; see zramfsctl help top"),
    (["top", "--count", "-1"], "--count -1: allowed: a number above 0; see zramfsctl help top"),
    (["set", "disk0", "mem_limt=1"],
     "disk0: no attribute mem_limt; the nearest is mem_limit; see zramfsctl help set"),
    (["set", "disk0", "threads=1"], "disk0: no attribute threads; see zramfsctl help set"),
    (["set", "disk0", "mem_limit"], "mem_limit: allowed: ATTR=VALUE; see zramfsctl help set"),
    (["set", "disk0", "mode=1", "mode=2"], "mode: given twice; see zramfsctl help set"),
    (["set", "disk0", "mm_stat=1"], "disk0: mm_stat: it is read, not set"),
    (["set", "disk0", "mode=1", "mem_limit=x"], "disk0: mem_limit=x: not a value for it; allowed: "
     "0 for none, or up to 256T: bytes, a number with K, M, G, T, P or E, or a percentage of RAM "
     "(50%)"),
    (["set", "disk0", "mode=1000"],
     "disk0: mode=1000: out of range; allowed: an octal number up to 0777"),
    (["set", "zramfs", "threads=2"], "{point}: threads: it is set in the configuration; allowed: "
     "when the daemon starts"),
    (["get", "disk0", "nope"], "disk0: no attribute nope; see zramfsctl help get"),
    (["stats", "--reset", "disk0"], "disk0: --reset is for all disks of a mount; allowed: {point}; "
     "see zramfsctl help stats"),
    (["add", "new", "format=ext4"],
     "new: format=ext4: not a value for it; allowed: none or swap"),
    (["add", "new", "reset=1"], "new: reset: it cannot be said of a disk that is to be made"),
    (["add", "new", "formt=swap"],
     "new: no attribute formt; the nearest is format; see zramfsctl help add"),
])
def test_wrong_usage(mount, says_no, args, line):
    before = mount.get("disk0", "mode"), mount.get("disk0", "mem_limit")
    assert says_no(*args, status=2) == line.format(point=mount.point)
    assert (mount.get("disk0", "mode"), mount.get("disk0", "mem_limit")) == before
    assert os.listdir(mount.point / ".control").count("new") == 0


@pytest.mark.parametrize("args, line", [
    (["add", "disk0"], "disk0: there is a disk of that name already"),
    (["add", ".x"], ".x: a name must not begin with a dot"),
    (["add", "zramfs"],
     "zramfs: this name has another meaning in .control or in a configuration"),
    (["add", "--mount", "/tmp", "new"], "/tmp: not a zramfs mount"),
    (["add", "/tmp/new"], "/tmp: not a zramfs mount"),
    (["init", "disk0"], "disk0: it has a size already; allowed: zramfsctl resize, or reset first"),
    (["set", "disk0", "disksize=1G"],
     "disk0: disksize: the disk has a size already; allowed: while the disk has no size"),
    (["set", "disk0", "mode=640", "comp_algorithm=zstd"],
     "disk0: comp_algorithm: the disk has a size already; allowed: while the disk has no size"),
    (["set", "disk0", "writeback=all"],
     "disk0: writeback=all: refused; allowed: page_index=N, page_indexes=LO-HI, type=idle, "
     "huge, huge_idle or incompressible; with a backing_dev"),
    (["get", "disk0", "reset"], "disk0: reset: it is written, not read"),
    (["remove", "nope"], "nope: no such disk"),
    (["resize", "nope", "1M"], "nope: no such disk"),
])
def test_refusals(mount, says_no, args, line):
    mode = mount.get("disk0", "mode")
    assert says_no(*args) == line
    assert mount.get("disk0", "mode") == mode  # nothing was set before the refusal


def test_swapon_all_where_none_is_for_swap(zramfs, says_no):
    one = zramfs("[disk0]\ndisksize = 8M\n")
    assert says_no("swapon", "--all") == f"{one.point}: none of its disks has format = swap"
    zramfs("[disk0]\ndisksize = 8M\n")
    assert says_no("swapon", "--all") == "none of the disks of 2 mounts has format = swap"


def test_options_stand_anywhere(filled, ctl):
    want = ctl("list", "--raw", "--bytes", "-o", "NAME,DISKSIZE", "disk1").stdout
    for args in (["--raw", "list", "disk1", "--bytes", "-oNAME,DISKSIZE"],
                 ["-o", "NAME,DISKSIZE", "--raw", "-b", "list", "disk1"],
                 ["list", "--output", "NAME,DISKSIZE", "--raw", "-b", "--", "disk1"]):
        assert ctl(*args).stdout == want, args
    assert "Usage: zramfsctl list " in ctl("list", "--help").stdout
    assert ctl("help", "add").stdout == ctl("add", "x", "--help").stdout
    assert ctl("--help").stdout == ctl("help").stdout == ctl("-h").stdout
    assert re.fullmatch(r"zramfsctl \d+\.\d+\.\d+\n", ctl("--version").stdout)
    for verb in ctl("help", "--list-verbs").stdout.split():
        text = ctl("help", verb).stdout
        assert text.startswith("Usage: zramfsctl ") and text.count("\n") >= 2, verb
        assert max(map(len, text.splitlines())) <= 80, verb
    assert ctl("help", "--help").stdout == ctl("help").stdout


def test_standard_output_that_is_full(filled, place):
    with open("/dev/full", "w") as full:
        for args in ([], ["stats"], ["help"], ["top", "-c", "1", "-d", "0.05"]):
            done = subprocess.run([*alone_prefix(place), CTL, *args], stdout=full, timeout=30,
                                  stderr=subprocess.PIPE, text=True)
            assert done.returncode == 1, args
            assert re.fullmatch("zramfsctl: standard output: [^\n]+\n", done.stderr), args


# The verbs


def test_add_and_remove(mount, ctl, says_no):
    made = [ctl("add").stdout for _ in range(3)]
    assert made == [f"{mount.disk(f'zram{i}')}\n" for i in range(3)]
    ctl("remove", "zram1")
    assert ctl("add", "mem_limit=1M").stdout == f"{mount.disk('zram1')}\n"
    assert mount.get("zram1", "mem_limit") == f"{MIB}\n"

    path = mount.disk("two words")
    line = ctl("add", path, "disksize=10%", "comp_algorithm=zstd", "algorithm_params=level=3",
               "label=a b", "format=swap", "mode=0640").stdout
    assert line == f"{path}\n" and path.stat().st_mode & 0o777 == 0o640
    assert abs(path.stat().st_size - memory_total() // 10) <= PAGE
    assert "[zstd]" in mount.get("two words", "comp_algorithm")
    assert mount.get("two words", "label") == "a b\n"

    with Holder(mount.disk("zram0")):
        done = ctl("remove", "zram0", "zram1", "nope", status=1)
        assert done.stderr.splitlines() == [
            f"zramfsctl: zram0: cannot be removed: in use: somebody has {mount.disk('zram0')} open",
            "zramfsctl: nope: no such disk"]
    assert mount.disk("zram0").exists() and not mount.disk("zram1").exists()
    assert 'with a quote' in says_no("add", 'quo"te', status=2)


def test_add_says_what_is_wrong_with_a_backing_file(mount, place, says_no):
    """Not that the disk is there already, or the daemon too old, which have the same errors."""
    taken, nowhere, own = place / "taken", place / "nowhere", mount.disk("backing")
    taken.write_bytes(b"somebody needs this" * 100000)
    for args in ((), ("new",)):
        disk = args[0] if args else "zram0"
        for path, words in ((taken, "there is something on it; the daemon's log says what"),
                            (nowhere, "there is no such file, and no backing_size to make one of"),
                            (own, "it is on a mount of zramfs")):
            said = says_no("add", *args, f"backing_dev={path}")
            assert said == f"{disk}: backing_dev={path}: {words}"
    assert mount.said().count(f"{taken}: has data in it") == 2  # once for each that was asked for
    made = place / "made"
    assert says_no("add", "disk0", f"backing_dev={made}", "backing_size=1M") == \
        "disk0: there is a disk of that name already"


def test_set_and_get(mount, ctl):
    ctl("set", "disk0", "swap_priority=-1", "mem_limit=50%", "mode=600")
    assert abs(int(mount.get("disk0", "mem_limit")) - memory_total() // 2) <= PAGE
    done = ctl("get", "disk0", "swap_priority", "mode")
    assert done.stdout == "swap_priority=-1\nmode=0600\n"
    got = dict(line.split("=", 1) for line in ctl("get", "disk0").stdout.splitlines())
    for name, value in got.items():
        assert mount.get("disk0", name).rstrip("\n") == value, name
    assert {"disksize", "mem_limit", "zero_pages", "initstate"} <= got.keys()
    assert ctl("get", "disk0", "io_stat").stdout == "io_stat=" + mount.get("disk0", "io_stat")
    fragmentation = mount.get("disk0", "fragmentation").splitlines()
    assert ctl("get", "disk0", "fragmentation").stdout.splitlines() == [
        f"fragmentation={line}" for line in fragmentation]

    ctl("set", "zramfs", "mem_limit=1G")
    assert (mount.point / ".control/zramfs/mem_limit").read_text() == f"{GIB}\n"
    assert f"mem_limit={GIB}\n" in ctl("get", mount.point).stdout
    # What the kernel's zram takes goes through as it is.
    ctl("set", "disk0", "mem_used_max=0", "compact=1", "idle=all")
    ctl("set", "disk0", "reset=1")
    assert mount.get("disk0", "initstate") == "0\n"


def test_everything_at_once_in_the_right_order(mount, ctl):
    """disksize ends what can be set, and parameters are those of the algorithm set with them."""
    ctl("reset", "disk0")
    ctl("set", "disk0", "disksize=8M", "algorithm_params=level=19", "label=x", "format=swap",
        "comp_algorithm=zstd")
    assert mount.get("disk0", "disksize") == f"{8 * MIB}\n"
    assert "Algorithm:\t    zstd level=19\n" in ctl("stats", "disk0").stdout
    assert run("blkid", "-p", "-o", "value", "-s", "LABEL", mount.disk("disk0")).stdout == "x\n"


def test_parameters_of_the_algorithm_the_disk_has(mount, ctl, says_no):
    ctl("reset", "disk0")
    ctl("set", "disk0", "comp_algorithm=lz4hc")
    assert says_no("set", "disk0", "algorithm_params=level=19", status=2).startswith(
        "disk0: algorithm_params=level=19: ")
    ctl("set", "disk0", "algorithm_params=level=9")
    ctl("init", "disk0", "disksize=1M")
    assert "Algorithm:\t   lz4hc level=9\n" in ctl("stats", "disk0").stdout


def test_init(mount, ctl):
    ctl("add", "fresh")
    ctl("init", "fresh", "comp_algorithm=lzo")
    size = int(mount.get("fresh", "disksize"))
    assert abs(size - memory_total() // 4) <= PAGE and "[lzo]" in mount.get("fresh",
                                                                            "comp_algorithm")
    ctl("add", "other")
    ctl("init", "other", "disksize=5000")
    assert mount.get("other", "disksize") == "8192\n"


def test_reset_of_a_disk_that_is_open(mount, ctl, says_no):
    write(mount, "disk0", text_pages(10, 1))
    with Holder(mount.disk("disk0")):
        assert says_no("reset", "disk0") == (
            f"disk0: cannot be reset: in use: somebody has {mount.disk('disk0')} open")
        assert mount.mm_stat("disk0").orig_data_size == 10 * PAGE
    ctl("reset", "disk0")
    assert mount.get("disk0", "disksize") == "0\n"


def test_resize(mount, ctl, says_no):
    def size():
        return mount.disk("disk0").stat().st_size

    write(mount, "disk0", text_pages(10, 1))
    assert ctl("resize", "disk0", "+1M").stdout == "disk0: 65M, was 64M\n" and size() == 65 * MIB
    assert ctl("resize", "disk0", "-2M").stdout == "disk0: 63M, was 65M\n" and size() == 63 * MIB
    ctl("resize", "disk0", "5000")
    assert size() == 5000 and mount.mm_stat("disk0").orig_data_size == 2 * PAGE
    ctl("resize", "disk0", "50%")
    assert size() == memory_total() // 100 * 50 + memory_total() % 100 * 50 // 100
    with Holder(mount.disk("disk0")):
        assert "in use: somebody has" in says_no("resize", "disk0", "1M")
        ctl("resize", "disk0", "+1M")


def test_stats(filled, ctl):
    def keys(text):
        return re.findall(r"^\[.*|^\w+:|^$", text, re.M)

    text = (filled.point / ".stats").read_text()
    assert keys(ctl("stats").stdout) == keys(ctl("stats", "zramfs").stdout) == keys(text)
    section = text[text.index("[disk1]"):text.index("\n[disk2]")]
    assert keys(ctl("stats", "disk1").stdout) == keys(section) and section.count("[") == 1
    both = ctl("stats", "disk1", "disk0").stdout
    assert both.index("[disk1]") < both.index("\n\n[disk0]\n")

    def num_writes():
        return int(re.search(r"^NumWrites:\t *(\d+)$", ctl("stats", "disk0").stdout, re.M)[1])

    assert num_writes() == int(filled.get("disk0", "num_writes")) >= 4 * MIB // PAGE
    ctl("stats", "--reset")
    assert num_writes() == 0
    write(filled, "disk0", text_pages(1, 1))
    assert num_writes() == 1
    ctl("stats", "-r", filled.point)
    assert num_writes() == 0
    assert filled.mm_stat("disk0").orig_data_size == 4 * MIB


def test_stats_of_several_mounts(zramfs, ctl):
    pair = [zramfs("[disk0]\ndisksize = 1M\n") for _ in range(2)]
    text = ctl("stats").stdout
    assert re.findall("==> (.*) <==", text) == [str(mount.point) for mount in pair]
    assert text.count("[disk0]") == text.count("[total]") == 2


def test_compact(filled, ctl):
    write(filled, "disk1", text_pages(16 * MIB // PAGE, 3))
    for page in range(0, 4096, 2):
        fd = os.open(filled.disk("disk1"), os.O_RDWR)
        try:
            os.pwrite(fd, bytes(PAGE), page * PAGE)
        finally:
            os.close(fd)
    line = ctl("compact", "disk0").stdout
    found = re.fullmatch(rf"{filled.point}: (\S+)B? came back: (\S+), was (\S+)\n", line)
    assert found, line
    after = json.loads((filled.point / ".stats.json").read_text())["total"]["store_memory"]
    assert ctl("compact").stdout.startswith(f"{filled.point}: ")
    assert after < 32 * MIB
    ctl("reset", "disk0", "disk1", "disk2")
    assert "0B came back" in ctl("compact").stdout
    assert ctl("compact", filled.point).stdout.count("\n") == 1


# Loop devices


@pytest.fixture
def attached(mount, machine):
    """disk0 of the mount on a loop device: (mount, device)."""
    device = run("losetup", "--find", "--show", "--direct-io=on", mount.disk("disk0")).stdout.strip()
    yield mount, device
    run("losetup", "-d", device, check=False)
    wait_until(lambda: not pathlib.Path("/sys/block", device[5:], "loop").exists(),
               what=f"{device} to be free")


@pytest.mark.loop
def test_what_uses_a_disk_is_named(attached, ctl, table, says_no):
    mount, device = attached
    path = mount.disk("disk0")
    why = f"in use: {device} is attached to it; first: zramfsctl detach {path}"
    assert says_no("reset", "disk0") == f"disk0: cannot be reset: {why}"
    assert says_no("remove", "disk0") == f"disk0: cannot be removed: {why}"
    assert says_no("resize", "disk0", "1M") == f"disk0: cannot be resized: {why}"
    row = table("-o", "NAME,DEVICE,MOUNTPOINT")["disk0"]
    assert row == {"name": "disk0", "device": device, "mountpoint": None}
    assert ctl("get", device, "disksize").stdout == f"disksize={64 * MIB}\n"
    assert list(table("list", device)) == ["disk0"]


@pytest.mark.loop
@pytest.mark.needs("mkfs.ext4")
def test_the_mount_point_on_top(attached, ctl, table, says_no, place):
    mount, device = attached
    run("mkfs.ext4", "-q", device)
    top = place / "on top"
    top.mkdir()
    run("mount", device, top)
    try:
        assert table("-o", "NAME,MOUNTPOINT")["disk0"]["mountpoint"] == str(top)
        assert says_no("reset", "disk0").endswith(f"and mounted; first: umount {top}")
        assert str(top) in ctl().stdout
    finally:
        run("umount", top)


@pytest.mark.loop
def test_growing_under_a_loop_device(attached, ctl):
    mount, device = attached
    lines = ctl("resize", "disk0", "+64M").stdout.splitlines()
    assert lines == ["disk0: 128M, was 64M", f"{device}: knows the new size"]
    assert run("blockdev", "--getsize64", device).stdout == f"{128 * MIB}\n"


@pytest.mark.loop
def test_a_loop_device_on_something_else(mount, place, says_no):
    other = place / "file"
    other.write_bytes(bytes(MIB))
    device = run("losetup", "--find", "--show", other).stdout.strip()
    try:
        assert says_no("reset", device) == (
            f"{device}: it is on {other}, which is no disk of zramfs")
    finally:
        run("losetup", "-d", device)


# top


def blocks(text):
    """Blocks of plain top: [{NAME: {column: word}}]."""
    found = []
    for block in text.rstrip("\n").split("\n\n"):
        lines = block.splitlines()
        rows = {}
        for line in lines[1:]:
            name, *words = re.sub(r"\[.*\]", "", line).split()
            rows[name] = dict(zip(("data", "compr", "ratio", "memory", "reads", "writes",
                                   "read_p99", "write_p99"), words, strict=True))
        found.append(rows)
    return found


def test_top_plain(filled, ctl):
    text = ctl("top", "--count", "2", "--delay", "0.1").stdout
    assert "\033" not in text and len(blocks(text)) == 2
    for rows in blocks(text):
        assert list(rows) == ["disk0", "disk1", "disk2", "total"]
        assert rows["disk0"]["data"] == "4M" and rows["disk0"]["memory"].endswith("/256K")
        assert rows["disk2"] == {"data": "0B", "compr": "0B", "ratio": "-", "memory": "0B/-",
                                 "reads": "0.0", "writes": "0.0", "read_p99": "-",
                                 "write_p99": "-"}
        assert rows["total"]["data"] == "5M"
    only = blocks(ctl("top", "-c1", "-d0.1", "disk1").stdout)[0]
    assert list(only) == ["disk1", "total"] and only["total"]["data"] == "1M"


@pytest.mark.parametrize("width", [40, 80, 140])
def test_top_fits(filled, ctl, width):
    text = ctl("top", "-c1", "-d0.1", env={"COLUMNS": str(width)}).stdout
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "MEM/LIMIT" in lines[0] and ("W p99" in lines[0]) == (width >= 80)
    if width >= 80:
        bar = re.search(r"\[(#* *)\]", lines[1])[1]
        stat = filled.mm_stat("disk0")
        assert bar.count("#") == int(stat.mem_used_total / stat.mem_limit * len(bar) + 0.5)
        assert len(bar) >= 6 and "[" not in lines[2]


def rest_of(process):
    with process.stdout:
        text = process.stdout.read()
    assert process.wait(timeout=30) == 0
    return text


def test_top_rates(filled, place):
    process = subprocess.Popen([*alone_prefix(place), CTL, "top", "-c", "4", "-d", "0.5"],
                               stdout=subprocess.PIPE, text=True)
    head = process.stdout.readline()  # the first block is there: what follows is seen
    write(filled, "disk1", random_pages(16 * MIB // PAGE, 3), 0)
    rates = [float(rows["disk1"]["writes"]) for rows in blocks(head + rest_of(process))]
    assert sum(rates) * 0.5 == pytest.approx(16, rel=0.15)


def test_top_after_a_reset_of_the_counters(filled, place):
    process = subprocess.Popen([*alone_prefix(place), CTL, "top", "-c", "3", "-d", "0.3"],
                               stdout=subprocess.PIPE, text=True)
    head = process.stdout.readline()
    (filled.point / ".stats").write_text("0")
    words = [rows["disk0"]["writes"] for rows in blocks(head + rest_of(process))]
    assert words == ["0.0"] * 3


def test_top_when_mounts_come_and_go(zramfs, ctl, place):
    assert blocks(ctl("top", "-c1", "-d0.05").stdout)[0].keys() == {"total"}
    dead = zramfs("[disk0]\ndisksize = 1M\n")
    dead.status = None
    dead.kill()
    dead.wait()
    text = ctl("top", "-c1", "-d0.05", env={"COLUMNS": "200"}).stdout
    assert f"\n{dead.point}: its daemon is gone" in text


class Terminal:
    """A program in a pseudo terminal, and all that it wrote."""

    def __init__(self, args, rows=24, columns=80, env=None):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execvpe(str(args[0]), [str(arg) for arg in args],
                       {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})})
        self.text, self.at = "", 0

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def modes(self):
        return termios.tcgetattr(self.fd)[3] & (termios.ICANON | termios.ECHO)

    def send(self, text):
        os.write(self.fd, text.encode())

    def _read(self, timeout):
        if not select.select([self.fd], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError as error:
            assert error.errno == errno.EIO
            data = b""
        self.text += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, timeout=20):
        """Wait for it, behind what was found last. Return: the match."""
        deadline = time.monotonic() + timeout
        while True:
            found = re.compile(pattern, re.S).search(self.text, self.at)
            if found:
                self.at = found.end()
                return found
            assert time.monotonic() < deadline and self._read(0.2), (
                f"no {pattern} in {self.text[self.at:]!r}")

    def end(self, timeout=20):
        """Wait for the end. Return: the exit status."""
        deadline = time.monotonic() + timeout
        while self._read(0.2):
            assert time.monotonic() < deadline, f"still running: {self.text[-500:]!r}"
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return status


def screen(frame):
    """Lines of one frame as they stand on the screen."""
    return [re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", line) for line in frame.split("\r\n")]


def test_top_on_a_terminal(filled, place):
    terminal = Terminal([*alone_prefix(place), CTL, "top", "-d", "0.2"])
    frame = terminal.expect("\033\\[H(.*?)q: end\033\\[J")[1]  # at once, rates unknown
    assert terminal.modes() == 0
    assert terminal.text.startswith("\033[?1049h\033[?25l")
    lines = screen(frame)
    assert lines[0].split()[:4] == ["NAME", "DATA", "COMPR", "RATIO"]
    assert [line.split()[0] for line in lines[1:5]] == ["disk0", "disk1", "disk2", "total"]
    assert max(map(len, lines)) <= 80 and re.search(r"\[#+ *\]", lines[1])
    assert re.search(r" - +- +", lines[1]) and "\033[32m" in frame
    second = screen(terminal.expect("\033\\[H(.*?)q: end\033\\[J")[1])
    assert " 0.0 " in second[1]

    terminal.resize(6, 50)
    narrow = screen(terminal.expect("\033\\[H\033\\[K\033\\[7mNAME {5,13}RATIO"
                                    "(.*?)q: end\033\\[J")[1])
    assert len(narrow) <= 6 and max(map(len, narrow)) <= 50
    assert any("and 1 more" in line for line in narrow)

    terminal.send("q")
    terminal.expect("\033\\[\\?25h\033\\[\\?1049l")
    assert terminal.end() == 0


@pytest.mark.parametrize("how", ["\x03", signal.SIGTERM])
def test_top_restores_the_terminal(filled, place, how):
    shell = Terminal([*alone_prefix(place), "bash", "--norc", "--noprofile", "-i"],
                     env={"PS1": "$ "})
    shell.expect(r"\$ ")
    shell.send(f"{CTL} top -d 0.2; echo status=$?\n")
    shell.expect("q: end")
    wait_until(lambda: shell.modes() == 0, what="top to read keys")
    # Stopped and continued, the shell has its terminal in between.
    shell.send("\x1a")
    shell.expect(r"\?1049l.*Stopped")
    shell.send("fg\n")
    shell.expect(r"\?1049h.*q: end")
    if how == "\x03":
        shell.send(how)
    else:
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if path.read_bytes() == f"{CTL}\0top\0-d\x000.2\0".encode() and os.getsid(
                        int(path.parent.name)) == shell.pid:
                    os.kill(int(path.parent.name), how)
    shell.expect(r"\?1049l")
    shell.expect(r"\$ ")
    shell.send("stty -a | tr ' ;' '\\n\\n' | grep -x -e '-*icanon' -e '-*echo' | sort; exit\n")
    shell.expect("\recho\r\nicanon\r\n")
    shell.end()


def test_errors_have_colour_on_a_terminal_alone(mount, place):
    for env, red in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        terminal = Terminal([*alone_prefix(place), CTL, "reset", "nope"], env=env)
        terminal.expect("zramfsctl:")
        assert terminal.end() == 1
        assert ("\033[1;31mzramfsctl:" in terminal.text) == red


def test_the_list_fits_the_terminal(zramfs, place):
    zramfs("[name-of-30-characters-xxxxxxxxx]\ndisksize = 1G\n")
    for columns, usual in ((80, False), (140, True)):
        terminal = Terminal([*alone_prefix(place), CTL], columns=columns, env={"COLUMNS": ""})
        assert terminal.end() == 0
        lines = terminal.text.split("\r\n")
        assert max(map(len, lines)) <= columns and ("ALGORITHM" in lines[0]) == usual


# Completion, typed in a shell


COMPLETION = "/usr/share/bash-completion/bash_completion"


@pytest.fixture
def typed(place):
    """typed(text): the words that the line has after TAB, as a command would get them."""
    if lacking("bash") or not os.path.exists(COMPLETION):
        pytest.skip("no bash-completion")
    rc = place / "bashrc"
    rc.write_text(f"PATH={CTL.parent}:$PATH PS1='$ '\nsource {COMPLETION}\n"
                  f"source {ROOT}/contrib/completion/zramfsctl\n"
                  "bind 'set bell-style none' 'set page-completions off' "
                  "'set completion-query-items 1000' 'set enable-bracketed-paste off'\n"
                  "show() { printf '<%s>' \"$@\"; echo; }\n")
    shells = []

    def shell():
        """Begun when it is needed: it sees the mounts that are there then."""
        if not shells:
            shells.append(Terminal([*alone_prefix(place), "bash", "--noprofile", "--rcfile", rc,
                                    "-i"], rows=50, columns=1000))
            shells[0].expect(r"\$ ")
        return shells[0]

    def words(text):
        # Home, "show " before the line, Enter.
        shell().send(f"{text}\t\x01show \n")
        line = shell().expect("\r\n((?:<[^\r\n]*>)+)\r\n")[1]
        shell().expect(r"\$ ")
        return line[1:-1].split("><")[1:]

    def choices(text):
        shell().send(f"{text}\t\t")
        shell().expect("\r\n")
        line = shell().expect(r"(.*?)\r\n\$ ")[1]
        shell().send("\x15")
        return line.split()

    words.choices = choices
    yield words
    for each in shells:
        each.send("\x15exit\n")
        each.end()


def test_completion_of_verbs_options_and_columns(mount, typed):
    assert typed("zramfsctl rese") == ["reset"]
    assert typed("zramfsctl upg") == ["upgrade"]
    assert typed("zramfsctl upgrade --a") == ["upgrade", "--all"]
    assert typed("zramfsctl help com") == ["help", "compact"]
    assert typed("zramfsctl --js") == ["--json"]
    assert typed("zramfsctl add --mo") == ["add", "--mount="]
    assert typed("zramfsctl --output=NAME,disks") == ["--output=NAME,DISKSIZE"]
    assert typed("zramfsctl -o +fr") == ["-o", "+FRAG"]
    assert set(typed.choices("zramfsctl re")) == {"remove", "reset", "resize"}


def test_completion_of_disks_and_attributes(zramfs, typed, ctl):
    mount = zramfs("[disk0]\ndisksize = 1M\n[plain]\ndisksize = 1M\n")
    for name in ("two words", "schön", "it's"):
        ctl("add", mount.disk(name))
    assert typed("zramfsctl reset di") == ["reset", "disk0"]
    assert typed("zramfsctl reset tw") == ["reset", "two words"]
    assert typed("zramfsctl reset it") == ["reset", "it's"]
    assert typed("zramfsctl reset two\\ wo") == ["reset", "two words"]
    assert typed("zramfsctl reset it\\'") == ["reset", "it's"]
    assert typed("zramfsctl reset sch") == ["reset", "schön"]
    assert typed(f"zramfsctl reset {mount.point}/pl") == ["reset", str(mount.disk("plain"))]
    assert typed("zramfsctl set disk0 mem_l") == ["set", "disk0", "mem_limit="]
    assert typed("zramfsctl --bytes list pl") == ["--bytes", "list", "plain"]
    assert typed("zramfsctl get disk0 mm") == ["get", "disk0", "mm_stat"]
    assert typed("zramfsctl get zramfs thr") == ["get", "zramfs", "threads"]
    assert typed("zramfsctl set zramfs m") == ["set", "zramfs", "mem_limit="]
    assert typed("zramfsctl add new comp_") == ["add", "new", "comp_algorithm="]
    assert typed(f"zramfsctl add --mount {str(mount.point)[:-1]}") == [
        "add", "--mount", str(mount.point)]
    assert typed(f"zramfsctl upgrade {str(CTL)[:-1]}") == ["upgrade", str(CTL)]
    assert typed(f"zramfsctl upgrade {CTL} {str(mount.point)[:-1]}") == [
        "upgrade", str(CTL), str(mount.point)]
    assert "disk0" in typed.choices("zramfsctl remove ")


@pytest.mark.needs("bash")
@pytest.mark.parametrize("word, plain", [
    ("two\\ wo", "two wo"), ("'two wo", "two wo"), ('"two wo"', "two wo"), ("it\\'s", "it's"),
    ("a'b'\"c\"d", "abcd"), ("'a\"b'", 'a"b'), ("'a\\b'", "a\\b"), ("a\\", "a"),
    ("sch\u00f6n", "sch\u00f6n"),
    ('"$(touch touched)"', "$(touch touched)"), ("'x'`touch touched`", "x`touch touched`"),
    ("\\''$(touch touched)", "'$(touch touched)")])
def test_completion_runs_nothing_of_what_is_typed(place, word, plain):
    script = ROOT / "contrib/completion/zramfsctl"
    done = run("bash", "-c", 'source "$1"; cur=$2; _zramfsctl_offer <<<"$3more"; '
               '_zramfsctl_scope "$2" >&2; _zramfsctl_unquote "$2"; printf "%s" "$plain"; '
               '[[ ${#COMPREPLY[@]} == 1 ]]', "bash", script, word, plain,
               cwd=place, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout == plain and done.stderr == "disk\n"
    assert not (place / "touched").exists()


def test_completion_knows_every_verb_and_option(ctl):
    script = (ROOT / "contrib/completion/zramfsctl").read_text()
    for verb in ctl("help", "--list-verbs").stdout.split():
        text = ctl("help", verb).stdout
        for option in re.findall(r"^ +(?:-\w, )?(--[a-z-]+=?)", text, re.M):
            case = re.search(rf"^\t{verb}\) echo \"(.*)\"", script, re.M)
            assert verb == "help" or case and option in case[1].split(), (verb, option)
