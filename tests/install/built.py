"""What is built here: a tree to install from, a tarball, a package."""

import json
import os
import pathlib
import shutil

import pytest

from host import run
from zramfs import ROOT

# No other test has files there, and nobody's paths begin so.
PREFIX = "/opt/Odd-prefix_0.1+z"

DEBIAN = pathlib.Path("/etc/debian_version").exists()
NOBODY = 65534

# Tests that take their time are run in full by contrib/check: here they are to start and end well.
IN_SHORT = {"ZR_TEST_SECONDS": "1", "ZR_TEST_STEPS": "20000", "ZR_TEST_LOOKS": "5000"}


def meson(*args, **kwargs):
    return run("meson", *args, timeout=1200, **kwargs)


def meson_install_tree(build, *options):
    meson("setup", build, ROOT, f"--prefix={PREFIX}", "-Dtests=false", *options)
    meson("compile", "-C", build)
    return build


def introspect(build, what):
    return json.loads(meson("introspect", f"--{what}", build).stdout)


def meson_dist(place, *args):
    """The tarball; with arguments, after its own tests. Its build directory has nothing compiled."""
    if run("git", "-C", ROOT, "rev-parse", check=False).returncode != 0:
        pytest.skip("not a git repository: meson dist packs what git has")
    build = place / "build"
    meson("setup", build, ROOT, "-Dbenchmarks=disabled")
    meson("dist", "-C", build, "--allow-dirty", "--formats=gztar", *(args or ("--no-tests",)))
    found = list((build / "meson-dist").glob("*.tar.gz"))
    assert len(found) == 1
    return found[0]


def as_nobody():
    """What makes root an ordinary user who has no network and no /dev/fuse."""
    if os.geteuid() != 0:
        return []
    return ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c",
            "mount --bind /dev/null /dev/fuse && exec \"$@\"", "sh",
            "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]


class Package:
    """Built out of an unpacked tarball by an ordinary user, as contrib/build-deb does it."""

    def __init__(self, tarball, place):
        self.place, self.output = place, place / "output"
        run("tar", "-xzf", tarball, "-C", place)
        source = place / tarball.name.removesuffix(".tar.gz")
        self.output.mkdir()
        if os.geteuid() == 0:
            for path in (source, self.output):
                shutil.chown(path, NOBODY, NOBODY)
        self.log = run(*as_nobody(), source / "contrib/build-deb", "--output", self.output,
                       timeout=1800, cwd=place, env={**IN_SHORT, "HOME": "/nonexistent"}).stdout
        self.debs = {path.name.split("_")[0]: path for path in self.output.glob("*.deb")}
        self.deb = self.debs["zramfs"]
        self.version = self.deb.name.split("_")[1]
        self.changes = next(self.output.glob("*.changes"))

    def files(self):
        """{path: (mode, link target or None)} of what is in it; directories end with a slash."""
        found = {}
        for line in run("dpkg-deb", "--contents", self.deb).stdout.splitlines():
            mode, owner, _, _, _, path = line.split(maxsplit=5)
            assert owner == "root/root", line
            path, _, target = path.partition(" -> ")
            found[path.removeprefix(".")] = (mode, target or None)
        return found

    def newer(self, version):
        """The same programs in a package of another version: a file of its own."""
        tree, deb = self.place / version, self.place / f"zramfs_{version}.deb"
        run("dpkg-deb", "--raw-extract", self.deb, tree)
        control = tree / "DEBIAN/control"
        text = control.read_text()
        assert f"Version: {self.version}\n" in text
        control.write_text(text.replace(f"Version: {self.version}\n", f"Version: {version}\n"))
        run("dpkg-deb", "--root-owner-group", "--build", tree, deb)
        return deb
