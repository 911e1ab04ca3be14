# Loader of Algorithm 1: every batch belongs to one network of the space.
full_share = "uniform"  # share of the steps that train W_0, see SubnetBatchSampler; uniform: the paper's text
train_dataloader = dict(
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="mmssl_dynamic.SubnetBatchSampler", full_share=full_share),
    collate_fn=dict(type="default_collate"),
)
extract_dataloader = dict(batch_size=256, num_workers=8)
