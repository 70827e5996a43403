from __future__ import annotations

import pytest

from streamproc.errors import ConfigurationError
from streamproc.torture.faults import KINDS, parse_kinds, plan_faults


def plan(seed=1, count=200, weights=KINDS, pace_s=7.0):
    return plan_faults(seed, count, weights, pace_s, 6.0)


def test_a_seed_gives_the_same_faults_and_another_seed_others():
    assert plan(seed=3) == plan(seed=3)
    assert plan(seed=3) != plan(seed=4)


def test_fewer_faults_are_the_first_of_more():
    assert plan(count=200)[:37] == plan(count=37)


@pytest.mark.parametrize("seed", range(5))
def test_each_kind_comes_once_before_any_comes_by_its_weight(seed):
    kinds = [fault.kind.partition("-")[0] for fault in plan(seed=seed, count=len(KINDS))]
    assert sorted(kinds) == sorted(KINDS)


def test_kinds_come_by_their_weights():
    faults = plan(count=4000, weights={"kill": 3.0, "cut": 1.0})
    kills = sum(fault.kind == "kill" for fault in faults)
    assert 0.7 < kills / len(faults) < 0.8
    assert {fault.kind for fault in faults} == {"kill", "cut"}


def test_half_of_the_frozen_services_stay_so_beyond_their_session():
    holds = [fault.hold_s for fault in plan(count=4000) if fault.kind == "stop"]
    beyond = sum(hold_s > 6.0 for hold_s in holds)
    assert 0.4 < beyond / len(holds) < 0.6
    assert min(holds) >= 0.5 and max(holds) <= 12.0


def test_nodes_are_killed_and_frozen_and_come_back():
    nodes = [fault for fault in plan(count=1000) if fault.of_node]
    assert {fault.kind for fault in nodes} == {"node-kill", "node-freeze"}
    assert all(1.0 <= fault.hold_s <= 10.0 for fault in nodes)


def test_pauses_have_the_mean_asked_for_and_an_end():
    pauses = [fault.after_s for fault in plan(count=4000, pace_s=4.0)]
    assert 3.6 < sum(pauses) / len(pauses) < 4.2
    assert max(pauses) <= 12.0


def test_kinds_are_read_with_their_weights():
    assert parse_kinds("kill=3, cut") == {"kill": 3.0, "cut": KINDS["cut"]}


@pytest.mark.parametrize("text", ["", ",", "kil", "kill=0", "kill=-1", "kill=often", "kill=nan", "kill=inf"])
def test_kinds_that_make_no_sense_are_refused(text):
    with pytest.raises(ConfigurationError, match="--faults"):
        parse_kinds(text)
