"""A FUSE daemon that says what a test wants it to say, and that is not ours.

    with Fake(place / "fake", {".stats.json": b"{}", ".stats": Link("/etc/passwd")}) as fake: ...

Whoever may mount can call their filesystem zramfs. It is served by a thread, in the kernel's own
protocol, so that nothing in between forbids what only a hostile daemon would do.
"""

import contextlib
import ctypes
import errno
import os
import pathlib
import stat
import struct
import threading

from host import LIBC, MNT_DETACH

(LOOKUP, FORGET, GETATTR, SETATTR, READLINK, OPEN, READ, WRITE, STATFS, RELEASE, FLUSH, INIT,
 OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET) = (
     1, 2, 3, 4, 5, 14, 15, 16, 17, 18, 25, 26, 27, 28, 29, 36, 42)
FOPEN_DIRECT_IO = 1
FATTR_SIZE = 1 << 3
REQUEST_MAX = 1 << 20


class Link(str):
    """A symbolic link to somewhere."""


class Pipe(str):
    """A named pipe."""


class Endless(bytes):
    """A file that goes on and on with these bytes."""


class Fake:
    """{path below the mount point: bytes, Link, Pipe or Endless}; directories follow from that."""

    def __init__(self, point, files, user_id=0, source="fake", fstype="fuse.zramfs"):
        self.point, self.files, self.user_id = pathlib.Path(point), dict(files), user_id
        self.source, self.fstype = source, fstype
        self.writes = []  # (path, bytes)
        self.sizes = {}   # what files were cut to
        self.nodes = ["", ""]  # paths, by node; 1 is the root

    def __enter__(self):
        self.point.mkdir(exist_ok=True)
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = (f"fd={self.fd},rootmode=40000,user_id={self.user_id},"
                   f"group_id={self.user_id},allow_other")
        if LIBC.mount(self.source.encode(), os.fsencode(self.point), self.fstype.encode(), 0,
                      options.encode()) != 0:
            os.close(self.fd)
            raise OSError(ctypes.get_errno(), "mount")
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        LIBC.umount2(os.fsencode(self.point), MNT_DETACH)
        self.thread.join(timeout=10)
        os.close(self.fd)
        assert not self.thread.is_alive()

    # Serving

    def _serve(self):
        while True:
            try:
                request = os.read(self.fd, REQUEST_MAX + 4096)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                return  # unmounted
            _, opcode, unique, node = struct.unpack_from("=IIQQ", request)
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            try:
                code, answer = 0, self._answer(opcode, self.nodes[node], request[40:])
            except OSError as error:
                code, answer = -error.errno, b""
            with contextlib.suppress(OSError):
                os.write(self.fd, struct.pack("=IiQ", 16 + len(answer), code, unique) + answer)

    def _answer(self, opcode, path, body):
        if opcode == INIT:
            return struct.pack("=IIIIHHIIHHI", 7, 31, 65536, 0, 12, 9, 65536, 1, 0, 0,
                               0) + bytes(28)
        if opcode == LOOKUP:
            return self._entry(os.path.join(path, os.fsdecode(body[:-1])))
        if opcode == SETATTR:
            valid, = struct.unpack_from("=I", body)
            if valid & FATTR_SIZE:
                self.sizes[path], = struct.unpack_from("=Q", body, 16)
        if opcode in (GETATTR, SETATTR):
            return bytes(16) + self._attr(path)
        if opcode == READLINK:
            return os.fsencode(self.files[path])
        if opcode in (OPEN, OPENDIR):
            return struct.pack("=QII", 0, FOPEN_DIRECT_IO if opcode == OPEN else 0, 0)
        if opcode == READ:
            _, offset, size = struct.unpack_from("=QQI", body)
            data = self.files[path]
            if isinstance(data, Endless):
                return (bytes(data) * (size // len(data) + 1))[:size]
            return data[offset:offset + size]
        if opcode == WRITE:
            self.writes.append((path, body[40:]))
            return struct.pack("=II", len(body) - 40, 0)
        if opcode == STATFS:
            return bytes(80)
        if opcode in (RELEASE, RELEASEDIR, FLUSH, READDIR):
            return b""
        raise OSError(errno.ENOSYS, "not served")

    def _is_directory(self, path):
        return path == "" or any(file.startswith(f"{path}/") for file in self.files)

    def _attr(self, path):
        data = self.files.get(path, b"")
        mode = (stat.S_IFDIR | 0o755 if self._is_directory(path) else
                stat.S_IFLNK | 0o777 if isinstance(data, Link) else
                stat.S_IFIFO | 0o666 if isinstance(data, Pipe) else stat.S_IFREG | 0o666)
        node = 1 if path == "" else self.nodes.index(path)
        return struct.pack("=QQQQQQIIIIIIIIII", node, 1 << 20, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0,
                           0, 4096, 0)

    def _entry(self, path):
        if path not in self.files and not self._is_directory(path):
            raise OSError(errno.ENOENT, path)
        if path not in self.nodes:
            self.nodes.append(path)
        return struct.pack("=QQQQII", self.nodes.index(path), 0, 0, 0, 0, 0) + self._attr(path)
