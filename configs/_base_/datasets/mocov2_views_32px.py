# The 64 px pipelines at 32 px.
_base_ = ["./mocov2_views_64px.py"]

image_size = 32
view_pipeline = _base_.view_pipeline
view_pipeline[0]["size"] = image_size
train_pipeline = _base_.train_pipeline
train_pipeline[1]["transforms"] = [view_pipeline]
eval_pipeline = _base_.eval_pipeline
eval_pipeline[1]["scale"] = image_size
eval_pipeline[2]["crop_size"] = image_size
