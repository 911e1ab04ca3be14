# timm's recipe for MobileNetV3 at 300 epochs: RMSprop, lr 0.064 at B = 1024 (2 GPUs of 512), which is 0.032 at B = 512,
# times 0.973 every 2.4 epochs (here 2, as in mmpretrain, whose schedules take whole epochs). Our reading: no dropout, drop
# path, averaged weights or noise on the rate, which US-Nets leave out as well.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="RMSprop", lr=0.032, alpha=0.9, momentum=0.9, eps=0.0316, weight_decay=1e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
max_epochs = 300
warmup_epochs = 3
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=True, begin=0, end=warmup_epochs, convert_to_iter_based=True),
    dict(type="StepLR", step_size=2, gamma=0.973, by_epoch=True, begin=warmup_epochs),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=10)
val_cfg = {}
test_cfg = {}
custom_hooks = [
    dict(type="mmssl_dynamic.SandwichHook", num_networks=4, warmup_epochs=0),
    dict(type="mmssl_dynamic.CalibrateBNHook", images=2000, batch_size=200),
    dict(type="mmssl_dynamic.BNBankHook"),
]
auto_scale_lr = dict(base_batch_size=512)
