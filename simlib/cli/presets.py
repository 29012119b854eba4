"""The verb ``presets``: list the latency presets."""

from __future__ import annotations

import argparse
from typing import Any

from simlib.checks import InputError
from simlib.cli.outputs import add_json, aligned, answer, check_outputs, on_disk
from simlib.lazy import pd

EXPLAINED = """
error: how far the law is off points that it was not fitted to, in the mean. To use one: --latency PRESET.
"""


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("presets", help="list the latency presets")
    own.set_defaults(verb=_presets)
    own.add_argument("parts", nargs="*", metavar="WORD", help="only those that have it in their name, such as h100")
    own.add_argument("--all", action="store_true", help="every form; with --json also coefficients with intervals")
    add_json(own, "what is listed")


def _presets(options: argparse.Namespace) -> None:
    from simlib.latency import presets

    check_outputs(options)
    shown = presets.table()
    for place in on_disk(options.json):
        if shown["name"].str.contains(str(place), case=False, regex=False).any():
            raise InputError(f"--json: {place} is in a preset's name (expected a file, or --json behind all words)")
    for word in options.parts:
        found = shown["name"].str.contains(word, case=False, regex=False)
        if not found.any():
            raise InputError(f"presets: none with {' and '.join(options.parts)} in its name{presets.near(word)}")
        shown = shown[found]
    if not options.all:
        shown = shown.drop_duplicates("name", keep="last")  # the richest form
    machine = shown if options.all else shown[presets.LISTED]
    answer(options.json, machine.to_dict("records"), f"{aligned(_readable(shown, options.all))}\n{EXPLAINED}".rstrip())


def _readable(shown: pd.DataFrame, every_form: bool) -> pd.DataFrame:
    """For eyes: what each was measured at, how well it fits, and what is assumed."""
    from simlib.latency import forms, presets

    split = shown["form"].str.endswith(forms.EQUAL) & shown["cv_mape"].notna()
    columns = {"preset": shown["name"]}
    if every_form:
        columns["form"] = shown["form"].str.removesuffix(forms.EQUAL)
    columns["error %"] = 100 * shown["cv_mape"]
    for span in presets.SPAN:
        ends = zip(shown[f"{span}_min"], shown[f"{span}_max"], strict=True)
        unit = "" if span == "batch" else " tokens"
        columns[f"{span}{unit}"] = [f"{low:,.0f} to {high:,.0f}" if high == high else None for low, high in ends]
    columns["measured by"] = shown["source"]
    off = presets.off_percent()
    columns["assumed, or wrong"] = [
        note
        if isinstance(note, str)
        else (f"prefill's share ({presets.SPLIT:g})" if assumed else "")
        + (f"; {off[name]:+.0f} % off an engine" if name in off else "")
        for name, note, assumed in zip(shown["name"], shown["note"], split, strict=True)
    ]
    return pd.DataFrame(columns)
