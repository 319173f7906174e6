"""What all parts share: options, programs, pages, and where results go."""

from suite.progress import Progress


class Bench:
    def __init__(self, options, build, pages):
        self.options, self.build, self.pages = options, build, str(pages)
        self.progress = Progress()
        self.points = []
        self.wants_null = False  # beside kernel zram with lz4
        self.zramfs_lacks_uring = self.null_lacks_uring = None

    def print(self, *texts):
        self.progress.clear()
        print(*texts, sep="\n", flush=True)

    def table(self, table):
        self.print(table.markdown() if self.options.markdown else table.text())
