"""The verb ``export``."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ternary_spike.cli._options import add_folded_run, add_machine, samples

HELP = "export a folded network to ONNX (float32) and count where its spikes differ from the exact ones"


def arguments(parser: ArgumentParser) -> None:
    add_folded_run(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for folded.onnx and onnx.json")
    parser.add_argument("--samples", type=samples, default=256, help="test samples to compare on (default 256)")
    add_machine(parser, device=False)


def run(args: Namespace) -> None:
    from ternary_spike.cli._made_by import made_by
    from ternary_spike.cli._stages import COMPARED, not_foldable, of_run, open_folded, open_run, pass_on
    from ternary_spike.reparam import onnx_export
    from ternary_spike.system.files import replaced_together, sha256_of, write_json
    from ternary_spike.system.provenance import now

    started = now()
    args.device = "cpu"
    record, _, batches, device = open_run(args, args.samples, COMPARED)
    if reason := not_foldable(args, record):
        with replaced_together(args.out, "onnx.json") as folder:
            (folder / "folded.onnx").touch()  # the rule declares it; an empty file is no model to any runtime
            pass_on("export", reason, folder / "onnx.json", record, device, started)
        return
    network = open_folded(args, record)
    result = onnx_export.compare(network, (x for x, _ in batches))
    with replaced_together(args.out, "onnx.json") as folder:
        path = folder / "folded.onnx"
        onnx_export.save(onnx_export.to_onnx(network, events=batches.manifest.frames is not None), path)
        content = {**of_run(record), **result, "files": {path.name: sha256_of(path)}}
        write_json(folder / "onnx.json", {**content, "provenance": made_by("export", record, device, started)})
    print(
        f"{record['id']}: {result['differing_spikes']} of {result['spikes']} spikes differ between ONNX in float32 and "
        f"the exact network, the class agrees on {result['class_agreement_percent']:.1f} %, in {args.out / path.name}"
    )
