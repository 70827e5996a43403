"""Joint fits of maps: what two paths tell together, whose information it is, and runs that disagree."""

from __future__ import annotations

import numpy as np
import pytest
from streamproc.models.excitations.maps.container import SqeMap
from streamproc.models.excitations.maps.example import example_case, simulated_counts
from streamproc.models.excitations.maps.joint import Joint, fit_jointly
from streamproc.models.excitations.maps.refine import Refinement, refine_map
from streamproc.models.excitations.maps.widths import Widths

ENERGY, UNIT = np.arange(10.0, 140.0, 2.0), 139.0
TRUTH = {"J": 32.0, "J2": 1.8, "D": -0.4}
WIDTHS = Widths(0.06, 0.03, 1.0, 0.0, 0.03)


def alone(first, last, seed: int, values=TRUTH, strength: float = 40.0) -> Refinement:
    case = example_case()
    q = np.array([*first, 0.0]) + np.linspace(0, 1, 10)[:, None] * (np.array([*last, 0.0]) - [*first, 0.0])
    y = simulated_counts(case, q, ENERGY, values, strength, seed, 140.0)
    measured = SqeMap.of(q, ENERGY, y, np.sqrt(np.maximum(y, 1))).scaled(1 / UNIT)
    return refine_map(case, measured, WIDTHS, np.array([v / UNIT for v in values.values()]))


@pytest.fixture(scope="module")
def three() -> tuple[list[Refinement], Joint]:
    members = [
        alone((0.5, 0.0), (0.5, 0.5), 1),
        alone((0.6, 0.1), (0.9, 0.4), 2),
        alone((0.5, 0.0), (0.5, 0.5), 3, strength=10.0),
    ]
    return members, fit_jointly(members)


def test_the_joint_answer_holds_the_truth_and_knows_more_than_any_run(three) -> None:
    members, joint = three
    sigma = np.sqrt(np.diag(joint.posterior.covariance))
    truth = np.array(list(TRUTH.values())) / UNIT
    assert (np.abs(joint.posterior.mean - truth) < 3.5 * sigma).all()
    for member in members:
        own = np.sqrt(np.diag(member.posterior.covariance))
        assert (sigma < 1.15 * own).all()
    assert joint.tension < 3


def test_shares_add_up_and_the_same_path_counted_four_times_less_brings_about_a_quarter(three) -> None:
    _, joint = three
    assert sum(m.share for m in joint.members) == pytest.approx(1.0)
    assert np.sum([m.shares for m in joint.members], 0) == pytest.approx(np.ones(3))
    strong, _, weak = (m.share for m in joint.members)
    assert 0.1 < weak / strong < 0.45


def test_a_joint_fit_of_one_map_measured_twice_is_that_of_twice_the_counts(three) -> None:
    first, second = alone((0.5, 0.0), (0.5, 0.5), 5), alone((0.5, 0.0), (0.5, 0.5), 6)
    joint = fit_jointly([first, second])
    sigma, own = (np.sqrt(np.diag(p.covariance)) for p in (joint.posterior, first.posterior))
    assert sigma / own == pytest.approx(np.full(3, 0.5**0.5), abs=0.15)
    middle = (first.posterior.mean + second.posterior.mean) / 2
    assert (np.abs(joint.posterior.mean - middle) < 0.5 * own).all()


def test_a_run_of_another_magnet_is_in_tension_with_the_others(three) -> None:
    members, _ = three
    other = alone((0.5, 0.0), (0.5, 0.5), 4, {**TRUTH, "J": 29.5})
    joint = fit_jointly([*members[:2], other])
    tension = [m.tension for m in joint.members]
    assert joint.tension > 6
    assert np.argmax(tension) == 2 or tension[2] > 6
    assert joint.members[2].apart[0] < -3
