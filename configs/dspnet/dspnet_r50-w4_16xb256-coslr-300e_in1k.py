# DSPNet with ResNet-50 at four widths, the networks of SlimCLR and US3L, by the paper's recipe: 16 GPUs x 256 images.
#
#   tools/dist_train.sh configs/dspnet/dspnet_r50-w4_16xb256-coslr-300e_in1k.py 16
#
# Time, memory and result are not measured.
_base_ = ["./dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py"]

widths = (0.25, 0.5, 0.75, 1.0)
any_width = False  # US3L: every width between the first and the last is trained, and can be used

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmssl_dynamic.SlimmableResNet",
        block="bottleneck",
        channels=widths,
        blocks=((3, 4, 6, 3),),
        any_width=any_width,
        norm_cfg={{_base_.norm_cfg}},
    ),
)
