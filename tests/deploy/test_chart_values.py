"""The chart's values: wrong ones are refused, each is explained, and defaults are the project's."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.deploy.chart import CHART, IDENTITY, ROOT, Values, helm

PLAIN: Values = {"bridge": {"identity": IDENTITY}}
PARTS = ("relay", "ledger", "bridge")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        pytest.param({}, "bridge.identity", id="no identity"),
        pytest.param({"bridge": {"identity": "br2abc"}}, "bridge.identity", id="no identity's form"),
        pytest.param({**PLAIN, "relay": {"replica": 3}}, "replica is not allowed", id="unknown value"),
        pytest.param({**PLAIN, "relay": {"replicas": "3"}}, "relay.replicas", id="text for a number"),
        pytest.param({**PLAIN, "relay": {"replicas": 0}}, "relay.replicas", id="no relay"),
        pytest.param({**PLAIN, "relay": {"dataPlane": "nginx"}}, "relay.dataPlane", id="data plane"),
        pytest.param({**PLAIN, "relay": {"image": "relay"}}, "relay.image", id="image without a version"),
        pytest.param({**PLAIN, "envoy": {"resources": {"limits": {"memory": None}}}}, "memory", id="memory"),
        pytest.param({**PLAIN, "relay": {"config": {"listen": "x"}}}, "listen", id="the chart's own key"),
        pytest.param(
            {**PLAIN, "relay": {"dataPlane": "envoy", "config": {"sandbox": True}}},
            "relay.config.sandbox",
            id="sandbox with Envoy",
        ),
        pytest.param({"bridge": {"enabled": False}}, "bridges", id="no bridges"),
        pytest.param(
            {"bridge": {"enabled": False}, "bridges": [{"address": "x:1"}]}, "identity", id="bridge of nobody"
        ),
        pytest.param({"bridge": {"identity": IDENTITY, "replicas": 21}}, "bridge.replicas", id="too many"),
    ],
)
def test_wrong_values_are_refused(values: Values, problem: str) -> None:
    done = helm("template", "blindrelay", str(CHART), values=values)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
    assert problem in done.stderr


def test_readme_explains_every_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    table = (CHART / "README.md").read_text().partition("## Values")[2].partition("## ")[0]
    named = set(re.findall(r"`([a-zA-Z.]+)`", table))
    scheduling = {"nodeSelector", "tolerations", "affinity"}  # one row for all of them
    for part, own in values.items():
        keys = [f"{part}.{key}" for key in own if key not in scheduling] if isinstance(own, dict) else [part]
        assert set(keys) - named == set()


def test_versions_and_files_are_those_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version
    assert {values[part]["image"] for part in PARTS} == {f"blindrelay-{part}:{version}" for part in PARTS}
    compose = yaml.safe_load((ROOT / "deploy/compose/production/compose.yaml").read_text())
    assert values["envoy"]["image"] == compose["services"]["envoy-1"]["image"]
    for part in PARTS:
        assert (CHART / f"files/{part}.toml").resolve().is_relative_to(ROOT / "deploy/compose/production")


def test_package_is_whole_without_the_repository(tmp_path: Path) -> None:
    """The compose set's files, to which the chart has links, are in it."""
    assert helm("package", str(CHART), "--destination", str(tmp_path)).returncode == 0
    [package] = tmp_path.iterdir()
    here, there = (helm("template", "blindrelay", str(chart), values=PLAIN) for chart in (CHART, package))
    assert here.stdout == there.stdout != ""
