"""The verb `list`, and the documentation's tables that are made from the same entries."""

import csv

import pytest

from ternary_spike.cli import main
from ternary_spike.cli._parts import kinds
from ternary_spike.membrane import surrogate
from ternary_spike.models.registry import ARCHITECTURES
from ternary_spike.neurons.registry import NEURONS, SURROGATES
from ternary_spike.tables import collect
from tests.helpers import methods_doc
from tests.helpers.datasets_doc import renewed
from tests.helpers.parts_doc import PAGES
from tests.report import fixture


def test_it_names_every_part_its_options_and_its_source(capsys):
    main(["list"])
    text = capsys.readouterr().out
    for parts in kinds().values():
        for name, part in parts.items():
            assert f"  {name} " in text and part.meaning in text and part.source in text
            for key, option in part.options.items():
                assert f" {key}=" in text and option.meaning in text and option.rule in text
    assert "threshold=0.5: V_th, in units of the membrane potential; a number from 1e-30 to 1,000,000" in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_tables_are_those_of_the_registries(path):
    page = path.read_text(encoding="utf-8")
    assert renewed(page, PAGES[path]) == page, "run: PYTHONPATH=lib:. python -m tests.helpers.parts_doc"


def test_the_page_of_methods_has_the_cost_that_a_kept_comparison_measured(tmp_path, monkeypatch):
    sheet = {sheet.name: sheet for sheet in methods_doc.sheets()}["tet"]
    monkeypatch.setattr(methods_doc, "KEPT", tmp_path / "kept" / "tables" / "rivals.csv")
    monkeypatch.setattr(methods_doc, "ROOT", tmp_path)
    assert methods_doc.cost(sheet) == "not measured yet"
    folder = fixture.rivals(tmp_path / "kept").parent
    collect.write_tables(collect.tables(collect.read_plan(folder / "plan.csv"), folder), folder / "tables")
    found = methods_doc.cost(sheet)
    assert found.startswith("TET on binary (partly): -24.50 ± 2.08 points to ternary spikes, ")
    assert "; TET on ternary (partly): +0.10 ±" in found and " times the additions (`kept`, reduced: " in found
    assert "plif" not in found
    with methods_doc.KEPT.open() as table:
        on_ternary = next(row["id"] for row in csv.DictReader(table) if row["name"].startswith("TET on ternary"))
    monkeypatch.setattr(methods_doc, "STEPS", tmp_path / "methods.csv")
    methods_doc.STEPS.write_text(f"id,times_ternary_step\n{on_ternary},1.234\n")
    assert "times the additions, 1.23 times the time of a training step (`kept`" in methods_doc.cost(sheet)


def test_what_a_fold_leaves_is_what_the_parts_say():
    sheets = {sheet.name: sheet for sheet in methods_doc.sheets()}
    assert methods_doc.folded(sheets["kdsnn"]).startswith("as the row's neuron folds")
    assert methods_doc.folded(sheets["glif"]).startswith("not foldable, its neuron `glif`")
    assert "thresholds of each channel" in methods_doc.folded(sheets["mpbn"])
    assert methods_doc.folded(sheets["real_spike"]).startswith("the weights take amplitudes and batch norm; ")


def test_the_surrogates_are_those_that_are_computed():
    assert tuple(SURROGATES) == surrogate.SURROGATES


def test_what_an_entry_says_of_a_neuron_is_true():
    for name, part in NEURONS.items():
        made = part.load()() if not part.spikes else part.load().build(4)
        assert (getattr(made, "kernel", None) is not None) == part.fused, name
        assert part.spikes == hasattr(made, "folds") and (part.spikes and made.folds() is not None) == part.folds, name


def test_help_names_what_is_registered(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"{', '.join(NEURONS)}, or module:Name of your own" in text
    assert f"{', '.join(ARCHITECTURES)} (resnet20w16 for width 16), or module:Name of your own" in text
