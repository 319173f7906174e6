"""What dpkg runs as root, where little is there: no /proc, no systemd, no zramfs that answers."""

import pathlib

import pytest

from host import run

DEBIAN = pathlib.Path(__file__).resolve().parents[2] / "contrib/debian"


@pytest.mark.root
@pytest.mark.parametrize("script, words", [
    ("prerm", ["remove"]), ("prerm", ["upgrade", "0.2.0-1"]), ("prerm", ["deconfigure"]),
    ("postinst", ["configure", ""]), ("postinst", ["configure", "0.0.9-1"]),
    ("postinst", ["abort-upgrade", "0.2.0-1"]),
])
def test_nothing_is_there(script, words):
    """One that fails leaves dpkg half-way."""
    done = run("unshare", "--mount", "sh", "-c",
               'mount -t tmpfs none /proc && PATH=/usr/bin:/bin exec sh "$@"', "sh",
               DEBIAN / f"zramfs.{script}", *words, check=False)
    assert done.returncode == 0, done.stderr
