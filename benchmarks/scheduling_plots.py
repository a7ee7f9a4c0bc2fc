"""The plots of `scheduling.py`: ratios to the optimum, and costs beside the rivals'."""

from pathlib import Path
from statistics import fmean


def plot(
    folder: Path,
    ratios: dict[str, list[float]],
    tables: dict[tuple[int, int], dict[str, list[tuple[float, ...]]]],
) -> None:
    """Draw the distributions of the ratios, and the costs beside the rivals'."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "scheduling"
    from matplotlib import pyplot as plt

    if ratios:
        figure, axes = plt.subplots(figsize=(7, 3))
        for name, values in ratios.items():
            shares = [(at + 1) / len(values) for at in range(len(values))]
            axes.plot(sorted(values), shares, label=name)
        axes.set(xlabel="cost / optimum", ylabel="share of instances", xlim=(0.98, None))
        axes.legend()
        figure.savefig(folder / "optimum.svg", bbox_inches="tight", metadata={"Date": None})
    if tables:
        figure, axes = plt.subplots(figsize=(7, 3))
        names = list(next(iter(tables.values())))
        loads = sorted({per_hour for _, per_hour in tables})
        for at, name in enumerate(names):
            rows = [tables[24, per_hour][name] for per_hour in loads]
            places = [number + at * 0.13 for number in range(len(loads))]
            heights = [fmean(day[0] for day in days) / 1000 for days in rows]
            axes.bar(places, heights, width=0.12, label=name)
        axes.set_xticks([number + 0.33 for number in range(len(loads))])
        axes.set_xticklabels([f"{per_hour} jobs/h" for per_hour in loads])
        axes.set(ylabel="weighted s per job, 24 GB", yscale="log")
        axes.set_yticks([30, 50, 100, 200, 500], ["30", "50", "100", "200", "500"])
        axes.minorticks_off()
        axes.legend(fontsize=7)
        figure.savefig(folder / "rivals.svg", bbox_inches="tight", metadata={"Date": None})
