#!/usr/bin/env python3
"""Holds `wireproof lint -o sarif` to the published schema of SARIF 2.1.0: sarif.py WIREPROOF SCHEMA; scripts/test.sh calls it."""

import glob
import json
import os
import subprocess
import sys
import tempfile
import unittest

import jsonschema

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
# A document that is left out, one that is no YAML, and one with a finding and a field that is noted.
BROKEN = """
apiVersion: v1
kind: Service
---
foo: [
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: b}
spec: {host: x, oops: 1, trafficPolicy: {tls: {mode: MUTUAL}}}
"""
PROGRAM = SCHEMA = None


def log(*paths):
    """Returns what is printed of these declarations."""
    meshes = [word for path in paths for word in ("--mesh", path)]
    command = [PROGRAM, "lint", *meshes, "-o", "sarif"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


class Sarif(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(SCHEMA, encoding="utf-8") as file:
            schema = json.load(file)
        cls.validator = jsonschema.validators.validator_for(schema)(schema)

    def check(self, found):
        wrong = [f"{list(it.absolute_path)}: {it.message}" for it in self.validator.iter_errors(found)]
        self.assertEqual(wrong, [])

    def test_every_case_is_valid(self):
        cases = sorted(glob.glob(os.path.join(ROOT, "testdata", "*", "mesh.yaml")))
        self.assertGreater(len(cases), 10)
        results = 0
        for case in cases:
            with self.subTest(case=case):
                found = log(os.path.relpath(case, ROOT))
                self.check(found)
                results += len(found["runs"][0]["results"])
        self.assertGreater(results, 50)

    def test_what_could_not_be_read_is_valid(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "it is \u00fcber.yaml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(BROKEN)
            found = log(path)
        self.check(found)
        told = found["runs"][0]["invocations"][0]
        self.assertFalse(told["executionSuccessful"])
        self.assertGreater(len(told["toolExecutionNotifications"]), 2)

    def test_the_schema_would_notice_a_mistake(self):
        for change in (
            lambda run: run["results"][0].update(severity="high"),
            lambda run: run["results"][0].pop("message"),
            lambda run: run["results"][0].update(level="high"),
            lambda run: run["results"][0].update(ruleIndex=None),
            lambda run: run["results"][0]["locations"][0]["physicalLocation"]["region"].update(startLine=0),
            lambda run: run["tool"]["driver"].pop("name"),
        ):
            found = log("testdata/boutique/mesh.yaml")
            change(found["runs"][0])
            with self.assertRaises(AssertionError):
                self.check(found)


if __name__ == "__main__":
    PROGRAM, SCHEMA = map(os.path.abspath, sys.argv[1:3])
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=1)
