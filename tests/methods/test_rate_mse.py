"""The loss of PLIF: the distance of rates from the one-hot label."""

import torch

from ternary_spike.methods.registry import make_method
from ternary_spike.models.registry import make_network


def test_the_square_is_of_the_mean_over_time():
    """Two of three classes; the first fires at one of two timesteps: (.5 - 1)^2 and .25^2 over three classes."""
    scores = torch.tensor([[0.5, 0.25, 0.0]])
    loss = make_method("rate_mse").loss(scores, torch.tensor([0]), {}, torch.zeros(1))
    torch.testing.assert_close(loss, torch.tensor((0.25 + 0.0625) / 3))


def test_rates_of_the_label_alone_have_no_loss():
    scores = torch.eye(4)
    assert make_method("rate_mse").loss(scores, torch.arange(4), {}, torch.zeros(4)) == 0


def test_votes_learn_by_it():
    torch.manual_seed(0)
    model = make_network(
        "plifnetw4", "plif", 4, num_classes=2, in_channels=1, image_size=8, neuron_options={"threshold": 0.1}
    )
    x, labels = torch.randn(16, 1, 8, 8), torch.arange(16) % 2
    x += labels.view(-1, 1, 1, 1)
    method, optimiser = make_method("rate_mse"), torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        losses.append(method.loss(model(x), labels, {}, x))
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]
