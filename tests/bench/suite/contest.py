"""Sides in turns: A B C, C B A, and so on, so that what the machine does meanwhile meets all."""

import collections

from suite import work as works
from suite.figures import Figures, ratios

STALL_NS = 250_000_000

Side = collections.namedtuple("Side", "name path options", defaults=((),))


class Contest:
    """What load printed: said[work name][side name], a list with an entry for each round."""

    def __init__(self, bench, sides, works_wanted):
        self.bench, self.sides, self.works = bench, sides, works_wanted
        self.said = {work.name: {side.name: [] for side in sides} for work in works_wanted}

    def fill(self):
        for side in self.sides:
            self.bench.progress(f"filling: {side.name}")
            works.fill(self.bench, side.path, *side.options)

    def play(self):
        for work in self.works:
            for round_ in range(self.bench.options.rounds):
                for side in self.sides[::-1] if round_ % 2 else self.sides:
                    self.bench.progress(f"{work.name}, round {round_ + 1} of "
                                        f"{self.bench.options.rounds}: {side.name}")
                    self.said[work.name][side.name].append(
                        works.play(self.bench, work, side.path, round_ + 1, *side.options))

    def stalls(self):
        """What to say of requests that took far longer than any should."""
        for work in self.works:
            for side in self.sides:
                longest = max(said["max_ns"] for said in self.said[work.name][side.name])
                if longest > STALL_NS:
                    yield f"{side.name}: {work.name}: a request took {longest / 1e6:.0f} ms"

    def figures(self, work, side):
        return Figures(works.figure(work, said) for said in self.said[work.name][side.name])

    def ratios(self, work, side, against):
        return ratios(self.figures(work, side), self.figures(work, against),
                      works.higher_is_better(work))
