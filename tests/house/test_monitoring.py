"""docs/monitoring: Prometheus' promtool accepts it, and a server has every metric that it names."""

from __future__ import annotations

import json
import re
import shutil
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from rig.monitored import monitored
from rig.nixes import PROJECT
from rig.promtool import promtool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MONITORING = PROJECT / "docs/monitoring"
DASHBOARD = MONITORING / "grafana-dashboard.json"
ALERTS = MONITORING / "alerts.yml"
TESTS = MONITORING / "alerts_test.yml"
UNATTENDED = PROJECT / "docs/unattended.md"

GRAFANAS = {"$__rate_interval": "5m"}
"""Grafana's own variables, each with what it may stand for."""


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text())


def expressions() -> Iterator[str]:
    """What the panels ask Prometheus for."""
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def variables() -> dict[str, Any]:
    return {each["name"]: each for each in dashboard()["templating"]["list"]}


def queries() -> Iterator[str]:
    """What the variables ask it for."""
    return (each["query"]["query"] for each in variables().values() if each["type"] == "query")


def prometheus_alone(expression: str) -> str:
    """An expression with something in the place of each of Grafana's variables."""
    for name, value in (*GRAFANAS.items(), *((f"${name}", ".*") for name in variables())):
        expression = expression.replace(name, value)
    return expression


def metrics_in(text: str) -> set[str]:
    return set(re.findall(r"\bprefetch_\w+", text))


def alerts_in(text: str) -> set[str]:
    return set(re.findall(r"\balert: (\w+)$", text, re.MULTILINE))


def example(beginning: str) -> str:
    """The example of docs/unattended.md that begins so."""
    found = re.findall(r"^```\w*\n(.*?)^```$", UNATTENDED.read_text(), re.MULTILINE | re.DOTALL)
    texts: list[str] = [each for each in found if each.startswith(beginning)]
    (text,) = texts
    return text


def tried(directory: Path, rules: str) -> str:
    """What the tests of the rules find, with other rules in their place."""
    shutil.copy(TESTS, directory)
    (directory / ALERTS.name).write_text(rules)
    return promtool("test", "rules", str(directory / TESTS.name))


def test_prometheus_accepts_the_rules_and_they_pass_their_tests(tmp_path: Path) -> None:
    assert promtool("check", "rules", str(ALERTS)) == ""
    assert tried(tmp_path, ALERTS.read_text()) == ""


def test_each_rule_is_tested() -> None:
    named = set(re.findall(r'\balertname(?:: |=")(\w+)', TESTS.read_text()))
    assert named == alerts_in(ALERTS.read_text())


RULES = re.findall(r"^ +expr: (.+)$", ALERTS.read_text(), re.MULTILINE)


@pytest.mark.thorough
@pytest.mark.parametrize("expression", RULES)
def test_a_rule_that_is_never_or_always_true_is_found_out(tmp_path: Path, expression: str) -> None:
    text = ALERTS.read_text()
    metric = re.search(r"\b(?:up\{.*?\}|prefetch_\w+)", expression)
    assert metric is not None
    for other in (f"({expression}) == -1", f"{metric[0]} > -1"):
        assert "FAILED" in tried(
            tmp_path, text.replace(f"expr: {expression}\n", f"expr: {other}\n")
        )


async def test_a_server_has_each_metric_that_is_named(tmp_path: Path) -> None:
    samples = (await monitored(tmp_path / "cache")).samples
    for text in (ALERTS.read_text(), TESTS.read_text(), *expressions(), *queries()):
        assert metrics_in(text) <= samples.keys(), text
    shown = {name for text in expressions() for name in metrics_in(text)}
    assert metrics_in("\n".join(RULES)) <= shown


def test_prometheus_accepts_what_the_dashboard_asks(tmp_path: Path) -> None:
    recorded = [
        {"record": f"asked:{number}", "expr": prometheus_alone(each)}
        for number, each in enumerate(expressions())
    ]
    rules = tmp_path / "rules.yml"  # which can be JSON
    rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}))
    assert promtool("check", "rules", str(rules)) == ""
    assert not any("$" in each["expr"] for each in recorded)
    for query in queries():
        assert re.fullmatch(r"label_values\(prefetch_\w+(\{[^{}]*\})?, \w+\)", query), query


def test_the_dashboard_can_be_imported() -> None:
    read = dashboard()
    assert variables()["datasource"]["type"] == "datasource"
    panels = read["panels"]
    assert [each["id"] for each in panels] == list(range(1, len(panels) + 1))
    source = {"type": "prometheus", "uid": "${datasource}"}
    for each in (*panels, *(each for each in variables().values() if each["type"] == "query")):
        assert each["datasource"] == source, each
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        names = [target["refId"] for target in panel["targets"]]
        assert len({*names}) == len(names) > 0
    places = [each["gridPos"] for each in panels]
    assert all(each["x"] + each["w"] <= 24 for each in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_prometheus_accepts_the_configuration_of_the_documentation(tmp_path: Path) -> None:
    configuration = example("rule_files:")
    assert re.search(r"^ +- job_name: prefetch$", configuration, re.MULTILINE)
    file = tmp_path / "prometheus.yml"
    rules = "/etc/prometheus/prefetch-alerts.yml"
    assert rules in configuration
    file.write_text(configuration.replace(rules, str(ALERTS)))
    assert promtool("check", "config", str(file)) == ""
    file.write_text(file.read_text().replace("static_configs", "static_config"))
    assert promtool("check", "config", str(file)) != ""
