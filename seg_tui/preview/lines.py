"""The words around the pictures: where one is, what the classes are, what is under the cross."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from engine.classes import VOID
from engine.data.faults import counted
from engine.metrics.scores import Scores
from engine.report.gallery import short_name
from seg_tui.preview.galleries import RunGallery
from seg_tui.preview.look import ACCEPTED, Look
from seg_tui.preview.paint import Drawn
from seg_tui.preview.studio import Shown, Studio
from seg_tui.preview.view import LEGEND_GAP, Panel
from seg_tui.widgets.class_colors import VOID_COLOR, Depth, class_letters, hex_of
from seg_tui.widgets.class_legend import LegendRow, in_columns, legend, legend_width, number

TRACK_WIDTH = 40

_TITLES = {
    "image": "Image",
    "target": "Ground truth",
    "prediction": "Prediction",
    "error": "Error",
    "score": "Score",
}


def heading(look: Look) -> tuple[str, str]:
    """Which runs and which sample; and what is not as usual."""
    runs = list(look.galleries.values())
    names = f"{runs[0].name} ({runs[0].id})" if len(runs) == 1 else f"{len(runs)} runs side by side"
    marks = [f"image {look.samples.index(look.sample) + 1} of {len(look.samples)}"]
    marks += ["worst first"] if look.worst_first else []
    marks += [f"zoom {1 / look.box.size:g}x"] if look.box.size < 1 else []
    marks += [f"overlay {100 * look.overlay:.0f} %"] if look.overlay < 1 else []
    marks += [f"cells: {look.rule}"] if look.rule != "rare" else []
    return f"preview · {names} · {short_name(look.sample)}", " · ".join(marks)


def track_line(look: Look, playing: bool) -> Text:
    """The epochs that are kept as points of a line, the one that is shown marked; ★ is the best one."""
    text = Text(no_wrap=True)
    if look.each_best and len(look.galleries) > 1:
        text.append("each run at the saved epoch nearest its best")
    else:
        epoch = look.epoch_of(look.first)
        text.append(f"epoch {epoch}", style="bold")
        if len(look.epochs) > 1:
            text.append(f" of {look.epochs[-1]}  ")
            text.append_text(_points(look, epoch))
        if look.each_best:
            best = look.first.best_epoch
            text.append("  the best" if best == epoch else f"  nearest to the best ({best})")
    if look.score:
        text.append_text(_slider(look))
    evaluated = look.first.ranking
    if evaluated is not None and evaluated.images > len(look.samples):
        text.append(f"  the worst {len(look.samples)} of {evaluated.images} evaluated images")
    for word in (["playing"] if playing else []) + (["flickering"] if look.flicker else []):
        text.append(f"  {word}", style="bold")
    return text


def _slider(look: Look) -> Text:
    """The score and the share of in-distribution pixels that its threshold accepts."""
    text = Text(f"  {look.score} ", style="bold")
    here = ACCEPTED.index(look.accept)
    text.append("─" * here, style="not bold dim")
    text.append("●", style="not dim bold")
    text.append("─" * (len(ACCEPTED) - 1 - here), style="not bold dim")
    return text.append(f" accepts {100 * look.accept:g} %, grey is rejected", style="not bold")


def _points(look: Look, epoch: int) -> Text:
    count = len(look.epochs)
    spread = min(TRACK_WIDTH, 4 * (count - 1) + 1)
    places = [round(position * (spread - 1) / max(1, count - 1)) for position in range(count)]
    line = ["─"] * spread
    for place in places if 2 * count <= TRACK_WIDTH else []:
        line[place] = "┴"
    run = look.first
    best = run.nearest_to_best() if run.best_epoch is not None and len(look.galleries) == 1 else None
    if best is not None:
        line[places[look.epochs.index(best)]] = "★"
    here = places[look.epochs.index(epoch)]
    text = Text("".join(line[:here]), style="dim")
    text.append("●", style="not dim bold")
    text.append("".join(line[here + 1 :]))
    return text


def titles(panels: Sequence[Panel], look: Look) -> list[str]:
    """What is written above each panel; with several runs, a prediction is called by its run."""
    error = "Boundary error" if look.boundaries else "Error"
    named = _TITLES | {"error": error, "score": f"Score: {look.score}"}
    if len(look.galleries) == 1:
        return [named[panel.kind] for panel in panels]
    return [
        named[panel.kind]
        if panel.epoch is None
        else look.galleries[panel.run].name + (f" {error.lower()}" if panel.kind == "error" else "")
        for panel in panels
    ]


def caption(drawn: Drawn, shown: Shown, look: Look) -> str:
    """What stands at the right above a picture: its score."""
    panel = drawn.panel
    if panel.epoch is None or (panel.run, panel.epoch) not in shown.scores:
        return ""
    scores = shown.scores[panel.run, panel.epoch]
    if panel.kind == "score":
        return "" if drawn.rejected is None else f"{100 * drawn.rejected:.1f} % rejected"
    if panel.kind == "error" and (near := shown.boundary_errors.get((panel.run, panel.epoch))) is not None:
        score = f"{100 * near.share:.0f} % of the errors"
    elif panel.kind == "error" and scores.pixel_accuracy is not None:
        score = f"{100 * (1 - scores.pixel_accuracy):.1f} % wrong"
    else:
        score = f"Dice {number(scores.dice)}"
    return f"ep {panel.epoch} · {score}" if look.each_best and len(look.galleries) > 1 else score


def legend_of(look: Look, shown: Shown, studio: Studio, columns: int) -> Text:
    """The classes of what is shown, those with most pixels first, and the means above them: one below the
    other, or where `columns` is above 0 in so many columns beside each other."""
    if shown.target_pixels is None:
        return Text("")
    first, runs, depth = look.first, list(look.galleries.values()), shown.view.depth
    of_run = {run: score for (run, _), score in shown.scores.items()}
    predicted = {
        name
        for (run, _), counts in shown.predicted_pixels.items()
        for name, count in zip(look.galleries[run].classes, counts, strict=False)
        if count
    }
    total = max(1, int(shown.target_pixels.sum()))
    paints, letters = studio.paints(first, depth), class_letters(first.classes)
    rows = []
    for position, name in enumerate(first.classes):
        pixels = int(shown.target_pixels[position])
        if pixels or name in predicted:
            dice = tuple(_class_dice(of_run.get(run.id), run, name) for run in runs)
            rows.append(LegendRow(name, paints[position], letters[position], pixels / total, dice))
    rows.sort(key=lambda row: -row.share)
    if shown.target_pixels[VOID]:
        share = int(shown.target_pixels[VOID]) / total
        rows.append(LegendRow("void", VOID_COLOR, " ", share, (None,) * len(runs)))
    totals = [("this image", tuple(of_run[run.id].dice if run.id in of_run else None for run in runs))]
    rankings = [look.ranking(run) for run in runs]
    if any(rankings):
        pooled = tuple(ranking.pooled.dice if ranking else None for ranking in rankings)
        counts = {ranking.images for ranking in rankings if ranking}
        totals.append((f"all {counted(counts.pop(), 'image')}" if len(counts) == 1 else "all images", pooled))
    heads = ["Dice"] if len(runs) == 1 else [run.name for run in runs]
    text = legend(rows, heads, totals, depth != "none", "dim", bars=not columns)
    text.append_text(_boundary_errors(runs, shown))
    if not columns:
        return text
    text.rstrip()
    return in_columns(text, columns, legend_width(len(runs), bars=False) + LEGEND_GAP)


def _boundary_errors(runs: Sequence[RunGallery], shown: Shown) -> Text:
    """How many of the errors are near true boundaries, where only those are shown."""
    text = Text()
    of_run = {run: errors for (run, _), errors in shown.boundary_errors.items()}
    for run in runs:
        if (errors := of_run.get(run.id)) is not None:
            head = f"\n\nboundary errors, d = {errors.distance} px" if not text else ""
            text.append(head, "bold")
            name = f"{run.name} " if len(runs) > 1 else ""
            text.append(f"\n{name}{errors.near:,} of {errors.wrong:,} px ({100 * errors.share:.0f} %)")
    return text


def _class_dice(scores: Scores | None, run: RunGallery, name: str) -> float | None:
    """A class's Dice; None also for a run that does not know the class. Its place says nothing: it may be
    another class's in another run."""
    if scores is None or name not in run.classes:
        return None
    return scores.class_dice[run.classes.index(name)]


def place_line(look: Look, shown: Shown | None, studio: Studio) -> Text:
    """The classes under the cross, as they are shown there."""
    text = Text(no_wrap=True)
    if shown is None or look.cross is None:
        return text.append("point with the mouse or arrow keys to see the class")
    height, width = look.size
    text.append(f"row {int(look.cross[0] * height)}, column {int(look.cross[1] * width)}")
    down, right = look.box.relative(look.cross)
    for drawn, title in zip(shown.drawn, titles(shown.view.panels, look), strict=True):
        if drawn.labels is None or not (0 <= down < 1 and 0 <= right < 1):
            continue
        rows, cols = drawn.labels.shape
        label = int(drawn.labels[int(down * rows), int(right * cols)])
        text.append(f"   {title} ")
        text.append_text(_class_name(look.galleries[drawn.panel.run], label, studio, shown.view.depth))
    return text


def _class_name(gallery: RunGallery, label: int, studio: Studio, depth: Depth) -> Text:
    if label == VOID:
        return Text("void", style="bold")
    text = Text()
    if depth != "none":
        text.append("██ ", style=hex_of(studio.paints(gallery, depth)[label]))
    return text.append(gallery.classes[label], style="bold")
