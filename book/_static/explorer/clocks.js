/* In which unit a clock counts, by its name, its format, and the size, spacing and fractions of its values.

   As `simlib.requests.formats.clocks` tells it, whose bounds and sentences these are. */
const readerClocks = (() => {
  "use strict";
  const { refuse, general, sum, middle } = readerTexts;
  const TICKS_PER_S = { s: 1, ms: 1e3, us: 1e6, ns: 1e9 }, UNITS = Object.keys(TICKS_PER_S);
  const NAMES = { s: "seconds", ms: "milliseconds", us: "microseconds", ns: "nanoseconds" };
  const EPOCH_S = [1.5e9, 2.6e9], GAP_S = [2e-3, 60], SLOWEST_GAP_S = 1000, THINNEST_GAP_S = 1e4, LONGEST_S = 1e8, FEW = 3, ENOUGH = 8;
  const SUFFIX = /(?:_|\b)(?:(s|secs?|seconds)|(ms|msecs?|millis(?:econds)?)|(us|micros(?:econds)?)|(ns|nanos(?:econds)?))[)\]]?$/;

  const clock = (unit, why, isEpoch = false, doubt = "") =>
    ({ unit, per_s: TICKS_PER_S[unit], isEpoch, doubt, text: `${NAMES[unit]}${isEpoch ? " since 1970" : ""} (${why})` });

  /* Mean gap, and the largest value; gaps are those of `apart`, which may begin elsewhere. */
  function seen({ ticks, apart }) {
    const sorted = apart.slice().sort(), gaps = sorted.subarray(1).map((tick, row) => tick - sorted[row]).filter((gap) => gap > 0);
    return { gap: gaps.length ? sum(gaps) / (ticks.length - 1) : null, most: ticks.reduce((a, b) => (a > b ? a : b)) };
  }

  const gap_s = (of, unit) => of.gap / TICKS_PER_S[unit];

  function fits(of, unit) {
    const began_s = of.most / TICKS_PER_S[unit];
    return gap_s(of, unit) >= GAP_S[0] && gap_s(of, unit) <= GAP_S[1] && (began_s < LONGEST_S || began_s > EPOCH_S[0]);
  }

  function rates(of, units) {
    if (of.gap === null) return "all are at one instant";
    const rate = (unit) => 1 / gap_s(of, unit), within = units.filter((unit) => rate(unit) >= 1e-4 && rate(unit) <= 1e4);
    return (within.length ? within : units).map((unit) => `${general(rate(unit), 3)}/s if ${NAMES[unit]}`).join(", ");
  }

  /* The unit of the values of a column, whose format counts in `convention` and nobody else writes. */
  function told(source, name, values, convention) {
    const { ticks, apart } = values, of = seen(values), suffix = SUFFIX.exec(name.toLowerCase());
    const named = suffix && UNITS[suffix.slice(1).findIndex(Boolean)], own = named ?? convention, isFew = ticks.length < FEW;
    const unclear = (by) => refuse(`${source}, ${name}: ${by}; ${rates(of, UNITS)} (expected the option --time-unit, time_unit= in Python, to say which of ${UNITS.join(", ")}, as the values do not)`);
    const since = sinceEpoch();

    function sinceEpoch() {
      for (const unit of UNITS) {
        const [low, high] = EPOCH_S.map((bound) => bound * TICKS_PER_S[unit]), isIn = (tick) => tick >= low && tick <= high, inside = ticks.filter(isIn);
        if (2 * inside.length <= ticks.length) continue;
        const those = seen({ ticks: inside, apart: apart.filter((_, row) => isIn(ticks[row])) });
        if (those.gap !== null && gap_s(those, unit) > (unit === own ? SLOWEST_GAP_S : GAP_S[1])) return null; // a finer clock that began anywhere
        const row = ticks.findIndex((tick) => !isIn(tick));
        if (row >= 0) refuse(`${source}, row ${row}, ${name}: ${general(ticks[row], 16)} (expected ${NAMES[unit]} since 1970, as in most other rows)`);
        return unit;
      }
      return null;
    }

    if (named && since && since !== named) unclear(`${general(ticks[0], 16)}, ${NAMES[named]} by the name, ${NAMES[since]} since 1970 by size`);
    const why = named ? "by its name" : "the format's", by = `the format counts in ${NAMES[convention]}`;
    if (of.gap === null) return clock(since ?? own, why, since !== null, ticks.length > 1 ? "all are at one instant: too coarse for their gaps, unless all were sent at once" : "");
    if (since) {
      if (convention !== since && !isFew && fits(of, convention)) unclear(`${by}, ${NAMES[since]} since 1970 by size`);
      return clock(since, named ? why : "by their size", true, convention === since ? "" : by);
    }
    if (isFew || fits(of, own) || (own === "s" && gap_s(of, own) < GAP_S[0])) return clock(own, why);
    if (own === "s" && gap_s(of, own) <= THINNEST_GAP_S && ticks.length >= ENOUGH) return clock(own, why, false, `these are rare rates: ${rates(of, ["s", "ms"])}`);
    return unclear(named ? `${NAMES[own]} by the name, and not by the spacing` : by);
  }

  return { UNITS, NAMES, TICKS_PER_S, clock, told };
})();
