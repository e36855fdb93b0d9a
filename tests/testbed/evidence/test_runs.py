"""Short evidence runs against the real processes: of the relay that ships, and of one that leaks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blindrelay.testbed.evidence.canaries import KINDS
from blindrelay.testbed.evidence.leaky_relay import LEAKS
from blindrelay.testbed.evidence.result import CONTROLS, LEDGER, RELAY

LONGEST = 600
"""Seconds for a run. It takes 40, and on a busy machine ten times as long."""

pytestmark = pytest.mark.timeout(2 * LONGEST + 60)  # two runs are fixtures

Result = dict[str, Any]
Run = Callable[..., Result]

# Each leak, and what the run has to say of it.
WHAT_IS_SAID = {
    "logged-body": "the relay's log has a line that is not on the list: forwarding ",
    "kept-buffer": "% of the sealed bytes are in the relay's memory, 0",
    "debug-dump": "it is not so that no file has appeared or changed in its folder and where it works",
    "unblurred-size": 'the relay\'s log has a line that is not on the list: {"minute": ',
    "timely-line": 'the relay\'s log has a line that came when somebody asked: {"minute": ',
    "forwarded-header": "the bridge knows the gRPC library and version",
    "traces": "it is not so that ended by SIGSEGV, it leaves no core",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`python -m blindrelay.testbed evidence --quick`, which has to end with that exit code."""
    namespaces = ["--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    tried = [shutil.which("unshare") or "false", *namespaces, "true"]
    if subprocess.run(tried, capture_output=True).returncode != 0 and not os.environ.get("CI"):
        pytest.skip("no network namespaces on this machine")

    def run(*arguments: str, code: int) -> Result:
        out = tmp_path_factory.mktemp("evidence")
        command = [sys.executable, "-m", "blindrelay.testbed", "evidence", "--quick", "--json"]
        done = subprocess.run(
            [*command, "--out", str(out), *arguments], capture_output=True, text=True, timeout=LONGEST
        )
        assert done.returncode == code, done.stderr
        result: Result = json.loads(done.stdout)
        assert json.loads((out / "evidence.json").read_text()) == result
        assert "</html>" in Path(out / "evidence.html").read_text()
        return result

    return run


@pytest.fixture(scope="module")
def of_ours(run: Run) -> Result:
    return run(code=0)


@pytest.fixture(scope="module")
def of_one_that_leaks(run: Run) -> Result:
    """All leaks at once, for they are told apart: a run for each takes six times as long."""
    return run(*(part for leak in LEAKS for part in ("--leak", leak)), code=1)


def test_nothing_is_found_at_the_relay(of_ours: Result) -> None:
    assert of_ours["leaks"] == of_ours["weaknesses"] == []
    assert of_ours["strange_records"] == of_ours["untimely_records"] == []
    assert of_ours["exchanges"] == sum(of_ours["ends"].values()) == sum(of_ours["in_clear"].values()) == 42
    assert of_ours["ends"].keys() == {"200", "429", "bridge/not_allowed", "bridge/too_large"}
    places = {look["place"] for look in of_ours["looks"] if look["party"] == RELAY}
    assert {"memory, in flight", "log, at its most verbose", "crash dump"} <= places
    assert {"network, client to relay", "network, relay to bridge"} <= places
    of_the_ledger = {look["place"] for look in of_ours["looks"] if look["party"] == LEDGER}
    assert {
        "memory, in flight",
        "books, and the bridge's outbox",
        "network, relay to ledger",
    } <= of_the_ledger
    assert all(look["looked_at"] for look in of_ours["looks"] if look["party"] == LEDGER)
    assert all(holds for _, holds in of_ours["facts"])
    assert len(of_ours["traits"]) == 7
    assert all(trait["found_there"] and not trait["found_at_bridge"] for trait in of_ours["traits"])


def test_nothing_is_found_at_envoy(run: Run) -> None:
    """Nor at its control process. The run itself fails if it does not find what it should."""
    found = run("--data-plane", "envoy", code=0)
    assert found["leaks"] == found["weaknesses"] == []
    assert found["exchanges"] == sum(found["ends"].values()) == 42
    places = {look["place"] for look in found["looks"] if look["party"] == RELAY}
    assert {"memory, in flight", "files below its folders", "log, at its most verbose"} <= places


@pytest.mark.parametrize(("party", "place"), CONTROLS)
def test_every_kind_is_found_with_those_who_have_it(of_ours: Result, party: str, place: str) -> None:
    looks = (look for look in of_ours["looks"] if look["party"] == party and look["place"].startswith(place))
    assert {kind for look in looks for kind in look["found"]} == set(KINDS)


@pytest.mark.parametrize("leak", LEAKS)
def test_the_run_fails_for_every_protection_that_is_taken_out(of_one_that_leaks: Result, leak: str) -> None:
    assert any(WHAT_IS_SAID[leak] in said for said in of_one_that_leaks["leaks"])


def test_only_the_leaks_are_reported(of_one_that_leaks: Result, of_ours: Result) -> None:
    assert WHAT_IS_SAID.keys() == LEAKS.keys()
    assert of_one_that_leaks["weaknesses"] == []
    assert not any("holds" in said for said in of_one_that_leaks["leaks"]), "no word is there to be leaked"
    assert not any(sentence in said for sentence in WHAT_IS_SAID.values() for said in of_ours["leaks"])


@pytest.mark.skipif("BLINDRELAY_EVIDENCE_LEAKS" not in os.environ, reason="a minute: make evidence-leaks")
@pytest.mark.parametrize("leak", LEAKS)
def test_the_run_fails_for_each_alone(run: Run, leak: str) -> None:
    result = run("--leak", leak, code=1)
    said = [each for each in result["leaks"] if WHAT_IS_SAID[leak] in each]
    assert said
    others = {sentence for other, sentence in WHAT_IS_SAID.items() if other not in (leak, "debug-dump")}
    if leak not in ("debug-dump", "traces"):
        assert not any(sentence in each for sentence in others for each in result["leaks"])
