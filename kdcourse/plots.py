"""House style and the figures that more than one lesson draws."""

import base64
import html
import io
import struct

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import display
from scipy import stats

# One role, one colour, in the whole course; distinct to colour-blind eyes (Okabe & Ito) and in grey.
COLOURS = {
    "teacher": "#3d3d3d",
    "soft": "#0072b2",
    "hard": "#d55e00",
    "control": "#a08c7d",
    "published": "#009e73",
}


def style() -> None:
    """Set the course's figure style: 7 inches wide, 10 pt text, no frame on top and right, crisp PNG."""
    mpl.rcParams.update(
        {
            "figure.figsize": (7, 3.6),
            "figure.dpi": 100,
            "savefig.dpi": 150,
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "image.cmap": "gray_r",
            "image.interpolation": "nearest",
        }
    )


def show(figure, alt: str) -> None:
    """Display a figure as a PNG at twice the screen's resolution, with its description for those who cannot see it.

    `alt` says what is drawn and how to read it. It travels in the image's metadata, where converters look for it, and stands below the
    figure, folded, because JupyterLab shows no alternative texts. Outside a notebook it is printed.
    """
    if get_ipython() is None:
        print(f"[figure] {alt}")
        plt.close(figure)
        return
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    plt.close(figure)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    width = int(struct.unpack(">I", buffer.getvalue()[16:20])[0] / 1.5)
    display(
        {"image/png": encoded, "text/plain": f"[figure] {alt}"},
        raw=True,
        metadata={"image/png": {"alt": alt, "width": width}},
    )
    folded = f"<details><summary>Description of the figure</summary><p>{html.escape(alt)}</p></details>"
    display({"text/html": folded, "text/plain": alt}, raw=True)


def paired_arms(
    runs, arms: dict[str, tuple[str, str]], metric: str = "errors", published=None, label: str = "", title: str = ""
):
    """Every run a dot, the students of one seed joined across arms, each arm's mean with its 95 % interval over seeds.

    arms: arm name → (text under the axis, role in `COLOURS`), in drawing order; teachers share no weights and are not joined. published: arm name → (value, "Author year"),
    drawn as a diamond.
    """
    figure, axis = plt.subplots()
    table = runs.pivot(index="seed", columns="arm", values=metric)[list(arms)]
    joined = [position for position, (_, role) in enumerate(arms.values()) if role != "teacher"]
    for _, row in table.iterrows():
        there = [position for position in joined if not np.isnan(row.iloc[position])]
        axis.plot(there, row.iloc[there], color="0.8", linewidth=0.8, zorder=1)
    for position, (arm, (_, role)) in enumerate(arms.items()):
        values = table[arm].dropna().to_numpy(float)
        axis.scatter(
            np.full(len(values), position), values, s=16, color=COLOURS[role], alpha=0.55, zorder=2, linewidths=0
        )
        mean, half = values.mean(), half_width(values)
        axis.errorbar(position + 0.18, mean, half, fmt="o", markersize=6, capsize=4, color=COLOURS[role], zorder=3)
        axis.annotate(
            f"{mean:,.0f}",
            (position + 0.18, mean),
            xytext=(7, -3),
            textcoords="offset points",
            color=COLOURS[role],
            fontweight="bold",
        )
    for arm, (value, source) in (published or {}).items():
        position = list(arms).index(arm)
        axis.plot(
            position - 0.2, value, marker="D", markersize=6, color=COLOURS["published"], linestyle="none", zorder=3
        )
        axis.annotate(
            f"{source}:\n{value}",
            (position - 0.2, value),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=COLOURS["published"],
        )
    axis.set_xticks(range(len(arms)), [text for text, _ in arms.values()])
    axis.set_xlim(-0.8, len(arms) - 0.3)
    axis.set_ylim(bottom=0)
    axis.set_ylabel(label or metric)
    axis.set_title(title)
    return figure


def half_width(values) -> float:
    """Half the 95 % t interval of the mean of some runs; 0 for a single one."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return 0.0
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
