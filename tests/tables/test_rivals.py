"""Prior methods beside the ternary spike: what is compared with what, by which rule, and what a row says of itself."""

import pytest

from ternary_spike.models.known_modules import NotFoldable
from ternary_spike.models.published import LayerList
from ternary_spike.models.registry import ARCHITECTURES, make_network
from ternary_spike.reparam import fold
from ternary_spike.tables import collect
from ternary_spike.tables.rivals import ABOVE, BELOW, UNDECIDED, adds_spikes, kind, name_of
from tests.report import fixture


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rivals")
    return collect.tables(collect.read_plan(fixture.rivals(folder)), folder)["rivals"].set_index("id")


def test_each_spiking_run_beside_a_prior_method_is_a_row_and_says_what_it_is(found):
    kinds = found["kind"].to_dict()
    assert kinds == {
        "digits-resnet8-T2-binary": "paper",
        "digits-resnet8-T2-ternary": "paper",
        "digits-resnet8-T2-binary-symmetric_window": "control",
        "digits-resnet8-T2-plif": "prior",
        "digits-resnet8-T2-binary-tet-paper_neuron": "prior",
        "digits-resnet8-T2-ternary-tet": "combination",
        "digits-resnet8-T4-plif": "prior",
    }
    assert dict(found["name"]) == {
        "digits-resnet8-T2-binary": "binary",
        "digits-resnet8-T2-ternary": "ternary",
        "digits-resnet8-T2-binary-symmetric_window": "binary symmetric window",
        "digits-resnet8-T2-plif": "plif (faithful)",
        "digits-resnet8-T2-binary-tet-paper_neuron": "TET on binary (partly)",
        "digits-resnet8-T2-ternary-tet": "TET on ternary (partly)",
        "digits-resnet8-T4-plif": "plif (faithful)",
    }


def test_level_and_source_are_the_sheet_s_or_else_the_neuron_s(found):
    assert found.loc["digits-resnet8-T2-ternary-tet", ["level", "citation"]].tolist() == [
        "partly",
        "Deng and others, ICLR 2022",
    ]
    assert found.loc["digits-resnet8-T2-plif", "citation"].startswith("Fang et al., ICCV 2021")


def test_ahead_and_behind_are_told_by_the_whole_interval(found):
    verdicts = found["verdict"].to_dict()
    assert (
        verdicts["digits-resnet8-T2-plif"] == ABOVE and verdicts["digits-resnet8-T2-binary-tet-paper_neuron"] == BELOW
    )
    assert verdicts["digits-resnet8-T2-ternary-tet"] == UNDECIDED
    assert verdicts["digits-resnet8-T2-ternary"] == "" and verdicts["digits-resnet8-T4-plif"] == ""
    assert found.loc["digits-resnet8-T2-plif", "difference_points"] == pytest.approx(2.0)
    assert found.loc["digits-resnet8-T2-plif", "base"] == "digits-resnet8-T2-ternary"


def test_training_time_is_the_median_epoch_s_for_each_picture(found):
    """An epoch takes 3 s in the made-up runs, 6 s with PLIF, for 1347 pictures; one slow epoch changes nothing."""
    assert found.loc["digits-resnet8-T2-ternary", "seconds_per_image"] == pytest.approx(3 / 1347)
    assert found.loc["digits-resnet8-T2-plif", "time_ratio"] == pytest.approx(2.0)


def test_a_run_that_has_not_finished_stands_there_with_its_state(found):
    row = found.loc["digits-resnet8-T4-plif"]
    assert row["state"].startswith("not run") and row["n"] == 0


@pytest.mark.parametrize(
    ("row", "name", "expected"),
    [
        (("mpbn", "MPBN (faithful; the row's recipe)", "paper_neuron"), "MPBN (faithful)", "prior"),
        (("mpbn", "MPBN (faithful; the row's recipe)", "ternary"), "MPBN on ternary (faithful)", "combination"),
        (("soft_reset", "OTTT (partly)", ""), "OTTT (partly)", "prior"),
        (("if", "RMP-SNN (partly; factor=0.7)", "lower"), "RMP-SNN (partly; factor=0.7)", "prior"),
        (("ternary", "TET (partly; the row's recipe; a=1)", "x"), "TET on ternary (partly; a=1)", "combination"),
        (("binary", "IM-Loss (partly)", "paper_neuron"), "IM-Loss on binary (partly)", "prior"),
        (
            ("ternary", "A (b) c (candidate)", "wide_window"),
            "A (b) c on ternary, wide window (candidate)",
            "combination",
        ),
        (("ternary", "", "wide_window"), "ternary wide window", "control"),
        (("glif", "", ""), "glif (faithful)", "prior"),
    ],
)
def test_a_method_goes_by_its_title_and_the_spikes_that_it_is_on(row, name, expected):
    neuron, method, variant = row
    cells = {"neuron": neuron, "method": method, "variant": ", ".join(filter(None, [method, variant]))}
    cells["architecture"] = "resnet20"
    assert (name_of(cells), kind(cells)) == (name, expected)


@pytest.mark.parametrize(
    ("neuron", "method", "name"),
    [
        ("binary", "SEW ResNet (partly)", "SEW ResNet on binary, sums of spikes (partly)"),
        ("real_spike", "Real Spike (partly; the row's recipe)", "Real Spike on sums of spikes (partly)"),
        ("binary", "", "binary with sums of spikes"),
        ("plif", "", "plif with sums of spikes (faithful)"),
    ],
)
def test_where_spikes_are_added_up_the_name_says_so(neuron, method, name):
    cells = {"neuron": neuron, "method": method, "variant": method}
    assert name_of(cells | {"architecture": "sew_resnet18"}) == name
    assert "sums" not in name_of(cells | {"architecture": "sew_resnet18_and"})


def test_the_networks_that_add_spikes_up_are_those_whose_layers_emit_more_than_1():
    for name in ARCHITECTURES:
        if isinstance(ARCHITECTURES[name].data, LayerList):
            assert adds_spikes(name) == (make_network(f"{name}w1", "binary", 1, image_size=128).emits > 1), name
    assert adds_spikes("widenet7b") and adds_spikes("sew_resnet34w8") and not adds_spikes("resnet34")


def test_a_network_that_adds_spikes_up_says_so_in_its_rows(tmp_path):
    """With the words of its fold, which there is none of; its operations are not counted as if they were additions."""
    with pytest.raises(NotFoldable) as refused:
        fold(make_network("sew_resnet18_cifarw1", "binary", 2))
    row = fixture.plan_row("digits", "sew_resnet18_cifarw1", 2, "binary", 0)
    fixture.refuse(fixture.write_run(tmp_path, row), str(refused.value))
    found = collect.tables(collect.read_plan(fixture.write_plan(tmp_path, [row])), tmp_path)
    said = "stage1.block1 adds spikes to spikes: it emits whole numbers up to 2, which are no spikes"
    assert said in found["summary"]["state"].item() and said in found["runs"]["state"].item()
    assert said in found["equivalence"]["not_foldable"].item()
