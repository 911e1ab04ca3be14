# SimSiam's linear probe: frozen backbone, Linear, 90 epochs of LARS at 0.1 x B / 256, B = 4096 on 8 GPUs.
#
#   python tools/evaluate.py configs/dspnet/dspnet_mobilenet-v3_tinyin.py \
#       work_dirs/dspnet_mobilenet-v3_tinyin/epoch_300.pth --protocol linear --data-root data/my_task \
#       --out work_dirs/linear_simsiam --protocol-config configs/transfer/linear_simsiam.py
#
# Time and memory: not measured. Result: SimSiam's paper has 68.1 % for 100 epochs of ResNet-50 on ImageNet; not
# measured here.
_base_ = ["./_base_/classification.py"]

max_epochs = 90

train_dataloader = dict(batch_size=512)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="LARS", lr=0.1, momentum=0.9, weight_decay=0.0))
# B is the batch of all processes together.
auto_scale_lr = dict(enable=True, base_batch_size=256)
param_scheduler = [dict(type="CosineAnnealingLR", T_max=max_epochs, by_epoch=True, begin=0, end=max_epochs)]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=10)
