# SPDX-License-Identifier: BSD-3-Clause
"""What bench found: a table, a page with plots, and what changed between two runs."""

import html
import math
import re
from statistics import median

BUSY = 0.5  # load per CPU beyond which times are not to be trusted

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:62em;padding:0 1em;color:#1c2733}
h1{font-size:1.5em;margin:0}h2{font-size:1.15em;margin:2em 0 .5em}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #dde3e9}
td:first-child,th:first-child{text-align:left}
.good{color:#19733c}.bad{color:#b3261e}.note{color:#5c6b7a}
.warn{background:#fff3d6;border-left:4px solid #d99a00;padding:.5em 1em}
svg text{font:12px system-ui,sans-serif;fill:#1c2733}
"""

COLOURS = ("#1f6fb4", "#d9601a", "#2f9e5b", "#8e4fb0", "#b8860b", "#5c6b7a")


def number(value):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return "%.3g %s" % (value / size, unit)
    return "%.3g" % value


def is_met(row):
    """True or False; None without a goal, or without what it is of."""
    if not row["goal"]:
        return None
    what, way, limit = row["goal"]
    values = row["ratios"] if what == "ratio" else row["samples"]
    if not values or (what == "wake" and not row["tops"]):
        return None
    if what == "wake":
        limit = limit * median(row["tops"]) + 10
    return median(values) >= limit if way == "least" else median(values) <= limit


def goal_text(row):
    what, way, limit = row["goal"]
    if what == "ratio":
        return "at %s %.0f %% of %s" % (way, limit * 100, row["ceiling"])
    if what == "wake":
        return "at %s %g x %s + 10 us" % (way, limit, row["ceiling"])
    return "at %s %g %s" % (way, limit, row["unit"])


def is_busy(result):
    """By what ran before; what runs afterwards is the benchmark's own."""
    return result["load"][0] > BUSY * len(result["cpus"])


def table(result):
    lines = ["%-40s %10s %10s %10s %-5s %7s  %s" % ("", "median", "min", "max", "", "ratio", "of")]
    for row in result["results"]:
        ratio = "%6.1f%%" % (median(row["ratios"]) * 100) if row["ratios"] else ""
        met = {True: "  goal met", False: "  goal: " + (goal_text(row) if row["goal"] else ""), None: ""}[is_met(row)]
        lines.append("%-40s %10s %10s %10s %-5s %7s  %s%s" % (
            row["name"], number(median(row["samples"])), number(min(row["samples"])),
            number(max(row["samples"])), row["unit"], ratio, row["ceiling"] or "", met))
    lines.append("%s; commit %s; %d rounds in %.0f s; load %.1f before, %.1f after" % (
        result["machine"], result["commit"], result["rounds"], result["seconds"], *result["load"]))
    if is_busy(result):
        lines.append("The machine was busy: times are worth little, ratios a little more.")
    lines += result["notes"] + ["FAILED " + text for text in result["failures"]]
    return "\n".join(lines)


# ---- two runs ----

def spread(values):
    return min(values), max(values)


def compare(a, b):
    """Ratios where there are ceilings, figures where not; what moved beyond both runs' spread is marked."""
    other = {row["name"]: row for row in b["results"]}
    lines = ["A: %s, %s" % (a["commit"], a["time"]), "B: %s, %s" % (b["commit"], b["time"]),
             "%-40s %12s %12s %9s" % ("", "A", "B", "B to A")]
    for row in a["results"]:
        mate = other.get(row["name"])
        if not mate:
            lines.append("%-40s not in B" % row["name"])
            continue
        use = "ratios" if row["ratios"] and mate["ratios"] else "samples"
        x, y = median(row[use]), median(mate[use])
        (low, high), (mate_low, mate_high) = spread(row[use]), spread(mate[use])
        apart = mate_low > high or mate_high < low
        # A ratio grows with what is good, whatever its figure does.
        better = (y > x) == (row["more_is_better"] or use == "ratios")
        text = ["%.1f %%" % (v * 100) if use == "ratios" else number(v) for v in (x, y)]
        lines.append("%-40s %12s %12s %+8.1f%%%s" % (
            row["name"], text[0], text[1], (y / x - 1) * 100 if x else 0,
            ("  better" if better else "  WORSE") if apart else ""))
    mine = {row["name"] for row in a["results"]}
    lines += ["%-40s not in A" % name for name in other if name not in mine]
    return "\n".join(lines)


# ---- the page ----

def bars(rows):
    """Ratios as horizontal bars with the span of the rounds; a tick where the goal is."""
    width, left, line = 560, 250, 22
    top = max([1.0] + [max(row["ratios"]) for row in rows])
    x = lambda ratio: left + ratio / top * width
    out = ['<svg width="%d" height="%d" role="img">' % (left + width + 70, line * len(rows) + 24)]
    for i in range(0, 5):
        at = x(top * i / 4)
        out.append('<line x1="%.1f" y1="0" x2="%.1f" y2="%d" stroke="#e3e8ed"/>' % (at, at, line * len(rows)))
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%.0f %%</text>' % (
            at, line * len(rows) + 16, top * i * 25))
    for i, row in enumerate(rows):
        y, mid = i * line, median(row["ratios"])
        met = is_met(row)
        colour = {True: "#2f9e5b", False: "#d9601a", None: "#8fa8bf"}[met]
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>' % (left - 8, y + 15, html.escape(row["name"])))
        out.append('<rect x="%d" y="%d" width="%.1f" height="14" fill="%s"><title>%s: %.1f %% of %s</title></rect>' % (
            left, y + 4, max(1, x(mid) - left), colour, html.escape(row["name"]), mid * 100, row["ceiling"]))
        low, high = spread(row["ratios"])
        out.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#1c2733"/>' % (x(low), y + 11, x(high), y + 11))
        if row["goal"] and row["goal"][0] == "ratio":
            at = x(row["goal"][2])
            out.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#b3261e" stroke-width="2"/>' % (
                at, y + 1, at, y + 21))
        out.append('<text x="%.1f" y="%d">%.0f %%</text>' % (x(max(mid, high)) + 6, y + 15, mid * 100))
    return "\n".join(out + ["</svg>"])


def curves(title, series):
    """Rates over depth, both logarithmic. series: [(name, {depth: rate}, dashed)]."""
    width, height, left, bottom = 400, 240, 62, 40
    points = [(q, v) for _, line, _ in series for q, v in line.items() if v > 0]
    if len({q for q, _ in points}) < 2:
        return ""
    depths = sorted({q for q, _ in points})
    low, high = math.log10(min(v for _, v in points)), math.log10(max(v for _, v in points))
    low, high = math.floor(low * 2) / 2, max(math.ceil(high * 2) / 2, low + 0.5)
    x = lambda q: left + math.log2(q / depths[0]) / math.log2(depths[-1] / depths[0]) * width
    y = lambda v: 20 + (high - math.log10(v)) / (high - low) * height
    out = ['<svg width="%d" height="%d" role="img">' % (left + width + 20, height + bottom + 20 * (len(series) + 1))]
    out.append('<text x="%d" y="12" font-weight="bold">%s</text>' % (left, html.escape(title)))
    for step in range(int(low), int(high) + 1):
        if low <= step <= high:
            out.append('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e3e8ed"/>' % (
                left, y(10 ** step), left + width, y(10 ** step)))
            out.append('<text x="%d" y="%.1f" text-anchor="end">%s/s</text>' % (
                left - 6, y(10 ** step) + 4, number(10.0 ** step)))
    for q in depths:
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%d</text>' % (x(q), height + 38, q))
    for i, (name, line, dashed) in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join("%.1f,%.1f" % (x(q), y(v)) for q, v in sorted(line.items()) if v > 0)
        out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/>' % (
            path, colour, ' stroke-dasharray="5 4"' if dashed else ""))
        for q, v in line.items():
            if v > 0:
                out.append('<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s, depth %d: %s/s</title></circle>' % (
                    x(q), y(v), colour, html.escape(name), q, number(v)))
        at = height + 58 + 20 * i
        out.append('<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="3"%s/>' % (
            left, at - 4, left + 26, at - 4, colour, ' stroke-dasharray="5 4"' if dashed else ""))
        out.append('<text x="%d" y="%d">%s</text>' % (left + 34, at, html.escape(name)))
    return "\n".join(out + ["</svg>"])


def by_depth(result, pattern):
    """{depth: median} of the cases whose names match; the depth is the group."""
    found = {}
    for row in result["results"]:
        match = re.fullmatch(pattern, row["name"])
        if match:
            found[int(match.group(1))] = median(row["samples"])
    return found


def depth_plots(result):
    ring = ("bare rings", by_depth(result, r"ring q(\d+)"), True)
    plots = [curves("Null store", [ring] + [("%s %s" % (kind, size), by_depth(result, r"null %s %s q(\d+)" % (kind, size)), False)
                                           for size in ("4K", "128K") for kind in ("read", "write")])]
    for size in ("512", "4K", "128K"):
        series = []
        for kind in ("read", "write"):
            line = by_depth(result, r"ram %s %s q(\d+)" % (kind, size))
            top = [median(r["samples"]) for r in result["results"] if r["name"] == "copy %s %s" % (kind, size)]
            if line and top:
                series += [("copies, " + kind, {q: top[0] for q in line}, True), (kind, line, False)]
        plots.append(curves("RAM store, " + size, series) if series else "")
    return "\n".join(plots)


def goals(rows):
    lines = ["<table><tr><th>goal</th><th></th><th>found</th><th></th></tr>"]
    for row in rows:
        met = is_met(row)
        ratio = row["goal"][0] == "ratio"
        values = row["ratios"] if ratio else row["samples"]
        found = "%.0f %%" % (median(values) * 100) if ratio else "%s %s" % (number(median(values)), row["unit"])
        lines.append('<tr><td>%s</td><td>%s</td><td>%s</td><td class="%s">%s</td></tr>' % (
            html.escape(row["name"]), html.escape(goal_text(row)), found,
            "good" if met else "bad", "met" if met else "not met"))
    return "\n".join(lines + ["</table>"])


def all_rows(result):
    lines = ["<table><tr><th></th><th>median</th><th>min</th><th>max</th><th></th><th>share</th><th>of</th></tr>"]
    for row in result["results"]:
        lines.append("<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>" % (
            html.escape(row["name"]), number(median(row["samples"])), number(min(row["samples"])),
            number(max(row["samples"])), row["unit"],
            "%.1f %%" % (median(row["ratios"]) * 100) if row["ratios"] else "", row["ceiling"] or ""))
    return "\n".join(lines + ["</table>"])


def counts(rows):
    lines = ["<table><tr><th>instructions per request</th><th>side</th><th>counted</th><th>budget</th></tr>"]
    for case, side, budget, count in rows:
        lines.append("<tr><td>%s</td><td>%s</td><td>%.1f</td><td>%.0f</td></tr>" % (case, side, count, budget))
    return "\n".join(lines + ["</table>"])


def write_html(result, path):
    with_goals = [row for row in result["results"] if is_met(row) is not None]
    with_ratio = [row for row in result["results"] if row["ratios"]]
    met = sum(1 for row in with_goals if is_met(row))
    parts = ["<!doctype html><html lang=en><meta charset=utf-8><title>Bellhop: speed</title><style>%s</style>" % STYLE,
             "<h1>%d of %d goals met</h1>" % (met, len(with_goals)),
             '<p class="note">%s. Commit %s, %s. Medians of %d rounds; host on CPU %d, target on CPU %d.</p>' % (
                 html.escape(result["machine"]), html.escape(result["commit"]), result["time"], result["rounds"],
                 *result["cpus"])]
    if is_busy(result):
        parts.append('<p class="warn">The machine was busy (load %.1f before, %.1f after): times are worth '
                     "little, ratios a little more, instruction counts all they ever are.</p>" % tuple(result["load"]))
    for text in result["notes"] + ["Failed: " + text for text in result["failures"]]:
        parts.append('<p class="note">%s</p>' % html.escape(text))
    parts += [goals(with_goals) if with_goals else "",
              "<h2>Share of the ceiling</h2><p class=note>The ceiling of a row is measured in the same round: bare "
              "rings, plain copies, an eventfd's wake, or the case it is a variation of. The line through a bar is "
              "the span of the rounds, the red tick the goal.</p>", bars(with_ratio) if with_ratio else "",
              "<h2>Over depth</h2>", depth_plots(result),
              "<h2>Each side alone</h2>", counts(result["instructions"]),
              "<h2>All figures</h2>", all_rows(result), "</html>"]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts))
