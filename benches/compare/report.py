"""From what was measured in the rounds to tables: medians, and ratios within a round."""

import statistics

COLUMNS = ("requests_per_second", "p50", "p99", "processor")


def median(rounds, key):
    values = [figures[key] for figures in rounds if figures is not None and figures.get(key) is not None]
    return statistics.median(values) if values else None


def ratio(results, name, other, key):
    """The median over rounds of one contestant's figure, as so many times another's of the same round."""
    pairs = zip(results.get(name, []), results.get(other, []))
    ratios = [
        own[key] / others[key] for own, others in pairs
        if own is not None and others is not None and others.get(key) and own.get(key) is not None
    ]
    return statistics.median(ratios) if ratios else None


def difference(results, name, other, key):
    pairs = zip(results.get(name, []), results.get(other, []))
    added = [own[key] - others[key] for own, others in pairs if own is not None and others is not None]
    return statistics.median(added) if added else None


def number(value, digits=0):
    return "" if value is None else f"{value:,.{digits}f}"


def table(heads, rows):
    """A table in Markdown, with its columns aligned."""
    rows = [heads, *rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads))]
    lines = []
    for place, row in enumerate(rows):
        first, *rest = zip(row, widths)
        lines.append("| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |")
        if place == 0:
            lines.append("|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|")
    return "\n".join(lines)


def summarize(workload, results):
    """All figures of a workload as medians, with every ratio."""
    summary = {}
    for name, rounds in results.items():
        figures = {}
        for key in {key for measured in rounds if measured is not None for key in measured}:
            figures[key] = median(rounds, key)
            if workload.unit == "steady":
                for other in (workload.reference, "nginx", "haproxy", "proxy-before", getattr(workload, "baseline", None)):
                    if other is not None and key in COLUMNS:
                        figures[f"{key}_to_{other}"] = ratio(results, name, other, key)
            if "direct" in results:
                figures[f"{key}_added"] = difference(results, name, "direct", key)
        summary[name] = figures
    return summary


def render(workload, summary):
    rows = []
    if workload.unit == "steady":
        others = [workload.reference, "nginx"] if workload.reference else []
        if hasattr(workload, "baseline"):
            others = [workload.baseline]
        if "proxy-before" in summary:
            others = [*others, "proxy-before"]
        heads = ["", "requests/s", "p50 µs", "p99 µs", "CPU µs", *(f"CPU : {other}" for other in others),
                 *(f"p99 : {other}" for other in others), *(f"req/s : {other}" for other in others), "busy"]
        paced = any(figures.get("starved") is not None for figures in summary.values())
        if paced:
            heads.append("load starved")
        added = any(figures.get("p50_added") is not None for figures in summary.values())
        if added:
            heads.append("p50 added µs")
        for name, figures in summary.items():
            row = [name, *(number(figures.get(key)) for key in COLUMNS[:3]), number(figures.get("processor"), 2)]
            for key in ("processor", "p99", "requests_per_second"):
                row += [number(figures.get(f"{key}_to_{other}"), 2) for other in others]
            busy = figures.get("busy")
            row.append("" if busy is None else f"{busy:.0%}")
            if paced:
                starved = figures.get("starved")
                row.append("" if starved is None else f"{starved:.0%}")
            if added:
                row.append(number(figures.get("p50_added"), 1))
            rows.append(row)
    elif workload.unit == "cold":
        heads = ["", "requests to the origin", "half within ms", "all within ms"]
        for name, figures in summary.items():
            rows.append([name, number(figures.get("origin_requests")), number(figures.get("p50"), 1),
                         number(figures.get("all_within"), 1)])
    elif workload.unit == "probe":
        heads = ["", "last byte ms", "last byte added ms"]
        for name, figures in summary.items():
            rows.append([name, *(number(None if figures.get(key) is None else figures[key] / 1e3, 3)
                                 for key in ("last_byte", "last_byte_added"))])
    elif workload.unit == "memory":
        heads = ["", "idle MiB", "per entry of 2 KiB, KiB", "per idle connection, KiB"]
        for name, figures in summary.items():
            rows.append([name, *(number(figures.get(key), 1) for key in ("idle", "entry", "connection"))])
    else:
        heads = ["", "start ms", "reload ms", "p99 without µs", "p99 during µs", "most without µs", "most during µs"]
        for name, figures in summary.items():
            rows.append([name, *(number(figures.get(key)) for key in (
                "start", "reload", "p99_without", "p99_during", "most_without", "most_during"))])
    return f"### {workload.name}: {workload.title}\n\n{table(heads, rows)}\n"


# What the figures are to be: the workload, the contestant, the figure, and at most how much.
GOALS = [
    *(goal for size in ("2k", "32k") for goal in (
        (f"hit-{size}", "proxy", "processor_to_bare", 1.25),
        (f"hit-{size}", "proxy-log", "processor_to_bare", 1.5),
        (f"hit-{size}", "proxy", "processor_to_nginx", 0.72),
        (f"hit-{size}", "proxy", "processor_to_haproxy", 0.9),
    )),
    ("hit-1m", "proxy", "processor_to_bare", 1.1),
    ("304", "proxy", "processor_to_bare", 1.25),
    ("denied", "proxy", "processor_to_bare", 1.25),
    ("paced", "proxy", "p99_to_nginx", 1.0),
    ("pass-2k", "proxy", "processor_to_nginx", 1.3),
    ("entries", "entries-1000", "processor_to_entries-10", 1.15),
    ("entries", "entries-100000", "processor_to_entries-10", 1.15),
    ("tenants", "tenants-1000", "processor_to_tenants-1", 1.15),
    ("memory", "proxy", "idle", 20),
    ("memory", "proxy", "entry", 3),
    ("memory", "proxy", "connection", 16),
    ("cold", "proxy", "origin_requests", 1),
    ("cold", "proxy", "all_within", 550),
    ("miss-1m", "proxy", "last_byte_added", 5_000),
]


def goals(summaries):
    """Every goal of which the figure was measured, as rows."""
    rows = []
    for workload, contestant, key, most in GOALS:
        value = summaries.get(workload, {}).get(contestant, {}).get(key)
        if value is not None:
            rows.append([f"{workload}, {contestant}: {key}", f"{most:,}", number(value, 2), "yes" if value <= most else "NO"])
    passed = summaries.get("pass-1", {})
    own, nginx = (passed.get(name, {}).get("p50_added") for name in ("proxy", "nginx"))
    if own is not None and nginx:
        value = own / nginx
        rows.append(["pass-1, proxy: added p50 to nginx's", "1.1", number(value, 2), "yes" if value <= 1.1 else "NO"])
    return rows
