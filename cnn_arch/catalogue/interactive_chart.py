"""The bubble chart of the page, with tooltips and a choice of axes and data set.

altair describes the chart. vl-convert supplies one script with Vega and everything else
that draws it: the page needs no network connection. Only this module imports them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cnn_arch.catalogue.error_chart import COLORS

# The choices for an axis: field of a point -> title.
AXES = {
    "macs": "multiply-adds, billion",
    "params": "parameters, million",
    "memory": "outputs of one image, MiB",
    "depth": "layers with weights",
    "field": "receptive field, px",
    "top1": "top-1 error, %",
    "top5": "top-5 error, %",
}
TOOLTIP = {
    "network": "network",
    "error": "errors, %",
    "protocol": "measured on",
    "source": "source",
    **{key: AXES[key] for key in ("macs", "params", "memory", "depth", "field")},
}
# Draws the chart; a click on a bubble leads to the network's section. With "ast", Vega
# interprets its expressions, and the page can forbid eval.
SNIPPET = """
const spec = JSON.parse(document.getElementById("spec").textContent);
const options = {actions: false, renderer: "svg", ast: true};
vegaEmbed("#chart", spec, options).then(({view}) => {
  view.addEventListener("click", (event, item) => {
    if (item?.datum?.network) location.hash = item.datum.network;
  });
});
"""


def describe_chart(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the chart as a Vega-Lite specification that includes its data.

    Args:
      points: one for each network and data set, with the fields of ``AXES`` and
        ``TOOLTIP``, ``dataset``, ``family`` and ``comparable`` (one central crop).
    """
    import altair as alt

    datasets = {point["dataset"]: point["dataset"] for point in points}
    hovered = alt.selection_point(
        name="hovered", on="pointerover", clear="pointerout", empty=False
    )
    names = json.dumps(AXES)
    chart = (
        alt.Chart(alt.Data(values=list(points)))
        .transform_calculate(x="datum[x_axis]", y="datum[y_axis]")
        .transform_filter("datum.dataset == data_set")
        .transform_filter("isValid(datum.x) && isValid(datum.y)")
        .mark_point(filled=True, cursor="pointer")
        .encode(**_encode({point["family"] for point in points}, hovered))
        .add_params(
            _menu("data_set", "data set", next(iter(datasets)), datasets),
            _menu("y_axis", "upwards", "top1", AXES),
            _menu("x_axis", "to the right", "macs", AXES),
            hovered,
        )
        .properties(
            width="container",
            height=440,
            title=alt.Title(
                alt.expr(f"{names}[y_axis] + ', against ' + {names}[x_axis]"),
                anchor="start",
            ),
            autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
            description="Each network as a bubble; its area is its parameters.",
        )
        .configure(background="transparent", font="system-ui, sans-serif")
        .configure_axis(labelFontSize=12)
        .configure_legend(labelFontSize=13)
        .configure_title(fontSize=14)
        .configure_view(stroke=None)
    )
    return chart.to_dict()


def _menu(name: str, label: str, value: str, options: Mapping[str, str]) -> Any:
    """Returns a menu that sets a parameter of the chart."""
    import altair as alt

    menu = alt.binding_select(
        options=list(options), labels=list(options.values()), name=f"{label} "
    )
    return alt.param(name=name, value=value, bind=menu)


def _encode(families: set[str], hovered: Any) -> dict[str, Any]:
    """Returns the encoding of a point's fields as position, size, colour and text."""
    import altair as alt

    colors = {name: color for name, color in COLORS.items() if name in families}
    by_family = alt.Scale(domain=list(colors), range=list(colors.values()))
    scale = alt.Scale(zero=False, padding=22)  # room for a large bubble
    legend = alt.Legend(orient="bottom", columns=4, symbolOpacity=1)
    sizes = alt.Scale(zero=True, range=[30, 2600])
    return {
        "x": alt.X("x:Q", title=None, scale=scale, axis=alt.Axis(tickCount=10)),
        "y": alt.Y("y:Q", title=None, scale=scale, axis=alt.Axis(tickCount=8)),
        "size": alt.Size("params:Q", legend=None, scale=sizes),
        "color": alt.Color("family:N", title=None, scale=by_family, legend=legend),
        "stroke": alt.Stroke("family:N", title=None, scale=by_family),
        "strokeOpacity": alt.value(1),
        "fillOpacity": alt.condition(
            "datum.comparable", alt.value(0.45), alt.value(0.12)
        ),
        "strokeWidth": alt.condition(hovered, alt.value(4), alt.value(1.6)),
        "tooltip": [alt.Tooltip(f"{key}:N", title=TOOLTIP[key]) for key in TOOLTIP],
    }


def bundle_script() -> str:
    """Returns the script that draws the chart, with all its libraries."""
    import vl_convert

    return vl_convert.javascript_bundle(SNIPPET).replace("</script", "<\\/script")
