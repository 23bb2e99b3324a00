"""Every key of a configuration, with its default and what it means.

A config file is Python that defines `get_config()`; the files beside this one call `common.get_config()` and change
what differs. On the command line any key is set by `--config.key=value` (`--config.model.dim=64`,
`--config.model.reduction=2,4`, `--config.optimizer.clip_norm=none`).
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """The defaults: the thesis's Small network and recipe on CIFAR-10. A `placeholder` is unset (none)."""
    config = ConfigDict()
    config.seed = 0  # initial weights, order of the data, augmentation
    config.batch_size = 512  # images a step over all devices
    config.epochs = 300
    config.accumulation_steps = placeholder(int)  # parts of a batch that are taken one after another, with the same
    # result in less memory; unset: on a CPU as many as suit its caches and batch norm's groups, 1 elsewhere
    config.steps_per_dispatch = 1  # training steps that the device runs for each call from the host

    config.init_from = placeholder(str)  # workdir of a run, or a published network, whose weights are started from; the
    # head is new where the classes are others. Read when a run begins, not when it is resumed

    config.max_skipped_steps = 0  # steps with a loss or gradient that is not finite that a run may leave out, with the
    # network as it was before them; at one more, the run stops

    config.dataset = ConfigDict()
    config.dataset.name = 'cifar10'  # a name of TensorFlow Datasets, digits, image_folder:PATH or image_table:FILE.csv
    config.dataset.data_dir = placeholder(
        str
    )  # where TFDS keeps its data; unset: $TFDS_DATA_DIR, ~/tensorflow_datasets
    config.dataset.archive = placeholder(str)  # a cifar-10-binary.tar.gz to read CIFAR-10 from, without TFDS
    config.dataset.validation_fraction = 0.0  # part of the training images, by class, held out for validation
    config.dataset.train_fraction = 1.0  # part of what is left, by class, that is trained on
    config.dataset.memory_gigabytes = 4.0  # data larger than this, decoded, is streamed from disk
    config.dataset.balanced = False  # draws each class equally often, the pictures of a rare one several times an epoch
    config.dataset.on_device = False  # puts the training images, uint8, on every device, where batches are drawn in the
    # same order: no feed from the host. For what is in memory
    config.dataset.root = placeholder(str)  # where the paths of a table begin; unset: in its directory
    config.dataset.image_key = placeholder(str)  # a table's column of paths, or the feature of TFDS that is the image
    config.dataset.label_key = placeholder(str)  # as image_key; unset: by the usual names, in TFDS by supervised_keys
    config.dataset.split_key = placeholder(str)  # a table's column of splits
    config.dataset.group_key = placeholder(str)  # a table's column of what is not to be divided, as a patient
    config.dataset.splits = placeholder(tuple)  # the data's names of splits, as train=a,validation=b,test=c
    config.dataset.resize = 'squash'  # of pictures that are not square: squash, crop (the middle), pad (grey margins)
    config.dataset.crop_scale = placeholder(
        tuple
    )  # least and largest share of a picture that a random crop takes, anew
    # in each epoch, where it is decoded: of a folder, a table, TFDS; unset: none
    config.dataset.crop_ratio = (0.75, 4 / 3)  # least and largest width/height of that crop
    config.dataset.auto = placeholder(tuple)  # keys that are chosen from what the data holds: see dsconv/config_auto.py
    # What is left unset here is read from the data, and written resolved into the workdir's config.json.
    config.dataset.image_size = placeholder(int)  # pixels a side; other pictures are resized to it
    config.dataset.channels = placeholder(int)  # 1 grey, 3 colour
    config.dataset.mean = placeholder(tuple)  # of each channel, pixels in [0, 1]
    config.dataset.std = placeholder(tuple)
    config.dataset.class_names = placeholder(tuple)
    config.dataset.fingerprint = placeholder(str)  # SHA-256 of the training images: other data is then refused

    config.model = ConfigDict()
    config.model.name = 'dsconv'  # or a network to compare it with, as 'resnet20': see dsconv/models/zoo. Those have
    # sizes of their own, and take norm_groups and dtype alone from here
    config.model.implementation = 'auto'  # plain (dsconv/models/dsconv.py), fast (dsconv/models/fast), with the same
    # result from the same parameters; auto: fast on a CPU and a TPU, and where fold, depthwise_form or remat is set
    config.model.patch_size = 2  # side of a patch in pixels, stride of the stem
    config.model.stem_kernel_size = placeholder(int)  # unset: the patch size (thesis, equation 1)
    config.model.dim = 128  # channels after the patch embedding
    config.model.depth = 8  # blocks
    config.model.kernel_size = 5  # side of the depthwise kernel, odd
    config.model.reduction = (2, 4)  # dim is divided by these in the two pointwise reductions
    config.model.residual_depthwise = True  # add the depthwise layer's input to its output
    config.model.residual_block = True  # add the block's input to its output
    config.model.activation = 'gelu'  # gelu (tanh form), gelu_exact, relu, leaky_relu, elu, silu
    config.model.norm = 'batch'  # batch, layer, none
    config.model.norm_groups = 1  # equal parts of the global batch that batch norm takes its statistics over
    config.model.fold = placeholder(int)  # of fast: parts of an image that are trained on side by side, with the same
    # result; unset: as many as fill the 128 lanes of a TPU's core, 1 elsewhere
    config.model.depthwise_form = 'auto'  # of fast: shift (k² shifted products), lax (XLA's convolution), with the same
    # result; auto: shift on a CPU, lax elsewhere
    config.model.remat = (
        False  # of fast: recomputes blocks in the backward pass: the same result in less memory, slower
    )
    config.model.dtype = 'float32'  # of the computation: float32 or bfloat16; parameters and statistics stay float32

    config.optimizer = ConfigDict()
    config.optimizer.name = 'adamw'  # adamw, adam, sgd, lion, muon
    config.optimizer.weight_decay = 0.02  # on kernels only; the thesis states none. Times the learning rate it is taken
    # from the kernel itself, but with adam and sgd added to the gradient, as of an L2 penalty: 0.0005 is usual there
    config.optimizer.b1 = 0.9  # of adamw, adam, lion, and of what muon leaves to adamw
    config.optimizer.b2 = 0.999  # of the same; 0.99 is usual with lion
    config.optimizer.eps = 1e-8  # of the same, but for lion
    config.optimizer.momentum = 0.9  # of sgd, and of muon, whose author has 0.95
    config.optimizer.nesterov = True  # of the same
    config.optimizer.muon_rms = 0.2  # root mean square of a matrix's update by muon, times the learning rate; by Adam
    # it is about 0.2
    config.optimizer.clip_norm = placeholder(float)  # largest global norm of the gradient; unset: not clipped
    config.optimizer.ema_decay = placeholder(float)  # of the averaged weights, e.g. 0.999, evaluated when set
    config.optimizer.body_rate = 1.0  # learning rate of all but the head, times the schedule's; less than 1 is for a
    # network that is started from
    config.optimizer.freeze = placeholder(tuple)  # parts whose parameters stay as they are, as stem,block_0

    config.schedule = ConfigDict()
    config.schedule.name = 'exponential'  # the decay after a linear warm-up: exponential, cosine, linear; one_cycle: a
    # cosine up and a cosine down
    config.schedule.init_value = 1e-5  # learning rate of the first step
    config.schedule.peak_value = 0.01  # after the warm-up
    config.schedule.end_value = 5e-5  # of the last step
    config.schedule.warmup_epochs = 5.0  # cut to a third of a shorter run, unless set on the command line

    config.augment = ConfigDict()
    config.augment.crop_padding = 4  # pixels around the image from which a random crop is cut; 0: no crop
    config.augment.crop_mode = 'zero'  # what the padding holds: zero or reflect
    config.augment.flip = 'auto'  # left-right: random, alternating (every other epoch), none, auto (random, but none
    # for digits and letters)
    config.augment.policy = 'either'  # randaugment, autoaugment, either (of the two, by image), none
    config.augment.randaugment_layers = 2  # operations an image
    config.augment.randaugment_magnitude = 5.0  # 0 to 10, the ends of the paper's ranges
    config.augment.randaugment_spread = 0.0  # standard deviation of an operation's magnitude
    config.augment.fill = 128  # level that comes in from outside the image, and of Cutout
    config.augment.cutout_size = 0  # side in pixels of a square cut out of every image; 0: none
    config.augment.erase_probability = 0.0  # of random erasing
    config.augment.mixup_alpha = 0.8  # λ is drawn from Beta(α, α); 0: no MixUp
    config.augment.cutmix_alpha = 1.0  # 0: no CutMix
    config.augment.mix_probability = 0.5  # that a batch, or an image, is mixed
    config.augment.cutmix_probability = 0.5  # that a mixed one is by CutMix, where both are on
    config.augment.mix_per = 'batch'  # what draws a λ of its own: batch or image
    config.augment.clean_tail_epochs = 0  # last epochs in which nothing is mixed

    config.loss = ConfigDict()
    config.loss.name = 'cross_entropy'  # cross_entropy, focal, binary_cross_entropy
    config.loss.label_smoothing = 0.0
    config.loss.class_weights = placeholder(str)  # balanced (the rarer a class, the more its examples count), or a
    # number for each class, as 1,2.5,1; unset: every example counts the same
    config.loss.focal_gamma = 2.0  # of focal: how much less what is easy counts

    config.log = ConfigDict()
    config.log.every_steps = 50  # steps between two lines of metrics.jsonl; also at the end of each epoch
    config.log.tensorboard = True
    config.log.trackers = placeholder(tuple)  # wandb, mlflow or both, which are told the same; unset: none

    config.eval = ConfigDict()
    config.eval.every_epochs = 1  # scores the validation split, or final_split where there is none
    config.eval.batch_size = 500
    config.eval.patience = placeholder(
        int
    )  # evaluations without a higher validation accuracy after which the run ends,
    # each higher one being saved; unset: it goes on to the last epoch
    config.eval.final_split = 'test'  # scored for the report at the end
    config.eval.recalibration_batches = 0  # clean training batches that batch norm's statistics are estimated on anew
    # before the last evaluation; 0: they stay those of the augmented images

    config.checkpoint = ConfigDict()
    config.checkpoint.every_epochs = 1
    config.checkpoint.keep = 2  # newest kept, besides the best by validation
    return config
