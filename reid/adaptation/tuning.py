"""The backbone's stage of the adaptation: tune, encode again, fit the head again."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.ports import Projection
from reid.adaptation.backbone import BackboneToTrain, encode_again, save_backbone, train_backbone
from reid.adaptation.material import Material
from reid.adaptation.thinning import thin
from reid.adaptation.trial import AdaptationStopped, Learned, Stage
from reid.osnet import OSNet
from reid.resnet import ResNet50
from reid.weights import model_id

MOST_TRACKS, MOST_CROPS = 100, 16  # that are learned from; each is encoded again for every fold


@dataclass(frozen=True, eq=False, slots=True)
class BackboneTuning:
    """Two stages over one network: `trial` writes nothing, `final` writes the weights.

    Attributes:
        head_stages: what fits the head to the new maps.
    """

    network: OSNet | ResNet50
    projection: Projection | None
    options: BackboneToTrain
    head_stages: tuple[Stage, ...]
    should_stop: Callable[[], bool]

    def trial(self, learned: Learned, rng: np.random.Generator) -> Learned:
        """For cross-validation: learns from a part of the tracks, and names the encoder as before."""
        part = replace(learned, material=thin(learned.material, MOST_TRACKS, MOST_CROPS))
        return self._fit_head(part, self._tune(part, rng), rng)

    def final(self, learned: Learned, rng: np.random.Generator) -> Learned:
        """Learns from everything and writes `options.out`, after which the encoder is named.

        Raises:
            AdaptationStopped: before it was done; nothing is written then.
        """
        tuned = self._tune(replace(learned, material=thin(learned.material, MOST_TRACKS, MOST_CROPS)), rng)
        fitted = self._fit_head(learned, tuned, rng)
        name = model_id(save_backbone(tuned, self.options))
        parameters, start = replace(fitted.parameters, encoder=name), replace(fitted.start, encoder=name)
        return replace(fitted, parameters=parameters, start=start, encoder=replace(fitted.encoder, model_id=name))

    def _tune(self, learned: Learned, rng: np.random.Generator) -> OSNet | ResNet50:
        head = (learned.encoder, learned.parameters)
        return train_backbone(self.network, learned.material, head, self.options, rng=rng, should_stop=self.should_stop)

    def _fit_head(self, learned: Learned, tuned: OSNet | ResNet50, rng: np.random.Generator) -> Learned:
        stripes = learned.encoder.stripes

        def encode(material: Material) -> Material:
            return encode_again(tuned, material, stripes)

        if self.should_stop():
            raise AdaptationStopped
        encoder = replace(learned.encoder, projection=self.projection)
        fitted = Learned(encode(learned.material), encoder, learned.parameters, learned.start, encode)
        for stage in self.head_stages:
            if self.should_stop():
                raise AdaptationStopped
            fitted = stage(fitted, rng)
        return fitted
