"""The entries of a portal are completed once in a run, and anew when anything differs."""

import time
from unittest.mock import create_autospec

import pytest
from infra_formula.portal import views


@pytest.fixture
def completed(monkeypatch):
    """Portals that were completed, as often as they were."""
    double = create_autospec(views._completed, side_effect=lambda portal, settings: {"home": {}})
    monkeypatch.setattr(views, "_completed", double)
    monkeypatch.setattr(views, "_recent", {})
    return double


def test_the_same_portal_and_settings_are_completed_once(completed):
    for _ in range(5):
        views.views({"a": {"domain": "a.b"}}, {"nginx_port": 80})
    completed.assert_called_once()


@pytest.mark.parametrize(
    ("portal", "settings"),
    [
        ({"a": {"domain": "c.d"}}, {"nginx_port": 80}),
        ({"a": {"domain": "a.b"}}, {"nginx_port": 81}),
        ({"b": {}, "a": {"domain": "a.b"}}, {"nginx_port": 80}),
    ],
)
def test_whatever_differs_is_completed_anew(completed, portal, settings):
    views.views({"a": {"domain": "a.b"}}, {"nginx_port": 80})
    views.views(portal, settings)
    assert completed.call_count == 2


def test_a_portal_that_was_changed_in_place_is_completed_anew(completed):
    portal = {"a": {"domain": "a.b"}}
    views.views(portal, {})
    portal["a"]["domain"] = "c.d"
    views.views(portal, {})
    assert completed.call_count == 2


def test_the_order_of_entries_counts(completed):
    views.views({"a": {}, "b": {}}, {})
    views.views({"b": {}, "a": {}}, {})
    assert completed.call_count == 2


def test_a_later_run_completes_it_anew(completed, monkeypatch):
    views.views({}, {})
    later = time.monotonic() + views._LIFETIME
    monkeypatch.setattr(time, "monotonic", lambda: later)
    views.views({}, {})
    assert completed.call_count == 2


def test_few_results_are_kept(completed):
    for port in range(20):
        views.views({}, {"nginx_port": port})
    assert len(views._recent) == views._RECENT


def test_what_is_no_data_is_completed_each_time(completed):
    for _ in range(2):
        views.views({}, {"x": object()})
    assert completed.call_count == 2


def test_an_entry_that_a_caller_adds_is_not_kept(completed):
    views.views({}, {})["other"] = {}
    assert set(views.views({}, {})) == {"home"}
