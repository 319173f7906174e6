"""The dashboard and the alerts, with a real Prometheus that scrapes a real mount."""

import importlib.machinery
import importlib.util
import json
import math
import pathlib
import re
import time

import pytest

from host import run, wait_until
from monitoring import (BACKED, CONTRIB, LIMITED, NAME, Exporter, Load, Prometheus, config, dashboard,
                        fetch, panels, resolved)
from zramfs import Zramfs

pytestmark = pytest.mark.needs("prometheus", "promtool")

HERE = pathlib.Path(__file__).resolve().parent
RULES = CONTRIB / "zramfs.rules.yml"
OF_PROMETHEUS = {"zramfs_up"}  # the exporter's own



@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A mount under load, its exporter and its Prometheus; there when enough was scraped."""
    place = tmp_path_factory.mktemp("watched")
    mount = Zramfs(place, config(place)).start()
    exporter = prometheus = load = None
    try:
        load = Load(mount, pause=0.005)
        exporter = Exporter(place, mount.point)
        prometheus = Prometheus(place, exporter.port)
        began = time.time()
        wait_until(lambda: prometheus.ask("count_over_time(zramfs_up[1m]) >= 2"), timeout=30,
                   what="two scrapes")
        load.overfill()
        load.burst()
        wait_until(lambda: time.time() > began + 8, what="eight seconds")
        yield mount, exporter, prometheus, load
    finally:
        for one in (load, prometheus, exporter, mount):
            if one is not None:
                one.stop()


def test_every_panel_shows_something(watched):
    prometheus = watched[2]
    board, now = dashboard(), time.time()
    for panel in panels(board):
        found = []
        for target in panel["targets"]:
            expr = resolved(target["expr"], 5, 60)
            series = prometheus.ask_range(expr, now - 6, now, 1)
            assert series, f"{panel['title']}: {expr}"
            found += [value for _, values in series for _, value in values]
        assert any(not math.isnan(value) for value in found), panel["title"]
        assert all(math.isnan(value) or value >= 0 for value in found), panel["title"]


def test_figures_are_the_mounts(watched):
    """What a panel says is what the mount says: through exporter, Prometheus and query."""
    mount, _, prometheus, load = watched
    by_title = {panel["title"]: panel for panel in panels(dashboard())}

    def asked(title, i=0):
        (_, value), = prometheus.ask(resolved(by_title[title]["targets"][i]["expr"], 60, 60))
        return value

    assert asked("Disks") == 3
    assert asked("Mounts that do not answer") == 0
    assert asked("Failed reads and writes") > 0 and load.n_refused > 0
    total = mount.json()["total"]
    saved = total["orig_data_size"] - total["mem_used_total"]
    assert asked("Memory saved") == pytest.approx(saved, rel=0.5) and saved > 0
    assert 1 < asked("Compression") < 10
    assert asked("Writes that waited for room") > 0
    shares = dict((labels["disk"], value) for labels, value in
                  prometheus.ask(resolved(by_title["Share of the limit"]["targets"][0]["expr"],
                                          5, 60)))
    assert shares.keys() == {BACKED, LIMITED} and all(0 < share <= 1 for share in shares.values())


def test_rules_are_evaluated_and_one_fires(watched):
    prometheus = watched[2]
    rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == RULES.read_text().count("- alert:")
    assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
    assert all(rule["health"] == "ok" for rule in rules)
    fired = wait_until(lambda: prometheus.ask('ALERTS{alertname="ZramfsFailedWrites"}'),
                       what="an alert about writes that failed")
    assert [labels["disk"] for labels, _ in fired] == [LIMITED]
    quiet = {labels["alertname"] for labels, _ in prometheus.ask('ALERTS{alertstate="firing"}')}
    assert quiet <= {"ZramfsFailedWrites", "ZramfsSlow"}  # this machine may be busy


def test_every_metric_exists(watched):
    """A name that is not there is no error for Prometheus."""
    said = set(NAME.findall(re.sub(r"(?m)^#.*$", "", watched[1].page())))
    assert OF_PROMETHEUS < said
    for file in (CONTRIB / "grafana-dashboard.json", RULES):
        text = file.read_text()
        wanted = set(NAME.findall(text))
        assert len(wanted) > 10
        assert wanted - said == set(), file.name


def test_the_page_is_what_promtool_likes(watched):
    done = run("promtool", "check", "metrics", input=watched[1].page(), stdin=None, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_variables(watched):
    prometheus = watched[2]
    board = dashboard()
    made = {one["name"]: one for one in board["templating"]["list"]}
    assert list(made) == ["datasource", "instance", "mount", "disk"]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(board))) - {"__all"}
    assert used == {*made, "__rate_interval", "__range"}
    for name in ("instance", "mount", "disk"):
        query = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (\w+)\)", made[name]["query"]["query"])
        assert query[3] == name
        series = prometheus.api("series", **{"match[]": resolved(query[1] + (query[2] or ""), 5, 60)})
        values = {one[name] for one in series}
        assert values == {"instance": {"localhost"}, "mount": {str(watched[0].point)},
                          "disk": {"data", "scratch", "archive"}}[name]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert board["schemaVersion"] >= 36


def test_panels_do_not_overlap():
    taken = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


def test_rules_by_themselves():
    for command in (("check", "rules", RULES), ("check", "config", CONTRIB / "prometheus.yml"),
                    ("test", "rules", CONTRIB / "zramfs.rules.test.yml")):
        done = run("promtool", *command)
        assert "FAILED" not in done.stdout + done.stderr


def test_every_rule_has_a_test(place):
    """Rules that never hold fail the tests of all of them."""
    text = RULES.read_text()
    names = re.findall(r"- alert: (\w+)", text)
    (place / "zramfs.rules.test.yml").write_text((CONTRIB / "zramfs.rules.test.yml").read_text())
    (place / "zramfs.rules.yml").write_text(
        re.sub(r"expr: (>\n(?: {10}.*\n)+|.*\n)", "expr: vector(0) > 1\n", text))
    done = run("promtool", "test", "rules", place / "zramfs.rules.test.yml", check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    wanted = [line for line in said.splitlines() if line.strip().startswith("exp:")]
    assert set(re.findall(r'alertname="(\w+)"', "".join(wanted))) == set(names)


def test_the_example_is_answered_where_it_asks():
    """Ports of the configuration, the unit and the program."""
    port = re.search(r"127\.0\.0\.1:(\d+)", (CONTRIB / "prometheus.yml").read_text())[1]
    assert f"127.0.0.1:{port}" in (CONTRIB / "zramfs-exporter.service").read_text()
    assert f"127.0.0.1:{port}" in run(CONTRIB / "zramfs-exporter", "--help").stdout


def test_the_picture(watched, place):
    """Every panel of the dashboard is drawn, from what Prometheus answers."""
    pytest.importorskip("matplotlib", reason="no matplotlib: apt-get install python3-matplotlib")
    loader = importlib.machinery.SourceFileLoader("picture", str(HERE / "picture"))
    picture = importlib.util.module_from_spec(importlib.util.spec_from_loader("picture", loader))
    loader.exec_module(picture)
    board, now = dashboard(), time.time()
    answers = picture.ask(watched[2], board, now - 6, now)
    assert answers.keys() == {panel["id"] for panel in panels(board)}
    picture.draw(board, answers, now - 6, place / "drawn.png", "a note")
    drawn = picture.Image.open(place / "drawn.png")
    assert drawn.size[0] == picture.WIDTH and drawn.size[1] > 1000
    assert len(drawn.convert("RGB").getcolors(1 << 24)) > 50


def test_fetch_tells_errors(watched):
    assert fetch(watched[1].url.replace("metrics", "nothing"))[0] == 404
