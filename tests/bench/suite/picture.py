"""Shares of targets as a picture: a dot for each figure, a line where it lay over the rounds."""

from host import run

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
ROW, MARGIN = 22, 150  # in points of the picture

SCRIPT = """\
set terminal {terminal} size 1100,{height} font "Sans,12" background "white"
set output "{path}"
set title "{title}\\nshare of the target: right of 1 is reached" noenhanced
set logscale x 2
set xrange [{least}:{most}]
set yrange [{bottom}:0.4]
set xtics ({xtics})
set ytics ({ytics}) noenhanced scale 0
set grid xtics ytics lt 1 lc rgb "#e4e4e4"
set key below center horizontal noenhanced
set errorbars 0
set lmargin 46
set arrow 1 from 1,graph 0 to 1,graph 1 nohead lw 2 lc rgb "#444444"
{data}
plot {plots}
"""

TICKS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3, 4, 6, 8, 10)
LEAST, MOST = 0.1, 10  # what lies beyond is drawn at the edge


def _series(points):
    """{side: points}, in the order of their first appearance."""
    series = {}
    for point in points:
        series.setdefault(point.side, []).append(point)
    return series


def _within(share):
    return min(max(share, LEAST), MOST)


def script(points, title, terminal, path):
    rows = list(dict.fromkeys((point.part, point.what) for point in points))
    blocks, plots = [], []
    series = _series(points)
    for i, (side, each) in enumerate(series.items()):
        # Side by side in their row, so that none hides another.
        shift = (i - (len(series) - 1) / 2) * 0.6 / len(series)
        lines = [f"{_within(p.share):.4f} {_within(p.share_least):.4f} "
                 f"{_within(p.share_most):.4f} {-rows.index((p.part, p.what)) - 1 - shift:.3f}"
                 for p in each]
        blocks += [f"$side{i} << EOD", *lines, "EOD"]
        plots.append(f'$side{i} using 1:4:2:3 with xerrorbars pt 7 ps 0.8 lw 1.5 lc rgb '
                     f'"{COLOURS[i % len(COLOURS)]}" title "{side}"')
    shares = [_within(share) for p in points for share in (p.share_least, p.share_most)]
    height = MARGIN + ROW * len(rows)
    return SCRIPT.format(
        terminal=terminal, path=path, title=title, height=height,
        bottom=-len(rows) - 0.6, least=min(*shares, 0.5) / 1.1, most=max(*shares, 2) * 1.1,
        xtics=", ".join(f'"{tick}" {tick}' for tick in TICKS),
        ytics=", ".join(f'"{part}: {what}" {-i - 1}' for i, (part, what) in enumerate(rows)),
        data="\n".join(blocks), plots=", \\\n  ".join(plots))


def draw(points, title, path):
    terminal = "pngcairo" if str(path).endswith(".png") else "svg"
    run("gnuplot", "-", input=script(points, title, terminal, path), stdin=None)
