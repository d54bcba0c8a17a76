"""Prints what scripts/a2a-tck.sh has found as Markdown, and fails when a test
failed that is no exception. Called with the folder of results and the exceptions."""

import collections
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as xml

results, listed = map(pathlib.Path, sys.argv[1:])
exceptions = [line.split("\t") for line in listed.read_text().splitlines() if line and not line.startswith("#")]
WAYS = ("direct", "hub")
BINDINGS = (("agent_card", "card"), ("jsonrpc", "JSON-RPC"), ("http_json", "HTTP+JSON"), ("grpc", "gRPC"))


def cell(counts):
    """Passed, failed and skipped; the last two only where there are some."""
    if not counts:
        return "–"
    text = str(counts["PASS"])
    if counts["FAIL"]:
        text += f", **{counts['FAIL']} fail**"
    if counts["SKIPPED"]:
        text += f", {counts['SKIPPED']} skip"
    return text


def requirements():
    """Counts of requirements by group, then way and binding."""
    groups = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
    for way in WAYS:
        report = json.loads((results / f"1.0-{way}.json").read_text())
        for name, found in report["per_requirement"].items():
            by = found["transports"]
            if found["status"] == "FAIL" and "FAIL" not in by.values():  # it shows the last of a binding's tests
                by = dict.fromkeys(by, "FAIL")
            for binding, status in by.items():
                groups[name.rpartition("-")[0]][way, binding][status] += 1
    return groups


def judged(path, failures):
    """A row of one run, and the failures that are no exception."""
    suite = xml.parse(path).getroot().find("testsuite")
    counts = {k: int(suite.get(k)) for k in ("tests", "failures", "errors", "skipped")}
    for case in suite.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            name = f"{case.get('classname')}::{case.get('name')}"
            if not any(re.search(pattern, name) for pattern, _ in exceptions):
                failures.append(f"{path.stem}: {name}")
    bad = counts["failures"] + counts["errors"]
    return f"| {path.stem} | {counts['tests'] - bad - counts['skipped']} | {bad} | {counts['skipped']} |"


failures = []
runs = sorted(results.glob("*.xml"))
print("| run | pass | fail | skip |\n|---|---|---|---|")
print("\n".join(judged(path, failures) for path in runs))
if all((results / f"1.0-{way}.json").exists() for way in WAYS):
    print("\n| requirements of 1.0 | " + " | ".join(f"{name}, {way}" for way in WAYS for _, name in BINDINGS) + " |")
    print("|---" * (1 + len(WAYS) * len(BINDINGS)) + "|")
    for group, found in sorted(requirements().items()):
        print(f"| {group} | " + " | ".join(cell(found.get((way, binding))) for way in WAYS for binding, _ in BINDINGS) + " |")
if not runs:
    failures.append("no test ran")
if failures:
    print("\nfailed, and no exception:", *failures, sep="\n- ", file=sys.stderr)
    sys.exit(1)
