"""What a service manager is to a service, in so far as zramfs speaks to it: a stand-in for systemd 252.

It listens where NOTIFY_SOCKET says, keeps descriptors as FileDescriptorStoreMax= lets it, and starts
the next process with those. Like systemd it takes what is the same open file once, acknowledges
nothing, and gives a name no meaning.

    python3 manager.py NAMES FD... -- COMMAND...    the command, with these descriptors from 3 on
"""

import array
import contextlib
import ctypes
import fcntl
import os
import platform
import socket
import subprocess
import sys
import termios
import threading
import time

FIRST = 3
KCMP = {"x86_64": 312, "aarch64": 272, "i686": 349}.get(platform.machine())
FDS_MAX = 16


def is_same(one, other):
    """Is it one open file? As the kernel says, or by what it is."""
    if KCMP is not None:
        pid = os.getpid()
        answer = ctypes.CDLL(None, use_errno=True).syscall(KCMP, pid, pid, 0, one, other)
        if answer >= 0:
            return answer == 0
    return os.path.sameopenfile(one, other)


class Manager:
    """@most: descriptors that it holds; 0: none, as for a service that does not ask for it."""

    def __init__(self, place, most=32, abstract=False):
        self.most, self.place = most, place
        self.address = f"@{place}/notify" if abstract else f"{place}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{self.address[1:]}" if abstract else self.address)
        self.held = []      # [(name, descriptor)]
        self.messages = []  # [(seconds, {word: value})], as they came
        self.changed = threading.Condition()
        self.is_reading = threading.Event()
        self.is_reading.set()
        self.ended = False
        self.socket.settimeout(0.2)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def close(self):
        self.ended = True
        self.is_reading.set()
        self.thread.join(timeout=10)
        self.socket.close()
        self.drop()

    # Reading

    def _read(self):
        while not self.ended:
            self.is_reading.wait()
            with contextlib.suppress(TimeoutError):
                space = socket.CMSG_SPACE(FDS_MAX * 4)
                data, ancillary, _, _ = self.socket.recvmsg(4096, space)
                self._take(data.decode(), ancillary)

    def _take(self, text, ancillary):
        fds = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
        words = dict(line.partition("=")[::2] for line in text.splitlines())
        with self.changed:
            if words.get("FDSTOREREMOVE") == "1":
                self._remove(words["FDNAME"])
            if words.get("FDSTORE") == "1":
                assert words.get("FDPOLL") == "0", "a wire that breaks would be dropped"
                fds = [fd for fd in fds if not self._hold(words["FDNAME"], fd)]
            self.messages.append((time.monotonic(), words))
            self.changed.notify_all()
        for fd in fds:  # also what came with BARRIER=1
            os.close(fd)

    def _hold(self, name, fd):
        if len(self.held) >= self.most or any(is_same(fd, held) for _, held in self.held):
            return False
        self.held.append((name, fd))
        return True

    def _remove(self, name):
        for found, fd in self.held:
            if found == name:
                os.close(fd)
        self.held = [(found, fd) for found, fd in self.held if found != name]

    # What it has and heard

    def names(self):
        with self.changed:
            return sorted(name for name, _ in self.held)

    def of(self, kind):
        """[(name, descriptor)] of zramfs-KIND-*."""
        with self.changed:
            return [(name, fd) for name, fd in self.held
                    if name.rpartition("-")[0] == f"zramfs-{kind}"]

    def drop(self, kind=None):
        """As when the service has stopped; or what is of one kind."""
        with self.changed:
            for name, fd in self.held:
                if kind is None or name.rpartition("-")[0] == f"zramfs-{kind}":
                    os.close(fd)
            self.held = [(name, fd) for name, fd in self.held
                         if kind is not None and name.rpartition("-")[0] != f"zramfs-{kind}"]

    def add(self, name, fd):
        """Something that nobody sent. It is this object's from now on."""
        with self.changed:
            self.held.append((name, fd))

    def said(self, word, since=0):
        """What was said under that word from a message on."""
        with self.changed:
            return [words[word] for _, words in self.messages[since:] if word in words]

    def status(self):
        return (self.said("STATUS") or [""])[-1]

    def wait(self, true, timeout=30, what="a message"):
        """Until true() is, which is asked after each message."""
        with self.changed:
            assert self.changed.wait_for(true, timeout), f"{what}: {self.messages[-5:]}"

    @contextlib.contextmanager
    def busy(self):
        """It does not read."""
        self.is_reading.clear()
        time.sleep(0.3)
        yield
        self.is_reading.set()

    # Starting

    def heard_all(self):
        """Like systemd, it hears what a process said before it hears that it is dead."""
        unread = array.array("i", [1])
        while unread[0]:
            time.sleep(0.002)
            with self.changed:
                fcntl.ioctl(self.socket, termios.FIONREAD, unread)

    def start(self, command, notify=True, env=None, **kwargs):
        """A process that finds what is held. Return: Popen."""
        self.heard_all()
        env = {**(os.environ if env is None else env)}
        env.pop("NOTIFY_SOCKET", None)
        if notify:
            env["NOTIFY_SOCKET"] = self.address
        with self.changed:
            fds = [fd for _, fd in self.held]
            launcher = [sys.executable, __file__, ":".join(name for name, _ in self.held),
                        *map(str, fds), "--", *map(str, command)]
            return subprocess.Popen(launcher, pass_fds=fds, env=env, **kwargs)


def launch(names, *words):
    """Become the command, with the descriptors where it looks for them."""
    at = words.index("--")
    fds = [int(word) for word in words[:at]]
    high = [os.dup(fd) for fd in fds]
    while high and min(high) < FIRST + len(high):  # out of the way of where they are to be
        high = [os.dup(fd) for fd in high]
    for i, fd in enumerate(high):
        os.dup2(fd, FIRST + i, inheritable=True)
    os.closerange(FIRST + len(fds), 4096)
    if fds:
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)),
                          LISTEN_FDNAMES=names)
    os.execvp(words[at + 1], words[at + 1:])


if __name__ == "__main__":
    launch(*sys.argv[1:])
