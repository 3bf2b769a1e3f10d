"""The ways to train by the names of the run table. Importing it needs no torch; making one does."""

from typing import TYPE_CHECKING, Any

from ternary_spike.configuration.register import Option, Part, Registry

if TYPE_CHECKING:
    from ternary_spike.methods.base import Method

PAPERS_WAY = "cross_entropy"  # what trains where nothing else is said
GUO = "Guo et al., AAAI 2024"

PERCENT = Option(
    99.9, "percentile of a layer's activations on a batch that its spikes reach at most", high=100.0, above=0.0
)

TET = {
    "mse_share": Option(
        0.05, "lambda, the loss's share of the scores' mean squared distance from phi", low=0.0, high=1.0
    ),
    "mse_target": Option(1.0, "phi, what class scores are pulled to", low=-1e6, high=1e6),
}

METHODS = Registry(
    "method",
    {
        PAPERS_WAY: Part(
            "ternary_spike.methods.cross_entropy:CrossEntropy",
            "cross-entropy of the class scores' mean over time: the paper's way",
            source=GUO,
        ),
        "tet": Part(
            "ternary_spike.methods.tet:TemporalEfficientTraining",
            "TET: cross-entropy of each timestep's class scores rather than of their mean",
            TET,
            source="Deng et al., ICLR 2022",
            level="faithful",
        ),
        "tit": Part(
            "ternary_spike.methods.time_inheritance:TimeInheritance",
            "TIT: TET from the weights of a network that was trained with fewer timesteps",
            TET,
            source="Deng et al., ICLR 2022",
            level="partly",
            from_run=True,
        ),
        "dsr": Part(
            "ternary_spike.methods.dsr:SpikeRepresentation",
            "DSR: cross-entropy of the class scores' weighted mean over time, for the neurons of DSR",
            source="Meng et al., CVPR 2022, and its code",
            level="partly",
        ),
        "tssl_bp": Part(
            "ternary_spike.methods.tssl_bp:SpikeSequenceLearning",
            "TSSL-BP: filtered output trains as close to a target's as can be, for the neurons of TSSL-BP",
            {"filter_twice": Option(True, "whether the target train is filtered twice, as in the authors' code")},
            source="Zhang & Li, NeurIPS 2020, and its code",
            level="partly",
        ),
        "rate_mse": Part(
            "ternary_spike.methods.rate_mse:RateMSE",
            "squared distance of the class scores' mean over time from the one-hot label, for networks that vote",
            source="Fang et al., ICCV 2021 (PLIF), and its code",
            level="faithful",
        ),
        "rmp_loss": Part(
            "ternary_spike.methods.membrane_losses:RMPLoss",
            "RMP-Loss: pulls membrane potentials to the nearest spike",
            {"k": Option(0.1, "the loss's weight grows from 0 to 2 k", low=0.0, high=1e6)},
            source="Guo et al., ICCV 2023",
            level="partly",
        ),
        "im_loss": Part(
            "ternary_spike.methods.membrane_losses:IMLoss",
            "IM-Loss: pulls each layer's mean membrane potential to the threshold",
            {
                "weight": Option(2.0, "lambda, the loss's weight", low=0.0, high=1e6),
                "esg": Option(False, "whether the surrogate gradient's temperature grows with the epochs"),
                "k_min": Option(1.0, "with esg: the temperature in the first epoch", above=0.0, high=1e6),
                "k_max": Option(10.0, "with esg: what the temperature grows to", above=0.0, high=1e6),
            },
            source="Guo et al., NeurIPS 2022",
            level="partly",
        ),
        "dspike": Part(
            "ternary_spike.methods.dspike:Dspike",
            "Dspike: the surrogate gradient's temperature is chosen each epoch by finite differences",
            {
                "temperature_step": Option(0.2, "db, by which the temperature may change", above=0.0, high=1e6),
                "weight_step": Option(0.05, "eps, by which a weight is changed to see the loss", above=0.0, high=1e6),
                "weights": Option(
                    32,
                    "weights of the first convolution that are changed, one by one; 0 for all",
                    low=0,
                    high=1_000_000,
                ),
            },
            source="Li et al., NeurIPS 2021",
            level="partly",
        ),
        "ottt": Part(
            "ternary_spike.methods.ottt:OnlineTraining",
            "OTTT: gradients of each timestep alone, with traces of earlier spikes; memory does not grow with T",
            {
                "mse_share": Option(
                    0.05, "l, the share of the scores' mean squared distance from the one-hot label", low=0.0, high=1.0
                ),
                "update_each_timestep": Option(
                    False, "whether weights are updated at every timestep (OTTT_O) rather than once a step (OTTT_A)"
                ),
                "classifier_trace": Option(True, "whether the classifier's gradient has a trace too"),
            },
            source="Xiao et al., NeurIPS 2022, and its code",
            level="faithful",
        ),
        "recdis_candidate": Part(
            "ternary_spike.methods.recdis:RecDisCandidate",
            "losses that RecDis-SNN's may be close to: they rectify the distribution of each layer's potentials",
            {
                "weight": Option(2.0, "lambda, the loss's weight", low=0.0, high=1e6),
                "form": Option(
                    "channels",
                    "penalties on the mean and deviation of each channel, or on the distance from two modes",
                    choices=("channels", "bimodal"),
                ),
            },
            source="Guo et al., CVPR 2022 (RecDis-SNN)",
            level="candidate",
        ),
        "conversion": Part(
            "ternary_spike.methods.conversion:Conversion",
            "a network without spikes is converted: its weights, calibrated thresholds, then the recipe's epochs",
            {
                "balance": Option(
                    "spiking",
                    "what thresholds are calibrated on: currents of the spiking network, or the source's activations",
                    choices=("spiking", "source"),
                ),
                "percentile": Option(100.0, "which of a layer's currents; 100 is the largest", low=0.0, high=100.0),
                "factor": Option(1.0, "what calibrated thresholds are multiplied by", above=0.0, high=1e6),
                "pictures": Option(512, "training pictures to calibrate on", low=1, high=10**9),
                "calibration_timesteps": Option(
                    None, "for how long each is shown", kind=int, low=1, high=10**6, absent="for the network's T"
                ),
                "input": Option(
                    "direct", "pictures at each timestep, or random spikes for them", choices=("direct", "poisson")
                ),
            },
            source="Sengupta et al., Front. Neurosci. 2019; Han et al., CVPR 2020; Rathi et al., ICLR 2020",
            level="partly",
            from_run=True,
        ),
        "tandem": Part(
            "ternary_spike.methods.tandem:TandemLearning",
            "TL: each layer in tandem with one without spikes, which takes its firing rates and has the gradients",
            {
                "gain_std": Option(
                    2.0, "batch norm's weights are drawn from N(0, gain_std^2); 0 leaves them", low=0.0, high=100.0
                )
            },
            source="Wu et al., TNNLS 2021, and its code",
            level="partly",
        ),
        "ptl": Part(
            "ternary_spike.methods.tandem:ProgressiveTandemLearning",
            "PTL: a trained network without spikes becomes spiking layer by layer, in tandem, and the rest adapts",
            {"percent": PERCENT},
            source="Wu et al., TPAMI 2022, and its code",
            level="partly",
            from_run=True,
        ),
        "ltl": Part(
            "ternary_spike.methods.local_tandem:LocalTandemLearning",
            "LTL: each layer's firing rates learn the activations of a trained network; no gradient leaves a layer",
            {
                "weight": Option(1.0, "lambda, the weight of each layer's loss", low=0.0, high=1e6),
                "percent": PERCENT,
            },
            source="Yang et al., NeurIPS 2022, and its code",
            level="partly",
            from_run=True,
        ),
        "joint_a_snn": Part(
            "ternary_spike.methods.joint_a_snn:JointASNN",
            "Joint A-SNN: trained with a twin without spikes, which shares its convolutions' factors and teaches it",
            {
                "share": Option(0.1, "alpha, the share of what is distilled in the loss", low=0.0, high=1.0),
                "weight": Option(1e-6, "beta, the weight of the features' distances, summed", low=0.0, high=1e6),
                "temperature": Option(3.0, "theta, what class scores are divided by", above=0.0, high=100.0),
            },
            source="Guo et al., Pattern Recognition 142, 2023, and its code",
            level="partly",
        ),
        "kdsnn": Part(
            "ternary_spike.methods.kdsnn:ResponseDistillation",
            "KDSNN, response-based: a trained network's softened class scores as a second target",
            {
                "share": Option(0.5, "alpha, the teacher's share of the loss", low=0.0, high=1.0),
                "temperature": Option(4.0, "tau, what both networks' scores are divided by", above=0.0, high=100.0),
            },
            source="Xu et al., CVPR 2023",
            level="partly",
            from_run=True,
        ),
        "kdsnn_feature_candidate": Part(
            "ternary_spike.methods.kdsnn:FeatureDistillation",
            "KDSNN, feature-based: a trained network's features at the end of each stage as targets of firing rates",
            {
                "weight": Option(7e-5, "alpha, the loss's weight", low=0.0, high=1e6),
                "ceiling": Option(1.0, "what the teacher's features are cut off at", above=0.0, high=1e6),
            },
            source="Xu et al., CVPR 2023",
            level="candidate",
            from_run=True,
        ),
        "diet": Part(
            "ternary_spike.methods.diet:DietSNN",
            "DIET-SNN: a trained ReLU network's weights, calibrated thresholds, then training of weights and neurons",
            {
                "scaling": Option(0.2, "factor of the calibrated thresholds", above=0.0, high=1e6),
                "percent": Option(99.7, "the percentile of input currents that is measured", low=0.0, high=100.0),
                "pictures": Option(512, "training pictures to calibrate on", low=1, high=1_000_000),
                "timesteps": Option(100, "for how many timesteps pictures are shown to calibrate", low=1, high=10_000),
                "dropout": Option(
                    0.2, "share of the spikes dropped between convolutions in training", low=0.0, high=0.9
                ),
            },
            source="Rathi & Roy, IEEE TNNLS 2023",
            level="partly",
            from_run=True,
        ),
    },
)


def make_method(name: str, **options: Any) -> "Method":
    """A way to train, for one training.

    Args:
        name: one of :data:`METHODS`, or ``module:Class`` for one of your own.
        options: of that method, see :data:`METHODS`.

    Raises:
        ValueError: if the name or an option is unknown, an option's value is not allowed, or the code is no method.
    """
    from ternary_spike.methods.base import Method

    options = METHODS.options(name, options)
    made = METHODS[name].load()(**options)
    if not isinstance(made, Method):
        raise ValueError(f"method {name!r} is no subclass of ternary_spike.methods.base:Method")
    return made
