#!/usr/bin/env bash
# Manages a TPU VM, or a slice of several hosts, by gcloud alone: docs/launch.md. DRY_RUN=1 prints the commands only.
#
#   export NAME=my-tpu ZONE=us-west4-a BUCKET=my-bucket
#   TYPE=v5litepod-16 launch/tpu.sh create [--spot] [--valid-until-duration=6h] [other flags of gcloud]
#   launch/tpu.sh install            sends the checkout's HEAD to all hosts and installs what it needs
#   launch/tpu.sh data [DATASET]     prepares CIFAR-10 or another dataset in the bucket, unless it is there
#   launch/tpu.sh run COMMAND...     starts a command on all hosts; it continues if this machine disconnects
#   launch/tpu.sh status | logs | stop | fetch | delete
set -euo pipefail
cd "$(dirname "$0")/.."

create() { # asks for the VM and waits for it
  case ${TYPE:?set it, e.g. to v3-8 or v5litepod-16} in # Google's images for JAX
    v[234]-*) image=tpu-ubuntu2204-base ;;
    v5litepod-*) image=v2-alpha-tpuv5-lite ;;
    v5p-*) image=v2-alpha-tpuv5 ;;
    v6e-*) image=v2-alpha-tpuv6e ;;
    *) echo "TYPE=$TYPE must begin with v2-, v3-, v4-, v5litepod-, v5p- or v6e-" >&2 && exit 2 ;;
  esac
  tpus queued-resources create "$NAME" "--node-id=$NAME" "--accelerator-type=$TYPE" "--runtime-version=$image" \
    --scopes=https://www.googleapis.com/auth/cloud-platform "$@"
  until [[ ${DRY_RUN:-} || ${state:=} == ACTIVE ]]; do
    if [[ $state =~ FAILED|SUSPENDED ]]; then echo "$NAME is $state: delete it" >&2 && exit 1; fi
    sleep "${POLL_SECONDS:-30}"
    state=$(tpus queued-resources describe "$NAME" '--format=value(state.state)') || true # asks again without a network
    echo "$NAME: ${state:-state unknown}"
  done
}

install() { # the images have Python 3.10; pip of Ubuntu 24.04 installs for a user only if told so; runs/ stays
  require_idle all # the code of a running command must stay
  call mkdir -p runs
  call git archive --format=tar.gz --prefix=dsconv/ --output=runs/dsconv.tar.gz HEAD
  tpus tpu-vm scp runs/dsconv.tar.gz "$NAME:" --worker=all
  on all 'set -e; mkdir -p dsconv; find dsconv -mindepth 1 -maxdepth 1 ! -name runs -exec rm -rf {} +
tar -xzf dsconv.tar.gz
PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
test -x venv/bin/python || python3 -m uv venv --quiet --python 3.11 venv
python3 -m uv pip install --quiet --python venv -r dsconv/requirements.txt "jax[tpu]"'
}

start() { # HOSTS COMMAND...: in a session of its own, which outlives the connection; the lock keeps a second one out
  require_idle "$1" # it starts on no host if it runs on one
  on "$1" "export TFDS_DATA_DIR=gs://$BUCKET/tensorflow_datasets
setsid nohup flock --nonblock lock bash dsconv/launch/tpu.sh hold $(printf '%q ' "${@:2}")>>log 2>&1 </dev/null &"
}

hold() { # COMMAND...: on a host, what `start` starts
  PATH=~/venv/bin:$PATH "$@" &
  echo $! >~/pid
  wait $! && code=0 || code=$?
  echo "exit code $code"
}

require_idle() { on "$1" 'flock --nonblock lock true || { echo a command is running there; exit 1; }'; }
on() { tpus tpu-vm ssh "$NAME" "--worker=$1" "--command=$2"; }
tpus() { call gcloud compute tpus "$@" "--zone=$ZONE" --quiet; }
call() { if [[ ${DRY_RUN:-} ]]; then printf '%q ' "$@" && echo; else "$@"; fi; }

prepare="import tensorflow_datasets as tfds; tfds.builder('${2:-cifar10}').download_and_prepare(download_dir='/tmp/tfds')"
[[ ${1:-hold} == hold ]] || : "${NAME:?set it to the name of the VM}" "${ZONE:?set it, e.g. to us-west4-a}" \
  "${BUCKET:?set it, without gs://}"
case ${1:-} in
  create | install | hold) "$@" ;;
  data) start 0 python -c "$prepare" ;;
  run) : "${2:?give the command to run}" && start all "${@:2}" ;;
  status) on all 'if flock --nonblock lock true; then tail -n 1 log 2>/dev/null || echo nothing was started; else echo running; fi' ;;
  logs) on 0 'tail -n 100 -F log' ;;
  stop) on all "flock --nonblock lock true || kill -TERM \$(cat pid)" ;; # dsconv saves, and ends with exit code 75
  fetch) call mkdir -p runs && call gcloud storage rsync --recursive "gs://$BUCKET/runs" runs ;;
  delete) tpus queued-resources delete "$NAME" --force ;;
  *) sed -n '2,9s/^# *//p' launch/tpu.sh >&2 && exit 2 ;;
esac
