"""rootless-container: scratch space in a container without root."""

import os
import re
import signal

import pytest

from conftest import mounts_below, processes_about
from data import random_pages, text_pages
from host import lacking, run, wait_until

pytestmark = pytest.mark.needs("unshare", "fuse2fs", "mkfs.ext4", "e2fsck")

ENGINES = ("unshare", "bwrap")


@pytest.fixture
def files(place):
    """2 MiB, half of which compresses."""
    directory = place / "files/below"
    directory.mkdir(parents=True)
    (directory / "random").write_bytes(random_pages(256))
    (directory / "a text").write_bytes(text_pages(256))
    (directory / "link").symlink_to("no such")
    return directory.parent


@pytest.fixture(params=ENGINES)
def engine(request, user):
    """One that works for an ordinary user here."""
    if lacking(request.param):
        pytest.skip(f"no {request.param}")
    command = {"unshare": ["unshare", "--map-root-user", "--mount", "--pid", "--fork", "true"],
               "bwrap": ["bwrap", "--unshare-all", "--bind", "/", "/", "true"]}[request.param]
    done = run(*command, user=user, check=False)
    if done.returncode:
        pytest.skip(f"no user namespaces: {done.stderr.strip()}")
    return request.param


def test_it_shows_all(recipe, user, engine, files):
    done = recipe("rootless-container", "--with", engine, "--data", files, user=user)
    for what in ("the copy is the same", "the filesystem is clean", "it is the same",
                 "the container has the mount", "nobody else sees it",
                 "its daemon ended with it, though it was killed",
                 "what was made inside is a filesystem outside"):
        assert done.ok(what), done.stdout
    assert f"I am root here, and user {user.uid} outside." in done.stdout
    # The files, and what ext4 has of its own.
    for stored, memory in (("disk0: stored", "disk0: memory for it"), ("stored", "memory for it")):
        assert 2 < done.row(stored) < 4
        assert 1 < done.row(memory) < 2.5
    assert done.row("scratch: stored") == 32
    assert done.row("scratch: memory for it") < 24


def test_killed_itself(recipe, user, engine, files):
    """Whatever ends the recipe in the middle, the container goes, and with it the daemon."""
    process = recipe.begin("rootless-container", "--with", engine, "--data", files, user=user)
    daemon = re.escape(f"{recipe.tmp}") + r"/\S+/z "

    def is_serving():
        return any(re.search(daemon, command + " ") and "--worker" in command
                   for command in processes_about(recipe.tmp).values())

    wait_until(is_serving, timeout=30, what="zramfs in the container")
    process.send_signal(signal.SIGTERM)
    recipe.end(process, status=143)
    assert not mounts_below(recipe.tmp) and not os.listdir(recipe.tmp)


def test_what_is_wrong_is_said(recipe):
    done = recipe("rootless-container", "--with", "docker", status=1)
    assert done.stderr == "rootless-container: --with docker: unshare or bwrap\n"
    done = recipe("rootless-container", "--data", "/no/such", status=1)
    assert done.stderr == "rootless-container: --data /no/such: there is no such directory\n"


def test_what_is_missing_is_named(recipe):
    env = {"PATH": recipe.path_without("fuse2fs", "bwrap")}
    assert recipe("rootless-container", "--with", "bwrap", status=77, env=env).stderr == (
        "rootless-container: there is no bwrap here; on Debian: apt-get install bubblewrap\n")
    assert recipe("rootless-container", status=77, env=env).stderr == (
        "rootless-container: there is no fuse2fs here; on Debian: apt-get install fuse2fs\n")


@pytest.mark.root
def test_without_access_to_fuse(recipe, user):
    os.chmod("/dev/fuse", 0o600)  # the fixture puts it back
    done = recipe("rootless-container", status=77, user=user)
    assert done.stderr == ("rootless-container: no access to /dev/fuse; as root: "
                           "chmod 666 /dev/fuse\n")
