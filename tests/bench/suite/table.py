"""Tables: aligned for people, or as Markdown."""


class Table:
    """Columns of text on the left, of figures on the right. A row of None is a gap."""

    def __init__(self, title, *heads, n_text=1):
        self.title, self.heads, self.n_text = title, heads, n_text
        self.rows, self.notes = [], []

    def add(self, *cells):
        self.rows.append([str(cell) for cell in cells])

    def gap(self):
        if self.rows and self.rows[-1] is not None:
            self.rows.append(None)

    def note(self, text):
        if text and text not in self.notes:
            self.notes.append(text)

    def _aligned(self, cells, widths):
        return "  ".join(cell.ljust(width) if i < self.n_text else cell.rjust(width)
                         for i, (cell, width) in enumerate(zip(cells, widths))).rstrip()

    def text(self):
        rows = [list(self.heads)] + [row for row in self.rows if row is not None]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["", self.title, "", self._aligned(self.heads, widths)]
        lines += ["" if row is None else self._aligned(row, widths) for row in self.rows]
        return "\n".join(lines + [""] * bool(self.notes) + self.notes)

    def markdown(self):
        lines = ["", f"### {self.title}", "", f"| {' | '.join(self.heads)} |",
                 "|" + " --- |" * self.n_text + " ---: |" * (len(self.heads) - self.n_text)]
        lines += [f"| {' | '.join(row)} |" for row in self.rows if row is not None]
        return "\n".join(lines + [""] * bool(self.notes) + self.notes)
