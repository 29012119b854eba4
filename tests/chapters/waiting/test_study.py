"""The eight requests of the first chapter: their arithmetic by hand, what the page draws and quotes, bad input."""

import pytest

import simlib
from book.chapters.waiting import figures, study, tables
from book.chapters.waiting.study import BINS, ENGINE, LATER, STATIC, TWO_GPUS, WAITING

LENGTHS = (10, 12, 11, 200, 9, 180, 13, 190)
# When the eight are complete, in hundredths of a second: so many steps.
BY_HAND = {
    (WAITING, STATIC): [200] * 4 + [200 + 190] * 4,
    (WAITING, BINS): [12, 12, 12, 12 + 200, 12, 12 + 200, 12 + 200 + 13, 12 + 200],
    (WAITING, ENGINE): [10, 12, 11, 200, 10 + 9, 11 + 180, 12 + 13, 10 + 9 + 190],
    (LATER, STATIC): [200] * 4 + [390] * 4,
    (LATER, BINS): [12, 12, 12, 212, 212 + 13, 225 + 190, 212 + 13, 225 + 190],
    (LATER, ENGINE): [10, 12, 11, 200, 100 + 9, 100 + 180, 100 + 13, 109 + 190],
    (TWO_GPUS, STATIC): [200] * 4 + [190] * 4,
    (TWO_GPUS, BINS): [12, 12, 12, 200, 12, 200, 12 + 13, 200],
    (TWO_GPUS, ENGINE): [10, 12, 11, 200, 9, 180, 13, 190],
}


@pytest.fixture(scope="module")
def served():
    return study.eight(LENGTHS)


@pytest.mark.parametrize("where", BY_HAND, ids=" ".join)
def test_the_simulator_serves_them_as_worked_by_hand(served, where):
    own = served[(served["case"] == where[0]) & (served["system"] == where[1])]
    assert (100 * own["completion_s"]).tolist() == pytest.approx(BY_HAND[where])
    assert (100 * (own["worked_until_s"] - own["start_s"])).tolist() == pytest.approx(list(LENGTHS))


def test_a_place_has_one_request_at_a_time_and_a_gpu_no_more_than_it_holds(served):
    for _, own in served.groupby(["case", "system", "gpu", "place"]):
        own = own.sort_values("start_s")
        assert (own["start_s"].to_numpy()[1:] >= own["completion_s"].to_numpy()[:-1] - 1e-9).all()
    assert served["place"].between(1, 4).all()


def test_totals_are_those_of_the_places(served):
    totals = study.totals(served).set_index(["case", "system"])
    still = totals.loc[WAITING, STATIC]
    assert still["work_place_s"] == pytest.approx(sum(LENGTHS) / 100)
    assert still["work_place_s"] + still["kept_place_s"] == pytest.approx(4 * 3.9)
    assert totals.loc[WAITING, "late"].tolist() == [4, 1, 0] and totals.loc[TWO_GPUS, "late"].tolist() == [0, 0, 0]
    assert (totals.xs(ENGINE, level="system")["kept_place_s"] == 0).all()


def test_the_page_draws_them_and_quotes_what_is_there(served):
    waiting = served[served["case"] == WAITING]
    figure = figures.places(waiting, 2.2)
    titles = [axis.get_title("left").partition(": ")[2] for axis in figure.axes]
    assert titles == ["3.90 s, 4 late", "2.25 s, 1 late", "2.09 s, none late"]
    shown = tables.show_requests(waiting).data
    assert shown.iloc[6].tolist() == [7, 0.0, 13, "3.90 late", "2.25 late", "0.25"]
    assert tables.show_totals(study.totals(served), WAITING).data["late"].tolist() == [4, 1, 0]
    few = study.eight([1, 5, 1, 5], places=2)
    assert tables.quoted(few, study.totals(few))["seventh"] == "none"
    assert tables.quoted(served, study.totals(served))["taken"] == "15.60"


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: study.eight([0, 5]), "output_tokens"),
        (lambda: study.eight(LENGTHS, places=0), "places"),
        (lambda: study.eight(LENGTHS, deadline_s=0), "deadline_s"),
    ],
)
def test_a_bad_setting_is_named(call, word):
    with pytest.raises(simlib.InputError, match=word):
        call()
