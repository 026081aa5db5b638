"""Recurrent heads, for comparison: over frames, and over the stripes of a body."""

import torch
from torch import Tensor, nn

from pipeline.ports import Projection
from reid.clip_heads.base import Pooled, TrainableHead, frames_to_front, reorder_frames
from reid.clip_heads.weighing import pooled_length
from reid.sta_torch import even_attention


class FrameRnn(TrainableHead):
    """A recurrent layer over frames, its outputs averaged.

    McLaughlin, Martinez del Rincon and Miller, CVPR 2016, section 3: o_t = W_i f_t + W_s r_{t-1},
    r_t = tanh(o_t), r_0 = 0, and the vector is the mean of o_t over time (notes, 3.4: CNN and RNN). Departures: no
    optical flow among the inputs, no dropout; f_t is the mean over a frame's places.
    """

    name = "rnn"

    def __init__(
        self,
        stripes: int,
        channels: int,
        *,
        hidden: int | None = None,
        projection: Projection | None = None,
        dimensions: int | None = None,
        neck: bool = True,
    ) -> None:
        """
        Args:
            hidden: length of o_t; None: that of f_t.
        """
        length = pooled_length(channels, projection)
        hidden = hidden or length
        super().__init__(stripes, channels, hidden, projection=projection, dimensions=dimensions, neck=neck)
        self.input = nn.Linear(length, hidden)
        self.recurrent = nn.Linear(hidden, hidden, bias=False)
        nn.init.orthogonal_(self.recurrent.weight, gain=0.5)  # a memory that fades: half of what was a frame ago

    def _pool(self, stripes: Tensor, energy: Tensor, weights: Tensor) -> Pooled:
        order = frames_to_front(weights)
        ordered = weights.gather(1, order)
        frames = self._project(reorder_frames(stripes, order).mean(2))  # (B, N, F)
        state = frames.new_zeros((len(frames), self.recurrent.in_features))
        total = torch.zeros_like(state)
        for n in range(frames.shape[1]):  # what does not exist stands at the end, and counts 0
            output = self.input(frames[:, n]) + self.recurrent(state)
            state = output.tanh()
            total = total + output * ordered[:, n, None]
        return Pooled((total / ordered.sum(1, keepdim=True),), None, even_attention(energy, weights))


class StripeLstm(TrainableHead):
    """An LSTM down the stripes of a body, its outputs concatenated, the mean over frames.

    Varior et al., *A Siamese long short-term memory architecture for human re-identification*, ECCV 2016, section 3
    (notes, 3.3 (1); the lecture's slide shows this one under the name of its sibling, the gated network). Departures:
    stripe means of a trained map instead of colour histograms and LOMO; the cell is PyTorch's, without peepholes; it
    is trained with whatever losses are chosen, not with pairs alone.
    """

    name = "lstm"

    def __init__(
        self,
        stripes: int,
        channels: int,
        *,
        hidden: int | None = None,
        projection: Projection | None = None,
        dimensions: int | None = None,
        neck: bool = True,
    ) -> None:
        """
        Args:
            hidden: length of each stripe's output; None: so that all together are as long as the input of one.
        """
        length = pooled_length(channels, projection)
        hidden = hidden or max(1, length // stripes)
        super().__init__(stripes, channels, hidden * stripes, projection=projection, dimensions=dimensions, neck=neck)
        self.cell = nn.LSTMCell(length, hidden)

    def _pool(self, stripes: Tensor, energy: Tensor, weights: Tensor) -> Pooled:
        clips, frames = stripes.shape[:2]
        inputs = self._project(stripes.flatten(0, 1))  # (B N, K, F)
        state = inputs.new_zeros((len(inputs), self.cell.hidden_size))
        memory, outputs = torch.zeros_like(state), []
        for k in range(self.stripes):
            state, memory = self.cell(inputs[:, k], (state, memory))
            outputs.append(state)
        read = torch.cat(outputs, 1).unflatten(0, (clips, frames))  # (B, N, K H)
        shares = weights / weights.sum(1, keepdim=True)
        return Pooled(((read * shares[..., None]).sum(1),), None, even_attention(energy, weights))
