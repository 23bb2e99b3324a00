// Caches the page for offline use. The name of the cache changes with the files, so that a new export replaces the old
// one. Its files are fetched again, not from the browser's cache; for the runtime (14 MB), the server is only asked
// whether it has changed. All sites of an origin share its caches, so the name also contains the address of the page.
const ADDRESS = ` ${self.registration.scope}`;
const NAME = `CACHE_NAME${ADDRESS}`;
const FILES = ['./', 'FILE_NAMES'];

self.addEventListener('install', event => {
  const fresh = FILES.map(name => new Request(name, {cache: name.startsWith('ort') ? 'no-cache' : 'reload'}));
  event.waitUntil(caches.open(NAME).then(cache => cache.addAll(fresh)).then(() => self.skipWaiting()));
});
self.addEventListener('activate', event => {
  event.waitUntil(caches.keys().then(async names => {
    const old = names.filter(name => name.startsWith('dsconv-') && name.endsWith(ADDRESS) && name !== NAME);
    await Promise.all(old.map(name => caches.delete(name)));
    await self.clients.claim();
  }));
});
self.addEventListener('fetch', event => {
  event.respondWith(caches.match(event.request, {ignoreSearch: true}).then(found => {
    // A browser refuses a redirected answer to a navigation; some hosts redirect index.html to its directory.
    return found?.redirected ? new Response(found.body, {headers: found.headers}) : found ?? fetch(event.request);
  }));
});
