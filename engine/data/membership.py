"""Which samples a run trained on and which it held out: `split.json` in its folder.

The run writes it when it first opens its data. The data set may change later: images are added, labels
redrawn, files lost. The run goes on with the split that it began with, and whoever looks at its network
scores what it held out. What has changed is told.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.config.sections import DataConfig
from engine.data.catalog import DataError, Sample
from engine.data.fingerprints import fingerprints
from engine.host.input_files import shown
from engine.run.directory import RunDir, RunDirError
from engine.run.environment import text_digest
from engine.run.files import expanded, is_same_folder, replacing
from engine.typed import typed

Contents = tuple[str, str]
"""The digests of an image and of its label, "" without one."""


@dataclass(frozen=True)
class Membership:
    """The samples of each part by name, with what was in their files.

    `unused` are those that the run knows and leaves alone: faulty ones, and training images beyond
    data.label_fraction.
    """

    train: Mapping[str, Contents]
    val: Mapping[str, Contents]
    unused: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        train: Sequence[Sample],
        val: Sequence[Sample],
        unused: Iterable[Sample],
        root: Path,
        cache_dir: Path,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Membership:
        """Reads each file once, or remembers it. Raises DataError."""
        contents = contents_of([*train, *val], root, cache_dir, on_progress)
        return cls(
            {sample.name: contents[sample.name] for sample in train},
            {sample.name: contents[sample.name] for sample in val},
            frozenset(sample.name for sample in unused),
        )

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.train) | frozenset(self.val) | self.unused

    @property
    def split_digest(self) -> str:
        """Of the names that train and of those that validate."""
        return text_digest([sorted(self.train), sorted(self.val)])

    @property
    def data_digest(self) -> str:
        """Of what is in the files of all images that train or validate, and of their names."""
        return text_digest([sorted(self.train.items()), sorted(self.val.items())])

    def part(self, split: str) -> Mapping[str, Contents]:
        return self.train if split == "train" else self.val

    def write(self, path: Path) -> None:
        """Whole or not at all. Raises OSError."""
        table = {
            "format": 1,
            "train": {name: " ".join(contents) for name, contents in self.train.items()},
            "val": {name: " ".join(contents) for name, contents in self.val.items()},
            "unused": sorted(self.unused),
        }
        with replacing(path) as stream:
            # A name that is no valid UTF-8 has surrogates, which JSON's escapes keep.
            stream.write(json.dumps(table, indent=1, ensure_ascii=True).encode() + b"\n")

    @classmethod
    def read(cls, path: Path) -> Membership | None:
        """None when there is no such file. Raises DataError when it is damaged."""
        try:
            table = json.loads(path.read_bytes())
            parts = [
                {name: _contents(text) for name, text in table[part].items()} for part in ("train", "val")
            ]
            return cls(parts[0], parts[1], frozenset(map(str, table["unused"])))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{path}: cannot be read ({error!r}), so which images the run trained on is not known"
            ) from error


@dataclass(frozen=True)
class Trained:
    """What is known of the images that a run learned from. `membership` is None for runs of earlier versions,
    of which the journal has but the numbers of images, `counts`, one pair for each time that the data was
    opened."""

    run_id: str
    data: DataConfig
    membership: Membership | None
    counts: frozenset[tuple[int, int]] = field(default_factory=frozenset)

    @classmethod
    def find(cls, run: RunDir) -> Trained | None:
        """Of the run in a folder; None where there is no run to be read. Raises DataError."""
        try:
            data = run.read_config().data
        except RunDirError:
            return None
        membership = Membership.read(run.split_file)
        return cls(run.id, data, membership, frozenset() if membership is not None else _counted(run.journal))

    def is_of(self, config: DataConfig, root: Path) -> bool:
        """Whether a config means the data that the run saw, divided as the run divided it."""
        divided = (self.data.split, self.data.val_folders)
        if divided != (config.split, config.val_folders):
            return False
        return is_same_folder(expanded(Path(self.data.root)).absolute(), root)

    def refuse_other_counts(self, train: int, val: int) -> None:
        """Raise DataError when a run of an earlier version saw other numbers of images than these."""
        if not self.counts or self.counts == {(train, val)}:
            return
        told = " and then ".join(f"{one} + {other}" for one, other in sorted(self.counts))
        raise DataError(
            f"the data set of {self.run_id} has changed: {told} training and validation images then, "
            f"{train} + {val} now; an earlier version made that run and did not keep which images it trained "
            f"on. Restore the data set, or make a new run with `{typed('rerun', self.run_id)}`"
        )


def contents_of(
    samples: Iterable[Sample],
    root: Path,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Contents]:
    """The digests of each sample's image and label, by name. Raises DataError."""
    samples = list(samples)
    files = [path for sample in samples for path in (sample.image, sample.label) if path is not None]
    digests = fingerprints(files, root, cache_dir, on_progress)
    return {
        sample.name: (digests[sample.image], digests[sample.label] if sample.label is not None else "")
        for sample in samples
    }


def told_changes(
    before: Mapping[str, Contents], now: Mapping[str, Contents], validating: Collection[str] = ()
) -> list[str]:
    """Lines on the samples whose files hold something else now; those that validate are counted apart."""
    lines = []
    for what, place in (("the images", 0), ("the labels", 1)):
        changed = sorted(
            name for name in before.keys() & now.keys() if before[name][place] != now[name][place]
        )
        if changed:
            judging = sum(name in validating for name in changed)
            note = (
                f"; {judging} of them validate, so scores before and after differ in kind" if judging else ""
            )
            lines.append(f"{what} of {some(changed)} have changed since the run started{note}")
    return lines


def refuse_moved(root: Path) -> None:
    """Raise DataError when the data that a run began with is no longer at `root`."""
    if not root.exists():
        link = f"ln -s NEW {shlex.quote(shown(root))}"
        raise DataError(
            f"{shown(root)}: no such folder; if the data of the run has moved, `{link}` leads to it"
        )


def some(names: Collection[str]) -> str:
    """How many samples, and the first of them: "3 samples (a, b, ...)"."""
    # A name that is no valid UTF-8 goes into no journal as it is.
    shown = [name.encode("utf-8", "backslashreplace").decode() for name in sorted(names)[:3]]
    more = ", ..." if len(names) > len(shown) else ""
    return f"{len(names)} {'sample' if len(names) == 1 else 'samples'} ({', '.join(shown)}{more})"


def _contents(text: str) -> Contents:
    image, _, label = text.partition(" ")
    return image, label


def _counted(journal: Path) -> frozenset[tuple[int, int]]:
    """The numbers of training and validation images of each "data" event."""
    found = set()
    try:
        with open(journal, "rb") as lines:
            for line in lines:
                if b'"event":"data"' in line.replace(b" ", b""):
                    told = json.loads(line)
                    found.add((int(told["train_images"]), int(told["val_images"])))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a torn line; what was read before it counts
    return frozenset(found)
