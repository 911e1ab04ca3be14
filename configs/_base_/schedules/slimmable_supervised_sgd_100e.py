# SGD, lr 0.1 at B = 256, 5 epochs of warm-up, cosine.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
max_epochs = 100
warmup_epochs = 5
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, begin=0, end=warmup_epochs, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=warmup_epochs, end=max_epochs, convert_to_iter_based=True),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=5)
val_cfg = {}
test_cfg = {}
custom_hooks = [
    dict(type="mmssl_dynamic.SandwichHook", num_networks=4, warmup_epochs=0),
    dict(type="mmssl_dynamic.CalibrateBNHook", images=2000, batch_size=200),
    dict(type="mmssl_dynamic.BNBankHook"),
]
auto_scale_lr = dict(base_batch_size=256)
