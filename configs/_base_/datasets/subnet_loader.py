# Loader of Algorithm 1: every batch belongs to one network of the space.
train_dataloader = dict(
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="mmssl_dynamic.SubnetBatchSampler"),
    collate_fn=dict(type="default_collate"),
)
extract_dataloader = dict(batch_size=256, num_workers=8)
