# LARS, lr 0.2 x B / 256 at B = 4096; 10 epochs of linear warm-up, then cosine, every iteration.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="LARS", lr=3.2, momentum=0.9, weight_decay=1.5e-6),
    paramwise_cfg=dict(
        # Norm layers and biases: no weight decay, no layer-wise scaling ("downsample.1" is a ResNet's norm layer).
        custom_keys={
            "bn": dict(decay_mult=0, lars_exclude=True),
            "bias": dict(decay_mult=0, lars_exclude=True),
            "downsample.1": dict(decay_mult=0, lars_exclude=True),
        }
    ),
)
max_epochs = 300
warmup_epochs = 10
num_networks = 4  # in every step: the largest, the smallest and others by chance
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=True, begin=0, end=warmup_epochs, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=warmup_epochs,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs)
custom_hooks = [
    # The full network alone while warming up.
    dict(type="mmssl_dynamic.SandwichHook", num_networks=num_networks, warmup_epochs=warmup_epochs),
    dict(type="mmssl_dynamic.TargetEMAHook", base_momentum=0.004),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook"),
]
auto_scale_lr = dict(base_batch_size=4096)
