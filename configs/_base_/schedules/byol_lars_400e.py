# BYOL's preset for a few hundred epochs: LARS, lr 0.3 x B / 256 at B = 512, weight decay 1e-6, tau from 0.99, 10 epochs
# of warm-up, then cosine, every iteration. Our reading: the recipe of SDR on BYOL is in an appendix that is not public.
max_epochs = 400
schedule_epochs = max_epochs  # that the rate falls over: of this training and of what goes on from it
warmup_epochs = 10
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="LARS", lr=0.6, momentum=0.9, weight_decay=1e-6),
    paramwise_cfg=dict(
        # Norm layers and biases: no weight decay, no layer-wise scaling ("downsample.1" is a ResNet's norm layer).
        custom_keys={
            "bn": dict(decay_mult=0, lars_exclude=True),
            "bias": dict(decay_mult=0, lars_exclude=True),
            "downsample.1": dict(decay_mult=0, lars_exclude=True),
        }
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=True, begin=0, end=warmup_epochs, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=warmup_epochs, end=schedule_epochs, convert_to_iter_based=True),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs)
phase_lengths = None  # shares of the steps that the phases have, such as [1, 1, 2]; None: equal ones, our reading
custom_hooks = [
    dict(type="mmssl_dynamic.TargetEMAHook", base_momentum=0.01),
    dict(type="mmssl_dynamic.ProgressivePhaseHook", lengths=phase_lengths),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=2000, batch_size=200, bn=("path", "prefix")),
]
auto_scale_lr = dict(base_batch_size=512)
