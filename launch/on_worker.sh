#!/bin/bash
# What launch/tpu.py has done on each worker of a TPU VM. A run lives in ~/runs/NAME: log, pid, exit_code, lock.
#
# A run is started by setsid, which every Ubuntu has, so that it outlives the connection, and holds the lock as long as
# it lives, which is true after a reboot as well, when another process may have its number.
set -euo pipefail

install() { # the image's Python is 3.10; 3.11 or later is needed
  if ! test -x ~/venv/bin/python; then
    # pip of Ubuntu 24.04 installs for a user only if told so; the older one of 22.04 does not know the variable
    PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
    python3 -m uv venv --quiet --python 3.11 ~/venv
  fi
  python3 -m uv pip install --quiet --python ~/venv -r ~/dsconv/requirements.txt 'jax[tpu]'
}

prepare() { # DATASET DIRECTORY: does nothing where it is there
  exec python -c 'import sys
import tensorflow_datasets as tfds
tfds.builder(sys.argv[1], data_dir=sys.argv[2]).download_and_prepare(download_dir=sys.argv[3])' "$@" ~/downloads
}

start() { # RUN COMMAND...
  if is_running "$1"; then
    echo "$1 is running"
    return
  fi
  mkdir -p ~/runs/"$1"
  rm -f ~/runs/"$1"/pid ~/runs/"$1"/exit_code ~/runs/"$1"/stopped
  setsid nohup flock --nonblock ~/runs/"$1"/lock bash "$0" hold "$@" >>~/runs/"$1"/log 2>&1 </dev/null &
  for _ in {1..100}; do
    if test -s ~/runs/"$1"/pid; then return; fi
    sleep 0.1
  done
  echo "$1 did not start" >&2
  return 1
}

hold() { # RUN COMMAND...: runs the command and keeps its exit code
  local directory=~/runs/$1 code=0
  shift
  cd -P ~/dsconv # not the link, which another installation may turn to other code
  PATH=~/venv/bin:$PATH "$@" &
  echo $! >"$directory"/pid
  wait $! || code=$?
  echo "$code" >"$directory"/exit_code
}

status() { # RUN
  if is_running "$1"; then
    echo 'run: running'
  elif test -e ~/runs/"$1"/stopped; then
    echo 'run: stopped'
  elif test -s ~/runs/"$1"/exit_code; then
    echo "run: $(<~/runs/"$1"/exit_code)"
  else
    echo 'run: lost' # the machine went down under it
  fi
}

follow() { # RUN: its log, until it ends
  if is_running "$1"; then
    tail -n 100 --follow --pid="$(<~/runs/"$1"/pid)" ~/runs/"$1"/log
  else
    tail -n 100 ~/runs/"$1"/log
  fi
}

stop() { # RUN: asks it to save and leave; after two minutes it is ended
  if ! is_running "$1"; then return; fi
  touch ~/runs/"$1"/stopped # else a launcher that watches it would start it again
  kill -TERM "$(<~/runs/"$1"/pid)" || true # it may have ended by now
  if ! flock --timeout "${PATIENCE:-120}" ~/runs/"$1"/lock true; then
    kill -KILL "$(<~/runs/"$1"/pid)" || true
    flock ~/runs/"$1"/lock true
  fi
}

restart() { # RUN COMMAND...: on a slice the other workers may still be waiting for one that is gone
  stop "$1"
  start "$@"
}

is_running() {
  test -e ~/runs/"$1"/lock && ! flock --nonblock ~/runs/"$1"/lock true
}

"$@"
