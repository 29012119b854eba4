"""Public measurements: what counts as a batch's time, what is left out, and why."""

import numpy as np
import pandas as pd
import pytest

import simlib
from book.chapters.batch_times import public, study
from simlib.latency import forms, presets


def argonne_file(path, throughput=1.0, **columns):
    """Two groups in LLM-Inference-Bench's columns; the second one's throughput is one sequence's."""
    rows = [
        {"Hardware": "G", "Num of Hardware": 1, "Framework": framework, "Model": "m", "Input Output Length": n}
        | {"Batch Size": b, "Latency": 0.1 * n, "Throughput": 20 * (b if framework == "good" else 1)}
        for framework in ("good", "single")
        for b in (1, 16, 32)
        for n in (128, 256, 512, 1024)
    ]
    pd.DataFrame(rows).assign(**columns).to_csv(path, index=False)
    return path


def splitwise_file(path):
    """One GPU, its power-capped twin; one point that was not served at once, one that stopped early."""
    shapes = [(b, 512, 128) for b in (1, 2, 4, 8, 16)] + [(1, p, 128) for p in (128, 1024)]
    shapes += [(1, 512, o) for o in (256, 1024, 2048)] + [(32, 512, 128)]
    rows = []
    for gpu, factor in (("h100-80gb", 1.0), ("h100-80gb-pcap", 1.3)):
        for b, p, o in shapes:
            e2e = 80 + 30 * (o - 1)
            e2e *= {32: 10, 1: 0.5 if o == 2048 else 1}.get(b, 1)
            row = {"model": "m", "hardware": gpu, "prompt_size": p, "batch_size": b, "token_size": o}
            rows.append(row | {"prompt_time": 80 * factor, "token_time": 30, "e2e_time": e2e, "tensor_parallel": 8})
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_a_row_counts_if_its_throughput_is_that_of_the_batch(tmp_path):
    points, left_out = public.argonne(argonne_file(tmp_path / "a.csv"))
    assert set(points["framework"]) == {"good"} and len(points) == 12
    assert (points["prompt_tokens"] == points["output_tokens"]).all()
    assert left_out[["framework", "n_points"]].to_numpy().tolist() == [["single", 12]]
    assert "throughput" in left_out["reason"][0]


def test_phases_are_seconds_and_a_batch_that_was_not_served_at_once_is_left_out(tmp_path):
    points, left_out = public.splitwise(splitwise_file(tmp_path / "s.csv"))
    assert set(points["gpu"]) == {"h100-80gb"} and set(points["batch_size"]) == {1, 2, 4, 8, 16}
    long = points[points["output_tokens"] == 2048].iloc[0]  # stopped early: the phases count, not the end-to-end time
    assert (long["prefill_s"], long["total_s"]) == pytest.approx((0.08, 0.08 + 0.03 * 2047))
    assert left_out["gpu"].tolist() == ["h100-80gb-pcap"] and "1.3" in left_out["reason"][0]
    assert np.ptp(public.capped_ratio(tmp_path / "s.csv")) < 1e-12


def test_an_early_stop_is_named_with_its_place():
    frame = pd.DataFrame(
        {"batch_size": [1, 1, 8, 8], "prompt_tokens": [1024, 2048] * 2, "output_tokens": [1024, 2048] * 2}
    )
    assert public.early_stop(frame.assign(total_s=[1.0, 2.0, 2.0, 4.0])) == ""
    assert "at batch 8 the time falls from 2 s for 2048 tokens to 0.1 s for 4096" in public.early_stop(
        frame.assign(total_s=[1.0, 2.0, 2.0, 0.1])
    )


def test_a_file_without_the_columns_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    for read in (public.argonne, public.splitwise):
        with pytest.raises(simlib.InputError, match="missing column"):
            read(tmp_path / "x.csv")


def test_the_shared_sets_have_the_groups_that_the_chapter_counts(data_dir):
    points, left_out = public.argonne()
    assert points.groupby(presets.GROUP).ngroups == 147
    assert left_out["reason"].str.startswith("throughput").sum() == 77
    assert set(left_out.loc[left_out["reason"].str.startswith("throughput"), "framework"]) == {"llama.cpp"}
    assert public.splitwise()[0].groupby(presets.GROUP).ngroups == 8
    assert np.ptp(public.capped_ratio()) < 1e-12


TABLE = presets.table()


def test_fitting_again_gives_the_committed_coefficients(data_dir):
    points = public.splitwise()[0]
    rows, residuals = public.rows_of(points, folds=None)
    committed = TABLE[TABLE["source"] == "Splitwise"]
    assert study.deviation(rows, committed) < 1e-6
    assert np.allclose(rows["cv_mape"], committed["cv_mape"], rtol=1e-6)
    mape = residuals.groupby(["name", "form"])["residual"].apply(lambda r: r.abs().mean())
    assert np.allclose(mape.loc[list(zip(rows["name"], rows["form"], strict=True))], rows["cv_mape"])


def test_a_group_of_the_other_set_gives_its_committed_coefficients(data_dir):
    points = public.argonne()[0]
    points = points[(points["gpu"] == "Nvidia A100 GPU") & (points["gpu_count"] == 1) & (points["framework"] == "vLLM")]
    rows, _ = public.rows_of(points, forms=["phase5"])
    committed = TABLE[TABLE["name"].isin(rows["name"]) & TABLE["form"].str.startswith("phase5")]
    assert len(rows) > 2 and study.deviation(rows, committed) < 1e-6
    assert set(rows["form"]) == {"phase5" + forms.EQUAL}


def test_points_that_are_no_table_are_named():
    with pytest.raises(simlib.InputError, match="points"):
        public.rows_of(None)
