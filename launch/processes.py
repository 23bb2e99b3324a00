"""python launch/processes.py 4 --config=configs/digits.py …: trains one run with several local CPU processes.

The flags after the number are passed to each `python -m dsconv.main`. If one process fails, the others have a minute to
exit; then they are killed. Ctrl-C and SIGTERM are passed to all processes. The exit code is that of the first process
that failed: 75 if the run was stopped and can be resumed, 1 if the process was killed.
"""

import os
import signal
import socket
import subprocess
import sys
import time

PATIENCE = 60


def main(line: list[str]) -> int:
    """Runs the processes until they exit; returns the exit code."""
    if not line or not line[0].isdecimal() or int(line[0]) == 0:
        print('usage: python launch/processes.py N --config=FILE [flags of dsconv.main]', file=sys.stderr)
        return 2
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{free.getsockname()[1]}'
    count, flags = int(line[0]), line[1:]
    command = [sys.executable, '-m', 'dsconv.main', *flags, f'--coordinator={address}', f'--num-processes={count}']
    processes = []
    for index in range(count):  # each in a new session, since a terminal sends Ctrl-C to its whole process group
        options = dict(env={'JAX_PLATFORMS': 'cpu'} | os.environ, start_new_session=True)
        processes.append(subprocess.Popen([*command, f'--process-id={index}'], **options))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: [process.send_signal(number) for process in processes])
    while not any(process.poll() for process in processes):
        if all(process.returncode == 0 for process in processes):
            return 0
        time.sleep(0.1)
    failed, code = next((index, process.returncode) for index, process in enumerate(processes) if process.returncode)
    how = signal.Signals(-code).name if code < 0 else f'exit code {code}'
    again = '' if code == 2 else '; run the same command to resume'  # 2: the input is wrong
    print(f'process {failed} of {len(processes)} ended by {how}{again}', file=sys.stderr)
    end = time.monotonic() + PATIENCE
    for process in processes:
        try:
            process.wait(max(0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
    return code if code > 0 else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
