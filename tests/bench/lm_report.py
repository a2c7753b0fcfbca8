# SPDX-License-Identifier: MIT
"""Turns the language model's results into its tables of docs/benchmarks.md."""
from report import NAMES, head, median, row

MARKS = ("<!-- language model: begin -->", "<!-- language model: end -->")
FRAME_MS = 80.0


def plural(count, word):
    return f"{count} {word}{'s' * (count != 1)}"


def cell(ms, rows):
    return "-" if ms is None else f"{ms:.1f} ({rows * 1000 / ms:.1f})"


def step_table(model, rows, results, keys, threads, limits):
    """One table: an implementation and precision a row, a number of threads a column."""
    job = f"step:{rows}"
    value = {(name, precision, t): median(results[model, name, precision, t].get(job, []))
             for name, precision in keys for t in threads}
    if not any(value.values()):
        return []
    lines = [f"#### {plural(rows, 'conversation')}", ""]
    lines += head(["ms a step of all (steps a second)"] + [plural(t, "thread") for t in threads])
    for name, precision in keys:
        lines.append(row([f"{NAMES[name]}, {precision}"] + [cell(value[name, precision, t], rows) for t in threads]))
    for precision in dict.fromkeys(p for _, p in keys):
        pairs = [(value.get(("gst-moshi", precision, t)), value.get(("reference", precision, t))) for t in threads]
        if any(ours and theirs for ours, theirs in pairs):
            cells = [f"{theirs / ours:.2f}" if ours and theirs else "-" for ours, theirs in pairs]
            lines.append(row([f"*reference / gst-moshi, {precision}*"] + cells))
    lines.append(row(["*reading the bf16 weights once*"] + [f"{limits[t]:.1f}" for t in threads]))
    return lines + [""]


def process_table(model, results, keys, threads):
    lines = ["#### Loading and memory", ""]
    lines += head(["", "load, s", "peak memory, MiB"])
    for name, precision in keys:
        load = median([s for t in threads for s in results[model, name, precision, t].get("load_s", [])])
        peak = median([m for t in threads for m in results[model, name, precision, t].get("peak_mb", [])])
        lines.append(row([f"{NAMES[name]}, {precision}", f"{load:.1f}" if load else "-", f"{peak:.0f}" if peak else "-"]))
    return lines + [""]


def tables(facts, results, machine, sizes):
    threads = sorted(machine)
    bandwidth = {t: median([m["gbytes"] for m in machine[t]]) for t in threads}
    lines = [
        f"Measured {facts['date']} on {facts['cpu']}, at commit {facts['commit']}; medians of "
        f"{facts['rounds']} interleaved rounds.",
        f"Reading memory: {', '.join(f'{bandwidth[t]:.1f} GB/s with ' + plural(t, 'thread') for t in threads)}.",
        "",
    ]
    for model, size in sizes.items():
        keys = list(dict.fromkeys((n, p) for m, n, p, _ in results if m == model))
        keys.sort(key=lambda key: (list(NAMES).index(key[0]), key[1] != "f32"))
        limits = {t: size / bandwidth[t] / 1e6 for t in threads}
        lines += [f"### {model}", "", f"A step reads {size / 1e9:.2f} GB of weights (bf16), and its key-value ring.", ""]
        for rows in sorted({int(job.split(":")[1]) for r in results.values() for job in r if job.startswith("step:")}):
            lines += step_table(model, rows, results, keys, threads, limits)
        lines += process_table(model, results, keys, threads)
    return "\n".join(lines).rstrip() + "\n"
