# The study of a mixed pool: SimSiam at 48 px, a ResNet-18 of 3/8 of the usual width.
#
#   python tools/train.py configs/sdr/small_scale/simsiam_r18-narrow_domains.py
#
# Time and memory: about half an hour on one core for 1,560 steps, as in the study; memory not measured. Result: see
# docs/studies/domains.md.
_base_ = ["./simsiam_r18-narrow.py"]

data_root = "data/domains/pool"
image_size = 48
view_pipeline = _base_.view_pipeline
train_pipeline = _base_.train_pipeline
train_pipeline[1]["transforms"] = [view_pipeline]
eval_pipeline = _base_.eval_pipeline
eval_pipeline[1]["scale"] = image_size
eval_pipeline[2]["crop_size"] = image_size

train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(dataset=dict(data_root=data_root, pipeline=train_pipeline)),
)
extract_dataloader = dict(num_workers=0, dataset=dict(data_root=data_root, pipeline=eval_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=5e-4))
