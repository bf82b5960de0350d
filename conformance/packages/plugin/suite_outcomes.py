"""A plugin of pytest that notes how every test ended, one line each, as it ends: so a run that dies has its lines too.

SUITE_OUTCOMES names the file, SUITE_EVERY=n leaves every nth test only, chosen by its name: the same on both sides.
"""

import json
import os
import re
import zlib

#: Addresses that stand in a test's name change from run to run.
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


def _note(report, outcome):
    crash = getattr(report.longrepr, "reprcrash", None)
    said = crash.message if crash is not None else str(report.longrepr or "")
    line = {"id": ADDRESS.sub("0x", report.nodeid), "outcome": outcome, "seconds": getattr(report, "duration", 0.0)}
    if outcome == "failed":
        line["said"] = said[-600:] if crash is None else said[:600]
        line["phase"] = getattr(report, "when", "collect")
    with open(os.environ["SUITE_OUTCOMES"], "a") as file:
        file.write(json.dumps(line) + "\n")


def pytest_collection_modifyitems(config, items):
    every = int(os.environ.get("SUITE_EVERY", "1"))
    if every > 1:
        kept = [item for item in items if zlib.crc32(ADDRESS.sub("0x", item.nodeid).encode()) % every == 0]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept


def pytest_collectreport(report):
    if report.failed:
        _note(report, "failed")


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        expected = report.outcome == "skipped" and hasattr(report, "wasxfail")
        _note(report, "xfailed" if expected else report.outcome)
