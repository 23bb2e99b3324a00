"""Training elsewhere than on this machine: TPU VMs, Kubernetes, SLURM."""
