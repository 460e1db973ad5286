"""Errors that the lectures quote, each with its protocol and its source.

No program here reproduces them: they are errors on ImageNet (ILSVRC), most of them of
several networks together. Table 7 of Simonyan and Zisserman 2014 lists most of them
side by side. Those of a person are from summaries of the section that is named.
"""

import dataclasses

from cnn_arch.lectures.claim import CS231N, is_same
from cnn_arch.lectures.counts import Counts, yes

TOP5 = ("% top-5 error",)
_KRIZHEVSKY = "Krizhevsky et al. 2012, Table 2"
_SIMONYAN = "Simonyan and Zisserman 2014, {}"
_HE = "He et al. 2015, {}"
# Errors in percent by the number of layers: top-5 on ImageNet, and on CIFAR-10.
_VGG = {16: 8.1, 19: 8.0}
_RESNET = {110: 6.43, 1202: 7.93}


@dataclasses.dataclass(frozen=True)
class Published:
    """A result that a lecture quotes, and the result in its source."""

    about: str  # the network
    text: str  # the statement, reworded
    said: Counts  # its numbers
    published: Counts  # the same in the paper
    units: tuple[str, ...]
    protocol: str  # networks, views of an image, and the set of images
    paper: str  # and table
    source: str = CS231N
    precision: float = 0.0  # the last digit printed; 0: exact
    reason: str = ""  # why the paper's number differs

    @property
    def verdict(self) -> str:
        """Whether the paper has the lecture's numbers."""
        pairs = zip(self.said, self.published, strict=True)
        agree = all(is_same(said, own, self.precision) for said, own in pairs)
        return "as published" if agree else "not as published"


QUOTED = (
    Published(
        "alexnet",
        "averaging 7 networks lowers the error from 18.2 % to 15.4 %",
        (18.2, 15.4),
        (18.2, 15.4),
        TOP5,
        "1 network; 5 and 2 more that were trained first on all of ImageNet 2011; ten "
        "crops; the validation images (test images: 15.3 %)",
        _KRIZHEVSKY,
    ),
    Published(
        "alexnet",
        "16.4 % in the chart of the winners",
        (16.4,),
        (16.4,),
        TOP5,
        "5 networks, no data but the competition's; ten crops; the test images, and "
        "16.4 % of the validation images too",
        _KRIZHEVSKY,
    ),
    Published(
        "zfnet",
        "11.7 %, after AlexNet's 16.4 %",
        (11.7,),
        (14.8,),
        TOP5,
        "6 networks of two designs; ten crops; the test images (one network as in "
        "Figure 3: 16.5 % of the validation images)",
        "Zeiler and Fergus 2013, Table 2",
        reason="11.7 % is the error of Clarifai, below",
    ),
    Published(
        "clarifai",
        "11.7 %, the winner of 2013",
        (11.7,),
        (11.7,),
        TOP5,
        "several networks, which no paper describes (one: 12.5 %); no data but the "
        "competition's; the test images",
        _SIMONYAN.format("Table 7"),
    ),
    Published(
        "vgg",
        "7.3 %",
        (7.3,),
        (7.3,),
        TOP5,
        "7 networks, dense over whole images; the test images (two networks, after the "
        "competition: 6.8 %)",
        _SIMONYAN.format("Tables 6 and 7"),
    ),
    Published(
        "vgg19",
        "a little better than VGG-16",
        ("yes",),
        yes(_VGG[19] < _VGG[16]),
        ("",),
        f"top-5 errors {_VGG[19]} % and {_VGG[16]} %: 1 network, trained at sides of "
        "256 to 512 px; dense over images of 384 px; the validation images",
        _SIMONYAN.format("Table 3"),
    ),
    Published(
        "googlenet",
        "6.7 %",
        (6.7,),
        (6.67,),
        TOP5,
        "7 networks, 144 crops; validation and test images (1 network, one crop: "
        "10.07 %)",
        "Szegedy et al. 2014, Tables 2 and 3",
        precision=0.1,
    ),
    Published(
        "resnet",
        "3.57 %",
        (3.57,),
        (3.57,),
        TOP5,
        "6 networks of several depths, two of them of 152 layers; the test images (one "
        "of 152 layers, at several scales: 4.49 % of the validation images)",
        _HE.format("Table 5"),
    ),
    Published(
        "resnet",
        "1202 layers on CIFAR-10 without degradation (here: no more error than 110)",
        ("yes",),
        yes(_RESNET[1202] <= _RESNET[110]),
        ("",),
        f"test errors {_RESNET[1202]} % and {_RESNET[110]} %: 1 network, whole images; "
        "of 110 layers the best of five runs",
        _HE.format("Table 6 and Section 4.2"),
        reason="the training errors are similar (below 0.1 % with 1202); the authors "
        "blame over-fitting",
    ),
    Published(
        "human",
        "5.1 %, more than ResNet's",
        (5.1,),
        (5.1,),
        TOP5,
        "one person, after practice; 1,500 of the test images, on which GoogLeNet has "
        "6.8 % (a second person: 12.0 % of 258 images)",
        "Russakovsky et al. 2015, Section 6.4",
    ),
)
