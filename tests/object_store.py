"""A local object store that TensorFlow and TensorStore, and thus etils, Orbax and TFDS, use in place of Google's.

They reach it like an HTTPS proxy, since TensorFlow has no setting for another address. Objects are in memory and are
written whole: there is no append, no rename, no lock and no directory.
"""

import http.server
import json
import re
import ssl
import subprocess
import threading
from urllib.parse import parse_qsl, unquote, urlsplit

HOSTS = 'DNS:www.googleapis.com,DNS:storage.googleapis.com'
BUCKET = r'(?:/upload)?/storage/v1/b/([^/]+)'
OBJECT = BUCKET + '/o/([^/]+)'


class ObjectStore(http.server.ThreadingHTTPServer):
    """The part of Google Cloud Storage's JSON API that a run uses. Listings have pages of three names.

    Attributes:
      objects: (bucket, name) → (content, generation).
      environment: the environment variables that direct a process to this store.
      refuses: the HTTP status of every response, or None to serve the requests.
      requests: the path of each request.
    """

    daemon_threads = True

    def __init__(self, directory, bucket):
        super().__init__(('127.0.0.1', 0), _Request)
        self.bucket, self.objects, self.uploads, self.requests = bucket, {}, {}, []
        self.refuses, self.lock = None, threading.Lock()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key = directory / 'certificate.pem', directory / 'key.pem'
        subprocess.run(
            ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
             '-subj', '/CN=store', '-addext', f'subjectAltName={HOSTS}', '-keyout', key, '-out', certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        self.tls.load_cert_chain(certificate, key)
        address = f'http://127.0.0.1:{self.server_port}'
        self.environment = {
            'https_proxy': address,
            'STORAGE_EMULATOR_HOST': address,  # for google-cloud-storage, by which Orbax asks for the type of a bucket
            'CURL_CA_BUNDLE': str(certificate),
            'TENSORSTORE_CA_BUNDLE': str(certificate),
            'GOOGLE_AUTH_TOKEN_FOR_TESTING': 'token',
        }

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def names(self) -> set[str]:
        return {name for _, name in self.objects}

    def read(self, name: str) -> bytes:
        return self.objects[self.bucket, name][0]

    def put(self, where: tuple[str, str], content: bytes, match: str | None = None) -> dict | None:
        """Stores an object and returns its metadata; or None if its generation is not a given `match` (0: none)."""
        with self.lock:
            generation = self.objects.get(where, (b'', 0))[1]
            if match is not None and int(match) != generation:
                return None
            self.objects[where] = (content, generation + 1)
        return self.metadata(where)

    def metadata(self, where: tuple[str, str]) -> dict:
        (bucket, name), (content, generation) = where, self.objects[where]
        updated = '2026-01-01T00:00:00.000Z'
        return {'bucket': bucket, 'name': name, 'size': str(len(content)), 'updated': updated,
                'timeCreated': updated, 'generation': str(generation), 'metageneration': '1'}  # fmt: skip

    def page(self, query: dict) -> dict:
        """Returns the page after `pageToken`: objects, and prefixes up to the next `delimiter`."""
        prefix, delimiter = query.get('prefix', ''), query.get('delimiter')
        found = {}
        for name in sorted(name for name in self.names() if name.startswith(prefix)):
            if not query.get('startOffset', '') <= name < query.get('endOffset', '\U0010ffff'):
                continue
            head, stop, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, '', '')
            found[prefix + head + stop if stop else name] = bool(stop)
        left = [name for name in found if name > query.get('pageToken', '')]
        listed = left[: min(3, int(query.get('maxResults', 3)))]
        return {
            'items': [self.metadata((self.bucket, name)) for name in listed if not found[name]],
            'prefixes': [name for name in listed if found[name]],
        } | ({'nextPageToken': listed[-1]} if listed != left else {})


class _Request(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_CONNECT(self):
        self.wfile.write(b'HTTP/1.1 200 connected\r\n\r\n')
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile('rb'), self.connection.makefile('wb')
        self.close_connection = False

    def handle_expect_100(self):
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def body(self) -> bytes:
        if self.headers.get('Transfer-Encoding') != 'chunked':
            return self.rfile.read(int(self.headers.get('Content-Length') or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b''.join(chunks)

    def answer(self, status, content=b'', **headers):
        content = json.dumps(content).encode() if isinstance(content, dict) else content
        self.send_response(status)
        for name, value in {'Content-Length': len(content), **headers}.items():
            self.send_header(name.replace('_', '-'), str(value))
        self.end_headers()
        self.wfile.write(content)

    def handle_request(self):
        store, url = self.server, urlsplit(self.path)
        query, body = dict(parse_qsl(url.query)), self.body()
        store.requests.append(self.path)
        parts = re.fullmatch(f'{OBJECT}(?:/rewriteTo/b/([^/]+)/o/([^/]+))?', url.path)
        if store.refuses:
            self.answer(store.refuses, {'error': {'code': store.refuses, 'message': 'refused by the test'}})
        elif parts:
            bucket, name, *target = (part and unquote(part) for part in parts.groups())
            self.about_object((bucket, name), query, tuple(target))
        elif parts := re.fullmatch(f'{BUCKET}(/o|/storageLayout)?', url.path):
            self.about_bucket(parts[1], parts[2] == '/o', query, body)
        else:
            self.read_object(tuple(unquote(url.path)[1:].split('/', 1)), query)

    do_GET = do_POST = do_PUT = do_DELETE = handle_request

    def about_bucket(self, bucket, of_objects, query, body):
        store, upload = self.server, query.get('upload_id')
        if bucket != store.bucket:
            self.answer(404, {'error': {'code': 404, 'message': 'The specified bucket does not exist.'}})
        elif upload:
            self.answer(200, store.put(store.uploads.pop(upload), body))
        elif query.get('uploadType') == 'resumable':
            upload = str(len(store.requests))
            store.uploads[upload] = (bucket, query['name'])
            self.answer(200, Location=f'https://www.googleapis.com{urlsplit(self.path).path}?upload_id={upload}')
        elif query.get('uploadType') == 'media':
            metadata = store.put((bucket, query['name']), body, query.get('ifGenerationMatch'))
            self.answer(200, metadata) if metadata else self.answer(412)
        elif of_objects:
            self.answer(200, store.page(query))
        else:
            self.answer(200, {'name': bucket, 'location': 'US'})

    def about_object(self, where, query, target):
        store = self.server
        if where not in store.objects:
            self.answer(404, {'error': {'code': 404, 'message': f'No such object: {where}'}})
        elif all(target):
            store.put(target, store.objects[where][0])
            self.answer(200, {'done': True})
        elif self.command == 'DELETE':
            del store.objects[where]
            self.answer(204)
        elif query.get('alt') == 'media':
            self.read_object(where, query)
        else:
            self.answer(200, store.metadata(where))

    def read_object(self, where, query):
        if where not in self.server.objects:
            self.answer(404)
            return
        content, generation = self.server.objects[where]
        facts = {'x_goog_generation': generation, 'x_goog_stored_content_length': len(content)}
        asked = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range', ''))
        if query.get('ifGenerationNotMatch') == str(generation):
            self.answer(304, **facts)
        elif not asked:
            self.answer(200, content, **facts)
        elif int(asked[1]) >= len(content):
            self.answer(416, **facts)
        else:
            part = content[int(asked[1]) : int(asked[2]) + 1 if asked[2] else None]
            span = f'bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(content)}'
            self.answer(206, part, Content_Range=span, **facts)
