"""Processes that write the same object at the same time: arguments are the endpoint and how many.

Forked from one that has loaded the library but not used it, since fifty interpreters take longer than all the races.
"""

from __future__ import annotations

import json
import os
import sys

import obstore.store  # noqa: F401 - loaded once, before the forks

from alchemy.store.objects.port import Changed, Taken, Unknown
from tests.objects.buckets import bucket_at


def main() -> None:
    racers = [start(sys.argv[1]) for _ in range(int(sys.argv[2]))]
    met = [hear(racer[1]) for racer in racers]
    sys.stdout.write(json.dumps(met) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        for number, (told, _) in enumerate(racers):
            os.write(told, f"{number}\n{line}".encode())
        met = [hear(racer[1]) for racer in racers]
        sys.stdout.write(json.dumps(met) + "\n")
        sys.stdout.flush()
    for told, _ in racers:  # all of them before waiting: the later ones have the pipes of the earlier ones, too
        os.close(told)
    for _, heard in racers:
        hear(heard)


def hear(pipe: int) -> str:
    return os.read(pipe, 100).decode().strip()


def start(endpoint: str) -> tuple[int, int]:
    """The ends of two pipes: to tell a new process something, and to hear of it."""
    orders, told = os.pipe()
    heard, reports = os.pipe()
    if os.fork() == 0:
        os.close(told)
        race(endpoint, orders, reports)
        os._exit(0)
    os.close(orders)
    os.close(reports)
    return told, heard


def race(endpoint: str, orders: int, reports: int) -> None:
    bucket = bucket_at(endpoint, timeout=20.0)
    bucket.get("warm-up")
    os.write(reports, b"ready\n")
    while order := os.read(orders, 4096):
        number, line, _ = order.decode().split("\n")
        verb, key, etag = json.loads(line)
        body = number.encode()
        try:
            bucket.create(key, body) if verb == "create" else bucket.replace(key, body, etag)
        except (Taken, Changed, Unknown) as error:
            os.write(reports, f"{type(error).__name__}\n".encode())
        else:
            os.write(reports, b"won\n")


if __name__ == "__main__":
    main()
