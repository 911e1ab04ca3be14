python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/plain --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=2
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/plain --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/plain --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=0
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/any_width --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=0 any_width=True
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/us3l --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=0 any_width=True dynamic_sampling=True group_alpha=0.05
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/dynamic --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=0 dynamic_sampling=True
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/groups --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=0 group_alpha=0.05
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/slow --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=11 randomness.seed=0 warmup_epochs=3
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/by_largest --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=0 loss_weights=largest
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/by_width --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=0 loss_weights=width
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/small_often --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=0 favour_small=2
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/same_view --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=0 same_view=1
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/any_width --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1 any_width=True
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/dynamic --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1 dynamic_sampling=True
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/us3l --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1 any_width=True dynamic_sampling=True group_alpha=0.05
python tools/studies/evaluate_run.py $OUT/seed1/dynamic/dspnet_r18-narrow_domains.py $OUT/seed1/dynamic/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/groups/dspnet_r18-narrow_domains.py $OUT/seed0/groups/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed1/plain/dspnet_r18-narrow_domains.py $OUT/seed1/plain/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/us3l/dspnet_r18-narrow_domains.py $OUT/seed0/us3l/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/small_often/dspnet_r18-narrow_domains.py $OUT/seed0/small_often/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/any_width/dspnet_r18-narrow_domains.py $OUT/seed0/any_width/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed2/plain/dspnet_r18-narrow_domains.py $OUT/seed2/plain/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/dynamic/dspnet_r18-narrow_domains.py $OUT/seed0/dynamic/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/by_largest/dspnet_r18-narrow_domains.py $OUT/seed0/by_largest/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed1/any_width/dspnet_r18-narrow_domains.py $OUT/seed1/any_width/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/slow/dspnet_r18-narrow_domains.py $OUT/seed0/slow/epoch_11.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/plain/dspnet_r18-narrow_domains.py $OUT/seed0/plain/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/by_width/dspnet_r18-narrow_domains.py $OUT/seed0/by_width/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed1/us3l/dspnet_r18-narrow_domains.py $OUT/seed1/us3l/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/same_view/dspnet_r18-narrow_domains.py $OUT/seed0/same_view/epoch_10.pth --tasks $OUT/images/tasks
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/groups --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1 group_alpha=0.05
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/slow --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=11 randomness.seed=1 warmup_epochs=3
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/by_width --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1 loss_weights=width
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/by_largest --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1 loss_weights=largest
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/small_often --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1 favour_small=2
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/same_view --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1 same_view=1
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/any_width --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=2 any_width=True
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/us3l --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=2 any_width=True dynamic_sampling=True group_alpha=0.05
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/dynamic --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=2 dynamic_sampling=True
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/groups --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=2 group_alpha=0.05
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/slow --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=11 randomness.seed=2 warmup_epochs=3
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/by_width --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=2 loss_weights=width
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/by_largest --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=2 loss_weights=largest
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/small_often --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=2 favour_small=2
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_heads_domains.py --work-dir $OUT/seed0/heads --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=0
python tools/studies/evaluate_run.py $OUT/seed1/groups/dspnet_r18-narrow_domains.py $OUT/seed1/groups/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/heads/dspnet_r18-narrow_heads_domains.py $OUT/seed0/heads/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed1/slow/dspnet_r18-narrow_domains.py $OUT/seed1/slow/epoch_11.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed1/by_width/dspnet_r18-narrow_domains.py $OUT/seed1/by_width/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed1/by_largest/dspnet_r18-narrow_domains.py $OUT/seed1/by_largest/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed1/small_often/dspnet_r18-narrow_domains.py $OUT/seed1/small_often/epoch_10.pth --tasks $OUT/images/tasks
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_heads_domains.py --work-dir $OUT/seed1/heads --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1
python tools/studies/evaluate_run.py $OUT/seed1/same_view/dspnet_r18-narrow_domains.py $OUT/seed1/same_view/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed1/heads/dspnet_r18-narrow_heads_domains.py $OUT/seed1/heads/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed2/any_width/dspnet_r18-narrow_domains.py $OUT/seed2/any_width/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed2/us3l/dspnet_r18-narrow_domains.py $OUT/seed2/us3l/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed2/dynamic/dspnet_r18-narrow_domains.py $OUT/seed2/dynamic/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed2/groups/dspnet_r18-narrow_domains.py $OUT/seed2/groups/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed2/slow/dspnet_r18-narrow_domains.py $OUT/seed2/slow/epoch_11.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed2/by_width/dspnet_r18-narrow_domains.py $OUT/seed2/by_width/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed2/small_often/dspnet_r18-narrow_domains.py $OUT/seed2/small_often/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed2/by_largest/dspnet_r18-narrow_domains.py $OUT/seed2/by_largest/epoch_10.pth --tasks $OUT/images/tasks
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/same_view --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=2 same_view=1
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_heads_domains.py --work-dir $OUT/seed2/heads --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=2
python tools/studies/evaluate_run.py $OUT/seed2/same_view/dspnet_r18-narrow_domains.py $OUT/seed2/same_view/epoch_10.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed2/heads/dspnet_r18-narrow_heads_domains.py $OUT/seed2/heads/epoch_10.pth --tasks $OUT/images/tasks
