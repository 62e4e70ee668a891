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
    lines = ["%-40s %10s %10s %10s %-5s %7s  %s" % (
        "", "median", "min", "max", "", "ratio", "of")]
    for row in result["results"]:
        ratio = "%6.1f%%" % (median(row["ratios"]) * 100) if row["ratios"] else ""
        met = {None: "", True: "  goal met"}.get(is_met(row))
        if met is None:
            met = "  GOAL NOT MET: " + goal_text(row)
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
    """Ratios where there are ceilings, figures where not.

    What moved beyond the spread of both runs is marked.
    """
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

def tag(name, text=None, **attributes):
    """An element; class_ is class, and text_anchor text-anchor."""
    words = [name] + ['%s="%s"' % (
        key.rstrip("_").replace("_", "-"),
        "%.1f" % value if isinstance(value, float) else html.escape(str(value)))
                      for key, value in attributes.items()]
    if text is None:
        return "<%s/>" % " ".join(words)
    return "<%s>%s</%s>" % (" ".join(words), text, name)


def label(text, x, y, **attributes):
    return tag("text", html.escape(text), x=x, y=y, **attributes)


def line(x, y, **attributes):
    return tag("line", x1=x[0], y1=y[0], x2=x[1], y2=y[1], **attributes)


def bars(rows):
    """Ratios as horizontal bars with the span of the rounds; a tick where the goal is."""
    left, width, step = 290, 520, 22
    top = max([1.0] + [median(row["ratios"]) for row in rows]) * 1.1

    def x(ratio):
        return float(left + min(ratio / top, 1) * width)

    bottom = step * len(rows)
    out = []
    for tenth in range(0, int(top * 10) + 1, 2):
        out.append(line((x(tenth / 10),) * 2, (0, bottom), stroke="#e3e8ed"))
        out.append(label("%d %%" % (tenth * 10), x(tenth / 10), bottom + 16,
                         text_anchor="middle"))
    for i, row in enumerate(rows):
        y, mid, (low, high) = i * step, median(row["ratios"]), spread(row["ratios"])
        colour = {True: "#2f9e5b", False: "#d9601a", None: "#8fa8bf"}[is_met(row)]
        said = "%s: %.1f %% of %s" % (row["name"], mid * 100, row["ceiling"])
        out.append(label(row["name"], left - 8, y + 15, text_anchor="end"))
        out.append(tag("rect", tag("title", html.escape(said)), x=left, y=y + 4, height=14,
                       width=max(1.0, x(mid) - left), fill=colour))
        out.append(line((x(low), x(high)), (y + 11, y + 11), stroke="#1c2733"))
        if row["goal"] and row["goal"][0] == "ratio":
            out.append(line((x(row["goal"][2]),) * 2, (y + 1, y + 21), stroke="#b3261e",
                            stroke_width=2))
        out.append(label("%.0f %%" % (mid * 100), max(x(mid), x(high)) + 6, y + 15))
    return tag("svg", "\n".join(out), width=left + width + 70, height=bottom + 24, role="img")


def axes(title, places, height, y, decades):
    """Title, a line and its text per decade, a text per place of the other axis."""
    left, right = 70, 70 + 430
    out = [label(title, left, 16, font_weight=600)]
    for decade in decades:
        at = y(10.0 ** decade)
        out.append(line((left, right), (at, at), stroke="#e3e8ed"))
        out.append(label(number(10.0 ** decade) + "/s", left - 6, at + 4, text_anchor="end"))
    return out + [label(text, at, height + 38, text_anchor="middle") for text, at in places]


def curves(title, series, what="depth"):
    """series: (name, {place: value}, dashed); both axes logarithmic."""
    series = [s for s in series if any(v > 0 for v in s[1].values())]
    if not series:
        return ""
    height, left, width = 230, 70, 430
    places = sorted({q for _, values, _ in series for q in values})
    values = [v for _, found, _ in series for v in found.values() if v > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high += high == low
    most = max(1.0, math.log2(max(places)))

    def x(q):
        return float(left + 12 + math.log2(q) / most * (width - 24))

    def y(v):
        return float(24 + height - (math.log10(v) - low) / (high - low) * height)

    out = axes(title, [(str(q), x(q)) for q in places], height, y, range(low, high + 1))
    for i, (name, found, dashed) in enumerate(series):
        style = {"stroke": COLOURS[i % len(COLOURS)]}
        if dashed:
            style["stroke_dasharray"] = "5 4"
        found = {q: v for q, v in sorted(found.items()) if v > 0}
        out.append(tag("polyline", points=" ".join("%.1f,%.1f" % (x(q), y(v))
                                                   for q, v in found.items()),
                       fill="none", stroke_width=2, **style))
        for q, v in found.items():
            said = "%s, %s %d: %s/s" % (name, what, q, number(v))
            out.append(tag("circle", tag("title", html.escape(said)), cx=x(q), cy=y(v), r=3,
                           fill=style["stroke"]))
        at = height + 58 + 20 * i
        out.append(line((left, left + 26), (at - 4, at - 4), stroke_width=3, **style))
        out.append(label(name, left + 34, at))
    return tag("svg", "\n".join(out), width=left + width + 20,
               height=height + 58 + 20 * len(series), role="img")


def by_number(result, pattern):
    """{number: median} of the cases whose names match; the number is the group."""
    found = {}
    for row in result["results"]:
        match = re.fullmatch(pattern, row["name"])
        if match:
            found[int(match.group(1))] = median(row["samples"])
    return found


def null_plot(result):
    series = [("bare rings", by_number(result, r"ring q(\d+)"), True),
              ("the driver alone", by_number(result, r"driver alone q(\d+)"), True),
              ("the target alone", by_number(result, r"target alone, null read 4K q(\d+)"), True)]
    for size in ("4K", "128K"):
        for kind in ("read", "write"):
            series.append(("%s %s" % (kind, size),
                           by_number(result, r"null %s %s q(\d+)" % (kind, size)), False))
    return curves("Null store, over depth", series)


def ram_plot(result, size):
    series = []
    for kind in ("read", "write"):
        found = by_number(result, r"ram %s %s q(\d+)" % (kind, size))
        top = [median(row["samples"]) for row in result["results"]
               if row["name"] == "copy %s %s" % (kind, size)]
        if found and top:
            series += [("copies, " + kind, {q: top[0] for q in found}, True),
                       (kind, found, False)]
    return curves("RAM store, %s, over depth" % size, series)


def file_plot(result):
    series = []
    for kind in ("read", "write"):
        for name, pattern, dashed in (("fio on the file, " + kind, "fio io_uring %s", True),
                                      ("file store, " + kind, "file %s", False)):
            series.append((name, by_number(result, pattern % kind + r" 4K q(\d+)"), dashed))
    return curves("File, 4K, over depth", series)


def growth_plot(result):
    series = [("controllers, one of them busy", r"(\d+) controllers?, 1 busy"),
              ("queues, one of them busy", r"(\d+) queues?, 1 busy"),
              ("namespaces, one of them busy", r"(\d+) namespaces, 1 busy"),
              ("queues, all busy, 128 requests together", r"(\d+) queues? busy, q\d+")]
    return curves("Null store, over how many there are",
                  [(name, by_number(result, pattern), False) for name, pattern in series], "of")


def plots(result):
    parts = [null_plot(result)] + [ram_plot(result, size) for size in ("512", "4K", "128K")]
    return "\n".join(part for part in parts + [file_plot(result), growth_plot(result)] if part)


def html_table(names, rows):
    """rows: of text, or of (text, class)."""
    lines = [tag("tr", "".join(tag("th", html.escape(name)) for name in names))]
    for row in rows:
        cells = [tag("td", html.escape(cell[0]), class_=cell[1]) if isinstance(cell, tuple)
                 else tag("td", html.escape(cell)) for cell in row]
        lines.append(tag("tr", "".join(cells)))
    return tag("table", "\n".join(lines))


def goals(rows):
    found = []
    for row in rows:
        ratio = row["goal"][0] == "ratio"
        mid = median(row["ratios"] if ratio else row["samples"])
        found.append((row["name"], goal_text(row),
                      "%.0f %%" % (mid * 100) if ratio else number(mid) + " " + row["unit"],
                      ("met", "good") if is_met(row) else ("not met", "bad")))
    return html_table(("goal", "", "found", ""), found)


def all_rows(result):
    return html_table(("", "median", "min", "max", "", "share", "of"), [
        (row["name"], number(median(row["samples"])), number(min(row["samples"])),
         number(max(row["samples"])), row["unit"],
         "%.1f %%" % (median(row["ratios"]) * 100) if row["ratios"] else "",
         row["ceiling"] or "") for row in result["results"]])


def counts(rows):
    return html_table(("instructions per request", "side", "counted", "budget"),
                      [(case, side, "%.1f" % count, "%.0f" % budget)
                       for case, side, budget, count in rows])


def remarks(result):
    """What has to be known before any figure is read."""
    text = "%s. Commit %s, %s. Medians of %d rounds; host on CPU %d, target on CPU %d." % (
        result["machine"], result["commit"], result["time"], result["rounds"], *result["cpus"])
    parts = [tag("p", html.escape(text), class_="note")]
    if is_busy(result):
        parts.append(tag("p", "The machine was busy (load %.1f before, %.1f after): times are "
                         "worth little, ratios a little more, instruction counts all they ever "
                         "are." % tuple(result["load"]), class_="warn"))
    for text in result["notes"] + ["Failed: " + text for text in result["failures"]]:
        parts.append(tag("p", html.escape(text), class_="note"))
    return parts


def write_html(result, path):
    with_goals = [row for row in result["results"] if is_met(row) is not None]
    # Shares of what one or the other is a variation of; an eventfd's wake is none.
    with_ratio = [row for row in result["results"] if row["ratios"] and row["more_is_better"]]
    met = sum(1 for row in with_goals if is_met(row))
    parts = ["<!doctype html><html lang=en><meta charset=utf-8><title>Bellhop: speed</title>",
             tag("style", STYLE),
             tag("h1", "%d of %d goals met" % (met, len(with_goals)))] + remarks(result)
    parts += [goals(with_goals) if with_goals else "",
              tag("h2", "Curves") + plots(result) if plots(result) else "",
              tag("h2", "Share of the ceiling"),
              tag("p", "The ceiling of a row is measured in the same round: bare rings, plain "
                  "copies, fio, or the case it is a variation of. The line through a bar is the "
                  "span of the rounds, the red tick the goal.", class_="note"),
              bars(with_ratio) if with_ratio else "",
              tag("h2", "Instructions") + counts(result["instructions"])
              if result["instructions"] else "",
              tag("h2", "All figures"), all_rows(result), "</html>"]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts))
