# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest's lines come to: figures, and what was wrong."""

import re
import time

# What no run may have in its kernel's log. A write that is refused for lack of memory is an error of
# another name, and no loss: the page stays where it is.
ALARMS = re.compile(r"BUG:|Oops|Kernel panic|general protection|WARNING: |soft lockup|"
                    r"rcu.*detected stall|blocked for more than|Read-error on swap|"
                    r"(?<!space allocation )I/O error, dev loop|Hardware Error")
REFUSED = re.compile(r"error, dev loop\d+, sector")
KILLED = re.compile(r"Out of memory: Killed process \d+ \((\S+)\)")

# In these there is always somebody who verifies, writes or takes pages.
BUSY = ["fill", "check", "hog", "last"]


class Report:
    def __init__(self):
        self.watch = {}
        self.failures = []
        self.notes = []
        self.hogs = []
        self.begun = None  # what there was before the load
        self.phase = "boot"
        self.phase_since = {}
        self.line_at = None
        self.gap = 0.0
        self.done = -1
        self.done_at = time.monotonic()
        self.idle = 0.0
        self.refused = 0
        self.oom_killed = []
        self.checked = False  # the checker came to its end, and found nothing
        self.over = False

    def fail(self, text):
        if text not in self.failures and len(self.failures) < 20:
            self.failures.append(text)

    def take(self, source, line):
        if source == "port":
            word, _, rest = line.partition(" ")
            take = getattr(self, f"take_{word}", None)
            if take:
                take(rest)
        elif source == "console":
            self.take_console(line)

    def take_watch(self, rest):
        now = time.monotonic()
        try:
            self.watch = {name: int(value)
                          for name, value in (word.split("=") for word in rest.split())}
        except ValueError:
            return
        if self.line_at is not None:
            self.gap = max(self.gap, now - self.line_at)
        self.line_at = now
        self.note_progress(now)

    def note_progress(self, now):
        done = sum(self.watch[name] for name in ("verified", "written", "hogged"))
        if done != self.done or self.phase not in BUSY:
            self.done, self.done_at = done, now
        self.idle = max(self.idle, now - self.done_at)

    def take_begin(self, rest):
        self.begun = {name: int(value) for name, value in
                      (word.split("=") for word in rest.split())}

    def take_phase(self, rest):
        self.phase = rest
        self.phase_since[rest] = time.monotonic()

    def take_hog(self, rest):
        self.hogs.append(rest)
        if "signal 9" not in rest:
            self.fail(f"the limit was not reached: hog {rest}")

    def take_failed(self, rest):
        self.fail(rest)

    def take_log(self, rest):
        self.notes.append(re.sub(r"^<\d+>", "", rest))

    def take_checker(self, rest):
        self.checked = True

    def take_end(self, rest):
        self.phase = "end"
        self.over = True

    def take_console(self, line):
        killed = KILLED.search(line)
        if killed:
            self.oom_killed.append(f"{killed.group(1)} in phase {self.phase}")
        if REFUSED.search(line):
            self.refused += 1
        if ALARMS.search(line):
            self.fail(f"the kernel said: {line.strip()}")

    def judge(self, kills_wanted, n_hogs):
        """What only the whole of it can tell."""
        if not self.over:
            self.fail(f"the guest ended in phase {self.phase}, without its last line")
        if not self.begun:
            return
        if self.over and not self.checked:
            self.fail("the checker did not come to its end")
        if self.watch.get("bad"):
            self.fail(f"{self.watch['bad']} bad pages")
        if self.watch.get("out", 0) < self.begun["pages"] // 2:
            self.fail("hardly anything was swapped out")
        if kills_wanted and not self.watch.get("kills"):
            self.fail("the worker was never killed")
        if self.over and len(self.hogs) < n_hogs:
            self.fail(f"{len(self.hogs)} of {n_hogs} hogs came to their end")
        for name in self.oom_killed:
            if name != "soak in phase hog":
                self.fail(f"the kernel killed {name} for lack of memory")

    def progress(self):
        """One line for who waits."""
        figures = self.watch
        since = time.monotonic() - self.phase_since.get(self.phase, time.monotonic())
        return (f"{self.phase:5} {since:4.0f} s  verified {figures.get('verified', 0):9,}  bad "
                f"{figures.get('bad', 0)}  kills {figures.get('kills', 0)}  generation "
                f"{figures.get('generation', 0)}  free {figures.get('free', 0) // 1024} MiB  "
                f"swap used {self.swap_used_mib():.0f} MiB")

    def swap_used_mib(self):
        if not self.begun or not self.watch:
            return 0
        return (self.begun["swap"] - self.watch["swapfree"]) / 1024

    def rows(self):
        """[(what, figure)] of the summary."""
        figures = {name: self.watch.get(name, 0) for name in
                   ("ms", "verified", "written", "dropped", "bad", "kills", "generation",
                    "pausemax", "in", "out", "swapmax", "usedmax")}
        rows = [("seconds in the guest", f"{figures['ms'] / 1000:.0f}"),
                ("pages verified", f"{figures['verified']:,}"),
                ("pages written", f"{figures['written']:,}"),
                ("pages dropped", f"{figures['dropped']:,}"),
                ("bad pages", figures["bad"]),
                ("kills of the worker", figures["kills"]),
                ("generation at last", figures["generation"]),
                ("longest pause after a kill", f"{figures['pausemax'] / 1000:.2f} s"),
                ("longest time without a line", f"{self.gap:.1f} s"),
                ("longest time without a page", f"{self.idle:.1f} s"),
                ("pages swapped in", f"{figures['in']:,}"),
                ("pages swapped out", f"{figures['out']:,}"),
                ("peak swap used", f"{figures['swapmax'] / 1024:.0f} MiB"),
                ("peak memory of the disk", f"{figures['usedmax'] / 1024:.0f} MiB"),
                ("writes that were refused", self.refused)]
        if self.begun:
            rows.insert(0, ("available before the load",
                            f"{self.begun['available'] / 1024:.0f} MiB"))
            rows.insert(1, ("the checker's memory", f"{self.begun['pages'] / 256:.0f} MiB"))
        return rows + [("hog", hog) for hog in self.hogs]
