"""grow-nbd: a disk that goes on on another machine."""

import os
import pathlib
import re
import signal
import subprocess

import pytest

from host import lacking, run
from zramfs import MIB, Zramfs

pytestmark = pytest.mark.needs("nbdkit", "nbdfuse")


def check_all(done, data, limit):
    for what in ("memory stayed within the limit", "all of it is read back as it was written",
                 "there is not a word of it on the other machine", "all of it is there again",
                 "who waited has page", "and right"):
        assert done.ok(what), done.stdout
    assert done.row("written to the disk") == data
    assert done.row("memory for it") <= limit * 1.01 + 0.25
    # Text of this kind becomes half as large; a little of it stays here.
    there = done.row("what they take there")
    assert 0.3 * data - limit < there < 0.6 * data
    assert done.row("pages on the other machine") * 4096 > there * MIB
    assert done.row("pages written, read over the wire") > 0


def test_it_shows_all(recipe):
    done = recipe("grow-nbd", "--data", "16M", "--limit", "2M")
    check_all(done, 16, 2)
    assert "Input/output error" in done.stdout  # of the page that is gone
    assert done.stderr == ""


def test_without_root(recipe, user):
    check_all(recipe("grow-nbd", "--data", "16M", "--limit", "2M", user=user), 16, 2)


@pytest.mark.root
def test_a_device_of_the_kernel(recipe):
    """Where there is none, it says so."""
    if lacking("nbd-client"):
        done = recipe("grow-nbd", "--via", "nbd", status=77)
        assert done.stderr == ("grow-nbd: there is no nbd-client here; on Debian: apt-get install "
                               "nbd-client\n")
        pytest.skip("no nbd-client")
    if not lacking("modprobe"):
        run("modprobe", "nbd", check=False)
    if not os.path.exists("/sys/module/nbd"):
        done = recipe("grow-nbd", "--via", "nbd", status=77)
        assert done.stderr == "grow-nbd: this kernel has no module nbd\n"
        pytest.skip("no module nbd in this kernel")
    check_all(recipe("grow-nbd", "--via", "nbd", "--data", "32M", "--limit", "4M"), 32, 4)


def test_words_would_be_found(place):
    """What the recipe looks for there is there if nothing hides it, and is seen."""
    text, found = place / "text", place / "backing"
    script = (pathlib.Path(__file__).parents[2] / "contrib/recipes/lib.sh").resolve()
    with open(text, "wb") as out:
        subprocess.run(["bash", "-c", f". {script}; text {8 * MIB}"], stdout=out, check=True)
    own = place / "own"
    own.mkdir()
    mount = Zramfs(own, f"[disk0]\ndisksize = 8M\nmem_limit = 1M\nbacking_dev = {found}\n"
                        "backing_size = 16M\nbacking_key = none\n").start()
    try:
        run("dd", f"if={text}", f"of={mount.disk('disk0')}", "bs=1M", "conv=notrunc")
        assert run("grep", "-a", "-q", "-e", "the disk", "-e", " page ", found).returncode == 0
    finally:
        mount.stop()


def test_ended_while_the_other_does_not_answer(recipe):
    process = recipe.begin("grow-nbd", "--data", "16M", "--limit", "2M", "--stay")
    recipe.stays(process)
    server = int(re.search(r"kill -STOP (\d+)", recipe.said())[1])
    os.kill(server, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    recipe.end(process, status=130)


@pytest.mark.parametrize("args, why", [
    (("--limit", "9M"), "--limit: at most an eighth of --data, or all of it fits"),
    (("--limit", "x"), "--limit x: a size is wanted, such as 64M"),
    (("--data", "1M"), "--data: 16M at least"),
    (("--via", "nfs"), "--via nfs: nbdfuse or nbd"),
])
def test_what_is_wrong_is_said(recipe, args, why):
    done = recipe("grow-nbd", *args, status=1)
    assert (done.stdout, done.stderr) == ("", f"grow-nbd: {why}\n")


def test_what_is_missing_is_named(recipe):
    env = {"PATH": recipe.path_without("nbdkit")}
    assert recipe("grow-nbd", status=77, env=env).stderr == (
        "grow-nbd: there is no nbdkit here; on Debian: apt-get install nbdkit\n")
