# DSPNet's linear probe (Sec. 0.A.2): frozen backbone, Linear and then BatchNorm, 80 epochs of SGD at 0.2 x B / 256.
#
#   python tools/evaluate.py configs/dspnet/dspnet_mobilenet-v3_tinyin.py \
#       work_dirs/dspnet_mobilenet-v3_tinyin/epoch_300.pth --protocol linear --data-root data/my_task \
#       --out work_dirs/linear_dspnet
#
# Time and memory: not measured. Result: DSPNet's paper has 65.9 % on ImageNet for a ResNet-18 out of six; not measured
# here.
_base_ = ["./_base_/classification.py"]

max_epochs = 80

# The BatchNorm on top of the linear layer. Our reading: its statistics are of the batches of all processes together.
extra_bn = True
norm_cfg = dict(type="mmssl_dynamic.SyncBN")
model = dict(
    head=dict(type="mmssl_dynamic.LinearBNHead", norm_cfg=norm_cfg) if extra_bn else dict(type="LinearClsHead")
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.2, momentum=0.9, weight_decay=0.0))
# B is the batch of all processes together.
auto_scale_lr = dict(enable=True, base_batch_size=256)
param_scheduler = [
    dict(type="CosineAnnealingLR", T_max=max_epochs, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True)
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=10)
