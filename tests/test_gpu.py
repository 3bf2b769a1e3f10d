"""On a GPU, what other tests see on a processor. By unittest, for machines without the packages of the tests as well:

PYTHONPATH=lib python -m unittest -v tests.test_gpu
"""

import copy
import tempfile
import unittest
from pathlib import Path

import torch
from benchmarks.random_training import random_training

from ternary_spike import SpikingResNet
from ternary_spike.membrane import backends
from ternary_spike.membrane.dynamics import Dynamics
from ternary_spike.membrane.multi_step import multi_step
from ternary_spike.system import devices

DEVICE = "cuda"
# rows of 1,024, and what does not divide into them; T = 2 and 3
SHAPES = [(2, 64, 16, 16), (2, 70_001), (3, 2, 64, 8, 9)]


def layer(x: torch.Tensor, backend: str) -> tuple[torch.Tensor, ...]:
    """Spikes, gradient of the input and of the amplitude."""
    backends.use(backend)
    x = x.detach().requires_grad_()
    amplitude = torch.tensor(1.2, device=x.device, requires_grad=True)
    # not a power of two: a contracted multiplication would move spikes
    spikes, _ = multi_step(x, Dynamics(decay=0.3), amplitude, keep_state=False)
    generator = torch.Generator().manual_seed(1)
    spikes.backward(torch.randn(x.shape, generator=generator).to(x))
    return spikes.detach(), x.grad, amplitude.grad


def network(**options) -> SpikingResNet:
    torch.manual_seed(0)
    model = SpikingResNet("resnet8w8", "trainable", 2, image_size=16, **options)
    return model.to(DEVICE, memory_format=torch.channels_last).train()


def step(model: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Scores, gradients and buffers after one forward and backward pass."""
    scores = model(x)
    scores.square().sum().backward()
    return [scores.detach(), *(p.grad for p in model.parameters()), *model.buffers()]


@unittest.skipUnless(torch.cuda.is_available(), "no GPU here")
class OnAGpu(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)

    def tearDown(self):
        self.assertEqual(backends.notices, [])  # nothing fell back
        backends.use("eager")

    def test_compiled_spikes_are_those_of_eager(self):
        for shape in SHAPES:
            for dtype in (torch.float32, torch.bfloat16):
                with self.subTest(shape=shape, dtype=dtype):
                    x = torch.randn(shape, device=DEVICE).to(dtype)
                    x.flatten()[::3] = 0.5  # exactly at the threshold
                    eager, compiled = layer(x, "eager"), layer(x, "compiled")
                    self.assertTrue(torch.equal(eager[0], compiled[0]))
                    torch.testing.assert_close(compiled[1], eager[1])
                    torch.testing.assert_close(compiled[2], eager[2], rtol=1e-4, atol=1e-2)

    def test_spikes_are_those_of_a_processor(self):
        x = torch.randn(4, 50_000)
        on_processor, on_gpu = layer(x, "eager"), layer(x.to(DEVICE), "eager")
        self.assertTrue(torch.equal(on_processor[0], on_gpu[0].cpu()))
        torch.testing.assert_close(on_gpu[1].cpu(), on_processor[1])

    def test_a_compiled_network_trains_as_an_eager_one(self):
        x = torch.randn(8, 3, 16, 16, dtype=torch.float64, device=DEVICE)
        results = []
        for backend in backends.BACKENDS:
            backends.use(backend)
            results.append(step(network().double(), x))
        for eager, compiled in zip(*results, strict=True):
            torch.testing.assert_close(compiled, eager, rtol=1e-9, atol=1e-11)

    def test_a_network_in_a_cuda_graph_trains_as_without(self):
        x = torch.randn(8, 3, 16, 16, device=DEVICE)
        for backend in backends.BACKENDS:
            with self.subTest(backend=backend):
                backends.use(backend)
                model = network()
                graphed = copy.deepcopy(model)
                before = [b.clone() for b in graphed.buffers()]
                graphed = torch.cuda.make_graphed_callables(graphed, (x,))
                for buffer, value in zip(graphed.buffers(), before, strict=True):
                    buffer.copy_(value)  # capturing trains a little
                for ours, other in zip(step(graphed, x), step(model, x), strict=True):
                    torch.testing.assert_close(ours, other, rtol=1e-3, atol=1e-3)

    def test_an_epoch_never_waits_for_the_device(self):
        """Neither its steps nor the augmentation in between."""
        with tempfile.TemporaryDirectory() as folder:
            run = random_training(Path(folder), "resnet8w8", 2, 4, DEVICE, precision="bfloat16")
            for backend in backends.BACKENDS:
                backends.use(backend)
                run.step = 0
                for batch in run.train.epoch(0):  # compiles, and chooses algorithms
                    run.train_step(*batch)
                run.step = 0
                torch.cuda.set_sync_debug_mode("error")
                try:
                    for batch in run.train.epoch(1):
                        run.train_step(*batch)
                finally:
                    torch.cuda.set_sync_debug_mode("default")

    def test_the_whole_model_can_be_compiled(self):
        x = torch.randn(8, 3, 16, 16, dtype=torch.float64, device=DEVICE)
        model = network().double()
        twin = copy.deepcopy(model)
        for ours, other in zip(step(torch.compile(twin, fullgraph=True), x), step(model, x), strict=True):
            torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-11)

    def test_deterministic_trainings_are_the_same_to_the_bit(self):
        devices.make_deterministic()
        try:
            weights = []
            for _ in range(2):
                with tempfile.TemporaryDirectory() as folder:
                    run = random_training(Path(folder), "resnet8w8", 2, 4, DEVICE)
                    backends.use("eager")
                    for batch in run.train.epoch(0):
                        run.train_step(*batch)
                    weights.append({k: v.cpu() for k, v in run.model.state_dict().items()})
            for name, value in weights[0].items():
                self.assertTrue(torch.equal(value, weights[1][name]), name)
        finally:
            torch.use_deterministic_algorithms(False)


if __name__ == "__main__":
    unittest.main()
