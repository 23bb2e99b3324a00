import {prepare} from './picture.js';

const SHOWN = 10; // maximum number of classes
const at = id => document.getElementById(id);
const say = text => { at('message').textContent = text; };
const view = at('view'), pen = view.getContext('2d', {willReadFrequently: true});
let network, facts, stream, running = 0;

async function load() {
  // Reload if a new export replaces the cached files while this page loads, so that only the new files are used.
  const workers = navigator.serviceWorker;
  if (workers?.controller) workers.addEventListener('controllerchange', () => location.reload());
  facts = await (await fetch('model.json')).json();
  ort.env.wasm.wasmPaths = new URL('.', location.href).href;
  ort.env.wasm.numThreads = 1; // several threads need headers that a plain server does not send
  network = await ort.InferenceSession.create('model.onnx', {executionProviders: ['wasm']});
  await run(new Uint8Array(facts.image_size ** 2 * facts.channels)); // warm-up: the first run takes longer
  at('title').textContent = facts.title;
  at('about').prepend(`It has ${facts.class_names.length} classes and names one of them for any picture. `);
  for (const _ of facts.class_names.slice(0, SHOWN)) {
    const row = document.createElement('li');
    row.innerHTML = '<span></span><div class="track"><i></i></div><span></span>';
    at('bars').append(row);
  }
  if (!window.isSecureContext) {
    say('This page is neither on https nor on localhost: the browser gives it no camera and keeps nothing for later. '
      + 'Choosing a picture works all the same.');
    at('camera').disabled = true;
  } else {
    say('');
    workers?.register('worker.js');
  }
  document.body.dataset.ready = 'yes';
}

function run(bytes) {
  const isFloat = facts.input === 'float32';
  const pixels = isFloat ? Float32Array.from(bytes, byte => byte / 255) : bytes;
  const shape = [1, facts.image_size, facts.image_size, facts.channels];
  return network.run({image: new ort.Tensor(isFloat ? 'float32' : 'uint8', pixels, shape)});
}

// Draws an image or a frame on white, shows its classes, and returns the milliseconds that the network took.
async function classify(image, width, height) {
  if (!width || !height) throw new Error('it has no pixels');
  view.width = width;
  view.height = height;
  pen.fillStyle = 'white';
  pen.fillRect(0, 0, width, height);
  pen.drawImage(image, 0, 0, width, height);
  const rgba = pen.getImageData(0, 0, width, height).data;
  if (!rgba[3]) throw new Error('it is too large for this browser'); // the canvas is then empty, not even white
  const bytes = prepare(rgba, width, height, facts.image_size, facts.channels, facts.resize);
  const start = performance.now();
  const answer = await run(bytes);
  const took = performance.now() - start;
  show(answer.probabilities.data);
  return took;
}

function show(probabilities) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const percent = index => `${(100 * probabilities[index]).toFixed(1)} %`;
  at('answer').textContent = `${facts.class_names[order[0]]} ${percent(order[0])}`;
  at('answer').dataset.label = facts.class_names[order[0]];
  // If all classes fit, each keeps its row, so that the bars do not jump between the frames of a video.
  const rows = facts.class_names.length > SHOWN ? order : [...facts.class_names.keys()];
  [...at('bars').children].forEach((row, place) => {
    const [name, track, value] = row.children;
    name.textContent = name.title = facts.class_names[rows[place]];
    track.firstChild.style.width = `${100 * probabilities[rows[place]]}%`;
    value.textContent = percent(rows[place]);
  });
}

async function open(file) {
  if (!file) return;
  stop();
  const mine = running;
  try {
    if (!await loaded) return;
    const image = await createImageBitmap(file, {colorSpaceConversion: 'none'}); // like predict: no colour profile
    try {
      if (mine !== running) return; // another picture or the camera was chosen meanwhile
      const took = await classify(image, image.width, image.height);
      at('speed').textContent = `${took.toFixed(1)} ms for the network`;
      say(file.name);
    } finally {
      image.close(); // frees its memory: a photograph takes 50 MB
    }
  } catch (error) {
    if (mine !== running) return;
    say(`${file.name} cannot be read as a picture (${error.message}).`);
  }
}

function stop() {
  running++;
  stream?.getTracks().forEach(track => track.stop());
  stream = undefined;
  at('answer').ariaLive = 'polite';
  at('camera').textContent = 'Use the camera';
  at('cameras').hidden = true;
}

const REFUSALS = {
  NotAllowedError: 'The browser does not allow the camera: allow it beside the address, or choose a picture.',
  NotFoundError: 'There is no camera: choose a picture instead.',
  NotReadableError: 'The camera is in use elsewhere: close that, or choose a picture.',
};

async function film(deviceId) {
  const chosen = document.activeElement === at('cameras'); // with the keyboard: the focus returns there
  stop();
  const mine = running;
  try {
    if (!await loaded || mine !== running || at('camera').disabled) return;
    if (!navigator.mediaDevices) throw new DOMException('', 'NotFoundError');
    const wanted = deviceId ? {deviceId: {exact: deviceId}} : {facingMode: 'environment'};
    const opened = await navigator.mediaDevices.getUserMedia({video: wanted});
    if (mine !== running) return opened.getTracks().forEach(track => track.stop());
    stream = opened;
    stream.getVideoTracks()[0].onended = () => {
      stop();
      say('The camera was disconnected: choose a picture instead.');
    };
    at('camera').textContent = 'Stop the camera';
    at('answer').ariaLive = 'off'; // a screen reader would read every frame
    const cameras = await optionsOf(stream.getVideoTracks()[0].getSettings().deviceId);
    if (mine !== running) return;
    at('cameras').replaceChildren(...cameras);
    at('cameras').hidden = cameras.length < 2;
    if (chosen) at('cameras').focus();
    const video = Object.assign(document.createElement('video'), {srcObject: stream, muted: true, playsInline: true});
    await video.play();
    if (mine !== running) return;
    say('');
    let rate = 0, last = performance.now();
    while (mine === running) {
      const took = await classify(video, video.videoWidth, video.videoHeight);
      const now = performance.now();
      rate = rate ? 0.9 * rate + 100 / (now - last) : 1000 / (now - last);
      last = now;
      at('speed').textContent = `${rate.toFixed(0)} frames a second, ${took.toFixed(1)} ms for the network`;
      await new Promise(requestAnimationFrame);
    }
  } catch (error) {
    if (mine !== running) return;
    stop();
    say(REFUSALS[error.name] ?? `The camera does not work (${error.message}): choose a picture instead.`);
  }
}

async function optionsOf(current) {
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(device => device.kind === 'videoinput');
  return cameras.map((camera, number) => {
    return new Option(camera.label || `Camera ${number + 1}`, camera.deviceId, false, camera.deviceId === current);
  });
}

at('camera').onclick = () => (stream ? stop() : film());
at('cameras').onchange = event => film(event.target.value);
at('file').onchange = event => {
  open(event.target.files[0]);
  event.target.value = ''; // so that choosing the same picture again is also a change
};
document.ondragover = event => { event.preventDefault(); document.body.classList.add('over'); };
document.ondragleave = () => document.body.classList.remove('over');
document.ondrop = event => {
  event.preventDefault();
  document.body.classList.remove('over');
  open(event.dataTransfer.files[0]);
};
const loaded = load().then(() => true, error => {
  say(`The network cannot be loaded (${error.message}): reload the page.`);
});
