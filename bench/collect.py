#!/usr/bin/env python3
"""Delivers flows to a collector as several agents at once would, and says how many it takes in a second.

    wireproof serve --mesh testdata/boutique/mesh.yaml --store PLACE &
    wireproof flows testdata/boutique/capture.pcap -o ndjson | bench/collect.py 127.0.0.1:8480 [AGENTS [DELIVERIES]]

Each agent (8 of them) sends its deliveries (25) of 5,000 flows one after another. Flows are those of the input, drawn at random and given other ids, times,
handshakes and client ports. Making them takes a while, and none of the time that is told. WHOLE=1 has every flow whole, as the form's first version does.
"""

import datetime
import gzip
import http.client
import json
import os
import random
import sys
import threading
import time

FLOWS = 5_000
OWN = ["id", "start", "end", "client", "server", "tcp_handshake", "close", "packets", "bytes"]
WHOLE = bool(os.environ.get("WHOLE"))


def moment(nanoseconds):
    seconds, rest = divmod(nanoseconds, 10**9)
    at = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def delivery(agent, run, sequence, seen):
    """One second of an agent's flows, as it sends them."""
    counted = FLOWS * sequence
    coverage = {"packets": counted, "bytes": counted, "flows": counted, "from_start": counted, "mid_stream": 0, "empty": 0,
                "skipped": {}, "kernel_dropped": None, "damaged": []}
    lines = [{"version": 1 if WHOLE else 2, "agent": agent, "run": run, "sequence": sequence, "flows": FLOWS, "coverage": coverage,
              "undelivered": 0}]
    whole = {}
    begin = (int(time.time()) - 30 + sequence) * 10**9
    for number in range(FLOWS):
        start = begin + number * (10**9 // FLOWS)
        at = random.choice(seen)
        flow = dict(at, start=moment(start), end=moment(start + 10**7), seen_at=["veth1"])
        # The opening, which no other flow has, and the start.
        flow["id"] = f"{random.getrandbits(63):016x}{start:016x}"
        flow["client"] = dict(flow["client"], port=random.randrange(32_000, 60_000))
        if flow["tcp_handshake"]:
            flow["tcp_handshake"] = f"{random.getrandbits(64):016x}"
        first = whole.setdefault(at["id"], number)
        lines.append(flow if WHOLE or first == number else {"like": first} | {key: flow[key] for key in OWN})
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    return gzip.compress(text.encode(), 1)


def send(address, deliveries, kept):
    connection = http.client.HTTPConnection(address, timeout=120)
    headers = {"content-type": "application/x-ndjson", "content-encoding": "gzip"}
    for body in deliveries:
        while True:
            connection.request("POST", "/api/v1/ingest", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 200:
                kept.append(FLOWS)
                break
            if answer.status not in (429, 503):
                sys.exit(f"collect: {answer.status} {text.decode()}")
            connection.close()
            time.sleep(0.1)


def main():
    address = sys.argv[1]
    agents, each = (int(text) for text in (sys.argv[2:4] + ["8", "25"][len(sys.argv) - 2:]))
    seen = [flow for flow in map(json.loads, sys.stdin) if flow["transport"] == "tcp" and flow["from_start"]]
    run = f"{random.getrandbits(32):08x}"
    made = [[delivery(f"bench-{agent}", run, sequence + 1, seen) for sequence in range(each)] for agent in range(agents)]
    kept = []
    threads = [threading.Thread(target=send, args=(address, deliveries, kept)) for deliveries in made]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.monotonic() - began
    print(f"{sum(kept)} flows in {spent:.1f} s: {sum(kept) / spent:.0f} flows a second")


main()
