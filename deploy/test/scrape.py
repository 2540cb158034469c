#!/usr/bin/env python3
"""An agent delivers to a collector, a real Prometheus scrapes it, runs the alert rules and answers the dashboards; what both
programs show goes through `promtool check metrics`. Usage: scrape.py WIREPROOF AGENT; see run.sh."""

import glob
import json
import os
import re
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
CASE = os.path.join(HERE, "..", "..", "testdata", "boutique")
RULES = os.path.join(HERE, "..", "chart", "rules", "alerts.yaml")
BOARDS = os.path.join(HERE, "..", "chart", "dashboards", "*.json")
PROGRAMS = {}
PATIENCE = 60


class Scraped(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.children = []
        cls.certificate = cls.path("tls.crt")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
            + ["-subj", "/CN=wireproof", "-addext", "subjectAltName=IP:127.0.0.1"]
            + ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", cls.path("tls.key"), "-out", cls.certificate],
            check=True,
            capture_output=True,
        )
        recent(f"{CASE}/capture.pcap", cls.path("capture.pcap"))
        tokens = {}
        for name, token in (("api", "a" * 32), ("agent", "b" * 32)):
            tokens[name] = cls.path(f"{name}-token")
            with open(tokens[name], "w", encoding="utf-8") as file:
                file.write(token + "\n")
        server = cls.start(
            [PROGRAMS["wireproof"], "serve", "--mesh", f"{CASE}/mesh.yaml", "--store", cls.path("store.sqlite")]
            + ["--listen", "127.0.0.1:0", "--token-file", tokens["api"], "--agent-token-file", tokens["agent"]]
            + ["--tls-cert", cls.certificate, "--tls-key", cls.path("tls.key")]
        )
        cls.url = next(found[1] for line in server.stderr if (found := re.search(r"serving on (https://\S+)", line)))
        subprocess.run(
            [PROGRAMS["agent"], "--read", cls.path("capture.pcap"), "--collector", cls.url, "--name", "node-a"]
            + ["--collector-ca", cls.certificate, "--token-file", tokens["agent"], "--spool", cls.path("spool"), "--metrics", cls.path("agent.prom")],
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [os.path.abspath(RULES)],
            "scrape_configs": [
                {
                    "job_name": "wireproof",
                    "scheme": "https",
                    "tls_config": {"ca_file": cls.certificate},
                    "authorization": {"type": "Bearer", "credentials_file": tokens["api"]},
                    "static_configs": [{"targets": [cls.url.removeprefix("https://")]}],
                }
            ],
        }
        with open(cls.path("prometheus.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
        prometheus = cls.start(
            ["prometheus", "--config.file", cls.path("prometheus.json"), "--storage.tsdb.path", cls.path("tsdb")]
            + ["--web.listen-address=127.0.0.1:0"]
        )
        cls.prometheus = next(
            "http://" + found[1] for line in prometheus.stderr if (found := re.search(r"address=(127\.0\.0\.1:[1-9]\d*)", line))
        )
        cls.token = "a" * 32

    @classmethod
    def tearDownClass(cls):
        for child in cls.children:
            child.terminate()
        for child in cls.children:
            child.wait(PATIENCE)
            child.stderr.close()
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def start(cls, command):
        child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        cls.children.append(child)
        return child

    def page(self):
        request = urllib.request.Request(f"{self.url}/metrics", headers={"Authorization": f"Bearer {self.token}"})
        trust = ssl.create_default_context(cafile=self.certificate)
        with urllib.request.urlopen(request, timeout=PATIENCE, context=trust) as answer:
            return answer.read().decode()

    def query(self, expression, enough=lambda found: found):
        """Asks until there is an answer: a scrape and an evaluation take a second each."""
        quoted = urllib.parse.quote(expression)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"{self.prometheus}/api/v1/query?query={quoted}", timeout=PATIENCE) as answer:
                    found = json.load(answer)["data"]["result"]
            except urllib.error.URLError:
                found = []
            if enough(found):
                return found
            self.assertLess(time.monotonic(), end, f"{expression}: {found}")
            time.sleep(0.2)

    def test_prometheus_reads_the_page(self):
        self.assertEqual(self.query("up == 1")[0]["metric"]["job"], "wireproof")
        for expression, value in (
            ("wireproof_agents", "1"),
            ('wireproof_ingest_deliveries_total{result="kept"} > 0', None),
            ('wireproof_agent_packets_total{agent="node-a"} > 100', None),
            ('wireproof_agent_tcp_flows_total{agent="node-a",opening="seen"} > 10', None),
            ('wireproof_agent_undelivered_flows_total{agent="node-a"}', "0"),
            ('time() - wireproof_agent_last_delivery_timestamp_seconds{agent="node-a"} < 120', None),
            ('sum(wireproof_flows{class="plaintext"}) > 0', None),
            ('sum(wireproof_ingest_flows_total) == sum(wireproof_flows) + sum(wireproof_flows_translated)', None),
            ('sum(wireproof_judgements) == sum(wireproof_flows)', None),
            ("sum(wireproof_violations_open) > 0", None),
            ("sum(wireproof_violations_recent) == sum(wireproof_violations_open)", None),
            # The capture is of now, and has plaintext that STRICT forbids.
            ('ALERTS{alertname="WireproofPlaintextUnderStrict"}', None),
            ('ALERTS{alertname="WireproofNewPlaintextEdge"}', None),
            ('wireproof_edge_newest_timestamp_seconds{class="plaintext"} > 0', None),
            ("wireproof_coverage_ratio", None),
        ):
            with self.subTest(expression=expression):
                found = self.query(expression)
                if value is not None:
                    self.assertEqual(found[0]["value"][1], value)

    def test_the_rules_run(self):
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/rules", timeout=PATIENCE) as answer:
            groups = json.load(answer)["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        self.assertGreater(len(rules), 7)
        self.assertEqual([rule for rule in rules if rule["health"] == "err"], [])

    def test_every_series_of_the_rules_is_on_the_page(self):
        with open(RULES, encoding="utf-8") as file:
            asked = set(re.findall(r"\bwireproof_[a-z_]+", " ".join(re.findall(r"expr:(.*?)labels:", file.read(), re.S))))
        self.assertGreater(len(asked), 6)
        page = self.page()
        # Only a server that watches a cluster has this one.
        asked -= {"wireproof_watch_errors_total"}
        for name in sorted(asked):
            family = name.removesuffix("_total").removesuffix("_info")
            with self.subTest(name=name):
                self.assertIn(f"# TYPE {family} ", page)

    def test_dashboards_are_made_of_series_that_the_programs_show(self):
        with open(self.path("agent.prom"), encoding="utf-8") as file:
            known = set(re.findall(r"^# TYPE (\S+) ", file.read(), re.M))
        known |= set(re.findall(r"^# TYPE (\S+) ", plain(self.page()), re.M))
        # Only a server that watches a cluster has this one.
        known |= {"wireproof_watch_errors_total"}
        asked = dashboards()
        self.assertGreater(len(asked), 15)
        for board, title, expression in asked:
            with self.subTest(board=board, panel=title):
                names = set(re.findall(r"\bwireproof_[a-z_]+", expression))
                self.assertTrue(names)
                self.assertEqual(names - known, set())

    def test_prometheus_answers_the_dashboards(self):
        self.query('wireproof_agent_packets_total{agent="node-a"}')
        empty = []
        for board, title, expression in dashboards():
            expression = expression.replace("$__rate_interval", "1m").replace("$agent", ".*")
            with self.subTest(board=board, panel=title):
                quoted = urllib.parse.quote(expression)
                with urllib.request.urlopen(f"{self.prometheus}/api/v1/query?query={quoted}", timeout=PATIENCE) as answer:
                    if not json.load(answer)["data"]["result"]:
                        empty.append(title)
        # What only a cluster, or node_exporter, would show; rates have no answer before the second scrape.
        self.assertIn("Errors of the watch on the cluster", empty)
        for title in ("Findings in the store", "Critical and high findings, last hour", "Agents that deliver"):
            self.assertNotIn(title, empty)

    def test_names_and_help_are_as_prometheus_wants_them(self):
        with open(self.path("agent.prom"), encoding="utf-8") as file:
            agent = file.read()
        self.assertIn("wireproof_spool_deliveries 0", agent)
        for name, text in (("agent", agent), ("server", plain(self.page()))):
            with self.subTest(page=name):
                done = subprocess.run(
                    ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=PATIENCE
                )
                self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


def dashboards():
    """Every expression of every dashboard, with where it stands."""
    asked = []
    for path in sorted(glob.glob(BOARDS)):
        with open(path, encoding="utf-8") as file:
            board = json.load(file)
        asked += [
            (board["title"], panel["title"], target["expr"])
            for panel in board["panels"]
            for target in panel.get("targets", [])
        ]
        asked += [
            (board["title"], it["name"], re.sub(r"label_values\((.*), \w+\)", r"\1", it["query"]["query"]))
            for it in board["templating"]["list"]
            if it["type"] == "query"
        ]
    return asked


def recent(capture, copy):
    """Copies a capture (classic pcap, microseconds) as if its last frame had been taken now. One connection lacks its
    beginning there, and one frame is no IP: so there is something unknown, and something unused."""
    with open(capture, "rb") as file:
        data = bytearray(file.read())
    order = "<" if data[:4] == bytes.fromhex("d4c3b2a1") else ">"
    frames, place = [], 24
    while place + 16 <= len(data):
        length = 16 + struct.unpack_from(f"{order}I", data, place + 8)[0]
        frames.append(data[place : place + length])
        place += length
    # The frontend's first mTLS connection to the search: SYN, SYN-ACK, ACK, ClientHello, its acknowledgment, and the answer.
    ports = struct.pack("!HH", 48690, 8080), struct.pack("!HH", 8080, 48690)
    opening = [frame for frame in frames if frame[50:54] in ports][:6]
    frames = [frame for frame in frames if not any(frame is it for it in opening)]
    last = struct.unpack_from(f"{order}I", frames[-1])[0]
    arp = bytes(12) + bytes.fromhex("0806") + bytes(46)
    frames.append(bytearray(struct.pack(f"{order}IIII", last, 0, len(arp), len(arp)) + arp))
    assert len(opening) == 6
    for frame in frames:
        at = struct.unpack_from(f"{order}I", frame)[0]
        struct.pack_into(f"{order}I", frame, 0, int(time.time()) - last + at)
    with open(copy, "wb") as file:
        file.write(data[:24] + b"".join(frames))


def plain(page):
    """OpenMetrics as the text format that promtool reads: there a counter's family has the ending, and there is no info."""
    lines = []
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.M))
    for line in page.splitlines():
        if found := re.match(r"# (HELP|TYPE) (\S+) (.*)", line):
            word, name, rest = found.groups()
            ending = {"counter": "_total", "info": "_info"}.get(kinds.get(name), "")
            lines.append(f"# {word} {name}{ending} {rest.replace('info', 'gauge') if word == 'TYPE' else rest}")
        elif line != "# EOF":
            lines.append(line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PROGRAMS["wireproof"], PROGRAMS["agent"] = map(os.path.abspath, sys.argv[1:3])
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=1)
