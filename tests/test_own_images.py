"""A learner's own data: what becomes of a folder of images, of KMNIST and of drawn letters, and what is refused with which words."""

import numpy as np
import pytest
import torch
from PIL import Image

from kdcourse import cli, data, letters, own_images


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOURSE_DATA", str(tmp_path / "data"))


def picture(path, value=0, size=(28, 28), mode="L", seed=None):
    """Save an image: noise of `seed`, or one grey with a bright dot whose place tells images apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if seed is not None:
        pixels = np.random.default_rng(seed).integers(0, 100, size[::-1], np.uint8)
    else:
        pixels = np.full(size[::-1], value, np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes of 30 different images each, told apart by nothing but the folder."""
    for k, name in enumerate(("cat", "dog")):
        for i in range(30):
            picture(tmp_path / "own" / name / f"{i}.png", seed=1000 * k + i)
    return tmp_path / "own"


def hashes(split):
    return {image.numpy().tobytes() for image in split.images}


def test_a_folder_becomes_a_data_set_that_load_reads(folder):
    path, notes = own_images.import_folder("pets", folder)
    assert path == own_images.target("pets")
    found = data.load("pets")
    assert found.classes == ("cat", "dog")
    assert found.train.images.shape == (48, 1, 28, 28)
    assert found.train.images.dtype == torch.uint8
    assert found.test.labels.bincount().tolist() == [6, 6], "a fifth of each class"
    assert "48 train images of 2 classes: cat 24, dog 24" in "\n".join(notes)
    original = {np.asarray(Image.open(file)).tobytes(): file.parent.name for file in folder.rglob("*.png")}
    for split in (found.train, found.test):
        assert all(original[i.numpy().tobytes()] == found.classes[y] for i, y in zip(split.images, split.labels)), "labels follow images"
    assert found.train.labels[-10:].unique().tolist() == [0, 1], "the last images, held out for validation, are of all classes"


def test_the_same_seed_makes_the_same_bytes_and_another_seed_another_split(folder):
    first = own_images.import_folder("pets", folder)[0].read_bytes()
    test = hashes(data.load("pets").test)
    assert own_images.import_folder("pets", folder, replace=True)[0].read_bytes() == first
    own_images.import_folder("pets", folder, seed=1, replace=True)
    assert hashes(data.load("pets").test) != test
    assert not list(own_images.target("pets").parent.glob("*.tmp*"))


def test_no_image_is_on_both_sides_of_a_split(folder):
    for i in range(30):  # every cat twice, under another name and in another format
        Image.open(folder / "cat" / f"{i}.png").save(folder / "cat" / f"copy{i}.bmp")
    for seed in range(3):
        _, notes = own_images.import_folder("pets", folder, seed=seed, replace=True)
        found = data.load("pets")
        assert not hashes(found.train) & hashes(found.test)
        assert len(found.train) + len(found.test) == 60
    assert "30 images were there more than once" in notes[0]


def test_given_parts_stay_as_they_are_but_lose_what_is_in_both(tmp_path):
    for part, shift in (("train", 0), ("test", 500)):
        for k, name in enumerate("ab"):
            for i in range(15):
                picture(tmp_path / "own" / part / name / f"{i}.png", seed=shift + 100 * k + i)
    picture(tmp_path / "own" / "train" / "a" / "leak.png", seed=500)
    own_images.import_folder("parted", tmp_path / "own")
    found = data.load("parted")
    assert (len(found.train), len(found.test)) == (30, 30), "the copy went from the training images"
    assert not hashes(found.train) & hashes(found.test)


def test_pixels_are_grey_square_upright_and_small(tmp_path):
    wide = Image.new("RGB", (60, 20), (200, 200, 200))
    wide.paste((0, 0, 0), (28, 8, 32, 12))
    wide.save(tmp_path / "wide.jpg", quality=95)
    pixels = own_images.to_grey(tmp_path / "wide.jpg")
    assert pixels.shape == (28, 28)
    assert pixels.dtype == np.uint8
    assert abs(int(pixels[0, 0]) - 200) < 4, "filled up with the grey of its border"
    assert pixels[13:15, 13:15].mean() < pixels[2, 2] - 50, "the dark spot is in the middle"
    clear = Image.new("RGBA", (28, 28), (0, 0, 0, 0))
    clear.save(tmp_path / "clear.png")
    assert own_images.to_grey(tmp_path / "clear.png").min() == 255, "what is transparent is white"
    deep = Image.fromarray(np.full((28, 28), 32768, np.uint16))
    deep.save(tmp_path / "deep.png")
    assert abs(int(own_images.to_grey(tmp_path / "deep.png")[5, 5]) - 128) < 2, "sixteen bits are scaled, not cut off"
    turned = Image.new("L", (28, 28), 0)
    turned.paste(255, (0, 0, 28, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was upside down
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = own_images.to_grey(tmp_path / "turned.jpg")
    assert upright[-2].mean() > 200 > 50 > upright[1].mean()


def test_invert_turns_paper_into_night(tmp_path):
    for k, name in enumerate("ab"):
        for i in range(20):
            path = picture(tmp_path / "own" / name / f"{i}.png", seed=100 * k + i)
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    assert any("--invert" in note for note in own_images.import_folder("light", tmp_path / "own")[1])
    path, notes = own_images.import_folder("dark", tmp_path / "own", invert=True)
    assert not any("--invert" in note for note in notes)
    with np.load(path) as dark, np.load(own_images.target("light")) as light:
        assert np.array_equal(dark["train_images"], 255 - light["train_images"])


def refuse(words, *arguments, **options):
    with pytest.raises(ValueError, match=words):
        own_images.import_folder(*arguments, **options)
    assert not list(own_images.target("x").parent.glob("**/*.npz")), "nothing is written"


def test_bad_folders_are_refused_with_what_is_wrong(tmp_path, folder):
    refuse("not a folder", "x", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refuse("holds no images", "x", tmp_path / "empty")
    (tmp_path / "words" / "a").mkdir(parents=True)
    (tmp_path / "words" / "a" / "notes.txt").write_text("no image")
    refuse("holds no images", "x", tmp_path / "words")
    picture(tmp_path / "flat" / "1.png", 3)
    refuse("1.png lies in .*flat itself", "x", tmp_path / "flat")
    for i in range(30):
        picture(tmp_path / "single" / "cat" / f"{i}.png", seed=i)
    refuse("one class, 'cat'", "x", tmp_path / "single")
    refuse("cat has 30, dog has 30; expected at least 31", "x", folder, fewest=31)
    for name in "ab":
        for i in range(20):
            picture(tmp_path / "same" / name / f"{i}.png", 7)
    refuse("all images are equal", "x", tmp_path / "same")
    (folder / "dog" / "broken.png").write_bytes(b"\x89PNG not really")
    refuse(r"broken\.png is not a readable image", "x", folder)
    (folder / "dog" / "broken.png").unlink()
    Image.open(folder / "cat" / "3.png").save(folder / "dog" / "also.png")
    refuse(r"3\.png and .*also\.png are the same image under two labels", "x", folder)


def test_truncated_images_are_named(folder):
    picture(folder / "dog" / "cut.jpg", seed=5, size=(400, 400))
    whole = (folder / "dog" / "cut.jpg").read_bytes()
    (folder / "dog" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    refuse(r"cut\.jpg is not a readable image", "x", folder)


def test_parts_with_other_classes_or_neighbours_are_refused(tmp_path):
    for place in ("train/a", "train/b", "test/a"):
        for i in range(20):
            picture(tmp_path / "own" / place / f"{i}.png", seed=100 * ord(place[-1]) + 1000 * len(place) + i)
    refuse("class 'b' is in only one", "x", tmp_path / "own")
    picture(tmp_path / "own" / "test" / "b" / "1.png", seed=4)
    picture(tmp_path / "own" / "val" / "a" / "1.png", seed=5)
    refuse("val/; expected nothing else", "x", tmp_path / "own")


@pytest.mark.parametrize("name", ["mnist", "cifar10", "letters", "kmnist"])
def test_a_name_of_the_course_is_refused(name, folder):
    refuse("name of another data set", name, folder)


def test_names_that_are_no_file_names_and_names_in_use_are_refused(folder):
    refuse("cannot name a data set", "../up", folder)
    refuse("cannot name a data set", "My Cats", folder)
    refuse("between 0 and 1", "x", folder, test_share=1.5)
    own_images.import_folder("x", folder)
    with pytest.raises(ValueError, match="there already; give another name, or --replace"):
        own_images.import_folder("x", folder)


def test_files_that_are_no_images_are_counted(folder):
    (folder / "cat" / "readme.txt").write_text("hello")
    (folder / "cat" / ".DS_Store").write_bytes(b"\0")
    _, notes = own_images.import_folder("pets", folder)
    assert notes[0] == "left aside: 1 files ending in .txt"


def test_letters_are_the_same_every_time_and_their_fonts_differ():
    small = letters.make(3, train=60, validation=40, test=30)
    again = letters.make(3, train=60, validation=40, test=30)
    assert all(np.array_equal(small[key], again[key]) for key in small)
    assert not np.array_equal(small["test_images"], letters.make(4, train=60, validation=40, test=30)["test_images"])
    assert small["train_images"].shape == (100, 28, 28)
    assert np.bincount(small["train_labels"][-40:]).tolist() == [4] * 10, "the held-out ones are of all classes"
    assert (small["train_images"].reshape(100, -1).max(axis=1) > 120).all(), "no empty image"
    groups = [set(fonts) for fonts in letters.FONTS.values()]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    with pytest.raises(ValueError, match="test is 0 images"):
        letters.make(test=0)


def test_distance_maps_are_letters_of_one_size_with_both_sides():
    for font in (font for group in letters.FONTS.values() for font in group):
        rows, columns = np.nonzero(letters.distance_map(font, "o") > 0)
        sides = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert max(sides) == pytest.approx(letters.BODY, abs=2), font
        middle = letters.distance_map(font, "o")[letters.SIDE // 2, letters.SIDE // 2]
        assert middle < 0, f"the middle of an o is empty in {font}"


def test_import_letters_writes_what_load_reads(monkeypatch, capsys):
    monkeypatch.setattr(letters.make, "__defaults__", (0, 80, 40, 20))
    assert cli.main(["import-images", "--letters"]) == 0
    assert 'kd.load("letters")' in capsys.readouterr().out
    found = data.load("letters")
    assert found.classes == tuple("aceogqyuvn")
    assert len(found.train) == 120
    before = own_images.target("letters").stat().st_mtime_ns
    assert cli.main(["import-images", "--letters"]) == 0
    assert "was there already" in capsys.readouterr().out
    assert own_images.target("letters").stat().st_mtime_ns == before


class FakeKMNIST:
    """Looks like torchvision's: uint8 tensors, classes by name."""

    classes = ("o", "ki", "su")

    def __init__(self, root, train, download):
        assert download
        count = 30 if train else 12
        self.data = torch.arange(count, dtype=torch.uint8)[:, None, None].expand(count, 28, 28).contiguous()
        self.targets = torch.arange(count) % 3


def test_kmnist_is_converted(monkeypatch):
    monkeypatch.setattr("torchvision.datasets.KMNIST", FakeKMNIST)
    own_images.import_kmnist()
    found = data.load("kmnist")
    assert found.classes == ("o", "ki", "su")
    assert found.train.images[7].unique().tolist() == [7]
    assert found.test.labels.tolist() == [k % 3 for k in range(12)]


def test_kmnist_without_a_network_says_where_to_put_the_files(monkeypatch, capsys):
    def cut(root, train, download):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr("torchvision.datasets.KMNIST", cut)
    assert cli.main(["import-images", "--kmnist"]) == 2
    said = capsys.readouterr().err
    assert "t10k-labels-idx1-ubyte.gz  (md5 7320c461ea6c1c855c0b718fb2a4b134)" in said
    assert str(own_images.target("kmnist").parent / "KMNIST" / "raw") in said
    assert "--letters" in said
    assert not own_images.target("kmnist").exists()


def test_kmnist_file_sums_are_those_torchvision_checks():
    import torchvision.datasets

    assert dict(torchvision.datasets.KMNIST.resources) == own_images.KMNIST_FILES


def test_the_command_needs_one_source(capsys, folder):
    for arguments in ([], ["name"], ["name", str(folder), "--letters"], ["--letters", "--kmnist"]):
        assert cli.main(["import-images", *arguments]) == 2
        assert "import-images needs" in capsys.readouterr().err
    assert cli.main(["import-images", "pets", str(folder)]) == 0
    assert "images (48, 1, 28, 28)" in capsys.readouterr().out
