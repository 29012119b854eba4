"""Live measurement on small models with random weights: lengths, padding, and files that are gone on with."""

import time

import pytest

import simlib
from simlib.calibration import measure as calibration_measure
from simlib.calibration.host import Host
from simlib.calibration.measure import RANDOM_MODELS, ShapeGrid, load
from simlib.latency import measurements

torch = pytest.importorskip("torch")

GRID = ShapeGrid((1, 2), (3, 5), (1, 2, 4), trials=2)
MODEL = "random:qwen3-10m"


@pytest.fixture(scope="module")
def host():
    return Host.find("cpu", threads=1)


@pytest.fixture(scope="module")
def models(host):
    return {name: load(name, host) for name in ("random:qwen3-10m", "random:gpt2-18m")}


@pytest.fixture
def measure(models, monkeypatch):
    """Measurement of the models already built, counting what is generated."""
    made = []
    plain = calibration_measure.generate

    def counted(model, prompts, output_tokens, synchronise=None):
        made.append((*prompts.shape, output_tokens))
        yield from plain(model, prompts, output_tokens, synchronise)

    def run(path, grid=GRID, name=MODEL, **settings):
        made.clear()
        return calibration_measure.measure(name, path, grid, device="cpu", threads=1, **settings)

    monkeypatch.setattr(calibration_measure, "load", lambda name, host, seed: models[name])
    monkeypatch.setattr(calibration_measure, "generate", counted)
    run.made = made
    return run


def keys(frame):
    return list(map(tuple, frame[list(measurements.KEYS)].to_numpy().tolist()))


def whole(grid=GRID):
    return {(b, p, o, r) for r, b, p in grid.batches() for o in grid.output_tokens}


# What a generation is


@pytest.mark.parametrize("name", ["random:qwen3-10m", "random:gpt2-18m"])
def test_a_generation_has_the_exact_length_and_its_clock_runs_forward(models, name):
    prompts = torch.arange(12).reshape(3, 4)
    steps = list(calibration_measure.generate(models[name], prompts, 5))
    assert [count for count, _, _ in steps] == [1, 2, 3, 4, 5]
    assert all(token.shape == (3, 1) for _, token, _ in steps)
    times = [elapsed_s for _, _, elapsed_s in steps]
    assert times == sorted(times) and times[0] > 0


def test_an_end_of_sequence_token_ends_nothing(models):
    model = models[MODEL]
    prompts = torch.arange(4)[None]
    first = next(calibration_measure.generate(model, prompts, 1))[1].item()
    model.config.eos_token_id = model.generation_config.eos_token_id = first
    assert len(list(calibration_measure.generate(model, prompts, 4))) == 4


@pytest.mark.parametrize("name", ["random:qwen3-10m", "random:gpt2-18m"])
def test_padding_is_out_of_sight_of_every_sequence(models, name):
    """A sequence that is padded beside a longer one generates what it generates alone (also what a cache gives)."""
    prompts = [torch.arange(7), torch.tensor([11, 3])]
    together = torch.cat([token for _, token, _ in calibration_measure.generate(models[name], prompts, 6)], dim=1)
    for prompt, row in zip(prompts, together, strict=True):
        alone = torch.cat([token for _, token, _ in calibration_measure.generate(models[name], [prompt], 6)], dim=1)[0]
        assert row.tolist() == alone.tolist()
        seen = prompt[None]
        for token in alone:  # without a cache, without padding
            with torch.inference_mode():
                assert models[name](input_ids=seen).logits[0, -1].argmax() == token
            seen = torch.cat([seen, token[None, None]], dim=1)


def test_the_device_is_waited_for_at_every_reading_of_the_clock(models):
    waits = []
    for count, _, _ in calibration_measure.generate(models[MODEL], torch.arange(3)[None], 3, lambda: waits.append(1)):
        assert len(waits) == count + 1  # once before the start


# The grid


def test_a_grid_is_crossed_and_its_order_is_the_same_every_time():
    batches = list(GRID.batches())
    assert batches == list(GRID.batches()) and len(batches) == 8
    for repetition in (0, 1):
        shapes = [shape for r, *shape in batches if r == repetition]
        assert sorted(shapes) == [[1, 3], [1, 5], [2, 3], [2, 5]]
    assert [r for r, _, _ in batches] == [0] * 4 + [1] * 4  # round by round


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (((4,), (8,), (1,)), "batch_sizes: 4 (expected at least 2"),
        (((4, 4), (8,), (1,)), "batch_sizes: 4"),
        (((1, 2), (), (1,)), "prompt_tokens: none"),
        (((1, 2), (8,), (0, 1)), "output_tokens: 0"),
        (((1, 2), (8,), (1,), 0), "trials: 0"),
    ],
)
def test_a_grid_that_tells_nothing_is_refused(arguments, says):
    with pytest.raises(simlib.InputError) as caught:
        ShapeGrid(*arguments)
    assert says in str(caught.value)


# The file


def test_every_point_and_mark_is_a_row_with_its_phases(measure, tmp_path):
    found = measure(tmp_path / "mine.csv")
    assert set(keys(found.frame)) == whole() and len(found.frame) == len(whole())
    first = found.frame["output_tokens"] == 1
    assert (found.frame["decode_s"][first] == 0).all() and (found.frame["decode_s"][~first] > 0).all()
    one_batch = found.frame.groupby(["batch_size", "prompt_tokens", "repetition"])
    assert (one_batch["prefill_s"].nunique() == 1).all()  # marks are of one generation
    assert one_batch["total_s"].apply(lambda times: times.is_monotonic_increasing).all()
    assert {"model", "parameters", "device_name", "threads", "dtype", "clock", "versions", "date"} <= set(found.header)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv"]


def test_a_shape_is_warmed_up_once_and_each_batch_runs_once(measure, tmp_path):
    measure(tmp_path / "mine.csv")
    assert sorted(measure.made) == sorted([(b, p, o) for b in (1, 2) for p in (3, 5) for o in (2, 4, 4)])


def test_a_finished_file_is_left_as_it_is(measure, tmp_path):
    measure(path := tmp_path / "mine.csv")
    text = path.read_text()
    measure(path)
    assert path.read_text() == text and measure.made == []


def test_a_larger_grid_adds_what_is_missing(measure, tmp_path):
    measure(path := tmp_path / "mine.csv")
    before = path.read_text()
    larger = ShapeGrid((1, 2), (3, 5), (1, 2, 4, 6), trials=2)
    found = measure(path, larger)
    assert path.read_text().startswith(before)
    assert sorted(keys(found.frame)) == sorted(whole(larger))


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_row_half_written_is_measured_again_and_the_rest_is_kept(measure, tmp_path, cut):
    measure(path := tmp_path / "mine.csv")
    text = path.read_text()
    path.write_text(text[: -len("\n".join(text.splitlines()[-4:])) - 1][:-cut])
    kept = path.read_text().rsplit("\n", 1)[0]
    found = measure(path)
    assert path.read_text().startswith(kept)
    assert sorted(keys(found.frame)) == sorted(whole())


@pytest.mark.parametrize(("settings", "says"), [({"name": "random:gpt2-18m"}, "model"), ({"seed": 1}, "seed")])
def test_a_file_of_another_measurement_is_not_mixed_up(measure, tmp_path, settings, says):
    measure(path := tmp_path / "mine.csv", ShapeGrid((1, 2), (3,), (1,), trials=1))
    text = path.read_text()
    with pytest.raises(simlib.InputError, match=rf"mine.csv, {says}: .* or a new file"):
        measure(path, **settings)
    assert path.read_text() == text


# What goes wrong on the way


def failing(monkeypatch, problem, shape, after):
    """`generate` as it is, but that one shape fails, once so many tokens are out."""
    plain = calibration_measure.generate

    def generate(model, prompts, output_tokens, synchronise=None):
        for count, token, elapsed_s in plain(model, prompts, output_tokens, synchronise):
            if tuple(prompts.shape) == shape and count > after and output_tokens > 2:
                raise problem
            yield count, token, elapsed_s

    monkeypatch.setattr(calibration_measure, "generate", generate)


@pytest.mark.parametrize(
    "problem",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError("not enough memory: you tried")],
)
def test_out_of_memory_is_recorded_the_rest_goes_on_and_it_is_not_tried_again(measure, tmp_path, monkeypatch, problem):
    path = tmp_path / "mine.csv"
    with monkeypatch.context() as patch:
        failing(patch, problem, (2, 5), after=2)
        found = measure(path)
    assert set(keys(found.failed)) == {(2, 5, 4, next(r for r, *shape in GRID.batches() if shape == [2, 5]))}
    assert found.failed["status"].tolist() == ["out_of_memory"]
    assert set(keys(found.frame)) == whole() - {(2, 5, 4, 0), (2, 5, 4, 1)}  # marks reached before it count
    text = path.read_text()
    measure(path)
    assert path.read_text() == text and measure.made == []


def test_another_failure_is_not_taken_for_memory(measure, tmp_path, monkeypatch):
    failing(monkeypatch, RuntimeError("shapes do not match"), (2, 5), after=2)
    with pytest.raises(RuntimeError, match="shapes"):
        measure(tmp_path / "mine.csv")


def test_an_interrupt_is_recorded_the_rest_goes_on_and_a_restart_tries_again(measure, tmp_path, monkeypatch):
    path = tmp_path / "mine.csv"
    monkeypatch.setattr(calibration_measure, "STOP_S", 0.0)
    with monkeypatch.context() as patch:
        failing(patch, KeyboardInterrupt(), (1, 3), after=1)
        found = measure(path)
    assert set(keys(found.failed)) == {(1, 3, o, r) for o in (2, 4) for r in (0, 1)}
    assert set(found.failed["status"]) == {"interrupted"}
    assert set(keys(found.frame)) == whole() - set(keys(found.failed))
    before = path.read_text()
    found = measure(path)
    assert path.read_text().startswith(before)
    assert sorted(keys(found.frame)) == sorted(whole())  # all there, and nothing twice
    assert measure.made == [(1, 3, 2), (1, 3, 4), (1, 3, 4)]


def test_two_interrupts_in_a_row_end_it_with_what_there_is_on_disk(measure, tmp_path, monkeypatch):
    path = tmp_path / "mine.csv"
    monkeypatch.setattr(calibration_measure, "STOP_S", 3600.0)
    with monkeypatch.context() as patch:
        failing(patch, KeyboardInterrupt(), (1, 3), after=1)
        with pytest.raises(KeyboardInterrupt):
            measure(path)
    rows = measurements.read_rows(path)
    assert (rows["status"] == "interrupted").sum() == 4
    assert sorted(keys(measure(path).frame)) == sorted(whole())


# What is refused


@pytest.mark.parametrize("name", ["nobody/nothing-7b", "no/such/folder"])
def test_a_model_that_is_not_there_gives_a_sentence_on_how_to_get_it(host, name):
    started_s = time.perf_counter()
    with pytest.raises(simlib.InputError, match=rf"model {name}: not on this machine .*`hf download {name}`"):
        load(name, host)
    assert time.perf_counter() - started_s < 30  # nobody asked a network


def test_a_folder_without_a_model_is_named(host, tmp_path):
    with pytest.raises(simlib.InputError, match="cannot be loaded"):
        load(str(tmp_path), host)


def test_a_saved_model_is_measured_from_its_folder(models, host, tmp_path):
    models["random:gpt2-18m"].save_pretrained(tmp_path / "model")
    loaded = load(str(tmp_path / "model"), host)
    prompts = torch.arange(4)[None]
    runs = [
        [token.item() for _, token, _ in calibration_measure.generate(m, prompts, 4)]
        for m in (loaded, models["random:gpt2-18m"])
    ]
    assert runs[0] == runs[1]


def test_random_models_have_the_sizes_in_their_names(models):
    sizes = {name: sum(w.numel() for w in model.parameters()) for name, model in models.items()}
    assert sizes == {"random:qwen3-10m": 9_630_528, "random:gpt2-18m": 18_128_640}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"name": "random:llama"}, "model: 'random:llama'"),
        ({"grid": ShapeGrid((1, 2), (5000,), (1,))}, "prompt_tokens 5000 and output_tokens 1 .* at most 4096"),
    ],
)
def test_a_measurement_that_cannot_be_made_leaves_no_file(models, monkeypatch, tmp_path, settings, says):
    given = {"name": MODEL, "grid": GRID, **settings}
    if given["name"] in models:
        monkeypatch.setattr(calibration_measure, "load", lambda name, host, seed: models[name])
    with pytest.raises(simlib.InputError, match=says):
        calibration_measure.measure(given["name"], tmp_path / "mine.csv", given["grid"], device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there_is_named():
    if not torch.cuda.is_available():
        with pytest.raises(simlib.InputError, match=r"device: cuda .*cpu"):
            Host.find("cuda")
    with pytest.raises(simlib.InputError, match="device: 'tpu'"):
        Host.find("tpu")
    with pytest.raises(simlib.InputError, match="dtype: 'int4'"):
        Host.find("cpu", "int4")


@pytest.mark.parametrize(("name", "parameters"), [("random:qwen3-1.7b", 1.72e9), ("random:llama3-8b", 8.03e9)])
def test_random_models_in_real_shapes_have_their_sizes(name, parameters):
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(**RANDOM_MODELS[name])
    with torch.device("meta"):
        built = transformers.AutoModelForCausalLM.from_config(config)
    assert sum(w.numel() for w in built.parameters()) == pytest.approx(parameters, rel=0.005)
