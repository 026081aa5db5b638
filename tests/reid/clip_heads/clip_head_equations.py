"""The clip heads of the notes written out, clip by clip, with plain loops in double precision.

One clip: stripes f[n][k] (N, K, C). Weights come as a dictionary of arrays by PyTorch's names.
"""

import numpy as np


def softmax(scores: np.ndarray) -> np.ndarray:
    grown = np.exp(scores - scores.max())
    return grown / grown.sum()


def mean(f: np.ndarray) -> np.ndarray:
    return f.mean(axis=(0, 1))


def temporal_attention(f: np.ndarray, w: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """a_n = softmax of a convolution over time of ReLU(spatial convolution); the weighted mean, and a (N,)."""
    frames = len(f)
    hidden = [np.maximum(w["spatial.weight"] @ f[n].reshape(-1) + w["spatial.bias"], 0) for n in range(frames)]
    kernel = w["temporal.weight"][0]  # (H, taps)
    scores = np.zeros(frames)
    for n in range(frames):
        scores[n] = w["temporal.bias"][0]
        for tap in range(kernel.shape[1]):
            neighbour = n + tap - kernel.shape[1] // 2
            if 0 <= neighbour < frames:
                scores[n] += float(kernel[:, tap] @ hidden[neighbour])
    share = softmax(scores)
    return sum(share[n] * mean(f[n : n + 1]) for n in range(frames)), share


def rnn(f: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """o_t = W_i f_t + b + W_s r_{t-1}; r_t = tanh(o_t); the mean of o_t."""
    memory = np.zeros(len(w["recurrent.weight"]))
    outputs = []
    for n in range(len(f)):
        output = w["input.weight"] @ mean(f[n : n + 1]) + w["input.bias"] + w["recurrent.weight"] @ memory
        memory = np.tanh(output)
        outputs.append(output)
    return np.mean(outputs, axis=0)


def lstm(f: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """Hochreiter's cell with a forget gate, down the stripes of each frame."""
    size = w["cell.weight_hh"].shape[1]

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    frames = []
    for n in range(len(f)):
        h, c, outputs = np.zeros(size), np.zeros(size), []
        for k in range(f.shape[1]):
            gates = w["cell.weight_ih"] @ f[n, k] + w["cell.bias_ih"] + w["cell.weight_hh"] @ h + w["cell.bias_hh"]
            i, forget, g, o = (gates[part * size : (part + 1) * size] for part in range(4))
            c = sigmoid(forget) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(h)
        frames.append(np.concatenate(outputs))
    return np.mean(frames, axis=0)


def quality(f: np.ndarray, w: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean over stripes of Σ_n μ f, and μ."""
    parts, share = quality_parts(f, w)
    return parts.mean(axis=0), share


def quality_parts(f: np.ndarray, w: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """μ(n, k) = q(n, k) / Σ_n q(n, k); Σ_n μ f of each stripe (K, C), and μ."""
    frames, stripes = f.shape[:2]
    q = np.zeros((frames, stripes))
    for n in range(frames):
        for k in range(stripes):
            hidden = np.maximum(w["hidden.weight"] @ f[n, k] + w["stripe_bias"][k], 0)
            q[n, k] = 1 / (1 + np.exp(-(w["score.weight"][0] @ hidden + w["score.bias"][0])))
    share = q / q.sum(axis=0)
    parts = [sum(share[n, k] * f[n, k] for n in range(frames)) for k in range(stripes)]
    return np.stack(parts), share


def propagation(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Â of patches x (M, C) under φ(x) = W x."""
    count = len(x)
    phi = [w @ patch for patch in x]
    a = np.zeros((count, count))
    for i in range(count):
        e = [float(phi[i] @ phi[j]) for j in range(count)]
        for j in range(count):
            a[i, j] = e[j] ** 2 / sum(value**2 for value in e)
    joined = a + np.eye(count)
    degree = np.diag(joined.sum(axis=1))
    root = np.diag(1 / np.sqrt(np.diag(degree)))
    return root @ joined @ root


def graph(x: np.ndarray, w: dict[str, np.ndarray], name: str, residual: bool) -> np.ndarray:
    """X^m = LeakyReLU(LN(Â X^{m-1} W^m)), with a shortcut where lengths agree."""
    spread = propagation(x, w[f"{name}.affinity.weight"])
    layer = 0
    while f"{name}.layers.{layer}.weight" in w:
        new = spread @ x @ w[f"{name}.layers.{layer}.weight"].T
        for row in new:  # layer norm of each patch
            row -= row.mean()
            row /= np.sqrt((row**2).mean() + 1e-5)
        new = new * w[f"{name}.norms.{layer}.weight"] + w[f"{name}.norms.{layer}.bias"]
        new = np.maximum(new, 0) + 0.01 * np.minimum(new, 0)
        x = x + new if residual and x.shape == new.shape else new
        layer += 1
    return x


def stgcn(f: np.ndarray, w: dict[str, np.ndarray], residual: bool = False) -> tuple[np.ndarray, ...]:
    """f^global, f^t, f^s."""
    frames, stripes, channels = f.shape
    over_time = graph(f.reshape(frames * stripes, channels), w, "temporal", residual).max(axis=0)
    structure = np.mean([graph(f[n], w, "structural", residual).reshape(-1) for n in range(frames)], axis=0)
    return mean(f), over_time, structure


def neck(vector: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """Batch norm with the statistics collected in training."""
    scaled = (vector - w["neck.norm.running_mean"]) / np.sqrt(w["neck.norm.running_var"] + 1e-5)
    return scaled * w["neck.norm.weight"] + w["neck.norm.bias"]
