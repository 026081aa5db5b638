"""Clip heads that are trained: from crop features of a clip (K stripe means and energies a crop) to one vector.

`make.make_clip_head` makes one in PyTorch by name, for training; `make.save_clip_head` writes a trained one to a file
with its settings inside; `live.LiveClipHead` runs that file in NumPy. Nothing here needs more of a crop than what live
cameras keep anyway, so that a trained head costs them no more than a fusion.

In training, a head gives of stripes (B, N, K, C), energy (B, N, K) and a mask (B, N) `base.ClipVectors`: the features
for metric losses (`metric`, one loss for each of them), those for the identity loss (`identity`, behind the head's
neck), and what it will give live (`embedding`, `parts`, `visibility`, `attention`).
"""
