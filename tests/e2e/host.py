"""What the tests ask of the machine: commands with a time limit, loop devices, swap, cgroups.

Nothing here waits for ever: each command has a limit, and whatever was set up on the machine is
undone by Host.undo() in the reverse order, each step on its own, so that one that fails does not
leave the others behind.
"""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

# mkfs and losetup live in sbin, which an ordinary user's PATH lacks.
PATH = os.pathsep.join([os.environ.get("PATH", "/usr/bin:/bin"),
                        "/usr/local/sbin", "/usr/sbin", "/sbin"])

LIBC = ctypes.CDLL(None, use_errno=True)

KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 0x1, 0x2, 0x8, 0x10, 0x20
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
MNT_FORCE, MNT_DETACH = 1, 2
AT_FDCWD = -100


class CommandFailed(AssertionError):
    """A command that had to succeed did not; says which, and all that it printed."""


def run(*args, timeout=60, check=True, user=None, env=None, **kwargs):
    """Run a command to its end. Return: CompletedProcess with text in stdout and stderr."""
    args = [str(arg) for arg in args]
    if user is not None:
        args = user.prefix() + args
        env = {**user.env(), **(env or {})}
        kwargs.setdefault("cwd", user.home)
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(args, timeout=timeout, env={**os.environ, "PATH": PATH, "LC_ALL": "C",
                                                      **(env or {})},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          errors="replace", **kwargs)
    if check and done.returncode != 0:
        raise CommandFailed(f"{' '.join(args)}: status {done.returncode}\n"
                            f"{done.stdout}{done.stderr}")
    return done


def lacking(*programs):
    """The first of these programs that the machine lacks, or None."""
    for program in programs:
        if shutil.which(program, path=PATH) is None:
            return program
    return None


def add_markers(config):
    """What a test may say that it needs: see why_not()."""
    config.addinivalue_line("markers", "root: needs root")
    config.addinivalue_line("markers", "loop: needs root and loop devices")
    config.addinivalue_line("markers", "needs(*programs): needs these programs")


def why_not(item):
    """Why a test cannot run on this machine, or None."""
    root = os.geteuid() == 0
    if (item.get_closest_marker("root") or item.get_closest_marker("loop")) and not root:
        return "needs root"
    if item.get_closest_marker("loop") and not os.path.exists("/dev/loop-control"):
        return "no loop devices"
    for marker in item.iter_markers("needs"):
        missing = lacking(*marker.args)
        if missing:
            return f"no {missing}"
    return None


def wait_until(true, timeout=10, what="condition", step=0.02):
    """Poll until true() is; its value is returned. Fails after the timeout."""
    deadline = time.monotonic() + timeout
    while True:
        value = true()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(step)


def mounts():
    """{mount point: (type, source, options)} from mountinfo, which no hung mount can block."""
    found = {}
    # In names blanks and newlines are octal, and nothing else that ends a line elsewhere.
    for line in pathlib.Path("/proc/self/mountinfo").read_bytes().decode().split("\n")[:-1]:
        left, right = line.split(" - ")
        point, own_options = left.split(" ")[4:6]
        fstype, source, options = right.split(" ")[:3]
        point = re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), point)
        found[point] = (fstype, source, f"{own_options},{options}")
    return found


def memory_total():
    """Bytes of RAM."""
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no MemTotal")


def processes_with(argument):
    """Ids of the processes, other than this one, with exactly this argument."""
    wanted, found = os.fsencode(str(argument)), []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                cmdline = pathlib.Path("/proc", entry, "cmdline").read_bytes()
                if wanted in cmdline.split(b"\0"):
                    found.append(int(entry))
    return found


def swaps():
    """{device: (kB, kB used, priority)} from /proc/swaps."""
    lines = pathlib.Path("/proc/swaps").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return {row[0]: tuple(int(word) for word in row[2:5]) for row in rows}


def loops_on(directory):
    """Loop devices whose backing file lies below a directory."""
    found = []
    for backing in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if backing.read_text().startswith(f"{directory}/"):
                found.append(f"/dev/{backing.parts[3]}")
    return found


def fallocate(fd, mode, offset, length):
    """fallocate(2), which Python has for mode 0 alone."""
    call = LIBC.fallocate64 if hasattr(LIBC, "fallocate64") else LIBC.fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if call(fd, mode, offset, length) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def renameat2(old, new, flags):
    if LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def errno_of(call, *args, **kwargs):
    """The errno that a call fails with; 0 if it does not fail."""
    try:
        call(*args, **kwargs)
    except OSError as error:
        return error.errno
    return 0


class User:
    """An ordinary user with a home of their own; prefix() is what turns root into them."""

    def __init__(self, uid, home):
        self.uid, self.home = uid, pathlib.Path(home)
        self.binary = self.home / "bin" / "zramfs"

    def prefix(self):
        if os.geteuid() == self.uid:
            return []
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--"]

    def env(self):
        return {"HOME": str(self.home), "PATH": f"{self.home}/bin:{PATH}"}


class Holder:
    """Another process that has a file open. Its opening and its holding are one process's."""

    def __init__(self, path, how="<"):
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec 3{how}"$1" && echo ready && exec sleep 600', "sh", str(path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        ready = self.process.stdout.readline()
        assert ready == b"ready\n", f"cannot open {path}"

    def release(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


class Cgroup:
    """A memory cgroup of either version, or a reason why there is none."""

    V1, V2 = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")

    def __init__(self, limit_bytes):
        name = f"zramfs-e2e-{os.getpid()}"
        v1 = (self.V1 / "memory.limit_in_bytes").exists()
        self.path = (self.V1 if v1 else self.V2) / name
        self.limit_file = self.path / ("memory.limit_in_bytes" if v1 else "memory.max")
        self.usage_file = self.path / ("memory.usage_in_bytes" if v1 else "memory.current")
        self.path.mkdir()
        try:
            self.limit(limit_bytes)
        except OSError:
            self.path.rmdir()
            raise

    def limit(self, limit_bytes):
        self.limit_file.write_text(str(limit_bytes))

    def charged(self):
        """Bytes: memory of its processes, and what the kernel has for them."""
        return int(self.usage_file.read_text())

    @classmethod
    def why_not(cls):
        if (cls.V1 / "memory.limit_in_bytes").exists():
            return None
        controllers = cls.V2 / "cgroup.controllers"
        if not controllers.exists() or "memory" not in controllers.read_text().split():
            return "no memory cgroup"
        with contextlib.suppress(OSError):
            (cls.V2 / "cgroup.subtree_control").write_text("+memory")
            return None
        return "no right to make a memory cgroup"

    def enter(self):
        """To be called in the child, between fork and exec."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def prefix(self):
        """The same for a command."""
        return ["sh", "-c", f'echo $$ >{self.path}/cgroup.procs && exec "$@"', "sh"]

    def leave(self):
        """Its processes go on outside, and it goes."""
        for pid in (self.path / "cgroup.procs").read_text().split():
            (self.path.parent / "cgroup.procs").write_text(pid)
        wait_until(lambda: errno_of(self.path.rmdir) == 0, what=f"rmdir {self.path}")

    def remove(self):
        for pid in (self.path / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: errno_of(self.path.rmdir) == 0, what=f"rmdir {self.path}")


class Alone:
    """What only one test of this machine may do at a time, in whatever run of them."""

    def __init__(self, what):
        path = pathlib.Path(tempfile.gettempdir(), f"zramfs-e2e-{os.geteuid()}-{what}.lock")
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.fd, fcntl.LOCK_EX)

    def release(self):
        os.close(self.fd)


class Host:
    """Loop devices, mounts, swap areas and processes that a test makes, and their undoing."""

    def __init__(self, place):
        self.place = pathlib.Path(place)
        self._undo = []
        self._swaps_alone = None

    def later(self, call, *args, **kwargs):
        self._undo.append((call, args, kwargs))

    def undo(self):
        errors = []
        while self._undo:
            call, args, kwargs = self._undo.pop()
            try:
                call(*args, **kwargs)
            except Exception as error:  # each step on its own
                errors.append(f"{call.__name__}: {error}")
        assert not errors, "\n".join(errors)

    def attach(self, path, *options):
        """A loop device on a disk, as the README types it."""
        device = run("losetup", "--direct-io=on", "--sector-size", "4096", "--find", "--show",
                     *options, path).stdout.strip()
        self.later(self.detach, device)
        return device

    def detach(self, device):
        """Idempotent: undo() finds detached what a test has detached."""
        backing = pathlib.Path("/sys/block", pathlib.Path(device).name, "loop", "backing_file")
        with contextlib.suppress(OSError):
            if not backing.read_text().startswith(f"{self.place}/"):
                return
            run("losetup", "--detach", device)
            wait_until(lambda: not backing.exists(), what=f"{device} to detach")

    def mount(self, device, *options):
        point = self.place / f"fs-{pathlib.Path(device).name}"
        point.mkdir(exist_ok=True)
        run("mount", *options, device, point)
        self.later(self.unmount, point)
        return point

    def unmount(self, point):
        if str(point) in mounts():
            run("umount", point, timeout=120)

    def swaps_alone(self):
        """Pages of all the machine go to the swap with the highest priority: there is one test's."""
        if not self._swaps_alone:
            self._swaps_alone = Alone("swap")
            self.later(self._swaps_alone.release)

    def swapon(self, device, *options):
        self.swaps_alone()
        self.later(self.swapoff, device)
        return run("swapon", *options, device)

    def swapoff(self, device):
        if device in swaps():
            run("swapoff", device, timeout=120)

    def hold(self, path, how="<"):
        holder = Holder(path, how)
        self.later(holder.release)
        return holder
