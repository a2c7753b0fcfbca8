#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Clients that come and go: talk_connects.py BUILD [--connects 500]

First one after the other, then in waves of as many as there are places and half as many in the queue. Each says five
frames and hears their answers; every fifth vanishes in the middle. Prints a JSON object: time from connecting to the
handshake, time to refuse when all is full, and memory, files and threads along the way. With --check a leak is an
error; no time is."""

import argparse
import asyncio
import contextlib
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "door"))
import ogg_opus  # noqa: E402
import talk  # noqa: E402

SLACK_MB, SLACK_FILES, SLACK_THREADS = 40, 4, 2  # caches


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--connects", type=int, default=500, help="in turn, and as many again in waves")
    parser.add_argument("--places", type=int, default=8)
    parser.add_argument("--core", default="real", choices=("real", "fake"))
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


def quantiles(seconds):
    values = sorted(1000 * value for value in seconds)
    at = lambda share: round(values[min(len(values) - 1, int(share * len(values)))], 1)  # noqa: E731
    return {"p50": at(0.5), "p99": at(0.99), "max": at(1)} if values else {}


async def one(server, number, joins):
    start = time.monotonic()
    async with talk.Talk(server, "audio=pcm" if number % 2 else "") as client:
        await client.handshake()
        joins.append(time.monotonic() - start)
        await client.converse(5)
        if number % 5 == 0:
            client.socket.transport.abort()


def resources(server):
    memory, files, threads = server.resources()
    return {"memory_mb": round(memory / 1024, 1), "files": files, "threads": threads}


async def settled(server):
    await talk.eventually(server.empty)
    await asyncio.sleep(0.5)
    return resources(server)


async def settled_from(server, first):
    """The last row: what is only ending, and threads that wait some seconds for more work, are gone by then."""
    await talk.eventually(server.empty)
    with contextlib.suppress(AssertionError):
        await talk.eventually(lambda: not leaks([first, resources(server)]))
    return resources(server)


async def time_of_refusal(server):
    start = time.monotonic()
    code, _ = await talk.refused(server)
    assert code == talk.Close.TRY_LATER, code
    return time.monotonic() - start


async def refusals(server, count=100):
    """Seconds from connecting to the close, when all places and the queue are taken."""
    times = []
    clients = [talk.Talk(server) for _ in range(server.places + server.waiting)]
    for client in clients:
        await client.__aenter__()
    for _ in range(count):
        times.append(await time_of_refusal(server))
    for client in clients:
        await client.__aexit__()
    return times


async def refusals_while_all_talk(server, count=100):
    """The same while every place is used in real time."""
    times, stop = [], asyncio.Event()

    async def speak():
        async with talk.Talk(server) as client:
            await client.handshake()
            ready.release()
            while not stop.is_set():
                await client.say(1)
                await client.settle(talk.FRAME_S)

    ready = asyncio.Semaphore(0)
    speakers = [asyncio.create_task(speak()) for _ in range(server.places)]
    for _ in speakers:
        await ready.acquire()
    waiting = [talk.Talk(server) for _ in range(server.waiting)]
    for client in waiting:
        await client.__aenter__()
    for _ in range(count):
        times.append(await time_of_refusal(server))
        await asyncio.sleep(0.02)
    for client in waiting:
        await client.__aexit__()
    stop.set()
    await asyncio.gather(*speakers)
    return times


async def measure(server, args):
    in_turn, in_waves, rows = [], [], []
    for number in range(20):  # caches and heaps fill
        await one(server, number, [])
    rows.append(await settled(server))
    for number in range(args.connects):
        await one(server, number, in_turn)
        if (number + 1) % max(1, args.connects // 5) == 0:
            rows.append(await settled(server))
    wave = server.places + server.waiting
    for start in range(0, args.connects, wave):
        await asyncio.gather(
            *(one(server, number, in_waves) for number in range(start, min(args.connects, start + wave)))
        )
        await talk.eventually(server.empty)  # a wave fills all places and the queue: whoever is not quite gone would count
    rows.append(await settled(server))
    idle, busy = await refusals(server), await refusals_while_all_talk(server)
    rows.append(await settled_from(server, rows[0]))
    return {
        "connects": args.connects, "places": args.places, "core": args.core, "join_in_turn_ms": quantiles(in_turn),
        "join_in_waves_ms": quantiles(in_waves), "refused_ms": quantiles(idle),
        "refused_while_all_talk_ms": quantiles(busy),
        "along_the_way": rows,
    }  # fmt: skip


def leaks(rows):
    """What grew between the first connects and the last, in turn; waves need more memory at once, so they are apart."""
    first, last = rows[0], rows[-1]
    slack = {"memory_mb": SLACK_MB, "files": SLACK_FILES, "threads": SLACK_THREADS}
    return {name: (first[name], last[name]) for name, more in slack.items() if last[name] - first[name] > more}


def main():
    args = parse_arguments()
    ogg_opus.speech_packets(40)
    waiting = max(1, args.places // 2)
    with talk.Server("--sessions", str(args.places), "--queue", str(waiting), core=args.core) as server:
        server.places, server.waiting = args.places, waiting
        result = asyncio.run(measure(server, args))
    if args.check:
        grown = leaks(result["along_the_way"])
        print("1..1", "# " + json.dumps(result), sep="\n")
        print(f"not ok 1 nothing grows: {grown}" if grown else "ok 1 nothing grows")
        sys.exit(bool(grown))
    print(json.dumps(result, indent=2))


main()
