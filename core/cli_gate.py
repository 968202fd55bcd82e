"""The command ``python -m core gate``: what a build of a music model runs, to pass or to be told why not."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli_options import cache_option, device_option, make_judging
from core.command import Command, as_json, as_one, fields_as_one, path_option, print_json, progress_bar, quiet_decoders
from core.errors import counted
from core.gate.limits import SignalLimits

if TYPE_CHECKING:
    from core.gate.outcome import Conditions, Outcome

EXIT_FAILED = 1
_MOST_SHOWN = 10  # clips that failed, on the terminal


def _read_minima(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> dict[str, float]:
    """Read SCALE=VALUE of each; the last of a scale counts."""
    minima = {}
    for one in given:
        scale, _, least = one.partition("=")
        try:
            minima[scale.strip()] = float(least)
        except ValueError as error:
            raise click.BadParameter(f"{one!r} is no minimum; write it as musical_impression=3.2") from error
    return minima


def _read_percent(_ctx: click.Context, _param: click.Parameter, given: str) -> float:
    """Read a share in percent, with or without its sign."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%?", given.strip())
    if not found or float(found[1]) > 100:
        raise click.BadParameter(f"{given!r} is no share of clips; write it as 2%")
    return float(found[1])


_conditions = as_one(
    "asked",
    dict,
    {
        "minima": click.option(
            "--min",
            "minima",
            metavar="SCALE=VALUE",
            callback=_read_minima,
            multiple=True,
            help="what the mean of each system must reach; may be given for several scales",
        ),
        "max_fail_percent": click.option(
            "--max-fail",
            "max_fail_percent",
            metavar="PERCENT",
            callback=_read_percent,
            default="0%",
            help="share of a system's clips that may fail: cannot be scored, or have a fault in their signal",
        ),
        "strict": click.option(
            "--strict", is_flag=True, help="the lower end of the mean's 95 % interval must reach --min, not the mean"
        ),
    },
)


@click.command(cls=Command)
@click.argument("clips", type=Path)
@_conditions
@fields_as_one("limits", dataclasses.fields(SignalLimits))
@path_option("--model", "DIR", "model folder (default: the embedded judge)")
@path_option(
    "--among", "FILE", "scores of reference clips by the same judge, as score writes them: say where means stand"
)
@path_option("--junit", "FILE", "write the outcome as JUnit XML, a case for each system and condition")
@path_option("--report", "FILE", "write the outcome as one HTML page")
@as_json
@click.option("--precision", default="float32", help="float32; tf32 or bfloat16: faster, scores within 0.1")
@cache_option
@device_option
@click.option("--no-cache", is_flag=True, help="keep no embeddings")
def gate(
    clips: Path,
    asked: Mapping[str, Any],
    limits: Mapping[str, Any],
    junit: Path | None,
    report: Path | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Score and measure the clips of a list, and say whether its systems pass.

    CLIPS is a list as `score --manifest` reads it. Exit code 0: they pass; 1: they do not; 2: a mistake in what was
    given.
    """
    from core.gate.outcome import Conditions

    conditions = Conditions(**asked, limits=SignalLimits(**limits))
    outcome = _run(clips, conditions, **how)
    _write(outcome, conditions, clips.name, junit, report)
    if as_json:
        print_json(outcome.to_json())
    else:
        print("\n".join(_summary(outcome)))
    if not outcome.passed:
        raise click.exceptions.Exit(EXIT_FAILED)


def _run(clips: Path, conditions: "Conditions", among: Path | None, **how: Any) -> "Outcome":
    from core.gate.run import run_gate
    from core.settings import pick_device

    scorer = make_judging(on_cluster=False, **how).scorer(str(pick_device(how["device"])))
    with quiet_decoders() as stderr, progress_bar(unit=" clips", file=stderr, disable=None) as show:
        return run_gate(
            clips.absolute(),
            conditions,
            scorer,
            lambda done, n_failed, total: show(done, note=f"{n_failed:,} failed", total=total),
            among,
        )


def _write(outcome: "Outcome", conditions: "Conditions", name: str, junit: Path | None, report: Path | None) -> None:
    from core.gate.reports import html_report, junit_xml, write_report

    if junit:
        write_report(junit, junit_xml(outcome))
    if report:
        write_report(report, html_report(outcome, conditions, name))


def _summary(outcome: "Outcome") -> Iterator[str]:
    for verdict in outcome.verdicts:
        yield f"{'passed' if verdict.passed else 'FAILED'}  {verdict.system}: {verdict.sentence}"
    for mean in (mean for mean in outcome.means if mean.place):
        yield f"        {mean.system}: {mean.scale} is {mean.place}."
    if outcome.failed:
        yield ""
    for clip in outcome.failed[:_MOST_SHOWN]:
        yield f"  {clip.file} ({clip.system}): {clip.reason}"
    if outcome.n_failed > _MOST_SHOWN:
        yield f"  and {outcome.n_failed - _MOST_SHOWN:,} more."
    yield ""
    for note in outcome.notes:
        yield f"! {note}"
    n_not = sum(not verdict.passed for verdict in outcome.verdicts)
    how = f"{n_not} of {counted(len(outcome.verdicts), 'condition')} not held" if n_not else "all conditions held"
    yield f"{'PASSED' if outcome.passed else 'NOT PASSED'}: {counted(outcome.n_clips, 'clip')}, {how}."
    yield f"Model {outcome.model} ({outcome.model_sha256[:12]})"
