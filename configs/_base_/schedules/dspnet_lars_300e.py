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
# Relatives of the sandwich rule, see SandwichHook; as they stand here they are off.
dynamic_sampling = False  # US3L: the range of widths opens from the largest down
favour_small = 0.0  # POA: draws small networks more often, by width ** -favour_small
loss_weights = "equal"  # SlimCLR: or by "width", or "largest"
group_alpha = 0.0  # US3L: a group of channels decays by this share less than the one before
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
    dict(
        type="mmssl_dynamic.SandwichHook",
        num_networks=num_networks,
        warmup_epochs=warmup_epochs,
        dynamic_sampling=dynamic_sampling,
        favour_small=favour_small,
        loss_weights=loss_weights,
    ),
    dict(type="mmssl_dynamic.GroupRegularizationHook", alpha=group_alpha, warmup_epochs=warmup_epochs),
    dict(type="mmssl_dynamic.TargetEMAHook", base_momentum=0.004),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook"),
]
auto_scale_lr = dict(base_batch_size=4096)
