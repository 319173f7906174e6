"""A zramfs mount for a test: started, watched, stopped, and nothing of it left behind."""

import collections
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess

from host import (LIBC, MNT_DETACH, MNT_FORCE, PATH, CommandFailed, mounts, processes_with, run,
                  wait_until)

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("ZRAMFS_BIN", ROOT / "build/zramfs/zramfs")).absolute()
CTL = BINARY.parent / "zramfsctl"

# What a healthy daemon never says. Sanitizers also get a log of their own: a daemon in the
# background has no standard error.
SUSPICIOUS = ("Sanitizer", "runtime error:", "==ABORTING", "assertion failed", "DEADLYSIGNAL",
              "stack smashing", "corrupted", "double free")

UNSAFE = "zramfs: not safe for swap: "

MM_STAT = ("orig_data_size", "compr_data_size", "mem_used_total", "mem_limit", "mem_used_max",
           "same_pages", "pages_compacted", "huge_pages", "huge_pages_since")
IO_STAT = ("failed_reads", "failed_writes", "invalid_io", "notify_free")

MmStat = collections.namedtuple("MmStat", MM_STAT)
IoStat = collections.namedtuple("IoStat", IO_STAT)

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
PAGE = 4096


def sanitizer_env(place):
    """Each sanitizer's options with a log file added, which is looked at when the mount ends."""
    env = {}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
        given = os.environ.get(name)
        env[name] = ":".join(filter(None, [given, f"log_path={place}/sanitizer"]))
    return env


def parse_stats(text):
    """.stats as {section: {key: value text}}, in order."""
    sections, keys = {}, None
    for line in text.splitlines():
        heading = re.fullmatch(r"\[(.+)\]", line)
        if heading:
            keys = sections.setdefault(heading[1], {})
        elif line:
            key, value = line.split(":\t")
            assert key not in keys, f"{key} twice"
            keys[key] = value
    return sections


def write_once(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        assert os.write(fd, text.encode()) == len(text)
    finally:
        os.close(fd)


class Zramfs:
    """One mount. start() returns once it is ready; stop() checks that it ended in order."""

    live = set()  # what the watchdog kills when a test hangs

    def __init__(self, place, config=None, *options, foreground=True, user=None, prefix=()):
        self.place = pathlib.Path(place)
        self.point = self.place / "z"
        self.log = self.place / "log"
        self.config = self.place / "zram.ini"
        self.user, self.foreground, self.process = user, foreground, None
        self.status = 0  # what it must end with; None: anything
        self.env = sanitizer_env(self.place)
        binary = user.binary if user is not None else BINARY
        self.args = [*prefix, str(binary), str(self.point)]
        self.point.mkdir()
        if user is not None:
            os.chmod(self.place, 0o777)
            os.chown(self.point, user.uid, user.uid)
        if config is not None:
            self.config.write_text(config)
            self.args += ["-c", str(self.config)]
        if foreground:
            self.args.append("-f")
        self.args += [str(option) for option in options]

    # Starting

    def start(self):
        Zramfs.live.add(self)
        if self.foreground:
            self._start_foreground()
        else:
            self._start_daemon()
        return self

    def _start_foreground(self):
        prefix = self.user.prefix() if self.user else []
        env = {**os.environ, "PATH": PATH, **(self.user.env() if self.user else {}), **self.env}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(prefix + self.args, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=env, cwd="/",
                                            start_new_session=True)
        wait_until(lambda: self.process.poll() is not None or self.ready(),
                   timeout=60, what="the mount to be ready")
        assert self.process.poll() is None, self.said()

    def _start_daemon(self):
        done = run(*self.args, user=self.user, env=self.env, timeout=30)
        self.log.write_text(done.stdout + done.stderr)
        assert self.mounted(), "the command returned and nothing is mounted"

    def ready(self):
        """A request is answered; to its user, since nobody else may look into a user's mount."""
        return self.mounted() and run("test", "-e", self.point / ".stats", user=self.user,
                                      check=False).returncode == 0

    # Looking

    def mounted(self):
        return str(self.point) in mounts()

    def pids(self):
        return processes_with(self.point)

    def said(self):
        """But for what this machine does not permit, which each daemon on it says once."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "".join(line for line in text.splitlines(keepends=True) if UNSAFE not in line)

    def said_in_all(self):
        """With what sanitizers wrote into files of their own."""
        return self.said() + "".join(path.read_text(errors="replace")
                                     for path in sorted(self.place.glob("sanitizer.*")))

    def disk(self, name):
        return self.point / name

    def control(self, disk, attribute):
        return self.point / ".control" / disk / attribute

    def get(self, disk, attribute):
        return self.control(disk, attribute).read_text()

    def set(self, disk, attribute, text):
        """One write(2), as the shell's echo does, whose errno is the answer."""
        write_once(self.control(disk, attribute), text)

    def hot_add(self, line):
        write_once(self.point / ".control/hot_add", line)

    def hot_remove(self, name):
        write_once(self.point / ".control/hot_remove", name)

    def mm_stat(self, disk):
        return MmStat(*map(int, self.get(disk, "mm_stat").split()))

    def io_stat(self, disk):
        return IoStat(*map(int, self.get(disk, "io_stat").split()))

    def stats(self):
        return parse_stats((self.point / ".stats").read_text())

    def json(self):
        return json.loads((self.point / ".stats.json").read_text())

    # Stopping

    def unmount(self, timeout=10):
        """RELEASE is asynchronous: what was closed a moment ago may still be busy."""
        command = ["fusermount3", "-u"] if self.user or os.geteuid() else ["umount"]

        def tried():
            done = run(*command, self.point, user=self.user, check=False)
            if done.returncode == 0:
                return True
            if "busy" not in done.stderr:
                raise CommandFailed(done.stderr)
            return False

        wait_until(tried, timeout=timeout, what=f"umount {self.point}", step=0.1)

    def wait(self, timeout=30):
        """Wait for the end of all its processes. Return: the exit status, None in background."""
        if self.process is not None:
            self.process.wait(timeout=timeout)
        wait_until(lambda: not self.pids(), timeout=timeout, what="the daemon to end")
        Zramfs.live.discard(self)
        return self.process.returncode if self.process is not None else None

    def stop(self):
        """Unmount if that is still to be done; then all that a good daemon does at its end."""
        try:
            if self.mounted():
                self.unmount()
            ended = self.wait()
            if self.status is not None and ended is not None:
                assert ended == self.status, f"exit status {ended}\n{self.said_in_all()}"
            assert not self.mounted()
        finally:
            self.force()
        self.check_log()

    def check_log(self):
        text = self.said_in_all()
        assert not any(word in text for word in SUSPICIOUS), text

    def signal(self, number):
        """To each of its processes, as killall does it: one may end the others meanwhile."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self):
        """By force, and safe from another thread: killing it ends what waits for its answers. One that
        lives a moment longer would begin another."""
        stopped = set()
        while pids := set(self.pids()) - stopped:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= pids
        self.signal(signal.SIGKILL)

    def force(self):
        """Whatever is still there goes. Does nothing after a stop in order."""
        self.kill()
        if self.process is not None:
            self.process.wait(timeout=10)
        while self.mounted():
            if os.geteuid() == 0:
                assert LIBC.umount2(os.fsencode(self.point), MNT_FORCE | MNT_DETACH) == 0
            else:
                run("fusermount3", "-uz", self.point)
        Zramfs.live.discard(self)
