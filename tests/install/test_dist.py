"""meson dist: what is packed, and that it builds."""

import os
import re

import pytest

from built import DEBIAN, meson_dist
from host import run
from zramfs import ROOT


def test_what_is_packed(tarball):
    """All that git knows, but what is of the repository alone."""
    found = {name.partition("/")[2] for name in run("tar", "-tzf", tarball).stdout.splitlines()
             if not name.endswith("/")}
    known = set(run("git", "-C", ROOT, "ls-tree", "-r", "-z", "--name-only", "HEAD").stdout
                .rstrip("\0").split("\0"))
    assert known - found == {name for name in known
                             if name.startswith(".ci/") or
                             os.path.basename(name) in (".gitattributes", ".gitignore")}
    assert found <= known


def test_scripts_explain_themselves_outside_of_git(tarball, place):
    run("tar", "-xzf", tarball, "-C", place, "--strip-components=1")
    for script in ("build-deb", "check", "quickstart"):
        assert run(place / "contrib" / script, "--help").stdout.startswith(
            f"usage: contrib/{script} ")
    run(place / "contrib/check-layers")


@pytest.mark.long
def test_its_own_tests(place):
    """meson builds it, runs its tests and installs it, and fails where one of these does."""
    meson_dist(place, "--include-subprojects")


@pytest.mark.skipif(not DEBIAN, reason="not a Debian system")
@pytest.mark.parametrize("words, said", [
    (["--version", "a b"], "not a version of a package"), (["--output"], "--output wants a value"),
    (["--versions"], "usage: ")])
def test_what_build_deb_refuses(place, words, said):
    """Before it has made anything."""
    done = run(ROOT / "contrib/build-deb", *words, check=False, env={"TMPDIR": str(place)},
               cwd=place)
    assert done.returncode != 0 and said in done.stderr
    assert not list(place.iterdir())
