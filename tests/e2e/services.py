"""A mount under a stand-in for a service manager, for tests."""

import os
import signal
import subprocess

import pytest

from host import PATH, wait_until
from kills import generation
from manager import Manager
from zramfs import Zramfs

CONFIG = "[disk0]\ndisksize = 64M\n"


class Service(Zramfs):
    """A mount whose keeper comes and goes. Its manager is not restarted with it."""

    def __init__(self, place, manager, config=CONFIG, *options, word="--service", **kwargs):
        super().__init__(place, config, *options, foreground=False, **kwargs)
        self.foreground, self.manager, self.notify = True, manager, True
        self.args.append(word)

    def spawn(self):
        """A keeper, whatever becomes of it. Return: the number of the first message of it."""
        heard = len(self.manager.messages)
        env = {**os.environ, "PATH": PATH, **self.env}
        with self.log.open("ab") as log:
            words = [*(self.user.prefix() if self.user else []), *self.args]
            self.process = self.manager.start(words, notify=self.notify, env=env,
                                              stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                              cwd="/", start_new_session=True)
        return heard

    def start(self):
        Zramfs.live.add(self)
        heard = self.spawn()
        wait_until(lambda: self.process.poll() is not None or self.manager.said("READY", heard),
                   timeout=60, what="READY=1")
        assert self.process.poll() is None, self.said()
        return self

    def leave(self, number=signal.SIGTERM, wanted=0):
        self.process.send_signal(number)
        assert self.process.wait(timeout=60) == wanted, self.said()

    def restart(self, number=signal.SIGTERM, wanted=0):
        self.leave(number, wanted)
        return self.start()

    def kill_keeper(self):
        self.leave(signal.SIGKILL, -signal.SIGKILL)

    def refuses(self):
        """It does not start. Return: the line that says why."""
        before = self.said()
        heard = self.spawn()
        assert self.process.wait(timeout=60) == 1
        assert not self.manager.said("READY", heard)
        lines = self.said()[len(before):].splitlines()
        assert len(lines) == 1 and lines[0].startswith(f"zramfs: {self.point}: "), lines
        return lines[0]

    def serving(self):
        """Who serves, whether there is a keeper or not."""
        return generation(self)


@pytest.fixture
def manager(place):
    found = Manager(place)
    yield found
    found.close()


@pytest.fixture
def service(place, manager):
    """service(config, *options, ...): a service that is ready; begin=False: not even started."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no usable /dev/fuse")
    made = []

    def make(config=CONFIG, *options, begin=True, by=manager, **kwargs):
        own = place / f"s{len(made)}"
        own.mkdir()
        mount = Service(own, by, config, *options, **kwargs)
        made.append(mount)
        return mount.start() if begin else mount

    yield make
    for mount in reversed(made):
        mount.stop()


def all_held(manager, *more):
    """What every service has held, and these kinds more; nothing else."""
    kinds = sorted(name.rpartition("-")[0] for name in manager.names())
    return kinds == sorted(["zramfs-config", "zramfs-fuse", "zramfs-program", "zramfs-store",
                            "zramfs-wire", *more])


def none_left_of(mount):
    """Whoever serves, and nobody else."""
    return wait_until(lambda: mount.pids() == [mount.serving().pid], what="the others to end")


def dup_of(manager, kind):
    held = manager.of(kind)
    return (held[0][0], os.dup(held[0][1])) if held else None
