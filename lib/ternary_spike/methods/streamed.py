"""Ways to train whose networks run for so many timesteps that they are evaluated one timestep after the other."""

from ternary_spike.configuration.recipe import Recipe
from ternary_spike.methods.base import Method
from ternary_spike.models.streaming import Encoder


class Streamed(Method):
    """A method whose runs are evaluated with one timestep in memory, which gives the accuracy at every T.

    The network that is evaluated within the training is made to do so by
    :func:`ternary_spike.models.streaming.evaluates_by_timestep`, in :meth:`begin`.
    """

    def encoder(self, recipe: Recipe) -> Encoder | None:
        """What a network of this method is shown of static images; None for the images themselves.

        Args:
            recipe: the run's, which says how pixels are normalised.
        """
        return None
