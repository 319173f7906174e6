"""Fixtures of the tests of what is installed: by meson, as a package, and in a system of its own.

    pytest-3 tests/install

They build what they need themselves, in temporary directories: a tree without tests, and a package
out of what `meson dist` packs, with its unit tests in short. That takes a minute or two, and the
first time half a minute more for a Debian system, which is kept in ~/.cache/zramfs-chroot for a
week. ZRAMFS_INSTALL_ALL=1 adds `meson dist` with its own tests in full.

What is packed is what was committed last: changes that are not are not tested by test_package and
test_chroot.
"""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from built import DEBIAN, Package, meson_dist, meson_install_tree  # noqa: E402
from chroot import Chroot, system  # noqa: E402
from host import lacking  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(*programs): needs these programs")
    config.addinivalue_line("markers", "root: needs root")
    config.addinivalue_line("markers", "long: only with ZRAMFS_INSTALL_ALL")


def pytest_collection_modifyitems(config, items):
    if not os.environ.get("ZRAMFS_INSTALL_ALL"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")
    for marker in item.iter_markers("needs"):
        missing = lacking(*marker.args)
        if missing:
            pytest.skip(f"no {missing}")


@contextlib.contextmanager
def directory(name):
    """A temporary one, that others may look into."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"zramfs-{name}-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def place():
    with directory("install") as path:
        yield path


@pytest.fixture(scope="session")
def tree():
    """A build directory of what is installed, and nothing else."""
    with directory("tree") as path:
        yield meson_install_tree(path / "build")


@pytest.fixture(scope="session")
def tarball():
    """What `meson dist` packs."""
    with directory("dist") as path:
        yield meson_dist(path)


@pytest.fixture(scope="session")
def package(tarball):
    """The Debian package of that, with what was printed when it was built."""
    missing = lacking("dpkg-buildpackage", "dh", "lintian")
    if not DEBIAN or missing:
        pytest.skip(f"no {missing}" if DEBIAN else "not a Debian system")
    with directory("deb") as path:
        yield Package(tarball, path)


@pytest.fixture(scope="session")
def chroot(package):
    """A Debian system, without zramfs when a test begins and when it ends."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    missing = lacking("mmdebstrap", "unshare", "nsenter")
    if missing:
        pytest.skip(f"no {missing}")
    archive = system(package.deb)
    with directory("chroot") as path, Chroot(archive, path) as inside:
        yield inside
