"""Early rejection: whoever cannot be in time makes room, the others are served as without it."""

import numpy as np
import pytest

import simlib
from simlib.continuous.settings import Continuous
from simlib.policies.batch_size import Rules
from simlib.policies.deadline.early_rejection import EarlyRejection

BACKENDS = ("compiled", "stepped", "interpreted")
ONE = Rules(b_max=1)
LAW = simlib.Affine(0.0, 0.01, 0.0)


def requests_of(arrival_s, outputs, predicted=None) -> simlib.RequestTable:
    return simlib.RequestTable(arrival_s, [0] * len(outputs), outputs, predicted or outputs)


@pytest.mark.parametrize("backend", BACKENDS)
def test_whoever_cannot_be_in_time_is_turned_away_by_hand(backend):
    # One at a time, 0.01 s a token, deadline 1 s. The first ends at 0.5; then the second would end at 1.3, after 1.1.
    # The third, which came later and is short, is served at once; the fourth, at 0.6, has just 1 s less 0 s to wait.
    table = requests_of([0, 0.1, 0.2, 0.6], [50, 80, 10, 100])
    run = simlib.simulate(table, EarlyRejection(1.0, company=0.0, variant=ONE), LAW, backend=backend)
    assert run.served.batch_of.tolist() == [0, -1, 1, 2]
    assert run.times.start_s[[0, 2, 3]].tolist() == [0.0, 0.5, 0.6]
    assert run.rejected == 1 and run.summary()["sla_violation_share"] == 0.25


def test_nobody_is_turned_away_before_the_pace_is_known_or_without_need():
    table = simlib.workload.original(200, seed=1, rate_rps=5.0)
    early, dynamic = (simlib.simulate(table, policy, gpus=2) for policy in (EarlyRejection(), simlib.DynamicNoBins()))
    assert early.rejected == 0
    np.testing.assert_array_equal(early.times.completion_s, dynamic.times.completion_s)


def test_predictions_decide_not_the_truth():
    # The second is short, and predicted to be long: it is turned away although it would have been in time.
    table = requests_of([0, 0.1], [50, 10], [50, 90])
    assert simlib.simulate(table, EarlyRejection(1.0, company=0.0, variant=ONE), LAW).served.batch_of.tolist() == [
        0,
        -1,
    ]


def test_margin_scales_the_expected_service():
    table = requests_of([0, 0.1], [50, 80])
    for margin, turned_away in ((0.0, 0), (0.7, 0), (1.0, 1)):  # 0.6 s are left for 0.8 s
        assert simlib.simulate(table, EarlyRejection(1.0, margin, 0.0, variant=ONE), LAW).rejected == turned_away


def test_in_overload_more_are_in_time_than_without():
    # Three times what one GPU carries in batches of one, for 600 requests: nearly all are late in order of arrival.
    table = requests_of(np.arange(600) * 0.1, [30] * 600)
    early, patient = (
        simlib.simulate(table, policy, LAW).summary(1.0)["sla_violation_share"]
        for policy in (EarlyRejection(1.0, company=0.0, variant=ONE), simlib.DynamicNoBins(1.0, ONE))
    )
    assert patient > 0.95 and early < 0.70  # two of three must be late


@pytest.mark.parametrize(("company", "turned_away"), [(0.0, 0), (0.3, 0), (0.5, 1), (1.0, 1)])
def test_recent_batches_count_up_to_a_share_of_the_deadline(company, turned_away):
    # The first batch takes 0.9 s; then 0.3 s are left for the second, which needs 0.1 s alone, and at 5 s the third's.
    table = requests_of([0, 0.2, 5], [90, 10, 10])
    run = simlib.simulate(table, EarlyRejection(1.0, company=company, variant=ONE), LAW)
    assert run.rejected == turned_away and run.served.batch_of[2] >= 0


def test_company_makes_overload_better_than_own_tokens_alone():
    table = simlib.workload.original(2000, seed=4, rate_rps=120.0)
    late = [
        simlib.simulate(table, EarlyRejection(1.0, company=company)).summary()["sla_violation_share"]
        for company in (0.5, 0.0)
    ]
    patient = simlib.simulate(table, simlib.DynamicNoBins(1.0)).summary()["sla_violation_share"]
    assert late[0] < 0.5 * late[1] and late[1] < patient


def test_bins_have_a_queue_each_and_each_turns_its_own_away():
    table = simlib.workload.original(600, seed=2, rate_rps=80.0)
    run = simlib.simulate(table, EarlyRejection(0.4, k_bins=4), gpus=2)
    assert run.edges is not None and 0 < run.rejected < 600
    bins = run.requests[run.requests["batch"] >= 0].groupby("batch")["predicted_output_tokens"].agg(np.ptp)
    whole = np.ptp(table.predicted_output_tokens)
    assert bins.mean() < whole / 4


def test_served_requests_keep_the_order_of_arrival_in_a_queue():
    table = simlib.workload.original(800, seed=3, rate_rps=120.0)
    run = simlib.simulate(table, EarlyRejection(0.5))
    batch = run.served.batch_of[run.served.batch_of >= 0]
    assert run.rejected > 0 and (np.diff(batch) >= 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EarlyRejection(d_sla=0), "d_sla: 0"),
        (lambda: EarlyRejection(margin=-1), "margin: -1"),
        (lambda: EarlyRejection(company=1.5), "company: 1.5"),
        (lambda: EarlyRejection(k_bins=0), "k_bins: 0"),
        (lambda: EarlyRejection(variant="other"), "variant: 'other'"),
        (
            lambda: simlib.simulate(requests_of([0], [1]), EarlyRejection(), execution=Continuous()),
            "policy early_rejection: has no order of admission",
        ),
        (
            lambda: simlib.simulate(simlib.RequestTable([0.0], [1], [1]), EarlyRejection()),
            "predicted_output_tokens: missing column",
        ),
    ],
)
def test_a_bad_setting_is_named(call, message):
    with pytest.raises(simlib.InputError, match=message):
        call()
