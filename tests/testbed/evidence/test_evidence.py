"""The evidence run: what it searches with, what it concludes, and a short one against the real processes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blindrelay.testbed.evidence.canaries import KINDS, Canaries
from blindrelay.testbed.evidence.forms import WINDOW, forms, windows
from blindrelay.testbed.evidence.memory import memory_of
from blindrelay.testbed.evidence.page import page
from blindrelay.testbed.evidence.report import as_json, lines
from blindrelay.testbed.evidence.result import PARTIES, RELAY, Evidence, Look, Rest, Trait
from blindrelay.testbed.evidence.search import Needles

WORD = Canaries.fresh()["body"]


def as_it_should_be() -> Evidence:
    looks = [Look(party, "memory", 1, {kind: 1 for kind in KINDS if party != RELAY}) for party in PARTIES]
    return Evidence(
        exchanges=1,
        looks=looks,
        traits=[Trait("token", RELAY, found_there=True, found_at_bridge=False)],
        rests=[Rest(0.0, 4_000, 500)],
        facts=[("it is so", True)],
        records=1,
    )


@pytest.mark.parametrize("form", forms(WORD))
def test_every_form_is_found_wherever_it_stands(form: str) -> None:
    needles = Needles({"canary": windows(WORD)})
    for spelling in forms(WORD)[form]:
        for shift in range(9):
            cut = spelling[3 : 3 + WINDOW]
            assert needles.found_in(os.urandom(1_000 + shift) + cut + os.urandom(500)) == {"canary"}


def test_base64_at_every_alignment() -> None:
    needles = Needles({"canary": windows(WORD)})
    for shift in range(6):
        assert needles.found_in(base64.b64encode(b"x" * shift + WORD.encode() + b"yz")) == {"canary"}


def test_what_is_not_there_is_not_found() -> None:
    needles = Needles({"canary": windows(WORD)})
    assert needles.found_in(os.urandom(3_000_000)) == set()
    assert needles.found_in(WORD[: WINDOW - 1].encode() + b" " * 100) == set()
    assert needles.found_in(b"") == needles.found_in(b"short") == set()


def test_what_lies_across_two_slices_is_found() -> None:
    data = bytearray(20 * 1024 * 1024)
    for at in (8 * 1024 * 1024 - 6, len(data) - WINDOW):
        data[at : at + WINDOW] = WORD[:WINDOW].encode()
        assert Needles({"canary": windows(WORD)}).found_in(bytes(data)) == {"canary"}
        data[at : at + WINDOW] = bytes(WINDOW)


def test_another_processs_memory_is_read() -> None:
    word = Canaries.fresh()["body"]
    program = f"import sys; held = {word!r}.encode(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        needles = Needles({"word": [word.encode()]})
        try:
            assert any(needles.found_in(piece.data) for piece in memory_of(process.pid))
        except PermissionError:
            pytest.skip("this user may not read other processes")
        finally:
            process.kill()


def test_the_verdict_on_a_relay_that_holds_nothing() -> None:
    evidence = as_it_should_be()
    assert (evidence.leaks(), evidence.weaknesses()) == ([], [])
    assert "Nothing of any exchange was found" in "\n".join(lines(evidence))


def test_a_leak_is_one_wherever_it_is() -> None:
    evidence = as_it_should_be()
    evidence.looks.append(Look(RELAY, "log", 1, {"model name": 1}))
    evidence.traits = [replace(evidence.traits[0], found_at_bridge=True)]
    evidence.facts.append(("nothing is written", False))
    evidence.strange_records.append("something else")
    assert [each.partition(" ")[0] for each in evidence.leaks()] == ["the", "the", "it", "the"]
    assert as_json(evidence)["verdict"] == "The relay holds what it must not."


@pytest.mark.parametrize("party", [party for party in PARTIES if party != RELAY])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_does_not_find_what_is_there_is_powerless(party: str, kind: str) -> None:
    evidence = as_it_should_be()
    for look in evidence.looks:
        if look.party == party:
            look.found.pop(kind, None)
    assert len(evidence.weaknesses()) == 1
    assert "powerless" in as_json(evidence)["verdict"]


def test_a_relay_that_keeps_what_is_sealed_is_told_at_the_end() -> None:
    evidence = as_it_should_be()
    evidence.rests = [Rest(0.0, 4_000, 4_000), Rest(60.0, 4_000, 500)]
    assert evidence.leaks() == [], "what has gone by the end was not kept"
    evidence.rests.append(Rest(61.0, 4_000, 4_000))
    assert evidence.leaks() == ["the relay keeps sealed bytes: 4000 of 4000 samples"]


@pytest.mark.parametrize("rests", [[], [Rest(0.0, 0, 0)]])
def test_a_run_that_took_no_sealed_bytes_is_powerless(rests: list[Rest]) -> None:
    evidence = as_it_should_be()
    evidence.rests = rests
    assert len(evidence.weaknesses()) == 1


def test_a_run_without_records_is_powerless() -> None:
    evidence = as_it_should_be()
    evidence.records = 0
    assert evidence.weaknesses() != []


def test_the_page_needs_nothing_else() -> None:
    evidence = as_it_should_be()
    evidence.strange_records.append("<script>")
    html = page(evidence)
    assert "<script" not in html
    assert "http" not in html.replace("HTTP", "")


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """`python -m blindrelay.testbed evidence --quick`."""
    unshare = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "true"]
    able = shutil.which("unshare") and subprocess.run(unshare, capture_output=True).returncode == 0
    if not able and not os.environ.get("CI"):
        pytest.skip("no network namespaces on this machine")
    out = tmp_path_factory.mktemp("evidence")
    command = [sys.executable, "-m", "blindrelay.testbed", "evidence", "--quick", "--json", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert json.loads((out / "evidence.json").read_text()) == result
    assert "</html>" in Path(out / "evidence.html").read_text()
    return result


def test_nothing_is_found_at_the_relay_and_everything_elsewhere(quick_run: dict[str, Any]) -> None:
    assert quick_run["leaks"] == quick_run["weaknesses"] == []
    assert quick_run["exchanges"] == sum(quick_run["ends"].values()) == 28
    places = {look["place"] for look in quick_run["looks"] if look["party"] == RELAY}
    assert {"memory, in flight", "log, at its most verbose", "network, relay to bridge"} <= places


def test_most_sealed_bytes_are_written_over_at_once(quick_run: dict[str, Any]) -> None:
    (rest,) = quick_run["rests"]
    assert rest["samples"] > 3_000
    assert rest["left"] < rest["samples"] / 4, "without overwriting, it is a quarter"
