"""Stands in for gcloud: records each call, keeps one TPU VM's state, and answers and fails as a script says.

The directory FAKE_GCLOUD holds calls.jsonl, an argument vector a line, and script.json:
  state: of the VM or of the request for it, '' where there is none; each look at it takes the next of `states`;
  created: the states that a creation leads to;
  runs: what a run's status is, time after time; as [status, state] the VM's state changes with it;
  failures: [a part of the call, exit code, message], each once.
"""

import json
import os
import sys

DIRECTORY = os.environ['FAKE_GCLOUD']


def answer(words, script):
    for failure in script['failures']:
        if failure[0] in ' '.join(words):
            script['failures'].remove(failure)
            sys.stderr.write(f'Trying.\n{failure[2]}\n- more\n')
            return failure[1]
    if words[:2] != ['compute', 'tpus']:
        return 0
    verb = words[3]
    if verb == 'create':
        script['states'] = list(script['created'])
        script['state'] = script['states'].pop(0)
    elif verb == 'delete':
        script['state'], script['states'] = '', []
    elif verb == 'describe':
        if not script['state']:
            sys.stderr.write("ERROR: (gcloud.compute.tpus.tpu-vm.describe) NOT_FOUND: Resource 'x' was not found.\n")
            return 1
        print(script['state'])
        script['state'] = script['states'].pop(0) if script['states'] else script['state']
    elif any('on_worker.sh status' in word for word in words):
        status = script['runs'].pop(0)
        if isinstance(status, list):
            status, script['state'] = status
        print(status)
    return 0


def main():
    with open(f'{DIRECTORY}/script.json') as file:
        script = json.load(file)
    with open(f'{DIRECTORY}/calls.jsonl', 'a') as file:
        print(json.dumps(sys.argv[1:]), file=file)
    code = answer(sys.argv[1:], script)
    with open(f'{DIRECTORY}/script.json', 'w') as file:
        json.dump(script, file)
    sys.exit(code)


main()
