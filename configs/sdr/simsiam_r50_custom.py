# SimSiam on a folder of your own images (any formats, any nesting, no labels needed), one GPU.
#
#   python tools/train.py configs/sdr/simsiam_r50_custom.py
#
# Time and memory: not measured; it grows with the images. Result: not measured.
_base_ = ["./simsiam_r50_8xb64-coslr-200e_in1k.py"]

data_root = "data/my_images"

train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        dataset=dict(
            _delete_=True, type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.train_pipeline}}
        ),
    ),
)
extract_dataloader = dict(
    dataset=dict(
        _delete_=True, type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.eval_pipeline}}
    ),
)
# 0.05 x 128 / 256; with other batch sizes or more GPUs add --auto-scale-lr
optim_wrapper = dict(optimizer=dict(lr=0.025))
auto_scale_lr = dict(base_batch_size=128)
