"""Parts by name: those of a registry, and those of a user's own, which are imported only when somebody asks."""

import sys

import pytest

from ternary_spike.configuration.register import Option, Part, Registry

KNOWN = Registry("neuron", {"known": Part("math:sqrt", "a root", {"x": Option(1.0, "what", low=0.0)})})


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A user's package with a good module and a bad one."""
    folder = tmp_path / "ownpackage"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "good.py").write_text(
        "from ternary_spike.configuration.register import Option\n"
        "class Own:\n    '''Its first line.\n\n    More.\n    '''\n"
        "    OPTIONS = {'x': Option(2, 'what', low=1)}\n    SOURCE = 'A et al.'\n    FOLDS = True\n"
    )
    (folder / "bad.py").write_text("raise RuntimeError('not today')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "ownpackage"]:
        del sys.modules[name]


def test_a_part_of_ones_own_is_what_its_class_says(package):
    part = KNOWN["ownpackage.good:Own"]
    assert (part.module, part.spikes, part.fused, part.data) == ("ownpackage.good", True, False, None)
    assert "ownpackage.good" not in sys.modules
    assert (part.meaning, part.source, part.folds, part.from_run) == ("Its first line.", "A et al.", True, False)
    assert KNOWN.options("ownpackage.good:Own", {"x": "3"}, text=True) == {"x": 3}
    assert part.load().__name__ == "Own"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nobody", "unknown neuron 'nobody': choose one of known, or module:Name of your own"),
        ("no module:Name", "unknown neuron"),
        ("ownpackage.none:Own", "there is no module 'ownpackage.none'; name its folder under `plugins`"),
        ("ownpackage.good:Other", "neuron 'ownpackage.good:Other': ownpackage.good has no Other"),
        ("ownpackage.bad:Own", "neuron 'ownpackage.bad:Own': RuntimeError: not today"),
    ],
)
def test_what_cannot_be_had_is_one_line(package, name, words):
    with pytest.raises(ValueError) as error:
        KNOWN.options(name, {})
    assert words in str(error.value) and "\n" not in str(error.value)


def test_options_of_ones_own_are_checked_as_others_are(package):
    with pytest.raises(ValueError, match="neuron option x is '0', but must be a whole number of at least 1"):
        KNOWN.options("ownpackage.good:Own", {"x": "0"}, text=True)
    with pytest.raises(ValueError, match=r"unknown option y=1 for neuron 'ownpackage\.good:Own': choose from x"):
        KNOWN.options("ownpackage.good:Own", {"y": "1"}, text=True)
