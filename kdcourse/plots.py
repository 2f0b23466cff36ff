"""House style and the figures that more than one lesson draws."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

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
    """Display a figure as a PNG at twice the screen's resolution, with alternative text for those who cannot see it.

    `alt` says what is drawn and how to read it. Outside a notebook the text is printed.
    """
    import base64
    import io
    from html import escape

    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(f"[figure] {alt}")
        plt.close(figure)
        return
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, facecolor="white")
    plt.close(figure)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    html = f'<img src="data:image/png;base64,{encoded}" alt="{escape(alt, quote=True)}" style="max-width:100%;width:46em">'
    display({"text/html": html, "image/png": encoded, "text/plain": f"[figure] {alt}"}, raw=True)


def digits(images, titles=None, columns: int = 8, colours=None):
    """A figure of images `[N,1,H,W]` side by side, large and sharp, with an optional line of text above each."""
    images = np.asarray(images).squeeze(1)
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(7, rows * (7 / columns + 0.25 * (titles is not None))), squeeze=False)
    for position, axis in enumerate(axes.flat):
        axis.axis("off")
        if position < len(images):
            axis.imshow(images[position], vmin=0)
            if titles is not None:
                axis.set_title(titles[position], fontsize=9, fontweight="normal", loc="center", color=(colours or {}).get(position, "black"))
    return figure


def paired_arms(runs, arms: dict[str, tuple[str, str]], metric: str = "errors", published=None, verdict=None, label: str = "", title: str = ""):
    """Every run a dot, the runs of one seed joined across arms, each arm's mean with its 95 % interval over seeds.

    arms: arm name → (text under the axis, role in `COLOURS`), in drawing order. published: arm name → (value, "Author year"),
    drawn as a diamond. verdict: the claim the figure shows; its contrast goes below the title.
    """
    figure, axis = plt.subplots()
    table = runs.pivot(index="seed", columns="arm", values=metric)[list(arms)]
    for _, row in table.iterrows():
        axis.plot(range(len(arms)), row, color="0.8", linewidth=0.8, zorder=1)
    for position, (arm, (_, role)) in enumerate(arms.items()):
        values = table[arm].to_numpy(float)
        axis.scatter(np.full(len(values), position), values, s=16, color=COLOURS[role], alpha=0.55, zorder=2, linewidths=0)
        mean, half = values.mean(), half_width(values)
        axis.errorbar(position + 0.18, mean, half, fmt="o", markersize=6, capsize=4, color=COLOURS[role], zorder=3)
        axis.annotate(f"{mean:.0f}", (position + 0.18, mean), xytext=(7, -3), textcoords="offset points", color=COLOURS[role], fontweight="bold")
    for arm, (value, source) in (published or {}).items():
        position = list(arms).index(arm)
        axis.plot(position - 0.2, value, marker="D", markersize=6, color=COLOURS["published"], linestyle="none", zorder=3)
        axis.annotate(f"{value} {source}", (position - 0.2, value), xytext=(0, -14), textcoords="offset points", ha="center", fontsize=9, color=COLOURS["published"])
    axis.set_xticks(range(len(arms)), [text for text, _ in arms.values()])
    axis.set_xlim(-0.6, len(arms) - 0.3)
    axis.set_ylabel(label or metric)
    axis.set_title(title)
    return figure


def half_width(values) -> float:
    """Half the 95 % t interval of the mean of some runs; 0 for a single one."""
    from scipy import stats

    values = np.asarray(values, float)
    if len(values) < 2:
        return 0.0
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
