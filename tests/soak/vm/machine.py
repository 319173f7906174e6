# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine: one qemu, two serial ports, and what can be asked of it when it no longer answers.

The first port is the console of the guest's kernel; the second has the lines of guest/soak.c and
nothing else, so that neither is broken by the other.
"""

import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import time

from kernel import Missing

QEMU = "qemu-system-x86_64"
PR_SET_PDEATHSIG = 1

# mitigations=off: there is nobody to be kept apart in it, and they are slow when they are emulated.
# rootfstype=ramfs: else the guest's programs are in tmpfs, whose pages go out to the swap, too.
# panic=-1: a panic ends qemu at once, after its message.
COMMAND_LINE = ("console=ttyS0 rootfstype=ramfs panic=-1 mitigations=off loglevel=7 "
                "random.trust_cpu=on nokaslr")


class WillNotStart(Exception):
    """The machine ended before its kernel said anything; says why."""


def accelerators():
    """kvm where it may be used, and what works everywhere."""
    if not shutil.which(QEMU):
        raise Missing(f"no {QEMU} (Debian: qemu-system-x86)")
    return (["kvm"] if os.access("/dev/kvm", os.R_OK | os.W_OK) else []) + ["tcg"]


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Machine:
    """A guest that runs, and its lines as they come."""

    def __init__(self, accelerator, memory_mib, kernel, initramfs, log, n_cpus=2,
                 command_line=COMMAND_LINE, more=()):
        """@more: of qemu's options."""
        self.log = log
        self.buffers = {}
        self.ended = False
        self.selector = selectors.DefaultSelector()
        ours, theirs = zip(*(socket.socketpair() for _ in range(3)))
        self.console, self.port, self.monitor = ours
        chardevs = []
        for name, end in zip(["console", "port", "monitor"], theirs):
            chardevs += ["-chardev", f"socket,id={name},fd={end.fileno()}"]
        self.process = subprocess.Popen(
            [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
             "-accel", "tcg,thread=multi" if accelerator == "tcg" else accelerator,
             "-cpu", "max" if accelerator == "tcg" else "host", "-smp", str(n_cpus),
             "-m", str(memory_mib), "-kernel", str(kernel.image), "-initrd", str(initramfs),
             "-append", command_line, *more, *chardevs, "-serial", "chardev:console",
             "-serial", "chardev:port", "-mon", "chardev=monitor,mode=control"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            pass_fds=[end.fileno() for end in theirs], preexec_fn=die_with_parent)
        for end in theirs:
            end.close()
        for name, source in [("console", self.console), ("port", self.port),
                             ("qemu", self.process.stderr)]:
            os.set_blocking(source.fileno(), False)
            self.selector.register(source, selectors.EVENT_READ, name)
            self.buffers[name] = b""

    def lines(self, seconds):
        """Yield (source, line) until so much time has passed, or the machine is gone."""
        deadline = time.monotonic() + seconds
        while not self.ended:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            for key, _ in self.selector.select(min(left, 0.5)):
                yield from self.read(key)
            if not self.selector.get_map():
                self.ended = True

    def read(self, key):
        try:
            content = os.read(key.fileobj.fileno(), 65536)
        except BlockingIOError:
            return
        except ConnectionError:
            content = b""
        if not content:
            self.selector.unregister(key.fileobj)
        *complete, self.buffers[key.data] = (self.buffers[key.data] + content).split(b"\n")
        for line in complete:
            text = line.decode(errors="replace").strip("\r")
            self.log.write(f"{time.monotonic():10.3f} {key.data:7} {text}\n")
            yield key.data, text

    def drain(self, seconds):
        """Into the log, and nowhere else."""
        for _ in self.lines(seconds):
            pass

    def ask(self, **command):
        """A command of qemu's monitor; its answer is read so that the next one's can be."""
        with self.monitor.makefile("rw") as stream:
            self.monitor.settimeout(5)
            stream.write(json.dumps(command) + "\n")
            stream.flush()
            for line in stream:
                answer = json.loads(line)
                if "return" in answer or "error" in answer:
                    return answer.get("return")
        return None

    def ask_why(self):
        """Into the log: what each CPU does, memory, blocked tasks, the stacks of all tasks."""
        try:
            self.ask(execute="qmp_capabilities")
            registers = self.ask(execute="human-monitor-command",
                                 arguments={"command-line": "info registers -a"})
            for line in str(registers).splitlines():
                self.log.write(f"{'':10} monitor {line}\n")
            for key in "lmwt":
                self.ask(execute="human-monitor-command",
                         arguments={"command-line": "chardev-send-break console"})
                self.console.sendall(key.encode())
                self.drain(15 if key == "t" else 3)
        except (OSError, ValueError) as error:
            self.log.write(f"{'':10} monitor does not answer: {error}\n")

    def stop(self):
        """Dead, whatever it was doing, and nothing of it left."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.drain(1)
        self.log.flush()
        for end in (self.console, self.port, self.monitor, self.process.stderr, self.selector):
            end.close()


def start(accelerator, memory_mib, kernel, initramfs, log, seconds=20, **kwargs):
    """A machine whose kernel has begun to speak."""
    machine = Machine(accelerator, memory_mib, kernel, initramfs, log, **kwargs)
    reason = f"not a line of its kernel in {seconds} s"
    for source, line in machine.lines(seconds):
        if source == "console" and "Linux version" in line:
            return machine
        if source == "qemu":
            reason = line
            if "KVM internal error" in line:
                break
    machine.stop()
    raise WillNotStart(reason)
