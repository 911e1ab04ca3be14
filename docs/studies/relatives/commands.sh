python tools/train.py configs/sdr/small_scale/simsiam_r18-narrow_domains.py --work-dir $OUT/seed0/simsiam10 --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=0
python tools/extract_features.py $OUT/seed0/simsiam10/simsiam_r18-narrow_domains.py $OUT/seed0/simsiam10/epoch_10.pth --out $OUT/seed0/simsiam10/features.npy
python tools/cluster.py $OUT/seed0/simsiam10/features.npy --min-size 64 --seed 0 --no-montage --num-clusters 16 --out $OUT/seed0/simsiam10/cluster16.npz
python tools/studies/evaluate_run.py $OUT/seed0/simsiam10/simsiam_r18-narrow_domains.py $OUT/seed0/simsiam10/epoch_10.pth --tasks $OUT/images/tasks
python tools/train.py configs/sdr/small_scale/sdr_r18-narrow_16path_domains.py --work-dir $OUT/seed0/sdr --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1000 init_from=$OUT/seed0/simsiam10/epoch_10.pth clusters_file=$OUT/seed0/simsiam10/cluster16.npz optim_wrapper.optimizer.lr=0.02
python tools/studies/evaluate_run.py $OUT/seed0/sdr/sdr_r18-narrow_16path_domains.py $OUT/seed0/sdr/epoch_10.pth --tasks $OUT/images/tasks
python tools/train.py configs/sdr/small_scale/simsiam_r18-narrow_domains.py --work-dir $OUT/seed1/simsiam10 --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1
python tools/extract_features.py $OUT/seed1/simsiam10/simsiam_r18-narrow_domains.py $OUT/seed1/simsiam10/epoch_10.pth --out $OUT/seed1/simsiam10/features.npy
python tools/cluster.py $OUT/seed1/simsiam10/features.npy --min-size 64 --seed 1 --no-montage --num-clusters 16 --out $OUT/seed1/simsiam10/cluster16.npz
python tools/studies/evaluate_run.py $OUT/seed1/simsiam10/simsiam_r18-narrow_domains.py $OUT/seed1/simsiam10/epoch_10.pth --tasks $OUT/images/tasks
python tools/train.py configs/sdr/small_scale/sdr_r18-narrow_16path_domains.py --work-dir $OUT/seed1/sdr --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1001 init_from=$OUT/seed1/simsiam10/epoch_10.pth clusters_file=$OUT/seed1/simsiam10/cluster16.npz optim_wrapper.optimizer.lr=0.02
python tools/studies/evaluate_run.py $OUT/seed1/sdr/sdr_r18-narrow_16path_domains.py $OUT/seed1/sdr/epoch_10.pth --tasks $OUT/images/tasks
python tools/train.py configs/sdr/small_scale/simsiam_r18-narrow_domains.py --work-dir $OUT/seed2/simsiam10 --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=2
python tools/extract_features.py $OUT/seed2/simsiam10/simsiam_r18-narrow_domains.py $OUT/seed2/simsiam10/epoch_10.pth --out $OUT/seed2/simsiam10/features.npy
python tools/cluster.py $OUT/seed2/simsiam10/features.npy --min-size 64 --seed 2 --no-montage --num-clusters 16 --out $OUT/seed2/simsiam10/cluster16.npz
python tools/studies/evaluate_run.py $OUT/seed2/simsiam10/simsiam_r18-narrow_domains.py $OUT/seed2/simsiam10/epoch_10.pth --tasks $OUT/images/tasks
python tools/train.py configs/sdr/small_scale/sdr_r18-narrow_16path_domains.py --work-dir $OUT/seed2/sdr --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1002 init_from=$OUT/seed2/simsiam10/epoch_10.pth clusters_file=$OUT/seed2/simsiam10/cluster16.npz optim_wrapper.optimizer.lr=0.02
python tools/studies/evaluate_run.py $OUT/seed2/sdr/sdr_r18-narrow_16path_domains.py $OUT/seed2/sdr/epoch_10.pth --tasks $OUT/images/tasks
python tools/train.py configs/sdr/small_scale/sdr_r18-narrow_16path_domains.py --work-dir $OUT/seed0/sdr_alternate --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=14 randomness.seed=1000 init_from=$OUT/seed0/simsiam10/epoch_10.pth clusters_file=$OUT/seed0/simsiam10/cluster16.npz optim_wrapper.optimizer.lr=0.02 directions=alternate
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/plain --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=0
python tools/studies/evaluate_run.py $OUT/seed0/sdr_alternate/sdr_r18-narrow_16path_domains.py $OUT/seed0/sdr_alternate/epoch_14.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/plain/dspnet_r18-narrow_domains.py $OUT/seed0/plain/epoch_10.pth --tasks $OUT/images/tasks
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/alternate --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=16 randomness.seed=0 directions=alternate
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed0/both_of_largest --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=12 randomness.seed=0 directions=both_of_largest
python tools/studies/evaluate_run.py $OUT/seed0/alternate/dspnet_r18-narrow_domains.py $OUT/seed0/alternate/epoch_16.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed0/both_of_largest/dspnet_r18-narrow_domains.py $OUT/seed0/both_of_largest/epoch_12.pth --tasks $OUT/images/tasks
python tools/train.py configs/sdr/small_scale/sdr_r18-narrow_16path_domains.py --work-dir $OUT/seed1/sdr_alternate --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=14 randomness.seed=1001 init_from=$OUT/seed1/simsiam10/epoch_10.pth clusters_file=$OUT/seed1/simsiam10/cluster16.npz optim_wrapper.optimizer.lr=0.02 directions=alternate
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/plain --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=1
python tools/studies/evaluate_run.py $OUT/seed1/sdr_alternate/sdr_r18-narrow_16path_domains.py $OUT/seed1/sdr_alternate/epoch_14.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed1/plain/dspnet_r18-narrow_domains.py $OUT/seed1/plain/epoch_10.pth --tasks $OUT/images/tasks
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/alternate --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=16 randomness.seed=1 directions=alternate
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed1/both_of_largest --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=12 randomness.seed=1 directions=both_of_largest
python tools/studies/evaluate_run.py $OUT/seed1/alternate/dspnet_r18-narrow_domains.py $OUT/seed1/alternate/epoch_16.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed1/both_of_largest/dspnet_r18-narrow_domains.py $OUT/seed1/both_of_largest/epoch_12.pth --tasks $OUT/images/tasks
python tools/train.py configs/sdr/small_scale/sdr_r18-narrow_16path_domains.py --work-dir $OUT/seed2/sdr_alternate --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=14 randomness.seed=1002 init_from=$OUT/seed2/simsiam10/epoch_10.pth clusters_file=$OUT/seed2/simsiam10/cluster16.npz optim_wrapper.optimizer.lr=0.02 directions=alternate
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/plain --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=10 randomness.seed=2
python tools/studies/evaluate_run.py $OUT/seed2/sdr_alternate/sdr_r18-narrow_16path_domains.py $OUT/seed2/sdr_alternate/epoch_14.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed2/plain/dspnet_r18-narrow_domains.py $OUT/seed2/plain/epoch_10.pth --tasks $OUT/images/tasks
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/alternate --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=16 randomness.seed=2 directions=alternate
python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py --work-dir $OUT/seed2/both_of_largest --resume --channels-last --cfg-options data_root=$OUT/images/pool max_epochs=12 randomness.seed=2 directions=both_of_largest
python tools/studies/evaluate_run.py $OUT/seed2/alternate/dspnet_r18-narrow_domains.py $OUT/seed2/alternate/epoch_16.pth --tasks $OUT/images/tasks
python tools/studies/evaluate_run.py $OUT/seed2/both_of_largest/dspnet_r18-narrow_domains.py $OUT/seed2/both_of_largest/epoch_12.pth --tasks $OUT/images/tasks
