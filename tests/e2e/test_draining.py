"""A worker that was told to finish, and does not come to it."""

import contextlib
import os
import pathlib
import signal
import threading
import time

import pytest

from backing import Pages, section
from data import random_page, text_pages
from host import errno_of, wait_until
from kills import LOADS, children_of, is_there, next_generation, state_of
from services import manager, service  # fixtures
from test_backing_failures import one  # a fixture
from test_service import forget_resend
from zramfs import PAGE

pytestmark = [pytest.mark.root,
              pytest.mark.skipif(not (LOADS / "onefile").exists(), reason="onefile is not built")]

# A drain that takes longer is ended, and so is a worker that makes no progress: both 10 looks.
TOO_LONG_S = 13


def upgrade_of(mount, path):
    """Return: its thread, and the errno it will have."""
    got = []
    writer = threading.Thread(target=lambda: got.append(errno_of(mount.set, "zramfs", "upgrade",
                                                                 f"{path}\n")), daemon=True)
    writer.start()
    return writer, got


def stopped_while_it_is_told(mount, paths):
    """The worker is stopped when a candidate is there, which is ready a moment later, and so has the
    worker told to finish; again if it had finished by then. Return: both, and the candidate's path."""
    for path in paths * 5:
        served = mount.serving()
        wait_until(lambda: len(children_of(mount.process.pid)) == 2, what="a spare worker")
        known = set(children_of(mount.process.pid))
        upgrade_of(mount, path)
        while not (new := set(children_of(mount.process.pid)) - known):
            pass
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(served.pid, signal.SIGSTOP)
            time.sleep(1)
            if state_of(pathlib.Path("/proc", str(served.pid))) == "T":
                return served, new.pop(), path
        next_generation(mount, served)
    pytest.skip("each had finished before it was stopped")


def reading_while_it_is_told(mount, pages, one, paths):
    """What it reads first when it goes on is of a file that does not answer. Return: it, who waits,
    and the candidate's path; or None, if it had been told before it looked for more."""
    one.tell("reads=go")
    served, _, path = stopped_while_it_is_told(mount, paths)
    one.tell("reads=hold")
    reader = threading.Thread(target=pages.check, daemon=True)
    reader.start()
    time.sleep(0.2)
    os.kill(served.pid, signal.SIGCONT)
    time.sleep(1)
    if is_there(served.pid) and one.held() > 0:
        return served, reader, path
    one.tell("reads=go")
    reader.join(30)
    return None


def test_what_cannot_be_sent_again_is_waited_for(service, manager, one, binaries):
    """Before Linux 6.9, with a read of a slow file in hand. It ended the mount."""
    mount = service(section(disksize="8M", backing_dev=one.path, backing_size="16M"))
    (_, store), = manager.of("store")
    forget_resend(store)
    mount.restart()
    with Pages(mount.disk("disk0"), 100) as pages:
        pages.fill(random_page)
        mount.set("disk0", "writeback", "type=huge\n")
        for turn in range(5):
            paths = binaries[turn % 2:] + binaries[:turn % 2]
            if found := reading_while_it_is_told(mount, pages, one, paths):
                break
        else:
            pytest.skip("each was told before it read")
        served, reader, path = found
        time.sleep(TOO_LONG_S)
        assert is_there(served.pid) and reader.is_alive(), mount.said()
        one.tell("reads=go")
        reader.join(30)
        assert not reader.is_alive()
        after = next_generation(mount, served)
        assert os.path.samefile(f"/proc/{after.pid}/exe", path)
        pages.check()
    assert "are lost" not in mount.said()


def test_who_was_to_follow_dies(service, binaries):
    """It is still told to finish: its keeper must not leave, and another one follows."""
    mount = service()
    mount.disk("disk0").write_bytes(text_pages(10))
    held = os.open(mount.disk("disk0"), os.O_RDONLY)
    served, candidate, path = stopped_while_it_is_told(mount, binaries)
    assert os.path.samefile(f"/proc/{candidate}/exe", path)
    os.kill(candidate, signal.SIGKILL)
    wait_until(lambda: not is_there(candidate), what="it to be gone")
    mount.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert mount.process.poll() is None
    os.kill(served.pid, signal.SIGCONT)
    assert mount.process.wait(60) == 0
    after = next_generation(mount, served)
    assert os.path.samefile(f"/proc/{after.pid}/exe", mount.args[0])
    assert os.pread(held, 10 * PAGE, 0) == text_pages(10)
    os.close(held)
    assert "one of the same program follows" in mount.said()
    mount.start()
