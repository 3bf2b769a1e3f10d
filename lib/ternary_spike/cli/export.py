from argparse import ArgumentParser, Namespace
from pathlib import Path

from ternary_spike.cli._options import add_folded_run, add_machine

HELP = "export a folded network to ONNX (float32) and count where its spikes differ from the exact ones"


def arguments(parser: ArgumentParser) -> None:
    add_folded_run(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for folded.onnx and onnx.json")
    parser.add_argument("--samples", type=int, default=200, help="test samples to compare on (default 200)")
    add_machine(parser, device=False)


def run(args: Namespace) -> None:
    from ternary_spike import onnx_export
    from ternary_spike.cli._stages import COMPARED, open_run
    from ternary_spike.files import sha256_of, write_json
    from ternary_spike.inference import FoldedNetwork
    from ternary_spike.provenance import now, provenance

    started = now()
    args.device = "cpu"
    record, _, batches, device = open_run(args, args.samples, COMPARED)
    network = FoldedNetwork.load(args.folded)
    result = onnx_export.compare(network, (x for x, _ in batches))
    path = args.out / "folded.onnx"
    onnx_export.save(onnx_export.to_onnx(network, events=batches.manifest.frames is not None), path)
    content = {"id": record["id"], **result, "files": {path.name: sha256_of(path)}}
    write_json(args.out / "onnx.json", {**content, "provenance": provenance(device, started)})
    print(
        f"{record['id']}: {result['differing_spikes']} of {result['spikes']} spikes differ between ONNX in float32 and "
        f"the exact network, the class agrees on {result['class_agreement_percent']:.1f} %, in {path}"
    )
