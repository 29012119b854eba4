"""Open against closed loops: the bounds of a closed one, and that both serve the same requests at the same rate."""

import pytest

from book.chapters.continuous import loops, tables
from book.chapters.continuous.executions import PRESET
from simlib.latency import presets
from simlib.requests import workload

pytestmark = pytest.mark.filterwarnings("ignore:latency")


@pytest.fixture(scope="module")
def table():
    return loops.table_of(loops.runs_of(800, (4, 64, 80), seed=1, replications=2))


def test_a_closed_loop_serves_at_most_its_clients_over_the_time_of_one_alone(table):
    requests, law = workload.original(800, 1), presets.load(PRESET).step_law()
    steps = requests.output_tokens.mean()
    alone_s = steps * law.a_s + requests.prompt_tokens.mean() * law.c_s  # less than it takes
    rates = table.query("loop == 'closed' and metric == 'rate_rps'").set_index("clients")["value"]
    assert 0.7 * 4 / alone_s < rates[4] < 4 / alone_s
    assert rates[4] < rates[64] < 64 / alone_s and rates[80] == pytest.approx(rates[64], rel=0.05)


def test_nobody_queues_in_a_closed_loop_with_a_place_for_each_client_and_all_do_with_more(table):
    late = table.query("loop == 'closed' and metric == 'late_share'").set_index("clients")["value"]
    assert late[4] == late[64] == 0.0 and late[80] > 0.9


def test_what_is_borne_openly_lies_below_what_clients_are_served(table):
    (borne,) = table.query("loop == 'borne'")["value"]
    rates = table.query("loop == 'closed' and metric == 'rate_rps'")["value"]
    assert rates.max() / 4 < borne < rates.max()
    assert tables.show_loops(table).data["clients"].tolist() == [4, 64, 80]
