"""Image heads that look at parts of the body, trained from the backbone's last map.

`make.make_part_head(name, channels=C, people=P, **options)` makes one: `pcb`, `aligned_reid`, `icnn`, `scpnet`.

    head(maps)                    maps (B, C, H, W), one picture each -> `base.PartVectors`
        .embedding  (B, D)        norm 1: what is compared at test time
        .logits     (B, P) each   for the identity cross-entropy, all of them counting the same
        .metric     (B, D_i) each for a metric loss of its own, before any neck
        .local      (B, K, L)     local features of K stripes, top first
    head.losses(vectors, labels)  name -> scalar: the whole of what the method's paper trains it with; their sum is the
                                  loss. Labels are (B,) int64, -1 for nobody's.
    head.stages                   names of the stages of its training, usually ("all",); `head.begin(stage)` sets what
                                  is learned (`requires_grad`) and how it is pooled, and tells whether the backbone is
                                  learned in that stage.
    head.dimensions               D

A loop that wants losses of its own uses `logits` and `metric` and adds `head.own_losses(vectors, labels)`: what is
part of the method itself (AlignedReID's local distance, SCPNet's supervision), and {} where nothing is.

In test mode branches that are dropped are not computed (`logits`, `metric` and `local` may then be empty).
"""
