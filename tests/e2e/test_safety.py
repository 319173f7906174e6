"""What keeps the daemon from needing memory: locked, not killed, not dumped; and what is refused.

What the kernel says of the processes is compared with what .control/zramfs/safety says: neither is
taken from the other.
"""

import collections
import errno
import os
import pathlib
import re
import resource
import signal

import pytest

from data import random_pages, text_pages
from host import Cgroup, errno_of, lacking, run, wait_until
from kills import generation, keeper, kill, next_generation
from zramfs import BINARY, CTL, KIB, MIB, PAGE, UNSAFE

CONFIG = "[disk0]\ndisksize = 64M\n"
LOCKS = ["memory", "store", "buffers", "future"]
NAMES = [*LOCKS, "noswap", "realtime", "io_flusher", "oom_score_adj", "dumps", "cgroup", "offsets",
         "resend"]

# A thread reads requests into it, and answers from there.
REQUEST_BYTES = MIB + 4 * KIB

STORE = "/memfd:zramfs (deleted)"
CAP_IPC_LOCK, CAP_SYS_ADMIN, CAP_SYS_NICE, CAP_SYS_RESOURCE = 14, 21, 23, 24

Mapping = collections.namedtuple("Mapping", "permissions path size rss swap locked flags")


def process(pid, name):
    return pathlib.Path("/proc", str(pid), name)


def status(pid, key):
    return re.search(rf"^{key}:\s*(\S+)", process(pid, "status").read_text(), re.M)[1]


def has(capability):
    return bool(int(status("self", "CapEff"), 16) >> capability & 1)


def mappings(pid):
    """What smaps says of each, in bytes."""
    found, rows = [], None
    for line in process(pid, "smaps").read_text().splitlines():
        word, *rest = line.split()
        if not word.endswith(":"):
            rows = {"permissions": rest[0], "path": " ".join(rest[4:])}
            found.append(rows)
        elif word == "VmFlags:":
            rows[word] = rest
        else:
            rows[word] = int(rest[0]) * KIB if rest[0].isdigit() else None
    return [Mapping(row["permissions"], row["path"], row["Size:"], row["Rss:"], row["Swap:"],
                    row["Locked:"], row["VmFlags:"]) for row in found]


def buffers(pid):
    """Between pages that nobody may touch: their sizes are their own."""
    return [one for one in mappings(pid) if one.permissions == "rw-p" and not one.path and
            one.size == REQUEST_BYTES]


def store(pid):
    return [one for one in mappings(pid) if one.path == STORE]


def in_store(pid):
    """Bytes of the memfd, by itself."""
    return next(os.stat(fd).st_blocks * 512 for fd in process(pid, "fd").iterdir()
                if os.readlink(fd) == STORE)


def safety(mount):
    """{measure: None or what is missing}, in the order of the file."""
    path = mount.control("zramfs", "safety")
    found = {}
    for line in run("cat", path, user=mount.user).stdout.splitlines():
        name, word, *rest = line.split(" ", 2)
        assert name not in found and word in ("ok", "refused"), line
        assert bool(rest) == (word == "refused"), line
        found[name] = rest[0] if rest else None
    return found


def write_all(path, data):
    with open(path, "r+b", buffering=0) as file:
        for at in range(0, len(data), MIB):
            file.write(data[at:at + MIB])


@pytest.fixture
def sanitized():
    symbols = BINARY.read_bytes()
    return b"__asan_init" in symbols or b"__tsan_init" in symbols


@pytest.fixture
def locking(sanitized):
    if sanitized:
        pytest.skip("sanitizers have more address space than can be locked")
    if not has(CAP_IPC_LOCK):
        pytest.skip("no CAP_IPC_LOCK")


# Of root's daemon


@pytest.mark.root
def test_buffers_are_locked_whole(mount, locking):
    served = generation(mount)
    found = buffers(served.pid)
    n_threads = int(mount.get("zramfs", "threads"))
    assert len(found) >= n_threads
    for one in found:
        assert one.locked == one.rss == one.size and one.swap == 0, one


@pytest.mark.root
@pytest.mark.parametrize("killed", [False, True])
def test_the_store_is_locked_and_no_more_of_it_is_there(zramfs, locking, killed):
    """All of it in memory and mapped, what was there before the worker as well; and a store of
    offsets that is mostly holes stays so."""
    mount = zramfs(CONFIG + "[swap0]\ndisksize = 64M\nformat = swap\n")
    write_all(mount.disk("disk0"), random_pages(16 * MIB // PAGE) + text_pages(4096))
    if killed:
        served, _ = kill(mount)
        next_generation(mount, served)
        write_all(mount.disk("disk0"), random_pages(1))  # held until the store is locked
    pid = generation(mount).pid
    mount.set("disk0", "compact", "1")

    found = wait_until(lambda: (one := store(pid)) and sum(m.rss for m in one) == in_store(pid)
                       and one, what="all of the store to be mapped")
    assert 16 * MIB < sum(one.rss for one in found) < 64 * MIB < sum(one.size for one in found)
    assert all("lo" in one.flags and one.swap == 0 for one in found)
    # Of pages that the keeper maps, too, the kernel counts a half.
    assert 0 <= sum(one.rss - one.locked for one in found) <= 64 * KIB
    assert status(pid, "VmSwap") == "0"


@pytest.mark.root
def test_all_that_may_be_written_is_locked(mount, locking):
    """Stacks, heaps, codecs, tables: nothing of the worker may have to be read back from swap."""
    pid = generation(mount).pid
    loose = [one for one in mappings(pid) if "w" in one.permissions and one.rss > one.locked
             and one.path != STORE]
    assert not loose
    assert all("lo" in one.flags for one in mappings(pid)
               if "w" in one.permissions and one.path not in ("[vvar]", "[vsyscall]"))
    for other in (keeper(mount), pid):
        assert int(status(other, "VmLck")) > 0


@pytest.mark.root
def test_both_processes_are_spared(mount):
    served = generation(mount)
    wanted = "-1000" if has(CAP_SYS_RESOURCE) else process("self", "oom_score_adj").read_text()
    for pid in (keeper(mount), served.pid):
        assert process(pid, "oom_score_adj").read_text().strip() == wanted.strip()
        assert process(pid, "cmdline").read_bytes().startswith(b"@")
        assert process(pid, "comm").read_text() == "zramfs\n"
        limits = process(pid, "limits").read_text()
        assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.M)
        assert pid in map(int, run("pgrep", "-x", "zramfs").stdout.split())
    if not lacking("pidof"):
        assert keeper(mount) in map(int, run("pidof", "zramfs").stdout.split())


@pytest.mark.root
def test_root_is_refused_nothing_that_it_may(mount, sanitized):
    found = safety(mount)
    assert list(found) == NAMES
    allowed = {name: name not in ("io_flusher", "oom_score_adj") or has(CAP_SYS_RESOURCE)
               for name in NAMES}
    allowed.update(dict.fromkeys(LOCKS, has(CAP_IPC_LOCK)))
    if sanitized:
        allowed["memory"] = allowed["future"] = False
    release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
    allowed["resend"] = release >= (6, 9)
    allowed["noswap"] = release >= (6, 4) and has(CAP_SYS_ADMIN)
    allowed["realtime"] = has(CAP_SYS_NICE)
    for name in set(NAMES) - {"cgroup"}:
        assert (found[name] is None) == allowed[name], (name, found[name])


@pytest.mark.root
def test_the_next_generation_is_as_safe(mount):
    before = safety(mount)
    served, _ = kill(mount)
    now = next_generation(mount, served)
    assert safety(mount) == before
    assert process(now.pid, "oom_score_adj").read_text() == \
        process(keeper(mount), "oom_score_adj").read_text()


@pytest.mark.root
def test_what_is_said_is_said_once(mount):
    """One line for each remedy; a generation later says nothing again."""
    refused = [name for name, why in safety(mount).items() if why and why != "under a sanitizer"]

    def lines():
        return [line for line in mount.log.read_text().splitlines() if UNSAFE in line]

    wait_until(lambda: len(refused) == sum(line.split(": ")[2].count(",") + 1 for line in lines()),
               what="a word about each")
    before = lines()
    served, _ = kill(mount)
    next_generation(mount, served)
    safety(mount)
    assert lines() == before


@pytest.mark.root
def test_a_cgroup_that_is_too_small(zramfs):
    why_not = Cgroup.why_not()
    if why_not:
        pytest.skip(why_not)
    cgroup = Cgroup(200 * MIB)
    try:
        mount = zramfs("[disk0]\ndisksize = 512M\n", prefix=cgroup.prefix())
        why = safety(mount)["cgroup"]
        assert "200 MiB" in why and "512 MiB" in why and "mem_limit" in why
        wait_until(lambda: mount.log.read_text().count("cgroup: its memory limit is 200 MiB") == 1,
                   what="a word about it")
        mount.set("disk0", "mem_limit", "64M")
        assert safety(mount)["cgroup"] is None
        mount.set("disk0", "mem_limit", "0")
        mount.set("zramfs", "mem_limit", "64M")
        assert safety(mount)["cgroup"] is None
        cgroup.limit(900 * MIB)
        mount.set("zramfs", "mem_limit", "0")
        assert safety(mount)["cgroup"] is None
        mount.stop()
    finally:
        cgroup.remove()


# Of a user's


class Limited:
    """A user with a limit of locked memory, and without the rights to pass it."""

    def __init__(self, user, n_bytes):
        self.user, self.limit = user, ["prlimit", f"--memlock={n_bytes}:{n_bytes}", "--"]

    def __getattr__(self, name):
        return getattr(self.user, name)

    def prefix(self):
        """Root sets the limit, which may be above the hard one."""
        return [*self.limit, *self.user.prefix()]


@pytest.mark.root
@pytest.mark.needs("fusermount3", "setpriv", "prlimit")
@pytest.mark.parametrize("n_bytes", [64 * KIB, 2 * MIB, 8 * MIB, 64 * MIB])
def test_a_user_with_a_limit(zramfs, user, fuse_for_all, sanitized, n_bytes):
    """Each measure that is refused is named once in the log, with something to type; and the
    daemon works, as far as it is allowed to, and its buffers are locked first."""
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if hard != resource.RLIM_INFINITY and hard < n_bytes and not has(CAP_SYS_RESOURCE):
        pytest.skip("no such limit can be set")
    mount = zramfs("[zramfs]\nthreads = 2\n" + CONFIG, user=Limited(user, n_bytes))
    found = safety(mount)
    assert list(found) == NAMES
    refused = {name for name, why in found.items() if why}
    if not sanitized:
        assert {"memory", "store", "future", "io_flusher", "oom_score_adj"} <= refused
        assert ("buffers" in refused) == (n_bytes < 8 * MIB)
        assert f"{n_bytes // KIB} KiB" in found["memory"]
        assert "ulimit -l unlimited" in found["memory"]
        assert "LimitMEMLOCK=infinity" in found["store"]
    assert "dumps" not in refused and "as root" in found["io_flusher"]

    said = wait_until(mount.log.read_text, what="a word about it")
    assert mount.said() == ""
    for name in refused - {"resend"}:
        if found[name] == "under a sanitizer":
            continue
        lines = [line for line in said.splitlines() if re.search(rf"[ ,]{name}[,:] ", line)]
        assert len(lines) == 1 and found[name] in lines[0], (name, said)

    pid = generation(mount).pid
    if not sanitized:
        locked = sum(one.locked for one in buffers(pid))
        whole = sum(one.size for one in buffers(pid))
        assert locked == whole if n_bytes == 64 * MIB else locked <= n_bytes
        assert all(one.rss == one.size for one in buffers(pid))
    data = random_pages(1024)
    (user.home / "data").write_bytes(data)
    run("dd", f"if={user.home}/data", f"of={mount.disk('disk0')}", "bs=1M", "conv=notrunc",
        "status=none", user=user)
    run("cmp", f"{user.home}/data", mount.disk("disk0"), "-n", len(data), user=user)
    served, _ = kill(mount)
    next_generation(mount, served)
    run("cmp", f"{user.home}/data", mount.disk("disk0"), "-n", len(data), user=user)


@pytest.mark.root
@pytest.mark.needs("setpriv", "unshare")
def test_root_of_a_user_namespace(place, user, fuse_for_all):
    """It has every capability there; none that could be added would help."""
    point = user.home / "z"
    done = run("unshare", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "sh",
               "-ec", f"id -u; mkdir {point}; zramfs {point}; cat {point}/.control/zramfs/safety; "
               f"umount {point}", user=user, check=False)
    if done.returncode and "unshare:" in done.stderr:
        pytest.skip(f"no user namespaces: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")
    id_, *lines = done.stdout.splitlines()
    assert id_ == "0"
    said = {line.split()[0]: line.split(None, 2)[1:] for line in lines}
    assert said["io_flusher"] == [
        "refused", "root of a user namespace is an ordinary user: run zramfs as root outside of it"]
    assert "--cap-add" not in done.stdout


@pytest.mark.root
@pytest.mark.needs("fusermount3", "setpriv")
def test_a_user_cannot_look_into_it(zramfs, user, fuse_for_all):
    """Nor can anybody else who runs as that user: what others swap may be in it."""
    mount = zramfs(CONFIG, user=user)
    for pid in (keeper(mount), generation(mount).pid):
        assert os.stat(process(pid, "mem")).st_uid == 0
        assert run("cat", process(pid, "maps"), user=user, check=False).returncode != 0
        assert run("ls", process(pid, "fd"), user=user, check=False).returncode != 0
        assert run("head", "-c1", process(pid, "mem"), user=user, check=False).returncode != 0


@pytest.mark.root
def test_a_fault_leaves_no_core(mount, sanitized):
    if sanitized:
        pytest.skip("a sanitizer reports the fault")
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()
    if pattern.startswith("|"):
        pytest.skip("cores go to a program here")
    place = pathlib.Path("/", pattern).parent
    before = set(place.iterdir())
    served, _ = kill(mount, signal.SIGSEGV)
    next_generation(mount, served)
    assert not [path for path in set(place.iterdir()) - before if str(served.pid) in path.name
                or path.name == "core"]


# check


def check(mount, user=None, program=CTL):
    done = run(program, "check", mount.point, user=user, check=False,
               env={"COLUMNS": "400", "NO_COLOR": "1"})
    assert done.stderr == ""
    return done


def finding(done, what):
    """(state, message, remedy) of the only finding of that name."""
    found = re.findall(rf"^  (ok|warn|bad) +{re.escape(what)} +(\S.*)\n(?: {{8}}(\S.*)\n)?",
                       done.stdout, re.M)
    assert len(found) == 1, done.stdout
    return found[0]


@pytest.mark.root
def test_check_tells_keeper_and_worker_apart(mount):
    for _ in range(2):
        served = generation(mount)
        done = check(mount)
        assert finding(done, "keeper")[:2] == ("ok", str(keeper(mount)))
        assert finding(done, "worker")[:2] == ("ok", f"{served.pid}, generation {served.number}")
        assert finding(done, "watchdog")[:2] == ("ok", "10 s")
        mount.set("zramfs", "watchdog", "0")
        state, _, remedy = finding(check(mount), "watchdog")
        assert state == "warn"
        run("sh", "-c", remedy, env={"PATH": f"{CTL.parent}:{os.environ['PATH']}"})
        assert mount.get("zramfs", "watchdog") == "10\n"
        kill(mount)
        next_generation(mount, served)


@pytest.mark.root
def test_check_says_what_safety_says(mount):
    done = check(mount)
    for name, why in safety(mount).items():
        if name in ("oom_score_adj", "cgroup"):
            continue
        state, message, remedy = finding(done, name)
        assert state == ("warn" if why else "ok")
        if why:
            assert why == (f"{message}: {remedy}" if remedy else message)
        else:
            assert not remedy


@pytest.mark.root
def test_check_of_one_process(zramfs):
    mount = zramfs(CONFIG, "--no-keeper")
    assert finding(check(mount), "process")[1] == str(mount.process.pid)
    assert finding(check(mount), "keeper")[0] == "warn"


@pytest.mark.root
@pytest.mark.needs("fusermount3", "setpriv")
def test_check_by_the_user_whose_it_is(zramfs, user, fuse_for_all):
    """Whose processes do not let themselves be looked into."""
    run("cp", CTL, user.home / "bin")
    mount = zramfs(CONFIG, user=user)
    served = generation(mount)
    for done in (check(mount, user, user.home / "bin" / "zramfsctl"),):
        assert finding(done, "keeper")[1] == str(keeper(mount))
        assert finding(done, "worker")[1] == f"{served.pid}, generation {served.number}"
        state, _, remedy = finding(done, "oom_score_adj")
        assert state == "warn" and remedy.endswith(", as root")
        assert finding(done, "io_flusher")[2] == "run zramfs as root"
        assert done.stdout.count("run zramfs as root") >= 1
    if has(CAP_SYS_RESOURCE):
        run("sh", "-c", remedy.removesuffix(", as root"))
        assert finding(check(mount), "oom_score_adj")[0] == "ok"


@pytest.mark.root
@pytest.mark.parametrize("columns", [60, 80])
def test_check_fits_a_narrow_terminal(mount, columns):
    done = run(CTL, "check", mount.point, check=False, env={"COLUMNS": str(columns)})
    assert max(map(len, done.stdout.splitlines()[1:])) <= columns


# upgrade


def upgrade(*args, code=0, **kwargs):
    done = run(CTL, "upgrade", *args, check=False, **kwargs)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


@pytest.mark.root
def test_upgrade_says_who_serves(mount, place):
    before = generation(mount)
    other = place / "zramfs"
    run("cp", BINARY, other)
    for args in ([other, mount.point], [mount.point]):
        done = upgrade(*args)
        now = generation(mount)
        assert now.number > before.number and now.pid != before.pid
        version = run(BINARY, "--version").stdout.strip()
        assert done.stdout == f"generation {now.number} (pid {now.pid}) serves, {version}\n"
        assert done.stderr == ""
        before = now
    # A name without a slash, below the directory that one is in.
    assert "serves" in upgrade("zramfs", mount.point, cwd=place).stdout


@pytest.mark.root
def test_upgrade_to_what_cannot_serve(mount, place):
    before = generation(mount)
    script = place / "script"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    plain = place / "plain"
    plain.write_text("no program\n")
    for program, code in ((script, 1), (plain, 1), (place / "nothing", 1), (place, 1)):
        done = upgrade(program, mount.point, code=code)
        assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("zramfsctl: ")
    assert generation(mount) == before
    assert not [line for line in mount.said().splitlines() if "lost" in line]


@pytest.mark.root
def test_upgrade_is_used_wrongly(mount):
    assert "a program and a mount are all" in upgrade("a", "b", "c", code=2).stderr
    assert "the mount is needed" in upgrade(BINARY, mount.disk("disk0"), code=2).stderr
    assert "unknown option" in upgrade("--force", code=2).stderr


@pytest.mark.root
def test_upgrade_without_a_keeper(zramfs):
    mount = zramfs(CONFIG, "--no-keeper")
    done = upgrade(BINARY, mount.point, code=1)
    assert "there is no keeper" in done.stderr


@pytest.mark.root
@pytest.mark.needs("setpriv")
def test_upgrade_by_somebody_else(mount, user):
    run("cp", CTL, user.home / "bin")
    done = run(user.home / "bin" / "zramfsctl", "upgrade", user.binary, mount.point, user=user,
               check=False)
    assert done.returncode == 1 and "permission denied" in done.stderr
    assert errno_of(mount.set, "zramfs", "upgrade", "zramfs") == errno.EINVAL
