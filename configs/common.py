"""Every key of a config, with its default and a comment.

A config file is a Python file that defines `get_config()`. The files in this directory call `common.get_config()` and
change some keys. On the command line, set a key with `--config.key=value` (`--config.model.dim=64`,
`--config.model.reduction=2,4`, `--config.optimizer.clip_norm=none`).
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """Returns the defaults: the thesis's Small network and recipe on CIFAR-10. A `placeholder` is unset (none)."""
    config = ConfigDict()
    config.seed = 0  # for the initial weights, the order of the data and the augmentation
    config.batch_size = 512  # images per step, over all devices
    config.epochs = 300  # passes over the training images
    # Number of microbatches, processed one after another: same result, less memory. Unset: on a CPU, as many as suit
    # its caches and the norm groups; 1 elsewhere.
    config.accumulation_steps = placeholder(int)
    # Training steps per dispatch from the host to the device. It ends early at a log line or at the end of an epoch.
    config.steps_per_dispatch = 1
    # Workdir of a run, or a published network, that gives the initial weights. The head is new if the classes differ.
    # Read when a run begins, not when it is resumed.
    config.init_from = placeholder(str)
    # Steps with a non-finite loss or gradient that a run may skip. They leave the network unchanged. One more such step
    # stops the run.
    config.max_skipped_steps = 0

    config.dataset = ConfigDict()
    config.dataset.name = 'cifar10'  # a TensorFlow Datasets name, digits, image_folder:PATH or image_table:FILE.csv
    config.dataset.data_dir = placeholder(str)  # of prepared TFDS; unset: $TFDS_DATA_DIR, or ~/tensorflow_datasets
    config.dataset.archive = placeholder(str)  # a cifar-10-binary.tar.gz to read CIFAR-10 from, without TFDS
    config.dataset.validation_fraction = 0.0  # of the training images, held out for validation; stratified by class
    # K/N: instead of that fraction, holds out the K-th of N cross-validation folds of the training images. Data without
    # a test split then gets none. See --folds of dsconv.ablate.
    config.dataset.fold = placeholder(str)
    config.dataset.train_fraction = 1.0  # of the other training images, used for training; stratified by class
    config.dataset.memory_gigabytes = 4.0  # data that is larger than this when decoded is streamed from disk
    # Draws each class equally often; the pictures of a rare class several times per epoch.
    config.dataset.balanced = False
    # Keeps the training images (uint8) on every device. Batches are drawn there in the same order; the host sends only
    # indices and labels. Only for data in memory.
    config.dataset.on_device = False
    config.dataset.root = placeholder(str)  # directory for the relative paths of a table; unset: the table's directory
    # If unset, the next five keys are found by their usual names, in TFDS by supervised_keys.
    config.dataset.image_key = placeholder(str)  # a table's column of paths, or the image feature of TFDS
    config.dataset.label_key = placeholder(str)  # a table's column of labels, or the label feature of TFDS
    config.dataset.split_key = placeholder(str)  # a table's column of splits
    config.dataset.group_key = placeholder(str)  # a table's column of picture groups (patients) that stay in one split
    config.dataset.splits = placeholder(tuple)  # names of the splits in the data, e.g. train=a,validation=b,test=c
    config.dataset.resize = 'squash'  # for pictures that are not square: squash, crop (the centre), pad (grey margins)
    # Smallest and largest fraction of a picture's area that a random crop takes. Crops are drawn again in each epoch,
    # when the pictures of a folder, a table or TFDS are decoded. Unset: no random crop.
    config.dataset.crop_scale = placeholder(tuple)
    config.dataset.crop_ratio = (0.75, 4 / 3)  # smallest and largest width/height of that crop
    config.dataset.auto = placeholder(tuple)  # keys whose values are chosen from the data: dsconv/config_auto.py
    # The keys below, if unset, are read from the data and stored in the config.json of the workdir.
    config.dataset.image_size = placeholder(int)  # pixels per side; other pictures are resized to it
    config.dataset.channels = placeholder(int)  # 1 (grey) or 3 (colour)
    config.dataset.mean = placeholder(tuple)  # per channel, of pixels in [0, 1]
    config.dataset.std = placeholder(tuple)  # as for mean
    config.dataset.class_names = placeholder(tuple)  # in the order of the labels
    config.dataset.fingerprint = placeholder(str)  # SHA-256 of training images and labels; other data is an error
    config.dataset.train_fingerprint = placeholder(str)  # of the images trained on, if in memory; checked on resume

    config.model = ConfigDict()
    # dsconv, or a network of dsconv/models/zoo to compare with, such as resnet20. The zoo networks have fixed sizes: of
    # this section, they take only norm_groups and dtype.
    config.model.name = 'dsconv'
    # plain is dsconv/models/dsconv.py, fast is dsconv/models/fast: same parameters, same result. auto is fast on a CPU
    # and a TPU, and wherever fold, depthwise_form or remat is set.
    config.model.implementation = 'auto'  # auto, plain, fast
    config.model.patch_size = 2  # pixels per side of a patch; the stride of the stem
    config.model.stem_kernel_size = placeholder(int)  # unset: the patch size (thesis, equation 1)
    config.model.dim = 128  # channels after the patch embedding
    config.model.depth = 8  # blocks
    config.model.kernel_size = 5  # side of the depthwise kernel, odd
    config.model.reduction = (2, 4)  # divisors of dim in the two pointwise reductions
    config.model.residual_depthwise = True  # add the input of the depthwise layer to its output
    config.model.residual_block = True  # add the input of the block to its output
    config.model.activation = 'gelu'  # gelu (tanh form), gelu_exact, relu, leaky_relu, elu, silu
    config.model.norm = 'batch'  # batch, layer, none
    config.model.norm_groups = 1  # ghost batch norm: equal groups of the batch, each with its own statistics
    # Option of fast, same result: number of horizontal strips that an image is cut into, stacked along the batch, in
    # training. Unset: as many as fill the 128 lanes of a TPU core; 1 elsewhere.
    config.model.fold = placeholder(int)
    # Option of fast, same result: shift (k² shifted products), lax (XLA's convolution), auto (shift on a CPU, lax
    # elsewhere).
    config.model.depthwise_form = 'auto'
    # Option of fast, same result: recomputes blocks in the backward pass. Less memory, slower.
    config.model.remat = False
    config.model.dtype = 'float32'  # of the computation: float32, bfloat16; parameters and statistics are float32

    config.optimizer = ConfigDict()
    config.optimizer.name = 'adamw'  # adamw, adam, sgd, lion, muon
    # On kernels only; the thesis states no value. Decoupled (multiplied by the learning rate) with adamw, lion, muon;
    # an L2 penalty with adam and sgd, where 0.0005 is usual.
    config.optimizer.weight_decay = 0.02
    config.optimizer.b1 = 0.9  # of adamw, adam, lion, and of the parameters that muon leaves to adamw
    config.optimizer.b2 = 0.999  # as b1; 0.99 is usual with lion
    config.optimizer.eps = 1e-8  # as b1, except lion
    config.optimizer.momentum = 0.9  # of sgd and muon; muon's author uses 0.95
    config.optimizer.nesterov = True  # of sgd and muon
    config.optimizer.muon_rms = 0.2  # RMS of muon's update of a matrix, before the learning rate; adam's is about 0.2
    config.optimizer.clip_norm = placeholder(float)  # largest global norm of the gradient; unset: no clipping
    config.optimizer.ema_decay = placeholder(float)  # of the EMA weights, which are evaluated if it is set; e.g. 0.999
    # Factor of the learning rate for all parameters except those of the head. Below 1 for fine-tuning (init_from).
    config.optimizer.body_rate = 1.0
    config.optimizer.freeze = placeholder(tuple)  # modules whose parameters are not trained, e.g. stem,block_0

    config.schedule = ConfigDict()
    # The decay after a linear warm-up. one_cycle has a cosine warm-up and a cosine decay.
    config.schedule.name = 'exponential'  # exponential, cosine, linear, one_cycle
    config.schedule.init_value = 1e-5  # learning rate of the first step of a warm-up
    config.schedule.peak_value = 0.01  # learning rate after the warm-up
    config.schedule.end_value = 5e-5  # learning rate of the last step
    config.schedule.warmup_epochs = 5.0  # at most a third of the run, unless set on the command line

    config.augment = ConfigDict()
    config.augment.crop_padding = 4  # pixels added on each side before a random crop; 0: no crop
    config.augment.crop_mode = 'zero'  # content of the padding: zero, reflect
    # Horizontal flip: random, alternating (every other epoch; random with dataset.crop_scale), none, auto (none for
    # digits and letters, else random).
    config.augment.flip = 'auto'
    config.augment.policy = 'either'  # randaugment, autoaugment, either (one of the two per image), none
    config.augment.randaugment_layers = 2  # operations per image
    config.augment.randaugment_magnitude = 5.0  # 0 to 10, the ends of the paper's ranges
    config.augment.randaugment_spread = 0.0  # standard deviation of the magnitude of an operation
    config.augment.fill = 128  # level of the pixels that warps fill, and of Cutout's square; crops use crop_mode
    config.augment.cutout_size = 0  # pixels per side of a square cut out of every image; 0: off
    config.augment.erase_probability = 0.0  # probability of random erasing
    config.augment.mixup_alpha = 0.8  # λ is drawn from Beta(α, α); 0: no MixUp
    config.augment.cutmix_alpha = 1.0  # as mixup_alpha; 0: no CutMix
    config.augment.mix_probability = 0.5  # probability that a batch or an image is mixed
    config.augment.cutmix_probability = 0.5  # probability that mixing uses CutMix, if both are on
    config.augment.mix_per = 'batch'  # unit that draws its own λ: batch, image
    config.augment.clean_tail_epochs = 0  # number of last epochs without mixing

    config.loss = ConfigDict()
    config.loss.name = 'cross_entropy'  # cross_entropy, focal, binary_cross_entropy
    config.loss.label_smoothing = 0.0  # fraction of a label's weight that is spread over all classes
    # balanced (examples of rarer classes have larger weights), or one number per class: 1,2.5,1. Unset: weights of 1.
    config.loss.class_weights = placeholder(str)
    config.loss.focal_gamma = 2.0  # of focal: a larger value gives easy examples less weight
    # Distillation: runs or published networks whose probabilities, averaged, are mixed into the targets.
    config.loss.teachers = placeholder(tuple)
    config.loss.teacher_fingerprints = placeholder(tuple)  # of their weights; set by a run
    config.loss.teacher_weight = 0.5  # of these probabilities, in (0, 1]; the labels have the rest

    config.log = ConfigDict()
    config.log.every_steps = 50  # steps per line of metrics.jsonl; an epoch also ends a line
    config.log.tensorboard = True  # writes the scalars of metrics.jsonl for TensorBoard, too
    config.log.trackers = placeholder(tuple)  # wandb, mlflow or both; they get the same scalars

    config.eval = ConfigDict()
    config.eval.every_epochs = 1  # scores the validation split, or final_split if there is none
    config.eval.batch_size = 500  # images at a time, rounded up to a multiple of the devices
    # Early stopping: evaluations without a higher validation accuracy after which the run ends. Each higher accuracy is
    # saved. Unset: the run continues to the last epoch.
    config.eval.patience = placeholder(int)
    config.eval.final_split = 'test'  # scored for the report at the end
    # Clean training batches on which the statistics of batch norm are estimated again before the last evaluation.
    # 0: the statistics remain those of the augmented images.
    config.eval.recalibration_batches = 0

    config.checkpoint = ConfigDict()
    config.checkpoint.every_epochs = 1  # saves a checkpoint; the last epoch is always saved
    config.checkpoint.keep = 2  # newest that are kept, in addition to the saved one of the best validation accuracy
    return config
