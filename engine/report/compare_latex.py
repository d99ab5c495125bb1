"""A Comparison as LaTeX: tables that a paper can take as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from engine.report.compare import Comparison, Entry
from engine.report.compare_formats import CLASS_DICE, number, or_dash, published_score
from engine.report.measures import Metric, Value
from engine.report.published import TABLES, LiteratureResult, PublishedResult
from engine.visible import one_line

# A paper has room for what it argues with; the other formats hold every metric.
_COLUMNS = ("best_dice", "common_dice", "best_train_dice", "best_miou", "pixel_accuracy", "epochs")


def comparison_latex(comparison: Comparison) -> str:
    """Two tables for a paper that loads booktabs: the scores, the best of each bold, with the published rows
    marked by a dagger below a rule; and Dice by class."""
    entries, published = comparison.entries, comparison.published
    metrics = _metrics(comparison)
    best = [_best(metric, [entry.values.get(metric.name) for entry in entries]) for metric in metrics]
    titles = [*(_sentence_case(metric.title) for metric in metrics), *(["Test Dice"] if published else [])]
    rows = [
        " & ".join(
            [
                _escaped(entry.title),
                *(_number(m, entry.values.get(m.name), b) for m, b in zip(metrics, best, strict=True)),
                *(["--"] if published else []),
            ]
        )
        for entry in entries
    ]
    references = [_published_row(result, metrics) for result in published]
    references += [_literature_row(result, metrics, bool(published)) for result in comparison.literature]
    lines = [r"% \usepackage{booktabs}", *_tabular(["Run", *titles], rows, references)]
    if published:
        lines.append(r"% $^\dagger$ published by the study, not measured here.")
        lines += [f"% Table {table}: {about}." for table, about in TABLES.items()]
    if comparison.literature:
        lines.append(r"% $^\ddagger$ published by others, trained from scratch, not measured here.")
        lines += [f"% {one.system}: {one.training}; {one.source}." for one in comparison.literature]
    if comparison.classes:
        scores = [
            " & ".join([_escaped(row.name), *(_number(CLASS_DICE, value, None) for value in row.dice)])
            for row in comparison.classes
        ]
        lines += ["", *_tabular(["Class", *(entry.title for entry in entries)], scores)]
    return "\n".join([*lines, *(f"% Note: {one_line(note)}" for note in comparison.notes)]) + "\n"


def _metrics(comparison: Comparison) -> list[Metric]:
    """The columns: the usual ones and, where an entry has no score among these, as it is an evaluation or
    learns no classes, all scores that it has."""

    def has(entry: Entry, metric: Metric) -> bool:
        return metric.kind in ("score", "loss") and metric.name in entry.values

    usual = [metric for metric in comparison.metrics if metric.name in _COLUMNS]
    bare = [entry for entry in comparison.entries if not any(has(entry, metric) for metric in usual)]
    return [
        metric
        for metric in comparison.metrics
        if metric in usual or any(has(entry, metric) for entry in bare)
    ]


def _tabular(header: Sequence[str], *blocks: Sequence[str]) -> list[str]:
    """Rows in blocks with a rule between two of them; all columns but the first are set flush right."""
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        " & ".join(map(_escaped, header)) + r" \\",
    ]
    for block in filter(None, blocks):
        lines += [r"\midrule", *(row + r" \\" for row in block)]
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _published_row(result: PublishedResult, metrics: Sequence[Metric]) -> str:
    known = {
        "best_dice": published_score(result.val_dice),
        "best_train_dice": published_score(result.train_dice),
        "epochs": or_dash(result.epochs),
    }
    cells = [*(known.get(metric.name, "-") for metric in metrics), published_score(result.test_dice)]
    return " & ".join([rf"{_escaped(result.system)}$^\dagger$", *map(_escaped, cells)])


def _literature_row(result: LiteratureResult, metrics: Sequence[Metric], with_test_dice: bool) -> str:
    cells = [f"{result.miou:.4f}" if metric.name == "best_miou" else "-" for metric in metrics]
    cells += ["-"] if with_test_dice else []
    return " & ".join(
        [rf"{_escaped(f'{result.system} ({result.images})')}$^\ddagger$", *map(_escaped, cells)]
    )


def _best(metric: Metric, values: Iterable[Value | None]) -> float | None:
    known = [value.mean for value in values if value is not None]
    if metric.better == "neither" or len(known) < 2:
        return None
    return max(known) if metric.better == "higher" else min(known)


def _number(metric: Metric, value: Value | None, best: float | None) -> str:
    text = _escaped(number(metric, value))
    return rf"\textbf{{{text}}}" if value is not None and value.mean == best else text


_LATEX: Mapping[str, str] = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # Behind the end of a row, a bracket would begin the optional argument of that end.
    "[": "{[}",
    "]": "{]}",
}


def _escaped(text: str) -> str:
    """Text that LaTeX prints as it is; a lone dash becomes a longer one."""
    return "--" if text == "-" else "".join(_LATEX.get(c, c) for c in one_line(text))


def _sentence_case(text: str) -> str:
    """ "best Dice" as "Best Dice"; a name such as mIoU stays."""
    return text if any(map(str.isupper, text.split()[0])) else text[:1].upper() + text[1:]
