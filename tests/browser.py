"""Headless Chromium, driven by the DevTools protocol over a pipe; and a folder served on localhost."""

import contextlib
import functools
import http.server
import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
PATIENCE = 60  # seconds


@contextlib.contextmanager
def served(folder):
    """Serves a folder; yields its address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f'http://localhost:{server.server_port}/'
        finally:
            server.shutdown()


class Browser(contextlib.ExitStack):
    """A Chromium tab that is closed at the end of the `with` block; `flags` are added to Chromium's command line."""

    def __init__(self, *flags):
        super().__init__()
        profile = self.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        (take, self._send), (self._receive, give) = os.pipe(), os.pipe()
        line = [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', *flags]
        line += ['--remote-debugging-pipe', f'--user-data-dir={profile}', 'about:blank']
        shell = ['bash', '-c', f'exec "$@" 3<&{take} 4>&{give}', 'chromium', *line]
        process = self.enter_context(subprocess.Popen(shell, pass_fds=(take, give), stderr=subprocess.DEVNULL))
        for end in (take, give):
            os.close(end)
        for end in (self._send, self._receive):
            self.callback(os.close, end)
        self.callback(process.kill)
        self._number, self._rest, self._session = 0, b'', None
        targets = self.call('Target.getTargets')['targetInfos']
        page = next(target['targetId'] for target in targets if target['type'] == 'page')
        self._session = self.call('Target.attachToTarget', targetId=page, flatten=True)['sessionId']

    def call(self, method, **params):
        """Calls a method of the protocol; returns its result."""
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': params}
        message |= {'sessionId': self._session} if self._session else {}
        os.write(self._send, json.dumps(message).encode() + b'\0')
        while True:
            while b'\0' not in self._rest:
                is_ready, _, _ = select.select([self._receive], [], [], PATIENCE)
                read = os.read(self._receive, 1 << 16) if is_ready else b''
                if not read:
                    raise RuntimeError(f'Chromium does not answer {method}')
                self._rest += read
            line, _, self._rest = self._rest.partition(b'\0')
            answer = json.loads(line)
            if answer.get('id') == self._number:
                if 'error' in answer:
                    raise RuntimeError(f'{method}: {answer["error"]}')
                return answer['result']

    def value(self, expression):
        """Awaits a JavaScript expression and returns its value."""
        answer = self.call('Runtime.evaluate', expression=expression, awaitPromise=True, returnByValue=True)
        return answer['result'].get('value')

    def wait_for(self, expression):
        """Waits until an expression is true; returns its value."""
        end = time.monotonic() + PATIENCE
        while not (value := self.value(expression)):
            if time.monotonic() > end:
                raise TimeoutError(f'{expression}; the page says {self.value("document.body.innerText")!r}')
            time.sleep(0.1)
        return value

    def go(self, address):
        """Opens an address."""
        self.call('Page.navigate', url=address)

    def choose(self, selector, path):
        """Chooses a file in an <input type=file>."""
        element = self.call('Runtime.evaluate', expression=f'document.querySelector({selector!r})')
        self.call('DOM.setFileInputFiles', files=[str(path.absolute())], objectId=element['result']['objectId'])
