# SDR with 16 paths on a folder of your own images, with colours, blur and flips of the views on the GPU, a batch at a time:
# where the loader is too slow for it. The loader decodes, crops and draws the random numbers.
#
#   python tools/train.py configs/sdr/sdr_simsiam_r50_16path_custom_accelerator.py --amp \
#       --cfg-options data_root=data/my_images
#
# Time and memory: not measured; it grows with the images. Result: not measured.
_base_ = ["./sdr_simsiam_r50_16path_custom.py"]

image_size = 224
train_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(
        type="mmssl_dynamic.MultiView",
        num_views=2,
        transforms=[[dict(type="mmssl_dynamic.RandomResizedCrop", size=image_size, scale=(0.2, 1.0))]],
    ),
    dict(type="mmssl_dynamic.DrawAugmentations", views=[{}, {}]),  # MoCo-v2's, of each view
    dict(type="PackInputs", meta_keys=("sample_idx", "img_path", "draws")),
]

model = dict(data_preprocessor=dict(type="mmssl_dynamic.AugmentingPreprocessor"))
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
