"""VGGs, CIFARNets, SEW ResNets and other networks of prior methods, as data: lists of layers that one class builds.

A list is text, one word a layer, in the order of computation; ``x3`` behind a word repeats it three times:

    64          3x3 convolution of 64 channels, normalisation, neurons; 128s2 has stride 2, 64k7s2 a 7x7 kernel too,
                64k7s2p1 a padding of 1 and not half the kernel
    R64         basic block: two convolutions, whose sum with the block's input feeds the second neurons; I64 normalises
                the shortcut also where it is the identity, P64 the sum
    E64         spike-element-wise block: its input is added behind the second neurons
    A, M        average or max pooling of 2x2 places, stride 2; M3 of 3x3 places, stride 2, padding 1
    G           average over the whole picture
    U7          average pooling to 7x7 places, whatever the size before
    D0.5        dropout of half of the spikes, in training, of the same ones at every timestep
    N           neurons without weights
    F512        512 fully connected neurons
    V10         10 fully connected neurons for each class; a class's score is their mean rate

Behind the list, unless it ends with votes, a linear classifier takes the spikes of every place.
"""

from dataclasses import dataclass

from ternary_spike.configuration.register import Part


@dataclass(frozen=True)
class LayerList:
    """A network as a list of layers.

    Attributes:
        width: channels of the first layer. With another width than the list's, every layer has more or fewer in
            proportion, but for neurons that vote.
        layers: the list.
        norm: which layers are normalised: "all", "convolutions" (blocks among them) or "none"; with "weights" none, but
            convolutions have standardised weights.
        bias: which layers have a bias: "all", "fully connected" or "none"; blocks have none, but P64 always.
        head_bias: whether the classifier has one.
        connect: g of spike-element-wise blocks: "add", "and" or "iand".
        pool_gain: what averages of 2x2 places are multiplied by; here the weights behind them are.
        block_dropout: share of the spikes that is dropped between the convolutions of a basic block, in training.
        per_step: whether each timestep is normalised by its own statistics.
    """

    width: int
    layers: str
    norm: str = "all"
    bias: str = "none"
    head_bias: bool = True
    connect: str = "add"
    pool_gain: float = 1.0
    block_dropout: float = 0.0
    per_step: bool = False

    # what registry.require_image_size asks of a network: the convolutions in front, and a pooling (kernel, stride,
    # padding) that leaves something of exactly those pictures that the network can take
    stem = ()

    @property
    def stem_pool(self) -> tuple[int, int, int]:
        """Kernel, stride and padding of a pooling that just fits the smallest picture that the list can take."""
        from ternary_spike.models.layer_list import smallest_image

        side = smallest_image(self.layers)
        return side, side, 0


@dataclass(frozen=True)
class NormaliserFree:
    """A ResNet without normalisation (:mod:`ternary_spike.models.normaliser_free`).

    Attributes:
        width: channels of the stem and the first stage.
        blocks: how many each stage has.
    """

    width: int
    blocks: tuple[int, ...]

    stem = ((7, 2),)
    stem_pool = (3, 2, 1)


def _dropped(layers: str, share: float) -> str:
    """A list with dropout behind every convolution that no pooling follows."""
    words = layers.split()
    pairs = zip(words, [*words[1:], "end"], strict=True)
    return " ".join(f"{word} D{share}" if word.isdigit() and behind not in "AM" else word for word, behind in pairs)


def _network(meaning: str, source: str, level: str, width: int, layers: str, **others) -> Part:
    data = LayerList(width, layers, **others)
    return Part("ternary_spike.models.chain:ChainNetwork", meaning, source=source, level=level, data=data)


FAITHFUL, PARTLY = "faithful", "partly"
HYBRID, PTL, LTL = (
    "Rathi et al., ICLR 2020, and its code",
    "Wu et al., TPAMI 2022, and its code",
    "Yang et al., NeurIPS 2022",
)
DSR, TSSL, TL = "Meng et al., CVPR 2022", "Zhang & Li, NeurIPS 2020", "Wu et al., TNNLS 2021, and its code"
PLIF, GLIF = "Fang et al., ICCV 2021, and its code", "Yao et al., NeurIPS 2022"
SEW = "Fang et al., NeurIPS 2021"
BARE = {"norm": "none", "head_bias": False}
_STRIDED_VGG11 = "64 128s2 256 256s2 512 512s2 512 512s2"
_STRIDED_VGG16 = "64x2 128 128s2 256x2 256s2 512x2 512s2 512x2 512s2"

CHAINS = {
    "vgg16": _network(
        "VGG16 without normalisation and biases, average pooling, dropout",
        HYBRID,
        FAITHFUL,
        64,
        _dropped("64 64 A 128 128 A 256 256 256 A 512 512 512 A 512 512 512", 0.3) + " F4096 D0.5 F4096 D0.5",
        **BARE,
    ),
    "vgg11_hybrid": _network(
        "VGG11 of the spiking stage of hybrid training: no normalisation, no biases, average pooling, dropout",
        HYBRID,
        FAITHFUL,
        64,
        _dropped("64 A 128 256 256 A 512 512 512 A 512 512", 0.3) + " F1024 D0.5 F1024 D0.5",
        **BARE,
    ),
    "vgg11_hybrid_ann": _network(
        "VGG11 as the file of hybrid training's first stage has it, which is another than its second's",
        HYBRID,
        FAITHFUL,
        64,
        _dropped("64 A 128 256 A 512 512 A 512 A 512 512", 0.3) + " F4096 D0.5 F4096 D0.5",
        **BARE,
    ),
    "vgg11_ptl": _network(
        "VGG11 of PTL: strides for pooling, batch norm and biases in every layer",
        PTL,
        FAITHFUL,
        64,
        f"{_STRIDED_VGG11} F4096x2",
        bias="all",
    ),
    "vgg11_ltl": _network(
        "VGG11 of LTL's student: strides for pooling, biases, no normalisation",
        f"{LTL}, and its code",
        FAITHFUL,
        64,
        f"{_STRIDED_VGG11} F512x2",
        norm="none",
        bias="all",
    ),
    "vgg11_ltl_ann": _network(
        "VGG11 of LTL's teacher: the student's with batch norm in every layer",
        f"{LTL}, and its code",
        FAITHFUL,
        64,
        f"{_STRIDED_VGG11} F512x2",
        bias="all",
    ),
    "vgg16_ltl": _network(
        "VGG16 of LTL's student: strides for pooling, biases, no normalisation",
        f"{LTL}, and its code",
        FAITHFUL,
        64,
        f"{_STRIDED_VGG16} F512x2",
        norm="none",
        bias="all",
    ),
    "vgg16_ltl_ann": _network(
        "VGG16 of LTL's teacher: the student's with batch norm in every layer",
        f"{LTL}, and its code",
        FAITHFUL,
        64,
        f"{_STRIDED_VGG16} F512x2",
        bias="all",
    ),
    "vgg11_dsr": _network(
        "VGG11 of DSR for CIFAR10-DVS: biases, dropout, pooling to 7x7, a neuron for each class (its weighted rate is "
        "the plain one here)",
        f"{DSR}, and its code",
        PARTLY,
        64,
        "64 D0.1 A 128 D0.1 A 256 D0.1 256 D0.1 A 512 D0.1 512 D0.1 A 512 D0.1 512 D0.1 A U7 V1",
        bias="all",
    ),
    "vgg11_ottt": _network(
        "VGG of OTTT for CIFAR: convolutions of standardised weights, no batch norm, average pooling (its spikes times "
        "2.74 are weights times 2.74 here)",
        "Xiao et al., NeurIPS 2022, and its code",
        FAITHFUL,
        64,
        "64 128 A 256x2 A 512x2 A 512x2 G",
        norm="weights",
        bias="all",
    ),
    "cifarnet_tssl": _network(
        "CIFARNet of TSSL-BP, the larger one: no normalisation, no biases, dropout, a neuron for each class, 1.1 times "
        "the sum of 2x2 places (its pictures are not filtered here)",
        f"{TSSL}, and its code",
        PARTLY,
        128,
        "128 D0.2 256 D0.2 A 512 D0.2 A 1024 D0.2 512 D0.2 F1024 D0.2 F512 D0.2 V1",
        pool_gain=4.4,
        **BARE,
    ),
    "cifarnet_tssl_small": _network(
        "CIFARNet of TSSL-BP as its code has it; otherwise as the larger one",
        f"{TSSL}, and its code",
        PARTLY,
        96,
        "96 D0.2 256 D0.2 A 384 D0.2 A 384 D0.2 256 D0.2 F1024 D0.2 F1024 D0.2 V1",
        pool_gain=4.4,
        **BARE,
    ),
    "cifarnet_glif": _network(
        "CIFARNet with average pooling and normalised convolutions (tdBN in its code), linear classifier",
        f"Wu et al., AAAI 2019; {GLIF}",
        PARTLY,
        128,
        "128 256 A 512 A 1024 512 F1024 F512",
        norm="convolutions",
        head_bias=False,
    ),
    "cifarnet_tl": _network(
        "CIFARNet of TL: strides for pooling, batch norm and biases in every layer, dropout before the classifier",
        TL,
        FAITHFUL,
        128,
        "128 256s2 512s2 1024 512 F1024 D0.2",
        bias="all",
    ),
    "plifnet": _network(
        "PLIFNet for CIFAR-10: max pooling, ten neurons vote for each class, batch norm timestep by timestep",
        PLIF,
        FAITHFUL,
        256,
        "256x3 M 256x3 M D0.5 F2048 V10",
        norm="convolutions",
        per_step=True,
    ),
}

_DEEP = {
    18: "{e}64x2 {e}128s2 {e}128 {e}256s2 {e}256 {e}512s2 {e}512",
    34: "{e}64x3 {e}128s2 {e}128x3 {e}256s2 {e}256x5 {e}512s2 {e}512x2",
}
_ADDED = "; its sums of spikes are numbers larger than 1, not spikes"


def _sew(meaning: str, level: str, depth: int, stem: str, connect: str = "add") -> Part:
    layers = f"{stem} {_DEEP[depth].format(e='E')} G"
    meaning += _ADDED if connect == "add" else f"; spikes are joined by {connect.upper()}"
    return _network(meaning, f"{SEW}, and its code", level, 64, layers, connect=connect)


IMAGENET_STEM, CIFAR_STEM = "64k7s2 M3", "64"
RESIDUAL = {
    "sew_resnet18": _sew("SEW ResNet18 for ImageNet", FAITHFUL, 18, IMAGENET_STEM),
    "sew_resnet34": _sew("SEW ResNet34 for ImageNet", FAITHFUL, 34, IMAGENET_STEM),
    "sew_resnet18_and": _sew("SEW ResNet18 for ImageNet", FAITHFUL, 18, IMAGENET_STEM, "and"),
    "sew_resnet18_iand": _sew("SEW ResNet18 for ImageNet", FAITHFUL, 18, IMAGENET_STEM, "iand"),
    "sew_resnet18_cifar": _sew("SEW ResNet18 with a stem for small pictures", PARTLY, 18, CIFAR_STEM),
    "sew_resnet34_cifar": _sew("SEW ResNet34 with a stem for small pictures", PARTLY, 34, CIFAR_STEM),
    "sew_resnet18_cifar_and": _sew("SEW ResNet18 with a stem for small pictures", PARTLY, 18, CIFAR_STEM, "and"),
    "sew_resnet18_cifar_iand": _sew("SEW ResNet18 with a stem for small pictures", PARTLY, 18, CIFAR_STEM, "iand"),
    "widenet7b": _network(
        "7B-wideNet for CIFAR10-DVS at 128x128: seven spike-element-wise blocks, max pooling" + _ADDED,
        f"{SEW}, and its code",
        FAITHFUL,
        64,
        "64k1 E64 M E64 M E64 M E64 M 128k1 E128 M E128 M E128 M",
    ),
    "widenet7b_glif": _network(
        "7B-wideNet of GLIF for CIFAR10-DVS at 48x48: seven spike-element-wise blocks, average pooling" + _ADDED,
        f"{GLIF}, and its code",
        FAITHFUL,
        64,
        "64k1 E64x4 A 128k1 E128 A E128 A E128 A",
    ),
    "resnet19_tdbn": _network(
        "ResNet19 of tdBN: 256 fully connected neurons before the classifier (whether these have a bias, and identity "
        "shortcuts a normalisation, is not known: yes and no here)",
        "Zheng et al., AAAI 2021",
        PARTLY,
        128,
        "128 R128x3 R256s2 R256x2 R512s2 R512 G F256",
        norm="convolutions",
        bias="fully connected",
    ),
    "resnet19_tet": _network(
        "ResNet19 of TET: a stem of 64 channels, 256 fully connected neurons before the classifier",
        "Deng et al., ICLR 2022, and its code",
        FAITHFUL,
        64,
        "64 R128x3 R256s2 R256x2 R512s2 R512 G F256",
        norm="convolutions",
        bias="fully connected",
    ),
    "resnet34_glif": _network(
        "ResNet34 of GLIF for ImageNet: no pooling behind the stem, every shortcut normalised (tdBN in its code)",
        f"{GLIF}, and its code",
        PARTLY,
        64,
        "64k7s2p1 I64s2 I64x2 I128s2 I128x3 I256s2 I256x5 I512s2 I512x2 G",
        head_bias=False,
    ),
    "resnet18_dsr": _network(
        "pre-activation ResNet18 of DSR for CIFAR: shortcuts carry spikes, a neuron for each class",
        f"{DSR}, and its code",
        PARTLY,
        64,
        f"64 {_DEEP[18].format(e='P')} G N V1",
        bias="fully connected",
    ),
    "resnet20_diet": _network(
        "ResNet20 of hybrid training and DIET-SNN: no normalisation, no biases, strided shortcuts, dropout, a "
        "classifier of every place",
        "Rathi & Roy, TNNLS 2023, and its code",
        FAITHFUL,
        64,
        f"64 D0.2 64 D0.2 64 A {_DEEP[18].format(e='R')}",
        block_dropout=0.2,
        **BARE,
    ),
}

NORMALISER_FREE = {
    "resnet34_nf": Part(
        "ternary_spike.models.normaliser_free:NormaliserFreeResNet",
        "NF-ResNet34 of OTTT for ImageNet: standardised weights, no batch norm, shortcuts and classifier are given "
        "sums of currents (its spikes times 2.74 are weights times 2.74 here)",
        source="Xiao et al., NeurIPS 2022, and its code",
        level=FAITHFUL,
        data=NormaliserFree(64, (3, 4, 6, 3)),
    ),
}

PUBLISHED = CHAINS | RESIDUAL | NORMALISER_FREE
