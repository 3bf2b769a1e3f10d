"""Ways to train whose networks run for so many timesteps that they are evaluated one timestep after the other."""

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.base import Method
from ternary_spike.models.streaming import Encoder


class Streamed(Method):
    """A method of whose runs the evaluation holds one timestep in memory and gives the accuracy at every T.

    The network that is evaluated within the training is made to do so by
    :func:`ternary_spike.models.streaming.evaluates_by_timestep`, in :meth:`begin`.
    """

    def encoder(self, recipe: Recipe) -> Encoder | None:
        """What a network of this method is shown of static images; None for the images themselves."""
        return None
