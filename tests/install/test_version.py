"""The version is in meson.build, and whatever else says one says the same."""

import re

import pytest

from built import DEBIAN, introspect
from host import lacking, run
from zramfs import ROOT


@pytest.fixture(scope="module")
def version(tree):
    return introspect(tree, "projectinfo")["version"]


@pytest.mark.parametrize("program", ["zramfs", "zramfsctl"])
def test_programs(tree, version, program):
    said = run(tree / "zramfs" / program, "-V").stdout.splitlines()[0]
    assert re.search(rf"(?<![\d.]){re.escape(version)}(?![\d.])", said), said


def test_news(version):
    """Its first entry is of this version: what was released, or is not yet."""
    first = (ROOT / "NEWS").read_text().splitlines()[0]
    assert re.fullmatch(rf"zramfs {re.escape(version)} \((not released yet|\d{{4}}-\d\d-\d\d)\)",
                        first), first


@pytest.mark.skipif(not DEBIAN or bool(lacking("dpkg-parsechangelog")),
                    reason="no dpkg-parsechangelog")
def test_package(version):
    """The package's, up to its own number."""
    for changelog in ("contrib/debian/changelog", "debian/changelog"):
        if (ROOT / changelog).exists():
            found = run("dpkg-parsechangelog", "-l", ROOT / changelog, "-S", "Version").stdout.strip()
            break
    assert found.rpartition("-")[0] == version
