"""ImageNet through torchvision's ImageFolder: the preflight, the lists, and decoding in workers."""

import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from ternary_spike import UserError
from ternary_spike.configuration.recipe import Recipe, load
from ternary_spike.data import imagenet
from ternary_spike.data.loading import EvaluationBatches, TrainingBatches
from ternary_spike.data.prepared import read_manifest, read_picture_list, read_split
from ternary_spike.data.registry import availability, prepare
from tests.helpers.datasets import write_imagefolder

pytestmark = pytest.mark.usefixtures("no_network")
CLASSES = ["n01440764", "n02099601", "n15075141"]
RECIPE = Recipe(
    name="test", epochs=1, batch_size=8, learning_rate=0.1, momentum=0.9, weight_decay=0.0,
    random_resized_crop=True, flip=True, evaluation_crop=0.875, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
)  # fmt: skip


@pytest.fixture
def root(tmp_path):
    write_imagefolder(tmp_path / "imagenet", CLASSES, train=7, val=5)
    return tmp_path / "imagenet"


@pytest.fixture
def whole(root, monkeypatch):
    """The same set, with ImageNet's numbers made its own."""
    monkeypatch.setattr(imagenet, "CLASSES", 3)
    monkeypatch.setattr(imagenet, "PICTURES", {"train": 21, "test": 15})
    monkeypatch.setattr(imagenet, "TESTS_A_CLASS", 5)
    return root


def expect(root, *parts, source="imagefolder"):
    out = root.parent / "out"
    with pytest.raises(UserError) as error:
        prepare("imagenet", source, root, {}, out)
    message = str(error.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message
    assert not (out / "manifest.json").exists()


def test_the_whole_set_is_listed_as_imagefolder_lists_it(whole, tmp_path):
    manifest = prepare("imagenet", None, whole, {"image_size": "32"}, tmp_path / "out")
    assert (manifest.label, manifest.num_classes, manifest.image_size, manifest.root) == ("ImageNet", 3, 32, str(whole))
    for split, folder in (("train", "train"), ("test", "val")):
        files = read_picture_list(tmp_path / "out", split)
        theirs = ImageFolder(str(whole / folder))
        assert [(str(whole / path), label) for path, label in zip(files.paths, files.labels.tolist(), strict=True)] == (
            theirs.samples
        )
        assert files.sizes.tolist() == [Path(path).stat().st_size for path, _ in theirs.samples]
    assert "root" not in manifest.source


def test_a_subset_is_labelled_as_such(root, tmp_path):
    assert prepare("imagenet", "subset", root, {}, tmp_path / "out").label == "ImageNet subset (21 + 15)"


def test_half_an_imagenet_is_refused(root):
    # ImageFolder accepts the three classes, and would number them 0, 1, 2
    assert len(ImageFolder(str(root / "train")).classes) == 3
    expect(root, str(root / "train"), "3 class folders, not 1,000", "unpack ILSVRC2012_img_train.tar")
    assert availability("imagenet", root=root) == (
        f"imagenet: {root / 'train'} has 3 class folders, not 1,000; complete it or correct data.imagenet.root"
    )


def test_classes_missing_from_one_split_would_renumber_the_others(root):
    for path in (root / "val" / CLASSES[1]).iterdir():
        path.unlink()
    (root / "val" / CLASSES[1]).rmdir()
    expect(root, f"{root / 'train'} has a class n02099601 that {root / 'val'} lacks", "other numbers", source="subset")


def test_an_empty_class_is_refused(whole):
    for path in (whole / "train" / CLASSES[1]).iterdir():
        path.unlink()
    expect(whole, "n02099601", "unpack ILSVRC2012_img_train.tar")


def test_missing_pictures_are_refused(whole):
    (whole / "train" / CLASSES[2] / f"{CLASSES[2]}_3.JPEG").unlink()
    expect(whole, "has 20 pictures, not 21", "fewest in n15075141: 6")
    write_imagefolder(whole, CLASSES, train=7, val=5)
    (whole / "val" / CLASSES[0] / f"{CLASSES[0]}_3.JPEG").unlink()
    expect(whole, str(whole / "val" / CLASSES[0]), "has 4 pictures, not 5")


def test_damaged_pictures_are_refused(whole):
    path = whole / "train" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    expect(whole, str(path), "cannot be decoded")
    path.write_bytes(b"")
    expect(whole, str(path), "is empty")


def test_a_flat_validation_set_is_refused(whole):
    for path in (whole / "val").glob("*/*.JPEG"):
        path.rename(whole / "val" / path.name)
    for path in (whole / "val").iterdir():
        if path.is_dir():
            path.rmdir()
    expect(whole, "not sorted into a class folder", "val/<its class>/")


def test_unpacked_in_part_or_not_at_all(whole):
    (whole / "train" / "n02099601.tar").touch()
    expect(whole, "n02099601.tar is not unpacked")
    (whole / "train" / "n02099601.tar").unlink()
    (whole / "train").rename(whole / "training")
    expect(whole, str(whole / "train"), "is missing", "the path must be that of")
    (whole / "ILSVRC2012_img_train.tar").touch()
    expect(whole, "ILSVRC2012_img_train.tar is not unpacked", "each archive in it")


def test_other_classes_are_refused(whole):
    for split in ("train", "val"):
        (whole / split / CLASSES[2]).rename(whole / split / "n02100000")
    expect(whole, "from n01440764 to n02100000", "ILSVRC 2012")
    for split in ("train", "val"):
        (whole / split / "n02100000").rename(whole / split / "notes")
    expect(whole, "notes", "no class folder")


def test_the_plan_asks_for_the_path():
    assert availability("imagenet") == (
        "imagenet: no path is set; set data.imagenet.root to the folder that holds train/ and val/, each with a folder "
        "for each of the 1,000 classes"
    )


@pytest.fixture
def folder(root, tmp_path):
    prepare("imagenet", "subset", root, {"image_size": 32}, tmp_path / "out")
    return tmp_path / "out"


def test_training_batches_depend_on_seed_epoch_and_step_alone(folder):
    torch.manual_seed(0)
    one = list(TrainingBatches(folder, RECIPE, 3, workers=1).epoch(2))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    two = list(TrainingBatches(folder, RECIPE, 3, workers=2).epoch(2, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert [tuple(images.shape) for images, _ in one] == [(8, 3, 32, 32), (8, 3, 32, 32), (5, 3, 32, 32)]
    for (images, labels), (other_images, other_labels) in zip(one[1:], two, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)
    other = next(TrainingBatches(folder, RECIPE, 3, workers=1).epoch(3))
    assert not torch.equal(one[0][0], other[0])
    labels = torch.cat([labels for _, labels in one])
    assert labels.bincount().tolist() == [7, 7, 7]
    # the processes of a distributed run together see the same
    shares = [list(TrainingBatches(folder, RECIPE, 3, rank=rank, world_size=2, workers=1).epoch(2)) for rank in (0, 1)]
    for step, (images, _) in enumerate(one):
        assert torch.equal(images, torch.cat([share[step][0] for share in shares]))


def test_parts_and_labels_are_those_of_the_pictures(folder, root):
    """Class colours survive cropping: each picture's label is the nearest class mean."""
    means = torch.stack(
        [torch.tensor([30 + 20 * label % 190, 90, 30 + 30 * label % 170], dtype=torch.float32) for label in range(3)]
    )
    recipe = replace(RECIPE, mean=None, std=None)
    for images, labels in TrainingBatches(folder, recipe, 0, workers=1).epoch(0):
        colourful = (images[:, 0] - images[:, 1]).abs().mean((1, 2)) > 8  # greyscale ones tell nothing
        colours = images.mean((2, 3))
        nearest = (colours.unsqueeze(1) - means).norm(dim=2).argmin(1)
        assert torch.equal(nearest[colourful], labels[colourful])


def test_evaluation_is_the_authors_resize_and_centre_crop(folder, root):
    recipe = replace(RECIPE, evaluation_crop=0.8)
    reference = transforms.Compose(
        [
            transforms.Resize(40),
            transforms.CenterCrop(32),
            transforms.ToTensor(),
            transforms.Normalize(recipe.mean, recipe.std),
        ]
    )
    expected = ImageFolder(str(root / "val"), transform=reference)
    batches = EvaluationBatches(folder, "test", recipe, 4, workers=1)
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert labels.tolist() == expected.targets
    assert torch.allclose(images, torch.stack([image for image, _ in expected]), atol=1e-6)
    assert EvaluationBatches(folder, "test", recipe, 4, limit=6, workers=1).samples == 6


def test_the_shipped_recipe_resizes_to_256_and_crops_224():
    recipe = load(Path(__file__).parents[2] / "config" / "recipes" / "imagenet.yaml")
    assert round(224 / recipe.evaluation_crop) == 256
    assert recipe.random_resized_crop and recipe.flip


def test_the_random_part_is_torchvisions(folder, root):
    recipe = replace(RECIPE, flip=False, mean=None, std=None)
    images, _ = next(TrainingBatches(folder, recipe, 0, workers=1).epoch(0))
    from ternary_spike.data.loading import derived_seed

    order = torch.randperm(21, generator=torch.Generator().manual_seed(derived_seed(0, 0, "order")))
    files = read_picture_list(folder, "train")
    for place in range(8):
        picture = Image.open(files.root / files.paths[order[place]]).convert("RGB")
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(0, 0, "part", place))
            expected = transforms.PILToTensor()(transforms.RandomResizedCrop(32)(picture))
        assert torch.equal(images[place], expected.float())


def test_a_picture_that_breaks_later_is_one_line(folder, root):
    broken = sorted((root / "val" / CLASSES[1]).iterdir())[0]
    broken.write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(UserError) as error:
        list(EvaluationBatches(folder, "test", RECIPE, 4, workers=1))
    assert str(broken) in str(error.value) and "\n" not in str(error.value)


def test_a_moved_folder_and_a_changed_list_are_refused(folder, root):
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(UserError, match="is not there; run `prepare` again"):
        EvaluationBatches(folder, "test", RECIPE, 4)
    (folder / "test.safetensors").write_bytes((folder / "train.safetensors").read_bytes())
    with pytest.raises(UserError, match="sha256"):
        EvaluationBatches(folder, "test", RECIPE, 4)


def test_recipes_for_the_other_form_of_data_are_refused(folder):
    arrays = replace(RECIPE, random_resized_crop=False)
    with pytest.raises(
        UserError, match=r"random_resized_crop is false, but imagenet in .* has pictures of varying size"
    ):
        TrainingBatches(folder, arrays, 0)
    assert read_manifest(folder).root is not None
    with pytest.raises(UserError, match="is a list of picture files"):
        read_split(folder, "train")


@pytest.mark.skipif("TERNARY_SPIKE_DATA" not in os.environ, reason="TERNARY_SPIKE_DATA names no folder of real data")
def test_real_pictures(tmp_path):
    with tarfile.open(Path(os.environ["TERNARY_SPIKE_DATA"]) / "imagenet-sample.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / "imagenet-sample"
    (root / "val").symlink_to(root / "train")
    assert "has 100 class folders, not 1,000" in availability("imagenet", root=root)
    manifest = prepare("imagenet", "subset", root, {"image_size": 64}, tmp_path / "out")
    assert (manifest.label, manifest.num_classes) == ("ImageNet subset (100 + 100)", 100)
    images, labels = next(TrainingBatches(tmp_path / "out", replace(RECIPE, batch_size=100), 0).epoch(0))
    assert images.shape == (100, 3, 64, 64)
    assert sorted(labels.tolist()) == list(range(100))
    assert images.isfinite().all()
