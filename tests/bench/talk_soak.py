#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Conversations with moshi-server in real time: talk_soak.py BUILD [--sessions 20] [--seconds 600]

Each session sends Opus of real speech, two packets of 40 ms every 80 ms, and reads what comes. A frame's delay is the
time from sending the last packet of a frame to the arrival of its answer, as the client sees it; the server's own
figure is beside it. Prints a JSON object. With --check, as the tests run it, what is missing or dropped is an error;
no time is."""

import argparse
import asyncio
import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "door"))
import ogg_opus  # noqa: E402
import talk  # noqa: E402


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--query", default="")
    parser.add_argument("--core", default="real", choices=("real", "fake"))
    parser.add_argument("--option", action="append", default=[], help="of moshi-server, e.g. --option=--threads=1")
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


def quantiles(values):
    values = sorted(values)
    at = lambda share: values[min(len(values) - 1, int(share * len(values)))]  # noqa: E731
    return {"p50": round(at(0.5), 1), "p99": round(at(0.99), 1), "max": round(values[-1], 1)} if values else {}


class Speaker:
    """One session that keeps time by the clock, not by what it gets."""

    def __init__(self, server, args, number):
        self.client = talk.Talk(server, args.query)
        self.frames, self.number, self.sessions = int(args.seconds / talk.FRAME_S), number, args.sessions
        self.sent, self.delays, self.gaps = [], [], []

    async def run(self):
        async with self.client as client:
            await client.handshake()
            # Clients do not begin in step: each has its own place within a frame.
            start = time.monotonic() + talk.FRAME_S * self.number / self.sessions
            listening = asyncio.create_task(self.listen())
            packets = ogg_opus.speech_packets(40)
            for frame in range(self.frames):
                for half in range(2):
                    wait = start + (2 * frame + half) * talk.FRAME_S / 2 - time.monotonic()
                    if wait > 0:
                        await asyncio.sleep(wait)
                    await client.send_packets(packets[(2 * frame + half + 31 * self.number) % len(packets)])
                self.sent.append(time.monotonic())
            try:
                await asyncio.wait_for(listening, 30)
            except asyncio.TimeoutError:
                pass  # what is missing is counted

    async def listen(self):
        """The answer to frame n is complete with its last sample; the first frame has none."""
        last = None
        while len(self.delays) < self.frames - 1:
            await self.client.until(talk.Kind.AUDIO)
            now = time.monotonic()
            while (len(self.delays) + 1) * talk.FRAME <= self.client.samples:
                self.delays.append((now - self.sent[len(self.delays) + 1]) * 1000)
            self.gaps += [(now - last) * 1000] if last else []
            last = now


async def watch(server, rows):
    """Memory, threads, files and processor time, about every hundredth of the time."""
    cpu, when = server.cpu_seconds(), time.monotonic()
    while True:
        await asyncio.sleep(rows["every"])
        memory, files, threads = server.resources()
        now, used = time.monotonic(), server.cpu_seconds()
        rows["memory_mb"].append(round(memory / 1024, 1))
        rows["cores"].append(round((used - cpu) / (now - when), 2))
        rows["files"].append(files)
        rows["threads"].append(threads)
        cpu, when = used, now


def histogram_quantile(metrics, name, share):
    """Upper bound in ms of the bucket in which it lies."""
    rows = [
        (float(key.split('"')[1].replace("+Inf", "inf")), value)
        for key, value in metrics.items()
        if key.startswith(name + "_bucket")
    ]
    rows.sort()
    wanted = share * rows[-1][1]
    return next(bound * 1000 for bound, count in rows if count >= wanted)


async def soak(server, args):
    speakers = [Speaker(server, args, number) for number in range(args.sessions)]
    rows = {"every": max(0.5, args.seconds / 100), "memory_mb": [], "cores": [], "files": [], "threads": []}
    watching = asyncio.create_task(watch(server, rows))
    client_cpu = time.process_time()
    await asyncio.gather(*(speaker.run() for speaker in speakers))
    watching.cancel()
    metrics = server.metrics()
    delays = [delay for speaker in speakers for delay in speaker.delays]
    per = len(rows["memory_mb"]) // 10
    return {
        "sessions": args.sessions, "seconds": args.seconds, "core": args.core, "query": args.query,
        "frames": len(delays), "missing": args.sessions * (speakers[0].frames - 1) - len(delays),
        "delay_ms": quantiles(delays),
        "worst_session_p99_ms": max((quantiles(s.delays).get("p99", 0) for s in speakers), default=0),
        "between_messages_ms": quantiles([gap for speaker in speakers for gap in speaker.gaps]),
        "server_delay_ms_at_most": {f"p{int(100 * share)}": histogram_quantile(metrics, "moshi_frame_delay_seconds",
                                                                               share) for share in (0.5, 0.99)},
        "dropped_frames": metrics["moshi_dropped_frames_total"], "late_frames": metrics["moshi_late_frames_total"],
        "dropped_output": metrics["moshi_dropped_output_total"], "bad_packets": metrics["moshi_bad_packets_total"],
        "memory_mb": {"after a tenth": rows["memory_mb"][per] if per else None, "end": rows["memory_mb"][-1:],
                      "max": max(rows["memory_mb"], default=0)},
        "cores": {"mean": round(sum(rows["cores"]) / max(1, len(rows["cores"])), 2),
                  "max": max(rows["cores"], default=0)},
        "threads_max": max(rows["threads"], default=0), "files_max": max(rows["files"], default=0),
        "client_cores": round((time.process_time() - client_cpu) / args.seconds, 2),
    }  # fmt: skip


def main():
    args = parse_arguments()
    ogg_opus.speech_packets(40)  # made before the clock runs
    options = [part for option in args.option for part in option.split("=", 1)]
    with talk.Server("--sessions", str(args.sessions), *options, core=args.core) as server:
        result = asyncio.run(soak(server, args))
    if args.check:
        print("1..1", "# " + json.dumps(result), sep="\n")
        good = not result["missing"] and not result["dropped_frames"] and not result["dropped_output"]
        print("ok 1 every frame was answered" if good else "not ok 1 every frame was answered")
        sys.exit(not good)
    print(json.dumps(result, indent=2))


main()
