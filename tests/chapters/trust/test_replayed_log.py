"""How far a replayed log can be trusted: laws drawn again, unknown prompts, errors that cancel."""

import numpy as np
import pytest
from replayed import ENGINE, LOG, made_log

import simlib
from book.chapters.trust import replayed_log
from simlib.calibration.logs.fitted import affine_from_log
from simlib.calibration.logs.served import serve_log
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous


def test_a_law_behind_a_log_is_found_again_whichever_of_its_requests_are_drawn():
    law, engine = simlib.StepLaw(0.02, 1e-4, 5e-5, 2e-7), Continuous(max_seqs=16, kv_tokens=16_000)
    found = replayed_log.refits(made_log(law, engine), engine, requests=30, draws=20)
    assert found[["a_s", "b_s", "c_s", "d_s"]].to_numpy() == pytest.approx(np.tile(law.params[:4], (20, 1)), rel=1e-3)
    assert found[["ttft_mean", "tpot_mean", "e2e_p99"]].abs().to_numpy().max() < 0.01


def test_draws_of_a_noisy_log_spread_around_the_fit_and_come_again_with_their_seed():
    law, engine = simlib.StepLaw(0.02, 1e-4, 5e-5, 2e-7), Continuous(max_seqs=16, kv_tokens=16_000)
    log = made_log(law, engine, scale=0.1)
    found = replayed_log.refits(log, engine, requests=30, draws=40)
    whole = affine_from_log(log, engine, 30)
    assert found["a_s"].min() < whole.params[0] < found["a_s"].max()
    assert found.equals(replayed_log.refits(log, engine, requests=30, draws=40))
    assert not found.equals(replayed_log.refits(log, engine, requests=30, draws=40, seed=1))


@pytest.mark.parametrize(
    ("terms", "named"), [({"draws": 0, "requests": 30}, "draws: 0"), ({"requests": 60}, "requests: 60")]
)
def test_refits_need_draws_and_later_requests(terms, named):
    law, engine = simlib.StepLaw(0.02, 1e-4, 5e-5, 2e-7), Continuous(max_seqs=16, kv_tokens=16_000)
    with pytest.raises(simlib.InputError, match=named):
        replayed_log.refits(made_log(law, engine), engine, **terms)


def test_prompts_that_begin_alike_are_drawn_to_the_token(monkeypatch):
    law, engine = simlib.StepLaw(0.02, 1e-4, 5e-5, 2e-7), Continuous(16, 16_000, share_cached=True)
    log, hits = made_log(law, engine), []

    def noted(table, *rest, **more):
        hits.append(table)
        return serve(table, *rest, **more)

    monkeypatch.setattr(replayed_log, "serve", noted)
    found = replayed_log.prefix_hits(log, law, engine, 900, requests=30, draws=10)
    assert [int(table.cached_prompt_tokens.sum()) for table in hits] == [900] * 10
    assert all((table.cached_prompt_tokens < np.maximum(table.prompt_tokens, 1)).all() for table in hits)
    assert len({table.cached_prompt_tokens.tobytes() for table in hits}) == 10
    assert (found["a_s"] == law.params[0]).all() and found["ttft_mean"].max() < 0  # less work, sooner
    none = replayed_log.prefix_hits(log, law, engine, 0, requests=30, draws=2)
    assert none["ttft_mean"].abs().max() < 1e-9


def test_more_hits_than_half_of_the_prompts_are_refused():
    law, engine = simlib.StepLaw(0.02), Continuous(16, 16_000)
    with pytest.raises(simlib.InputError, match="hit_tokens: 1000000"):
        replayed_log.prefix_hits(made_log(law, engine), law, engine, 1_000_000, requests=30, draws=1)


def test_the_parts_of_an_overload_tell_which_steps_are_too_short():
    """A third of the time that a decode takes is missing: of each part as much as it decodes."""
    law, engine = simlib.StepLaw(0.0, 3e-3, 1e-4), Continuous(max_seqs=16, kv_tokens=16_000)
    log = made_log(law, engine)
    same = replayed_log.spans(log, serve_log(log, law, engine))
    assert [row[0] for row in same] == list(replayed_log.SPANS)
    assert [row[3] for row in same] == pytest.approx([0, 0, 0], abs=1e-9)
    off = {row[0]: row[3] for row in replayed_log.spans(log, serve_log(log, simlib.StepLaw(0, 2e-3, 1e-4), engine))}
    assert off["decoding"] == pytest.approx(-100 / 3) and -10 < off["filling"] < -1  # that is prompts, mostly


def test_the_chapters_tables_are_replayed_from_the_log(data_dir):
    *tables, source = replayed_log.study(ENGINE, 4848, draws=5)
    assert source == f"replayed from {LOG}"
    table, parts, drawn = tables
    assert len(table) == 45 and len(parts) == 9 and len(drawn) == 12
    spans = parts.groupby("step_model")[["engine_s", "simulated_s"]].sum()
    assert spans["engine_s"].nunique() == 1  # the whole log, whoever replays it
    found = table.set_index(["step_model", "metric", "statistic"])["error_percent"]
    assert found["profile", "ttft", "mean"] == pytest.approx(0.64, abs=0.01)
