"""The few kinds of panels that the dashboards are made of, over Grafana's own builders.

Queries name series as `ourvidz_ready{*}` or `ourvidz_ready{*,label="value"}`: the star stands for
the workers that the dashboard's variables pick.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.models import common as words
from grafana_foundation_sdk.models import dashboard as models

SOURCE = models.DataSourceRef("prometheus", "${datasource}")
"""Whichever Prometheus the dashboard's variable picks."""

PICKED = 'job=~"$job",instance=~"$instance"'

Builder = stat.Panel | lines.Panel | statetimeline.Panel
Made = TypeVar("Made", stat.Panel, lines.Panel, statetimeline.Panel)


@dataclass(frozen=True, slots=True)
class Look:
    """How values are shown.

    Attributes:
        unit: Grafana's name of it; "short" is a plain number.
        width: of the grid's 24 columns.
        alarm: the value from which on it is red; with `below`, up to which it is.
        least: where the axis begins.
        most: where the axis ends at least.
        stacked: areas on top of each other.
        decimals: digits after the point, where Grafana's choice is too many.
        none: what is shown where there is no value.
        words: text and colour by value, for states.
    """

    unit: str = "short"
    width: int = 8
    alarm: float | None = None
    below: bool = False
    least: float | None = 0
    most: float | None = None
    stacked: bool = False
    decimals: int | None = None
    none: str = "none"
    words: Mapping[int, tuple[str, str]] = field(default_factory=dict)


Query = tuple[str, str]
"""An expression, and the legend of its series."""


def number(title: str, says: str, query: str, look: Look) -> stat.Panel:
    """Return a panel with one figure of now, and its course behind it."""
    panel = (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(words.BigValueGraphMode.AREA)
        .color_mode(words.BigValueColorMode.VALUE)
        .height(4)
    )
    return _filled(panel, title, says, [(query, "")], look)


def graph(title: str, says: str, queries: Sequence[Query], look: Look) -> lines.Panel:
    """Return a panel with lines over time, and a legend with each one's last and greatest value."""
    legend = (
        common.VizLegendOptions()
        .display_mode(words.LegendDisplayMode.TABLE)
        .placement(words.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs(["lastNotNull", "max"])
    )
    tooltip = common.VizTooltipOptions().mode(words.TooltipDisplayMode.MULTI)
    panel = lines.Panel().legend(legend).tooltip(tooltip).fill_opacity(10).height(8)
    if look.stacked:
        stacking = common.StackingConfig().mode(words.StackingMode.NORMAL)
        panel = panel.stacking(stacking).fill_opacity(40)
    if look.alarm is not None:
        style = common.GraphThresholdsStyleConfig().mode(words.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds_style(style)
    return _filled(panel, title, says, queries, look)


def states(title: str, says: str, query: Query, look: Look) -> statetimeline.Panel:
    """Return a panel with bars over time, coloured by state."""
    panel = statetimeline.Panel().merge_values(merge_values=True).height(8)
    return _filled(panel, title, says, [query], look)


def _filled(panel: Made, title: str, says: str, queries: Sequence[Query], look: Look) -> Made:
    panel.title(title).description(says).datasource(SOURCE).span(look.width)
    panel.unit(look.unit).no_value(look.none).thresholds(_thresholds(look))
    for ref_id, (expr, legend) in zip("ABCDEFGH", queries, strict=False):
        query = prometheus.Dataquery().datasource(SOURCE).ref_id(ref_id)
        panel.with_target(query.expr(expr.replace("{*", "{" + PICKED)).legend_format(legend))
    if look.least is not None:
        panel.min(look.least)
    if look.most is not None:
        panel.max(look.most)
    if look.decimals is not None:
        panel.decimals(look.decimals)
    if look.words:
        panel.mappings([_mapping(look.words)])
    return panel


def _thresholds(look: Look) -> dashboard.ThresholdsConfig:
    good, bad = ("red", "green") if look.below else ("green", "red")
    steps = [models.Threshold(None, good)]
    if look.alarm is not None:
        steps.append(models.Threshold(look.alarm, bad))
    config = dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
    return config.steps(steps)


def _mapping(states: Mapping[int, tuple[str, str]]) -> models.ValueMap:
    return models.ValueMap(
        {
            str(value): models.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(states.items())
        }
    )
