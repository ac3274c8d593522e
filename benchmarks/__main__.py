"""Run the benchmarks: ``python -m benchmarks [--quick] [--only NAME] [--reps N] [--json FILE] …``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .contenders import CONTENDERS, available
from .goals import GOALS, judge
from .measures import WORKS
from .report import as_json, as_markdown, as_text
from .works import FULL, QUICK, Scale, run

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The engine and its peers, by turns.")
    names = ", ".join(work.name for work in WORKS)
    parser.add_argument("--quick", action="store_true", help="small sizes, one repetition: a look, no evidence")
    parser.add_argument("--only", action="append", metavar="NAME", help=f"this work alone (may be repeated): {names}")
    parser.add_argument("--reps", type=int, metavar="N", help="repetitions, each one paired ratio (5; --quick: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every raw number there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there as Markdown")
    parser.add_argument("--png", type=Path, metavar="FILE", help="write the chart there")
    return parser


def main(arguments: Sequence[str] | None = None, scale: Scale | None = None) -> int:
    """Read the command line, measure, print the tables; return the exit status."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    known = {work.name for work in WORKS}
    if unknown := set(asked.only or ()) - known:
        parser.error(f"there is no work {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    if asked.reps is not None and asked.reps < 1:
        parser.error("--reps must be at least 1")
    for name in CONTENDERS:
        if not available(name):
            print(f"{name} is not installed and left out: pip install -e '.[bench]'", file=sys.stderr)
    size = scale or (QUICK if asked.quick else FULL)
    reps = asked.reps or size.reps
    works = [work for work in WORKS if not asked.only or work.name in asked.only]
    results = run(works, size, reps, lambda text: print(text, file=sys.stderr, flush=True))
    verdicts = judge(results, GOALS)
    if asked.json:
        asked.json.write_text(as_json(results, verdicts, reps) + "\n", encoding="utf-8")
    if asked.markdown:
        asked.markdown.write_text(as_markdown(results, works, verdicts, reps), encoding="utf-8")
    if asked.png:
        from .chart import draw  # noqa: PLC0415 - matplotlib is needed for the chart alone

        draw(results, works, asked.png)
    print(as_text(results, works, verdicts, reps))
    return 0


if __name__ == "__main__":
    sys.exit(main())
