"""The machine: what it is, how busy it is, its memory and its settings."""

import ctypes
import mmap
import os
import pathlib
import platform
import re

from host import memory_total
from suite import GIB, MIB
from suite.build import URING

LOAD_MAX = 0.5  # above it somebody else is at work


def _library(name, call, restype=ctypes.c_char_p):
    """What version a library says it is."""
    try:
        function = getattr(ctypes.CDLL(name), call)
    except (OSError, AttributeError):
        return "-"
    function.restype = restype
    return function().decode()


def libraries():
    return {"lz4": _library("liblz4.so.1", "LZ4_versionString"),
            "lzo": _library("liblzo2.so.2", "lzo_version_string"),
            "zstd": _library("libzstd.so.1", "ZSTD_versionString"),
            "fuse3": _library("libfuse3.so.3", "fuse_pkgversion")}


def processor():
    found = re.search(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return found[1] if found else platform.machine()


def facts():
    return {"processor": processor(), "cores": len(os.sched_getaffinity(0)),
            "memory_mib": memory_total() // MIB, "kernel": platform.release(),
            "load": os.getloadavg()[0], "libraries": libraries()}


def available():
    """Bytes of memory that are free or soon would be."""
    text = pathlib.Path("/proc/meminfo").read_text()
    return int(re.search(r"^MemAvailable:\s+(\d+)", text, re.M)[1]) * 1024


def warm(n_bytes):
    """The first touch of a page by a virtual machine costs 10 µs: all that the run will take is
    touched once. Return: bytes."""
    left = n_bytes = min(n_bytes, available() // 2)
    held = []
    while left > 0:
        held.append(mmap.mmap(-1, min(left, GIB), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS |
                              mmap.MAP_POPULATE))
        left -= GIB
    for memory in held:
        memory.close()
    return n_bytes


def permit_uring(undo):
    """FUSE over io_uring, until the run is over."""
    before = URING.read_text().strip()
    if before != "Y":
        undo.later(URING.write_text, before)
        URING.write_text("Y")


class Stolen:
    """How much of the time of its cores a virtual machine did not get."""

    def __init__(self):
        self._before = self._ticks()

    @staticmethod
    def _ticks():
        fields = pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]
        ticks = [int(field) for field in fields[:8]]
        return ticks[7], sum(ticks)

    def percent(self):
        stolen, total = (now - before for now, before in zip(self._ticks(), self._before))
        return 100 * stolen / max(total, 1)
