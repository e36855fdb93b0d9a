"""The dashboard and the alerts ask only for metrics that there are, and show all of the ledger's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/monitoring/grafana.json").read_text())
GROUPS = yaml.safe_load((ROOT / "deploy/monitoring/alerts.yml").read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"]]

SOURCES = ("relay_node/blindrelay/relay_node", "provider_bridge/blindrelay/provider_bridge")
LEDGER = ROOT / "ledger/blindrelay/ledger/metrics.py"
FILES = [LEDGER, *(ROOT / source / "metrics.py" for source in SOURCES)]


def names(text: str) -> set[str]:
    return set(re.findall(r"\bblindrelay_[a-z_]+", text))


def exposed() -> set[str]:
    return {name for file in FILES for name in re.findall(r'"(blindrelay_[a-z_]+)"', file.read_text())}


def asked_by_panels() -> set[str]:
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    return names(" ".join(expressions))


def test_every_metric_that_is_asked_for_is_exposed() -> None:
    asked = asked_by_panels() | names(" ".join(rule["expr"] for rule in ALERTS))
    assert asked
    assert asked - exposed() == set()


def test_dashboard_shows_all_of_the_ledger() -> None:
    ledgers = {name for name in exposed() if name.startswith("blindrelay_ledger_")}
    assert len(ledgers) > 10
    assert ledgers - asked_by_panels() == set()


def test_panels_do_not_overlap_and_have_their_own_numbers() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["w"])
        for y in range(place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_alerts_say_what_happened_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}
