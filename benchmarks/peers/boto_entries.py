"""The straightforward way with boto3: ready-made entries, one or ten a call.

    python -m benchmarks.peers.boto_entries URL FILE COUNT SIZE

FILE holds lines of `pcapeda replay -n -o entries`; COUNT of them are sent, SIZE in each put_events.
"""

import json
import sys
from itertools import islice
from pathlib import Path

import boto3


def main(url: str, path: str, count: int, size: int) -> None:
    client = boto3.client("events", endpoint_url=url)
    entries = []
    with Path(path).open(encoding="utf-8") as lines:
        for line in islice(lines, count):
            entry = json.loads(line)
            entries.append({name: entry[name] for name in ("Source", "DetailType", "Detail")})
            if len(entries) == size:
                send(client, entries)
                entries = []
    if entries:
        send(client, entries)


def send(client: object, entries: list[dict[str, str]]) -> None:
    answer = client.put_events(Entries=entries)  # type: ignore[attr-defined]
    if answer["FailedEntryCount"]:
        raise SystemExit(f"{answer['FailedEntryCount']} entries failed")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
