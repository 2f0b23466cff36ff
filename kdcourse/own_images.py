"""A learner's own data: a folder of images, KMNIST or drawn letters, written as the NAME.npz that `kd.load("NAME")` reads."""

import hashlib
import json
import os
import re
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from kdcourse import data, letters
from kdcourse.models import stream_seed

SIDE = 28
FEWEST = 20  # images a class, unless told otherwise: fewer leave nothing to test on
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
TAKEN = ("mnist", "fashion_mnist", "cifar10", "cifar100", "omniglot")
MADE = ("letters", "kmnist")
KMNIST_FILES = {
    "train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
    "train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
    "t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
    "t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
}


def target(name: str) -> Path:
    """Where a data set of this name is written: NAME.npz in $KDCOURSE_DATA, or in ~/.cache/kdcourse."""
    return Path(os.environ.get("KDCOURSE_DATA") or Path.home() / ".cache" / "kdcourse") / f"{name}.npz"


def import_folder(
    name: str, folder, *, seed: int = 0, test_share: float = 0.2, fewest: int = FEWEST, invert: bool = False, replace: bool = False
) -> tuple[Path, list[str]]:
    """Write the images in `folder` as NAME.npz; returns its path and, line by line, what was done.

    folder: one folder a class, or train/ and test/ with the same classes in each. Images become grey, square (the border's own grey fills up) and 28×28. Without train/ and test/,
    `test_share` of each class is set aside by a shuffle that `seed` decides. An image that is there twice counts once, so none is on both sides of a split;
    the training images are in a random order, so that the last ones can be held out. invert: dark on light becomes light on dark, as in MNIST.
    Raises ValueError for a name that is taken, a folder without classes, fewer than two classes, fewer than `fewest` images in one, an unreadable
    image, equal images under two labels, and images that are all the same.
    """
    _check_name(name, replace)
    if not 0 < test_share < 1:
        raise ValueError(f"the share of test images is {test_share}; expected a number between 0 and 1")
    if fewest < 5:
        raise ValueError(f"the fewest images a class is {fewest}; expected at least 5")
    parts, notes = _find(Path(folder))
    classes = sorted({label for files in parts.values() for label in files})
    read = {part: _read(files, classes, invert) for part, files in parts.items()}
    if len(np.unique(np.concatenate([images for images, _, _ in read.values()]), axis=0)) == 1:
        raise ValueError("all images are equal; there is nothing to tell apart")
    read, twice = _once(read)
    _check(read, classes, fewest)
    if twice:
        notes.append(f"{twice} images were there more than once and count once")
    if set(read) == {"all"}:
        read = _split(read["all"], len(classes), test_share, seed)
        notes.append(f"split by seed {seed}: {test_share:.0%} of each class are test images")
    arrays = {"classes": np.array(classes)} | _shuffled(read, seed)
    edges = np.median(arrays["train_images"][:, [0, -1]].reshape(len(arrays["train_images"]), -1), axis=1)
    if (edges > 127).mean() > 0.5:
        notes.append("most images are dark on light; MNIST is light on dark. --invert turns them, which small networks find easier")
    return _write(name, arrays, {"source": "folder", "seed": seed, "invert": invert}), [*notes, *_sizes(arrays)]


def import_letters(*, seed: int = 0, replace: bool = False) -> tuple[Path, list[str]]:
    """Write letters.npz: ten letters that are easy to confuse, in other fonts for training, validation and test. Needs no network."""
    name = "letters" if seed == 0 else f"letters{seed}"
    _check_name(name, replace=True, made=True)
    path = target(name)
    if path.exists() and not replace:
        return path, [f"{path} was there already (--replace draws it again)"]
    arrays = letters.make(seed)
    note = "the last 2,000 training images are of fonts that the others are not of: hold them out for validation, kd.hold_out(train, 2000)"
    return _write(name, arrays, {"source": "letters", "seed": seed}), [note, *_sizes(arrays)]


def import_kmnist(*, replace: bool = False) -> tuple[Path, list[str]]:
    """Write kmnist.npz from torchvision's KMNIST, downloaded once. Raises ValueError, with where to put the files by hand, where that fails."""
    import torchvision.datasets

    path = target("kmnist")
    if path.exists() and not replace:
        return path, [f"{path} was there already (--replace makes it again)"]
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    try:
        parts = [torchvision.datasets.KMNIST(str(folder), train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as problem:
        wanted = "\n".join(f"    {file}  (md5 {md5})" for file, md5 in KMNIST_FILES.items())
        raise ValueError(
            f"KMNIST is not on this machine and could not be downloaded ({problem}). With a network, try again. Without one, bring these four files\n{wanted}\n"
            f"on a stick, put them into {folder / 'KMNIST' / 'raw'} and run the same command; or draw letters: kdcourse import-images --letters"
        ) from problem
    arrays = {"classes": np.array([str(c) for c in parts[0].classes])}
    for part, found in zip(("train", "test"), parts):
        arrays |= {f"{part}_images": found.data.numpy(), f"{part}_labels": found.targets.numpy().astype(np.int64)}
    return _write("kmnist", arrays, {"source": "KMNIST", "licence": "CC BY-SA 4.0"}), _sizes(arrays)


# ---- names and files ----


def _check_name(name: str, replace: bool, made: bool = False) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,39}", name):
        raise ValueError(f"{name!r} cannot name a data set; expected up to 40 small letters, digits, - and _, a letter first")
    if name in TAKEN or (name in MADE and not made):
        raise ValueError(f"{name!r} is the name of another data set of the course; give yours a name of its own")
    before = next(folder / f"{name}.npz" for folder in data.data_folders())  # where `load` looks first
    if before != target(name) and before.exists():
        raise ValueError(f"{before} would be found before yours; give your data another name")
    if target(name).exists() and not replace:
        raise ValueError(f"{target(name)} is there already; give another name, or --replace to write it anew")


def _write(name: str, arrays: dict, about: dict) -> Path:
    """One .npz, written to a temporary name and renamed; the same arrays make the same bytes."""
    path = target(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.npz")
    np.savez_compressed(temporary, **arrays, about=np.array(json.dumps(about, sort_keys=True)))
    os.replace(temporary, path)
    return path


def _sizes(arrays: dict) -> list[str]:
    classes = arrays["classes"].tolist()
    lines = []
    for part in ("train", "test"):
        counted = Counter(arrays[f"{part}_labels"].tolist())
        each = ", ".join(f"{name} {counted[k]}" for k, name in enumerate(classes))
        lines.append(f"{len(arrays[f'{part}_labels']):,} {part} images of {len(classes)} classes: {each}")
    return lines


# ---- from a folder to arrays ----


def _find(folder: Path) -> tuple[dict[str, dict[str, list[Path]]], list[str]]:
    """Image files by part ("train" and "test", or "all") and class name; and what was left aside."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; expected one with a sub-folder of images for each class")
    inner = {path.name: path for path in _folders(folder)}
    if loose := [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix.lower() in SUFFIXES]:
        raise ValueError(f"{loose[0].name} lies in {folder} itself; expected every image in a sub-folder named after its class")
    if {"train", "test"} <= set(inner):
        if other := sorted(set(inner) - {"train", "test"}):
            raise ValueError(f"{folder} has train/, test/ and {other[0]}/; expected nothing else beside train/ and test/ (put validation images into train/)")
        places = {"train": inner["train"], "test": inner["test"]}
    else:
        places = {"all": folder}
    parts, ignored = {}, Counter()
    for part, place in places.items():
        parts[part] = {path.name: _images(path, ignored) for path in _folders(place)}
        if not any(parts[part].values()):
            raise ValueError(f"{place} holds no images; expected a sub-folder for each class, with {', '.join(sorted(SUFFIXES))} files in it")
    if len({tuple(sorted(files)) for files in parts.values()}) > 1:
        odd = sorted(set(parts["train"]) ^ set(parts["test"]))[0]
        raise ValueError(f"{folder}: class {odd!r} is in only one of train/ and test/; expected the same classes in both")
    return parts, [f"left aside: {count} files ending in {suffix or 'nothing'}" for suffix, count in sorted(ignored.items())]


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _images(folder: Path, ignored: Counter) -> list[Path]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    ignored.update(path.suffix.lower() for path in files if path.suffix.lower() not in SUFFIXES)
    return [path for path in files if path.suffix.lower() in SUFFIXES]


def _read(files: dict[str, list[Path]], classes: list[str], invert: bool) -> tuple[np.ndarray, np.ndarray, list[Path]]:
    """(images `[N,28,28]`, labels `[N]`, paths) of the files of all classes."""
    paths = [path for name in classes for path in files[name]]
    labels = [k for k, name in enumerate(classes) for _ in files[name]]
    images = np.stack([to_grey(path) for path in paths])
    return (255 - images if invert else images), np.array(labels, np.int64), paths


def to_grey(path) -> np.ndarray:
    """An image file as uint8 `[28,28]`: upright, on white where transparent, grey, padded to a square with the grey of its border, made smaller or larger.

    Raises ValueError naming a file that is not a readable image.
    """
    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith(("I", "F")):  # 16 bits and more a pixel: PIL would cut off, not scale
                values = np.asarray(image, np.float64)
                top = 65535 if values.max() > 255 else 255
                image = Image.fromarray((np.clip(values / top, 0, 1) * 255).round().astype(np.uint8))
            if image.mode in ("P", "PA", "LA", "RGBA", "La", "RGBa"):
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise ValueError(f"{path} is not a readable image ({problem}); repair it or take it out") from problem
    pixels = np.asarray(image)
    border = int(np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])))
    square = Image.new("L", (max(image.size),) * 2, border)
    square.paste(image, ((square.width - image.width) // 2, (square.height - image.height) // 2))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _once(read: dict) -> tuple[dict, int]:
    """The same without images whose pixels were there before (test images first, so that these stay); how many went."""
    seen, kept, gone = {}, {}, 0
    for part in sorted(read, key=lambda part: part != "test"):
        images, labels, paths = read[part]
        keep = []
        for k, (image, label) in enumerate(zip(images, labels.tolist())):
            digest = hashlib.sha256(image.tobytes()).digest()
            first = seen.setdefault(digest, (label, paths[k]))
            if first[1] is paths[k]:
                keep.append(k)
            elif first[0] != label and len(np.unique(image)) > 1:
                raise ValueError(f"{first[1]} and {paths[k]} are the same image under two labels; keep the right one")
            else:
                gone += 1
        kept[part] = images[keep], labels[keep], [paths[k] for k in keep]
    return kept, gone


def _check(read: dict, classes: list[str], fewest: int) -> None:
    """Refuse what nothing can be learned from."""
    if len(classes) < 2:
        raise ValueError(f"there is one class, {classes[0]!r}; expected a sub-folder for each of at least two")
    counted = defaultdict(int)
    for _, labels, _ in read.values():
        for k, count in Counter(labels.tolist()).items():
            counted[k] += count
    if few := [f"{name} has {counted[k]}" for k, name in enumerate(classes) if counted[k] < fewest]:
        raise ValueError(f"too few different images: {', '.join(few)}; expected at least {fewest} of each class")
    for part, (_, labels, _) in read.items():
        if none := [name for k, name in enumerate(classes) if k not in labels]:
            raise ValueError(f"{part}/ has no image of {none[0]!r} that is not also in test/; expected some of each class")


def _split(everything: tuple, classes: int, test_share: float, seed: int) -> dict:
    """Set aside a share of each class, at least one image of each on both sides."""
    images, labels, paths = everything
    rng, testing = np.random.default_rng(stream_seed(seed, "own images/split")), np.zeros(len(labels), bool)
    for k in range(classes):
        mine = rng.permutation(np.flatnonzero(labels == k))
        testing[mine[: min(max(1, round(test_share * len(mine))), len(mine) - 1)]] = True
    return {
        part: (images[rows], labels[rows], [p for p, row in zip(paths, rows) if row]) for part, rows in (("train", ~testing), ("test", testing))
    }


def _shuffled(read: dict, seed: int) -> dict[str, np.ndarray]:
    """The arrays of both parts in a random order: the last training images have to be of all classes."""
    arrays, rng = {}, np.random.default_rng(stream_seed(seed, "own images/order"))
    for part in ("train", "test"):
        images, labels, _ = read[part]
        order = rng.permutation(len(labels))
        arrays |= {f"{part}_images": images[order], f"{part}_labels": labels[order]}
    return arrays


# ---- the command ----


def main(options, root) -> int:
    """`kdcourse import-images`: one of a folder, --letters and --kmnist; says where the data lie and how to load them."""
    if sum([options.letters, options.kmnist, options.folder is not None]) != 1 or (options.folder is None) != (options.name is None):
        raise ValueError("import-images needs NAME and FOLDER, or --letters, or --kmnist")
    if options.letters:
        path, lines = import_letters(seed=options.seed, replace=options.replace)
    elif options.kmnist:
        path, lines = import_kmnist(replace=options.replace)
    else:
        chosen = {name: getattr(options, name) for name in ("seed", "test_share", "fewest", "invert", "replace")}
        path, lines = import_folder(options.name, options.folder, **chosen)
    loaded = data.load(path.stem)  # what was written is what a lesson will read
    print("\n".join([*lines, f"written: {path}", f'in a notebook: kd.load("{path.stem}")  # images {tuple(loaded.train.images.shape)}']))
    return 0


def add_arguments(parser) -> None:
    """The options of `kdcourse import-images`."""
    parser.add_argument("name", nargs="?", help='what to call the data: kd.load("NAME")')
    parser.add_argument("folder", nargs="?", help="a folder with one sub-folder of images a class, or with train/ and test/")
    parser.add_argument("--letters", action="store_true", help="draw letters from matplotlib's fonts instead; needs no network")
    parser.add_argument("--kmnist", action="store_true", help="download KMNIST instead")
    parser.add_argument("--seed", type=int, default=0, help="decides which images become test images, or how letters are drawn (0)")
    parser.add_argument("--test-share", type=float, default=0.2, help="share of each class that becomes test images (0.2)")
    parser.add_argument("--fewest", type=int, default=FEWEST, help=f"fewest images a class ({FEWEST})")
    parser.add_argument("--invert", action="store_true", help="turn dark on light into light on dark")
    parser.add_argument("--replace", action="store_true", help="write anew what is there already")
