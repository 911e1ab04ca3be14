# MoCo-v2: SGD, lr 0.03 at B = 256, weight decay 1e-4, cosine per epoch, no warm-up; momentum of the key encoder 0.999.
max_epochs = 200
rarity_power = 0.0  # longer steps for rarely drawn groups, see SubnetOptimWrapper; 0: one rate, as in the paper
optim_wrapper = dict(
    type="mmssl_dynamic.SubnetOptimWrapper",
    rarity_power=rarity_power,
    optimizer=dict(type="SGD", lr=0.03, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = [dict(type="CosineAnnealingLR", T_max=max_epochs, by_epoch=True, begin=0, end=max_epochs)]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs)
key_momentum = 0.001  # weight of the online network, the same all the time
phase_lengths = None  # shares of the steps that the phases have, such as [1, 1, 2]; None: equal ones, our reading
custom_hooks = [
    dict(type="mmssl_dynamic.TargetEMAHook", base_momentum=key_momentum, end_momentum=key_momentum),
    dict(type="mmssl_dynamic.ProgressivePhaseHook", lengths=phase_lengths),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=2000, batch_size=200, bn=("path", "prefix")),
]
auto_scale_lr = dict(base_batch_size=256)
