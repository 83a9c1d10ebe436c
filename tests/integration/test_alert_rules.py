"""The rules for Prometheus, by its own promtool: they are sound, and each fires where it says and nowhere else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from tests.patience import PATIENCE_SECONDS
from tests.questions import ROOT, RULES, documented_configuration, rules

CASES = ROOT / "tests" / "integration" / "alert_rules.yml"


def run(promtool: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, *words], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def test_promtool_finds_nothing_wrong_with_the_rules(promtool: Path) -> None:
    done = run(promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{len(rules())} rules found" in done.stdout


def test_promtool_finds_nothing_wrong_with_the_documented_configuration(promtool: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(documented_configuration(), encoding="utf-8")
    done = run(promtool, "check", "config", "--syntax-only", configuration)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_rule_fires_beyond_its_threshold_and_not_at_it(promtool: Path) -> None:
    done = run(promtool, "test", "rules", CASES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_is_seen_firing() -> None:
    fired = {
        tuple(re.findall(r'"([^"]*)"', sample["labels"]))
        for case in yaml.safe_load(CASES.read_text())["tests"]
        for question in case["promql_expr_test"]
        for sample in question["exp_samples"]
    }
    assert fired == {(rule["alert"], rule["labels"]["severity"]) for rule in rules()}
