# SPDX-License-Identifier: MIT
"""Turns the benchmark's results into the tables of docs/benchmarks.md."""
import statistics

FRAME_MS = 80.0
MARKS = ("<!-- measured: begin -->", "<!-- measured: end -->")
NAMES = {
    "gst-moshi": "gst-moshi core",
    "reference": "PyTorch reference",
    "rustymimi": "rustymimi",
}


def median(values):
    return statistics.median(values) if values else None


def row(cells):
    return "| " + " | ".join(cells) + " |"


def head(cells):
    return [row(cells), "| --- " + "| ---: " * (len(cells) - 1) + "|"]


def timing(ms, audio_ms):
    return "-" if ms is None else f"{ms:.1f} ({audio_ms / ms:.2f}x)"


def shape_table(title, job, audio_ms, results, names, threads):
    """One table: an implementation a row, encode and decode for each number of threads."""
    columns = [(kind, count) for count in threads for kind in ("encode", "decode")]
    value = {(n, k, t): median(results[n, t].get(f"{k}:{job}", [])) for n in names for k, t in columns}
    if not any(value.values()):
        return []
    lines = [f"### {title}", ""]
    lines += head(["ms a call (times real time)"] + [f"{k}, {t} thread{'s' * (t > 1)}" for k, t in columns])
    for name in names:
        lines.append(row([NAMES[name]] + [timing(value[name, k, t], audio_ms) for k, t in columns]))
    for name in names:
        ratios = [(value.get(("gst-moshi", k, t)), value[name, k, t]) for k, t in columns]
        if name != "gst-moshi" and any(ours and theirs for ours, theirs in ratios):
            cells = [f"{theirs / ours:.2f}" if ours and theirs else "-" for ours, theirs in ratios]
            lines.append(row([f"*{NAMES[name]} / gst-moshi*"] + cells))
    return lines + [""]


def process_table(results, names, threads):
    lines = ["### Start-up and memory", ""]
    columns = ["", "process start to first frame encoded, s", "peak memory, one stream both ways, MiB"]
    lines += head(columns)
    for name in names:
        start = median([s for t in threads for s in results[name, t].get("start_s", [])])
        peak = median([m for t in threads for m in results[name, t].get("peak_mb", [])])
        lines.append(row([NAMES[name], f"{start:.2f}" if start else "-", f"{peak:.0f}" if peak else "-"]))
    return lines + [""]


def machine_table(machine, threads):
    lines = ["### The machine, in the same run", ""]
    lines += head([""] + [f"{t} thread{'s' * (t > 1)}" for t in threads])
    for key, label in (("gflops", "sgemm 2048, GFLOP/s"), ("gbytes", "reading memory, GB/s")):
        lines.append(row([label] + [f"{median([m[key] for m in machine[t]]):.1f}" for t in threads]))
    return lines + [""]


def tables(facts, results, machine, file_frames):
    threads = sorted(machine)
    names = [n for n in NAMES if any((n, t) in results for t in threads)]
    lines = [
        f"Measured {facts['date']} on {facts['cpu']}, at commit {facts['commit']}, with `{facts['command']}`;",
        f"float32, {facts['codebooks']} codebooks, medians of {facts['rounds']} interleaved rounds.",
        "",
    ]
    for name in names:
        what = next((results[name, t]["what"] for t in threads if results[name, t].get("what")), None)
        if what:
            lines.append(f"- {NAMES[name]}: {what}")
    lines.append("")
    shapes = [("One stream, one frame of 80 ms a call", "1:1", FRAME_MS)]
    shapes += [(f"{rows} streams, one frame of each a call", f"{rows}:1", rows * FRAME_MS) for rows in (4, 16)]
    shapes.append((f"A file: {file_frames} frames in one call", f"1:{file_frames}", file_frames * FRAME_MS))
    for title, job, audio_ms in shapes:
        lines += shape_table(title, job, audio_ms, results, names, threads)
    lines += process_table(results, names, threads) + machine_table(machine, threads)
    return "\n".join(lines).rstrip() + "\n"


def write(path, text, marks=MARKS):
    """Puts the tables between the marks of the page and leaves the rest of it alone."""
    page = path.read_text()
    begin, end = marks
    before, rest = page.split(begin, 1)
    after = rest.split(end, 1)[1]
    path.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")
