"""What an out-of-distribution evaluation looks at: images that are to be accepted and images that are not.

Free of torch, so that a front end can refuse bad data before a run exists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.classes import ClassSet
from engine.config.sections import DataConfig
from engine.config.task_sections import OodConfig
from engine.data.anomalies import IGNORED, IN, OUT, Scene, find_scenes, pseudo_mask_table
from engine.data.cache import files_of, size_and_time
from engine.data.catalog import DataError, Sample, scan
from engine.data.decode import map_in_order, read_pair, train_id_table
from engine.data.faults import counted, listed
from engine.data.fingerprints import fingerprints
from engine.data.frozen_classes import BUILT_IN, usual_classes
from engine.data.layouts import meaning_of
from engine.data.layouts.recognise import fitting_layouts, is_data_set
from engine.data.membership import Trained
from engine.data.pairs import open_pairs
from engine.data.split import split_random
from engine.host.access import reason
from engine.host.input_files import shown
from engine.run.files import write_json

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Read:
    """An image decoded, with its mask (0 in, 1 out, 255 ignored) and its train ids where it has them; all of
    one size."""

    image: Image.Image
    mask: Labels | None
    target: Labels | None


@dataclass(frozen=True)
class Case:
    """One image to judge. `origin` is the data set that it came from; `masked`: it will have a mask.

    `files` are those that it is read from, `meaning` what else the mask depends on.
    """

    name: str
    origin: Literal["in", "out"]
    masked: bool
    read: Callable[[], Read]
    files: tuple[Path, ...] = ()
    meaning: str = ""


@dataclass(frozen=True)
class Material:
    """`training` is fitted on and `calibrating` sets the thresholds: held out of training, not among the
    cases.

    `notes` are what a person should know of how it was put together.
    """

    class_set: ClassSet
    root: Path
    training: tuple[Sample, ...]
    calibrating: tuple[Sample, ...]
    cases: tuple[Case, ...]
    notes: tuple[str, ...] = ()


def open_material(
    config: DataConfig,
    about: OodConfig,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
    trained: Trained | None = None,
) -> Material:
    """Find everything, and open every image and mask once. Raises DataError: no such data, too few images
    held out, masks that do not fit or mark nothing.

    The images that the run held out are divided: half of them calibrate, the other half are the
    in-distribution cases when `about.in_root` is the run's own data. A data set that the run knows nothing of
    gives all images of its split. An image that trained or calibrates is never a case, whatever the way to
    its file.
    """
    training = open_pairs(config, "train", cache_dir, on_progress, trained)
    held_out = open_pairs(config, "val", cache_dir, on_progress, trained)
    try:
        # By rank, in exact halves: a threshold of its own may leave one side of a small part empty, and what
        # is held out is the run's own part, which does not change when images are added.
        calibrating, rest = split_random(held_out.samples, 0.5, config.split_seed, "rank")
    except DataError as error:
        raise DataError(
            f"{config.root}: at least two images must be held out of training for calibration"
        ) from error
    root, class_set = held_out.root, held_out.class_set
    notes = list(dict.fromkeys((*training.notes, *held_out.notes)))
    in_root, in_set = Path(about.in_root), class_set
    labelled: tuple[Sample, ...] = ()
    scenes: tuple[Scene, ...] = ()
    if in_root.is_dir() and in_root.samefile(root):
        labelled = rest
        if about.split == "test":
            labelled = open_pairs(config, "test", cache_dir, trained=trained).samples
    elif is_data_set(in_root):
        layout = _layout_there(in_root, config, class_set)
        catalog = scan(in_root, layout, usual_classes(in_root, layout, class_set))
        notes += [f"{in_root}: {note}" for note in catalog.notes]
        # What else it lacks of the network's classes is no matter: its images then have no Dice.
        in_set = catalog.class_set.without([c for c in config.held_out if c in catalog.class_set.names])
        if about.pseudo == "held-out" and config.held_out and not in_set.held_out:
            lacks = f"has none of the classes held out of training ({listed(config.held_out)})"
            raise DataError(f"{in_root}: {lacks}, so there is nothing to detect")
        labelled = _of_split(catalog.splits, about.split, in_root)
    else:
        found_in = find_scenes(in_root)
        scenes = found_in.scenes
        notes += found_in.notes
    found = len(labelled) + len(scenes)
    images = [*(sample.image for sample in labelled), *(scene.image for scene in scenes)]
    is_used = _known_images(trained, (*training.samples, *calibrating), root, images, in_root, cache_dir)
    labelled = tuple(sample for sample in labelled if not is_used(sample.image))
    scenes = tuple(scene for scene in scenes if not is_used(scene.image))
    left_out = found - len(labelled) - len(scenes)
    if left_out == found:
        raise DataError(
            f"{in_root}: all {found} images were used to train the network or to calibrate its thresholds"
        )
    if left_out:
        notes.append(f"{in_root}: {left_out} images were used for training or calibration and are not scored")
    comparable = in_set.names == class_set.names
    if labelled and not comparable:
        notes.append(f"{in_root}: its classes differ from the run's, so its images have no Dice")
    table = pseudo_mask_table(in_set, about.pseudo == "held-out") if about.pseudo != "none" else None
    if table is not None and not labelled:
        raise DataError(f"{in_root}: has no labels to take pseudo-outliers from")
    cases = [_labelled_case(sample, in_set, in_root, table, comparable) for sample in labelled]
    cases += [_scene_case(scene, "in") for scene in scenes]
    if about.out_root:
        found_out = find_scenes(Path(about.out_root))
        cases += [_scene_case(scene, "out") for scene in found_out.scenes]
        notes += found_out.notes
    cases, told = check_cases(cases, about, config.skip_bad, cache_dir, on_progress)
    notes += told
    return Material(class_set, root, training.samples, calibrating, tuple(cases), tuple(notes))


def _known_images(
    trained: Trained | None,
    used: Sequence[Sample],
    root: Path,
    images: Sequence[Path],
    in_root: Path,
    cache_dir: Path,
) -> Callable[[Path], bool]:
    """Says whether an image trained the network or calibrates: that very file, or a copy of it."""
    files = {_file(sample.image) for sample in used}
    member = trained.membership if trained is not None else None
    if member is None:
        return lambda image: _file(image) in files
    contents = {image for image, _ in member.train.values()}
    contents |= set(fingerprints((sample.image for sample in used), root, cache_dir).values())
    digests = fingerprints(images, in_root, cache_dir)
    return lambda image: _file(image) in files or digests[image] in contents


def _file(path: Path) -> tuple[int, int]:
    """What a file is, however it is named: by links, or by another mount of its folder. Raises DataError."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1  # a fault like others, found when it is opened
    return found.st_dev, found.st_ino


def check_cases(
    cases: list[Case],
    about: OodConfig,
    skip_bad: bool,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Case], list[str]]:
    """Open every case, once: the result is kept. Returns the cases that can be judged, and notes.

    Raises DataError when one cannot be read and `skip_bad` is not set, and when there would be nothing to
    measure: no pixel or no image that is out-of-distribution, or none that is not.
    """
    looks = look_at(cases, cache_dir, on_progress)
    bad = [look.problem for look in looks if look.problem]
    if bad and (not skip_bad or len(bad) == len(cases)):
        more = f"; and {len(bad) - 1} more like it" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{more}; fix it, or add data.skip_bad=true")
    notes = [f"{counted(len(bad), 'image')} left out (data.skip_bad): {listed(bad)}"] if bad else []
    good = [(case, look) for case, look in zip(cases, looks, strict=True) if not look.problem]
    return [case for case, _ in good], notes + _refuse_nothing_to_measure(good, about)


def _refuse_nothing_to_measure(good: list[tuple[Case, Look]], about: OodConfig) -> list[str]:
    """What cannot be measured, though something else can."""
    masked = [(case, look) for case, look in good if case.masked]
    inside, outside = sum(look.inside for _, look in masked), sum(look.outside for _, look in masked)
    if about.pseudo != "none" and not outside:
        what = "void" if about.pseudo == "void" else "of a class held out"
        raise DataError(f"{about.in_root}: no pixel is {what}, so nothing is out-of-distribution")
    of_out = [look for case, look in masked if case.origin == "out"]
    if of_out and not any(look.outside for look in of_out):
        told = f"{about.out_root}: no mask marks a pixel as out-of-distribution (1)"
        if any(look.ignored for look in of_out):
            told += "; 255 is ignored, so write 1 where 255 stands for an anomaly"
        raise DataError(told)
    images = {_is_out(case, look) for case, look in good}
    of_pixels, of_images = bool(inside and outside), len(images) == 2
    if not of_pixels and not of_images:
        lacking = "in-distribution" if True in images else "out-of-distribution"
        help = "; name some with --id-data" if True in images else ""
        raise DataError(f"no image and no pixel is {lacking}, so there is nothing to compare{help}")
    notes = []
    if masked and not of_pixels:
        notes.append(
            "the masks do not mark both in- and out-of-distribution pixels; pixel scores are omitted"
        )
    if not of_images:
        notes.append("every image contains out-of-distribution pixels; image scores are omitted")
    return notes


def _is_out(case: Case, look: Look) -> bool:
    return bool(look.outside) if case.masked else case.origin == "out"


@dataclass(frozen=True)
class Look:
    """What opening a case has shown: what is wrong with it, and pixels of each value of its mask."""

    problem: str = ""
    inside: int = 0
    outside: int = 0
    ignored: int = 0


def look_at(
    cases: Sequence[Case], cache_dir: Path, on_progress: Callable[[int, int], None] | None = None
) -> list[Look]:
    """Open all cases; when nothing has changed since the last time, what was found then. Those with a problem
    are opened again: a permission or a disk may have refused them."""
    digest = hashlib.sha256()
    for case in cases:
        files = [[shown(file), *size_and_time(file)] for file in case.files]
        digest.update(json.dumps([case.name, case.origin, case.masked, case.meaning, files]).encode())
    memory = cache_dir / f"{digest.hexdigest()[:16]}.cases.json"
    known: list[Look] = []
    with suppress(OSError, ValueError, TypeError):  # not looked at yet, or not by this version
        known = [Look(**one) for one in json.loads(memory.read_bytes())]
    looks = known.copy() if len(known) == len(cases) else [Look("not looked at yet") for _ in cases]
    again = [place for place, look in enumerate(looks) if look.problem]
    with closing(map_in_order(_look, [cases[place] for place in again])) as looking:
        for done, (place, look) in enumerate(zip(again, looking, strict=True), start=1):
            looks[place] = look
            if on_progress:
                on_progress(done, len(again))
    if looks == known:
        return looks
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        write_json(memory, [asdict(look) for look in looks])
    except OSError as error:
        if not known:
            raise DataError(f"{cache_dir}: cannot be written: {reason(error)}") from error
    return looks


def _look(case: Case) -> Look:
    try:
        mask = case.read().mask
    except DataError as error:
        return Look(str(error))
    if mask is None:
        return Look()
    return Look("", *(int((mask == value).sum()) for value in (IN, OUT, IGNORED)))


def read_labelled(sample: Sample, class_set: ClassSet, root: Path) -> tuple[Image.Image, Labels]:
    """The image and its source ids, uint8 [H, W]. Raises DataError."""
    pair, faults = read_pair(sample, class_set, root)
    if pair is None:
        raise DataError(f"{root / faults[0].path}: {faults[0].problem}")
    return pair


def _layout_there(root: Path, config: DataConfig, learned: ClassSet) -> str:
    """How another data set is read: where its folder fits several layouts, as that of the run, or as the only
    one that is mapped to the classes of Cityscapes where the network has them."""
    fitting = [layout.name for layout in fitting_layouts(root)]
    if len(fitting) == 1 or config.layout in fitting:
        return fitting[0] if len(fitting) == 1 else config.layout
    mapped = [name for name in fitting if usual_classes(root, name, learned) == BUILT_IN]
    return mapped[0] if len(mapped) == 1 else "auto"


def _of_split(splits: dict[str, tuple[Sample, ...]], wanted: str, root: Path) -> tuple[Sample, ...]:
    if wanted in splits:
        return splits[wanted]
    if len(splits) == 1:
        return next(iter(splits.values()))
    raise DataError(f"{root}: has no labelled images in {wanted}; there are: {', '.join(sorted(splits))}")


def _labelled_case(
    sample: Sample, class_set: ClassSet, root: Path, table: Labels | None, comparable: bool
) -> Case:
    train_ids = train_id_table(class_set)

    def read() -> Read:
        image, labels = read_labelled(sample, class_set, root)
        mask = None if table is None else table[labels]
        return Read(image, mask, train_ids[labels] if comparable else None)

    meaning = repr(sorted(class_set.train_ids().items()))
    read_by = meaning_of(sample.decoder, class_set)
    meaning += repr(read_by) if read_by else ""
    meaning += "" if table is None else table.tobytes().hex()
    return Case(sample.name, "in", table is not None, read, files_of(sample), meaning)


def _scene_case(scene: Scene, origin: Literal["in", "out"]) -> Case:
    def read() -> Read:
        image, mask = scene.read()
        return Read(image, mask, None)

    files = (scene.image,) if scene.mask is None else (scene.image, scene.mask)
    return Case(scene.name, origin, scene.mask is not None, read, files)
