# lr 0.05 x B / 256 at B = 512; cosine per epoch, no warm-up; the predictor's rate stays.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={"predictor": dict(fix_lr=True)}),
)
max_epochs = 200
schedule_epochs = max_epochs  # that the rate falls over: of this training and of what goes on from it
param_scheduler = [dict(type="CosineAnnealingLR", T_max=schedule_epochs, by_epoch=True, begin=0, end=schedule_epochs)]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs)
custom_hooks = [dict(type="mmssl_dynamic.FixedPredictorLrHook")]
auto_scale_lr = dict(base_batch_size=512)
