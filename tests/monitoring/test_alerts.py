"""What is shipped for Prometheus and Grafana asks for numbers that there are.

With promtool (of the package `prometheus`) the rules are tried too; without it they are only read.
"""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.monitoring.snapshots import BUSY, NAMES
from watcher.metrics import PREFIX, exposition

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "deploy" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_bytes())
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_bytes())["groups"]
    for rule in group["rules"]
]
SCRAPE = yaml.safe_load((FOLDER / "scrape.example.yml").read_bytes())

PROMTOOL = shutil.which("promtool")
with_promtool = pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed")

METRIC = re.compile(r"\b(?:autoretouch_watcher|process|python)_\w+|\bup\b")
SELECTED = re.compile(r"\b(autoretouch_watcher_\w+)\{([^}]*)\}")
LABEL = re.compile(r'(\w+)\s*(=~|!=|=)\s*"([^"]*)"')

TOLD = {
    sample.name: family
    for family in text_string_to_metric_families(exposition(BUSY).decode())
    for sample in family.samples
}
"""Each name on the page, and what belongs to it."""


def panels() -> Iterator[dict[str, Any]]:
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "row":
            yield panel


def dashboard_expressions() -> Iterator[str]:
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


EXPRESSIONS = [*(rule["expr"] for rule in RULES), *dashboard_expressions()]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=range(len(EXPRESSIONS)))
def test_what_is_asked_for_is_told(expression: str) -> None:
    names = set(METRIC.findall(expression))
    assert names
    assert names - {"up"} <= set(TOLD)
    for name, selected in SELECTED.findall(expression):
        for label, _, values in LABEL.findall(selected):
            if label in {"job", "instance"}:  # which Prometheus adds
                continue
            there = {sample.labels.get(label) for sample in TOLD[name].samples}
            assert set(values.split("|")) <= there


def test_counters_are_asked_for_their_increase() -> None:
    for expression in EXPRESSIONS:
        for name in METRIC.findall(expression):
            if name.endswith("_total"):
                assert re.search(rf"\b(increase|rate)\({name}", expression.replace(" ", ""))


def test_nothing_that_is_told_stays_unseen() -> None:
    seen = {name for expression in EXPRESSIONS for name in METRIC.findall(expression)}
    assert {name for name in TOLD if name.startswith(PREFIX)} <= seen


def test_each_condition_calls_somebody() -> None:
    found = {
        match[1]: rule["alert"]
        for rule in RULES
        if (match := re.fullmatch(r'autoretouch_watcher_condition{name="(\w+)"} > 0', rule["expr"]))
    }
    assert found == {name: f"AutoretouchWatcher{name.title().replace('_', '')}" for name in NAMES}


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert len(rule["annotations"]["summary"]) < 100
    assert rule["annotations"]["description"].endswith(".")


def test_each_alert_is_tried_firing_and_silent() -> None:
    tests = yaml.safe_load((FOLDER / "alerts.test.yml").read_bytes())["tests"]
    tried = {
        (check["alertname"], bool(check["exp_alerts"]))
        for test in tests
        for check in test["alert_rule_test"]
    }
    assert tried == {(rule["alert"], fires) for rule in RULES for fires in (True, False)}


def test_the_example_scrapes_what_the_rules_expect() -> None:
    [job] = SCRAPE["scrape_configs"]
    jobs = {name for rule in RULES for name in re.findall(r'job="([^"]*)"', rule["expr"])}
    assert {job["job_name"]} == jobs
    assert SCRAPE["rule_files"] == ["alerts.yml"]
    [target] = job["static_configs"][0]["targets"]
    text = (FOLDER / "scrape.example.yml").read_text()
    [listen] = re.findall(r"^# +(listen = .*)$", text, re.MULTILINE)
    assert tomllib.loads(listen) == {"listen": target}


# promtool


@with_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("check", "config", "scrape.example.yml"),
        ("test", "rules", "alerts.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    promtool(*arguments)


@with_promtool
def test_promtool_understands_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": filled_in(expression)}
        for number, expression in enumerate(dashboard_expressions())
        if "label_values" not in expression
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))


@with_promtool
def test_promtool_likes_the_page() -> None:
    said = promtool("check", "metrics", given=exposition(BUSY))
    assert not [line for line in said.splitlines() if PREFIX in line]


def promtool(*arguments: str, given: bytes = b"") -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, input=given, capture_output=True, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode in {0, 3}, said  # 3: it would do some things in another way
    return said


def filled_in(expression: str) -> str:
    return (
        expression.replace("$__rate_interval", "1m").replace("$job", "j").replace("$instance", "i")
    )


# Grafana


def test_the_dashboard_takes_any_prometheus() -> None:
    text = json.dumps(DASHBOARD)
    assert set(re.findall(r'"type": "prometheus", "uid": "([^"]*)"', text)) == {"${datasource}"}
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "job", "instance"]
    assert DASHBOARD["templating"]["list"][0]["query"] == "prometheus"
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] >= 38  # Grafana 10


def test_every_panel_says_what_it_shows() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert "$instance" in target["expr"]
            assert target["range"] != target["instant"]


def test_no_panel_lies_over_another_or_beside_the_page() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not taken & cells
        taken |= cells
