"""The answers in the notebooks: written by a person, held by the committed tables, and by those alone.

An answer's cell reads tables that its page has written, so that it can be tried on the committed ones, and on the same
with their arms swapped, without running a study.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from book.chapters.trust import three_logs
from book.kit.page import Page
from book.make.studies import Project, Study, load
from simlib.checks import InputError

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Project(ROOT, ROOT / "_build")
STUDIES = load(PROJECT)
Swap = Callable[[pd.DataFrame], pd.DataFrame]


def cell_of(study: Study) -> str:
    """The source of a notebook's answer, empty where there is none."""
    cells = nbformat.read(study.notebook_path(PROJECT), as_version=4).cells
    return "\n".join(cell.source for cell in cells if "answer" in cell.metadata.get("tags", []))


ANSWERED = [name for name, study in STUDIES.items() if cell_of(study)]


@dataclass(frozen=True)
class Committed(Page):
    """A page that finds the committed tables where it would find its own, some of them changed."""

    swaps: dict[str, Swap] = field(default_factory=dict)

    def written(self, name: str) -> pd.DataFrame:
        """The committed table, changed if it is to be."""
        return self.swaps.get(name, lambda table: table)(Page.written(self, name))


def answered(name: str, swaps: dict[str, Swap] | None = None) -> tuple[str, dict[str, bool]]:
    """The text of an answer over the committed tables, and which of its sentences hold."""
    study, source = STUDIES[name], ast.parse(cell_of(STUDIES[name]))
    page = Committed(name, {"RESULTS_DIR": ROOT / "data" / "results"}, swaps=swaps or {})
    space = {"page": page}
    for node in before(study):
        exec(compile(ast.Module([node], []), name, "exec"), space)
    space |= study.settings(PROJECT)
    *lines, last = source.body
    exec(compile(ast.Module(lines, []), name, "exec"), space)
    return eval(compile(ast.Expression(last.value), name, "eval"), space).data, page.claims


def before(study: Study) -> Iterator[ast.stmt]:
    """What an answer may rely on: the notebook's parameters and imports."""
    for cell in nbformat.read(study.notebook_path(PROJECT), as_version=4).cells:
        if cell.cell_type == "code":
            parameters = "parameters" in cell.metadata.get("tags", [])
            yield from (
                node
                for node in ast.parse(cell.source).body
                if parameters or isinstance(node, ast.Import | ast.ImportFrom)
            )


@pytest.mark.parametrize("name", ANSWERED)
def test_an_answer_is_short_and_holds(name):
    shown, claims = answered(name)
    assert all(claims.values()), claims
    text = re.sub(r"\[(.+?)\]\(.+?\)", r"\1", shown.removeprefix("**Answer.** "))
    first = re.match(r".+?[.?!](?= |$)", text)[0]
    assert len(text.split()) <= 60, text
    assert len(re.findall(r"\d[\d.,]*", text)) <= 5, text
    assert "`" not in text and "_" not in text, text
    assert not re.search(r"\d", first), first
    assert not re.search(r"\d{3,}|\d\.\d{2,}", re.sub(r"{.*?}", "", prose(name))), "typed where a number should be put"


def prose(name: str) -> str:
    """The texts of an answer before its numbers are put in."""
    calls = [node for node in ast.walk(ast.parse(cell_of(STUDIES[name]))) if isinstance(node, ast.Call)]
    told = [call.args[0] for call in calls if getattr(call.func, "attr", "") in ("answer", "holds")]
    parts = [node.value for text in told for node in ast.walk(text) if isinstance(node, ast.Constant)]
    return " ".join(part for part in parts if isinstance(part, str))


def exchanged(column: str, one: str, other: str) -> Swap:
    """Give each of two arms the other's rows."""
    return lambda table: table.assign(**{column: table[column].replace({one: other, other: one})})


def columns(one: str, other: str) -> Swap:
    """Give each of two arms the other's column."""
    return lambda table: table.rename(columns={one: other, other: one})


def reversed_in(column: str) -> Swap:
    """Give the least value of a column the greatest one's rows, and so on inwards."""

    def swap(table: pd.DataFrame) -> pd.DataFrame:
        values = sorted(table[column].unique())
        return table.assign(**{column: table[column].map(dict(zip(values, reversed(values), strict=True)))})

    return swap


def turned(turn: Callable[[pd.Series], pd.Series], column: str, low: str = "ci_low", high: str = "ci_high") -> Swap:
    """Take a comparison the other way round, so that the ends of its interval change places."""
    ends = {column: column, low: high, high: low}
    return lambda table: table.assign(**{end: turn(table[other]) for end, other in ends.items()})


def inverse(ratio: pd.Series) -> pd.Series:
    """The other arm over the one."""
    return 1 / ratio


negated, inverted = turned(operator.neg, "difference"), turned(inverse, "ratio")
negated_pair = turned(operator.neg, "difference", "difference_ci_low", "difference_ci_high")


def complemented(table: pd.DataFrame) -> pd.DataFrame:
    """Count those who are late in place of those who are in time."""
    ends = {"share": 1 - table["share"], "ci_low": 1 - table["ci_high"], "ci_high": 1 - table["ci_low"]}
    return negated_pair(table).assign(**ends)


def mirrored(table: pd.DataFrame) -> pd.DataFrame:
    """Put each real figure to the other side of what was drawn."""
    return table.assign(real=table["low"] + table["high"] - table["real"])


# What is compared in each answer, the other way round: every sentence that is held has to fall.
SWAPPED: dict[str, dict[str, Swap]] = {
    # waiting
    "why_batches_wait": {
        "why_batches_wait_totals": lambda table: exchanged("system", "static batches", "engine")(
            table.assign(last_s=-table["last_s"])
        )
    },
    # multi_bin, traffic_bins
    "bins_and_throughput": dict.fromkeys(("multi_bin_throughput", "multi_bin_long_run"), reversed_in("k"))
    | {
        "multi_bin_finite_run": lambda table: exchanged("counted", "with_flush", "warm_up_removed")(
            reversed_in("k")(table)
        )
    },
    "bins_and_latency": {"multi_bin_latency_parts": reversed_in("gpus"), "multi_bin_latency": reversed_in("k")},
    "prediction_errors": dict.fromkeys(("prediction_errors", "prediction_errors_measured"), reversed_in("batch_size")),
    "predictor": {
        "predictor": inverted,
        "predictor_break_even": reversed_in("gpus"),
        "predictor_others": columns("by_rank", "by_found"),
    },
    "two_classes": dict.fromkeys(
        (
            *("two_classes", "two_classes_mix", "two_classes_pace", "two_classes_memory", "two_classes_transferred"),
            *("two_classes_chat", "two_classes_bound", "two_classes_controlled", "two_classes_batches"),
        ),
        complemented,
    )
    | {"two_classes_carried_ratios": inverted},
    "predictor_laws": {
        "predictor_laws": inverted,
        "predictor_laws_chosen": inverted,
        "predictor_laws_over_median": reversed_in("spread"),
        "predictor_laws_ranks": lambda table: table.assign(rank=-table["rank"]),
        "predictor_laws_over_once": inverted,
        "predictor_laws_told": inverted,
        "predictor_laws_heavy": inverted,
    },
    "specialised": {
        "specialised": exchanged("memory", "places", "paged"),
        "specialised_slowed": reversed_in("mixed"),
        "specialised_late": lambda table: table.assign(more_ci_high=-table["more_ci_low"]),
    },
    "prefill_modes": {
        "prefill_modes": inverted,
        "prefill_modes_ranges": exchanged("quantity", "decodes", "share"),
        "prefill_modes_marginal": exchanged("system", "32B, 2 RTX PRO 6000", "30B of experts, 2 RTX PRO 6000"),
        "prefill_modes_late": exchanged("steps", "alone", "512"),
    },
    "recut_bins": {
        "recut_bins": lambda table: negated_pair(table).assign(closed=-table["closed"]),
        "recut_bins_queue": exchanged("arm", "bins in turn", "most work"),
    },
    "exponential_bins": {"exponential_bins": exchanged("rule", "equal_mass", "optimal")},
    "llm_like_service": {
        "llm_like_ratios": reversed_in("k"),
        "llm_like_service": columns("throughput_rps", "paper_rps"),
    },
    "multi_bin_claims": {"multi_bin_claims": exchanged("verdict", "reproduced", "not reproduced")},
    "traffic_bins": {
        "joint_optimum": lambda table: turned(inverse, "ratio", "ratio_low", "ratio_high")(
            turned(inverse, "over_equal", "over_equal_low", "over_equal_high")(table)
        ),
        "joint_optimum_capacity": turned(inverse, "ratio", "ratio_low", "ratio_high"),
        "bins_by_rate": reversed_in("rate_rps"),
        "traffic_bins": exchanged("predictor", "oracle", "rank 0.4"),
    },
    # workloads, trust, glance, planning, claims
    "workloads": {"workloads_lengths": exchanged("workload", "BurstGPT sample", "synthetic recipe")},
    "population": {"population": lambda table: mirrored(table.assign(fits=~table["fits"]))},
    "speed": {"speed": lambda table: table.assign(measured=1 / table["measured"])},
    "coverage": {
        "coverage": lambda table: table.assign(
            recommended=~table["recommended"],
            **{end: 1 - table[other] for end, other in (("ci_low", "ci_high"), ("ci_high", "ci_low"))},
        ),
        "coverage_edge": lambda table: table.assign(recommended=~table["recommended"]),
    },
    "real_engine": {
        "real_engine_loads": lambda table: table.assign(
            ttft_mean=table["tpot_mean"], tpot_mean=10 * table["ttft_mean"], inside=0
        ),
        "real_engine_switches": lambda table: table.assign(measured=1 / table["measured"]),
        "real_engine_drift": lambda table: table.assign(inside=~table["inside"]),
    },
    "vllm_validation": {
        "vllm_validation": exchanged("statistic", "mean", "mape"),
        "vllm_validation_logs": exchanged("fitted", three_logs.UNFITTED, three_logs.CROSSED),
        "vllm_validation_spans": lambda table: table.assign(error_percent=-table["error_percent"]),
        "vllm_conformance": lambda table: table.assign(equal=table["cases"] - table["equal"]),
    },
    "engines": {
        "engines_summary": turned(operator.neg, "skill", "skill_low", "skill_high"),
        "engines_presets": turned(operator.neg, "error_percent", "error_low", "error_high"),
    },
    "at_a_glance": {
        "at_a_glance": lambda table: table.assign(
            statement=table["statement"].replace(
                {", bins over": ", over", ", shortest over": ", bins over"}, regex=True
            ),
            ci_low=-table["ci_high"].where(table["unit"] == "points", -table["ci_low"]),
            ci_high=-table["ci_low"].where(table["unit"] == "points", -table["ci_high"]),
        )
    },
    "plan_your_deployment": {
        "plan": lambda table: turned(inverse, "middle", "low", "high")(table).assign(k_bins=4),
        "plan_frontier": lambda table: reversed_in("max_seqs")(reversed_in("token_budget")(table)),
    },
    "plans_that_hold": {
        "plan_coverage": lambda table: table.assign(
            held=0.9 * table["held"],
            ci_high=0.9,
            over_one=2 / table["over_one"],
            score_ratio=1 / table["score_ratio"],
        ),
        "plan_rolled": lambda table: table.assign(held=1 - table["held"], ci_high=1 - table["ci_low"]),
    },
    "claims": {
        "claims": lambda table: table.assign(
            verdict=table["verdict"].replace(
                {
                    "reproduced": "not reproduced",
                    "not reproduced": "reproduced",
                    "not testable here": "reproduced",
                    "erratum": "reproduced",
                }
            )
        ),
        "claims_together": reversed_in("level"),
    },
    # sla_paper, batch_times, controller
    "controller_stability": {
        "controller_stability": lambda table: table.assign(
            feedback=table["feedback"].replace({"step": "service", "service": "latency", "latency": "step"})
        ),
        "controller_settling": exchanged("sla_rule", "regression", "printed"),
        "controller_hindsight": exchanged("sla_rule", "regression", "static"),
    },
    "sla_capacity": {
        "sla_capacity": exchanged("engine", "static 64", "static 88"),
        "sla_table_2": lambda table: table.assign(gain=1 / table["gain"], gain_ci_low=1 / table["gain_ci_high"]),
        "sla_throughput": exchanged("engine", "static 128", "static 256"),
    },
    "batch_size_rules": {
        "batch_size_overflow": exchanged("requests_seen", 0, 64),
        "batch_size_memory": exchanged("memory_rule", "paper", "released"),
        "batch_size_fixed_points": exchanged("sla_rule", "printed", "paper"),
    },
    "measured_levels": {
        "measured_levels_differences": negated,
        "measured_levels_plans": exchanged("plan", "joint_optimum", "equal_mass_bins"),
    },
    "batch_times": {
        "batch_times_fit": lambda table: table.assign(
            form=table["form"].replace({"affine": "phase5", "phase5": "affine", "phase5_equal_lengths": "affine"})
        ),
        "batch_times_evidence_fit": lambda table: table.assign(computed=~table["computed"]),
    },
    "calibration": {
        "calibration_times": columns("prefill_s", "decode_s"),
        "calibration_fit_times": exchanged("form", "affine", "phase5"),
    },
    "cards": {"cards_fit": lambda table: table.assign(cv_mape=1 / table["cv_mape"])},
    "controller": {
        "controller_equal": exchanged("batch_size", 8, 64),
        "controller_branches": exchanged("d_sla_s", 1.0, 0.5),
        "controller_collapse": lambda table: table.assign(clearing_s=1 / table["clearing_s"]),
    },
    "explorer_grid": {
        "explorer_grid": turned(operator.neg, "violation_share", "vs_dynamic_low", "vs_dynamic_high"),
    },
    # levels, capacity
    "matched_levels": {
        "matched_levels_differences": negated,
        "matched_levels_causes": columns("waiting_low", "service_low"),
        "matched_levels_arms": exchanged("arm", "shortest_predicted_first", "static_fifo"),
    },
    "levels": {
        "levels_differences": negated,
        "matched_levels_causes": columns("waiting_low", "service_low"),
        "matched_levels_differences": negated,
        "levels_rankings": lambda table: table.assign(
            ranking=[" < ".join(reversed(ranking.split(" < "))) for ranking in table["ranking"]]
        ),
    },
    **{
        f"level_{level}": {
            f"level_{level}": lambda table: exchanged("scheduler", "static_fifo", "dynamic_no_bins")(
                table.assign(claim_inside=table["claim_inside"].map({True: False, False: True}))
            ),
            f"level_{level}_differences": negated,
        }
        for level in (1, 2, 3, 4)
    },
    "deadline_capacity": {
        "deadline_capacity_ratios": lambda table: inverted(exchanged("over", "best", "fcfs")(table)),
        "deadline_capacity_conditions": inverted,
    },
    "capacity": {
        "capacity": exchanged("verdict", "stable", "moves"),
        "capacity_ratios": inverted,
    },
    "k_sensitivity": {"k_sensitivity": negated_pair},
    "sensitivity": {
        "sensitivity": exchanged("factor", "slack", "error"),
        "sensitivity_effects": turned(operator.neg, "value"),
    },
    # policies, continuous
    "which_scheduler": {
        "policies": lambda table: exchanged("policy", "multi_bin_dynamic", "shortest_predicted_first")(
            negated_pair(table)
        ),
        "which_scheduler_map": lambda table: negated_pair(
            turned(operator.neg, "first_difference", "first_difference_ci_low", "first_difference_ci_high")(table)
        ).assign(p_holm=1 - table["p_holm"], first_p_holm=1 - table["first_p_holm"]),
        "deadline_capacity_conditions": inverted,
    },
    "executions": {
        "executions_saturated": turned(inverse, "value"),
        "executions_differences": negated,
        "binning_continuous": lambda table: inverted(exchanged("policy", "bins", "shortest")(table)),
        "executions_loops": exchanged("loop", "closed", "open"),
    },
    "prefix_cache": {
        "prefix_cache_ratios": inverted,
        "prefix_cache_load": reversed_in("rate_rps"),
        "prefix_cache_waiting": reversed_in("times_waiting"),
        "prefix_cache_routers": reversed_in("engines"),
        "prefix_cache_router_ratios": inverted,
        "prefix_cache_places": inverted,
    },
    "memory_pressure": {
        "memory_remedies": lambda table: exchanged("remedy", "none", "let in at a rate")(
            exchanged("remedy", "none", "all memory reserved")(table)
        ),
        "memory_capacity": exchanged("case", "as in the log", "16 places"),
        "memory_starts": reversed_in("waiting"),
        "memory_recurrence": exchanged("run", "equal", "logged"),
        "memory_regions": exchanged("scheduler", "chunked", "prompts first"),
        "memory_lengths": lambda table: table.assign(coprime=~table["coprime"]),
    },
    "binning_continuous": {
        "binning_continuous": lambda table: inverted(exchanged("policy", "bins", "shortest")(table)),
        "binning_continuous_saved": turned(operator.neg, "share"),
        "binning_continuous_late": exchanged("policy", "fcfs", "shortest"),
    }
    | dict.fromkeys(("binning_continuous_parts", "binning_continuous_padding", "binning_continuous_delays"), inverted),
    "own_scheduler": {
        "own_scheduler": lambda table: exchanged("scheduler", "own rule", "dynamic_no_bins")(negated_pair(table))
    },
}


def test_every_row_of_the_guide_is_a_sentence_that_its_page_holds():
    cells = nbformat.read(STUDIES["which_scheduler"].notebook_path(PROJECT), as_version=4).cells
    guide = next(cell.source for cell in cells if cell.source.startswith("## Your server"))
    held = {}
    for row in guide.splitlines():
        if row.startswith("|") and not row.startswith(("| your server", "|---")):
            linked = re.fullmatch(r"\[(.+)\]\((\w+)\.ipynb\)", text := row.split("|")[3].strip())
            sentence, name = linked.groups() if linked else (text, "which_scheduler")
            held.setdefault(name, answered(name)[1])
            assert held[name].get(sentence), (name, sentence)
    assert len(held) > 2


@pytest.mark.parametrize("name", ANSWERED)
def test_a_guard_falls_when_the_arms_of_its_table_are_swapped(name):
    shown, claims = answered(name, SWAPPED[name])
    assert not any(claims.values()), claims
    assert "At these parameters this is not claimed" in shown


@pytest.mark.parametrize("document", ["README.md", "book/index.md"])
def test_what_the_front_pages_say_was_found_is_held_by_the_page_that_they_name(document):
    found = (ROOT / document).read_text().partition("## What we found\n\n")[2].partition("\n\n")[0]
    said = re.findall(r"(?:^-|\)) (.+?) \((?:\[[^]]+\]\(\.\./|`)notebooks/(\w+)\.ipynb[`)]", found, re.MULTILINE)
    assert len(said) == found.count(".ipynb") == 7 and len(found.splitlines()) == 5
    assert [sentence for sentence, page in said if not answered(page)[1].get(sentence)] == []


def test_no_number_is_left_over_and_no_first_sentence_unguarded():
    page = Page("page", {})
    page.holds("Bins need GPUs.", True)
    assert page.answer("Bins need GPUs. On one they carry {one}.", one="half").data.endswith("they carry half.")
    with pytest.raises(InputError, match="page, answer: two: in no sentence"):
        page.answer("Bins need GPUs. On one they carry {one}.", one="half", two=2)
    with pytest.raises(InputError, match=r"page, answer: nothing holds its first sentence.*'On one"):
        page.answer("On one they carry half.")


@pytest.mark.parametrize("condition", [0.93, None, "true", pd.Series([True])])
def test_a_condition_is_a_truth_value(condition):
    with pytest.raises(InputError, match=r"(?s)page, holds\('Bins need GPUs.'\): .* is no truth"):
        Page("page", {}).holds("Bins need GPUs.", True, condition)


def test_a_guard_without_a_condition_is_refused():
    with pytest.raises(InputError, match="no condition"):
        Page("page", {}).holds("Bins need GPUs.")


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_an_answer_leaves_later_cells_their_names(notebook):
    cells = nbformat.read(notebook, as_version=4).cells
    place = next((i for i, cell in enumerate(cells) if "answer" in cell.metadata.get("tags", [])), None)
    if place is None:
        return
    answer, later = cells[place].source, [cell.source for cell in cells[place + 1 :] if cell.cell_type == "code"]
    the_same_tables = set(re.findall(r"^(\w+) = page\.written\(", answer, re.MULTILINE))
    own = names(answer, ast.Store) - the_same_tables
    assert own & set().union(*(names(source, ast.Load) - names(source, ast.Store) for source in later)) == set()


def names(source: str, context: type) -> set[str]:
    """The names that some source sets, or reads."""
    found = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))
    return {node.id for node in found if isinstance(node.ctx, context)}
