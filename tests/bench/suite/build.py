"""The programs under test and those that measure, as one build tree has them."""

import contextlib
import json
import pathlib
import tempfile

import zramfs
from host import run
from suite import ROOT

URING = pathlib.Path("/sys/module/fuse/parameters/enable_uring")


class Build:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.zramfs = self.directory / "zramfs" / "zramfs"
        self.ctl = self.directory / "zramfs" / "zramfsctl"
        tools = self.directory / "tests" / "bench"
        self.load, self.swap_load = tools / "load", tools / "swap-load"
        self.null_daemon = tools / "null-daemon"
        self.null_uring = tools / "null-uring"
        # Where the tests' own class of a mount looks for them.
        zramfs.BINARY, zramfs.CTL = self.zramfs.absolute(), self.ctl.absolute()

    def lacking(self, *programs):
        """Why not, if one of these is not built."""
        for program in programs:
            if not program.exists():
                hint = "; it needs libaio" if program == self.load else ""
                return f"no {program}: meson compile -C {self.directory}{hint}"
        return None

    def version(self):
        return run(self.zramfs, "--version").stdout.split("\n")[0]

    def kind(self):
        """How it was built, from meson's own record."""
        wanted = {"buildtype": "", "b_ndebug": "b_ndebug=", "b_sanitize": "b_sanitize=",
                  "b_lto": "b_lto=", "debug_level": "debug_level="}
        try:
            record = self.directory / "meson-info" / "intro-buildoptions.json"
            options = json.loads(record.read_text())
        except OSError:
            return "how it was built is not known"
        found = {option["name"]: option["value"] for option in options}
        return ", ".join(f"{before}{str(found[name]).lower()}" for name, before in wanted.items()
                         if found.get(name) not in (None, "none"))

    @staticmethod
    def commit():
        """Of the sources beside this; whether the build is of them, meson alone knows."""
        with contextlib.suppress(OSError):
            done = run("git", "-C", ROOT, "describe", "--always", "--dirty", check=False)
            if done.returncode == 0:
                return done.stdout.strip()
        return "commit unknown"

    # FUSE over io_uring

    @staticmethod
    def _kernel_lacks_uring():
        if not URING.exists():
            return "io_uring: this kernel has no FUSE over it"
        with contextlib.suppress(OSError):
            URING.write_text(URING.read_text())
            return None
        return f"io_uring: {URING} wants root"

    def zramfs_lacks_uring(self):
        """Why zramfs cannot be measured over io_uring here, or None."""
        with tempfile.NamedTemporaryFile("w", prefix="zramfs-bench-", suffix=".ini") as config:
            config.write("[zramfs]\ntransport = io_uring\n")
            config.flush()
            checked = run(self.zramfs, "--check-config", config.name, check=False)
        if checked.returncode != 0:
            return "io_uring: this zramfs does not know it"
        return self._kernel_lacks_uring()

    def null_lacks_uring(self):
        if not self.null_uring.exists():
            return "null, io_uring: it is not built"
        return self._kernel_lacks_uring()
