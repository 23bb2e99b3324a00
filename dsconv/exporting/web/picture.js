// Resizes a picture to the network's size as dsconv does in Python, which uses Pillow's BILINEAR filter: a triangle as
// wide as the reduction, first along the rows, then along the columns, in fixed point with 22 bits.

const BITS = 22, MARGIN = 128; // MARGIN: the grey level of padding

function coefficients(from, taken, to) {
  const scale = taken / to, support = Math.max(scale, 1), places = [];
  for (let place = 0; place < to; place++) {
    const centre = Math.floor((from - taken) / 2) + (place + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), from);
    const weights = [];
    for (let x = start; x < end; x++) weights.push(Math.max(1 - Math.abs((x - centre + 0.5) / support), 0));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    places.push({start, weights: weights.map(weight => Math.trunc(0.5 + weight / total * 2 ** BITS))});
  }
  return places;
}

// Resizes the middle `taken` of the `from` pixels in each of `lines` rows to `to` pixels. The result is transposed,
// so that the next call resizes the columns.
function resizeRows(pixels, from, taken, to, lines, channels) {
  const out = new Uint8Array(to * lines * channels);
  coefficients(from, taken, to).forEach(({start, weights}, place) => {
    for (let line = 0; line < lines; line++) {
      for (let channel = 0; channel < channels; channel++) {
        const first = (line * from + start) * channels + channel;
        let sum = 2 ** (BITS - 1);
        for (let i = 0; i < weights.length; i++) sum += weights[i] * pixels[first + i * channels];
        out[(place * lines + line) * channels + channel] = Math.min(Math.max(Math.floor(sum / 2 ** BITS), 0), 255);
      }
    }
  });
  return out;
}

// Like Python's round: halves are rounded to the even number.
const round = number => (number % 1 === 0.5 ? 2 * Math.round(number / 2) : Math.round(number));

// Converts opaque RGBA pixels, `width` × `height`, to a Uint8Array of `size` × `size` × `channels`; one channel is grey
// by ITU-R 601. `resize` is how to treat a picture that is not square, as in dataset.resize: squash, crop or pad.
export function prepare(rgba, width, height, size, channels, resize) {
  const pixels = new Uint8Array(width * height * channels);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    const red = rgba[from], green = rgba[from + 1], blue = rgba[from + 2];
    if (channels === 1) {
      pixels[to++] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    } else {
      pixels[to++] = red;
      pixels[to++] = green;
      pixels[to++] = blue;
    }
  }
  const sides = [width, height];
  const shorter = Math.min(...sides), longer = Math.max(...sides);
  const [wide, high] = resize === 'crop' ? [shorter, shorter] : sides;
  const [across, down] = sides.map(side => (resize === 'pad' ? Math.max(1, round(side * size / longer)) : size));
  const narrow = resizeRows(pixels, width, wide, across, height, channels);
  const small = resizeRows(narrow, height, high, down, across, channels), row = across * channels;
  if (across === size && down === size) return small;
  const page = new Uint8Array(size * size * channels).fill(MARGIN), left = (size - across) >> 1, top = (size - down) >> 1;
  for (let y = 0; y < down; y++) page.set(small.subarray(y * row, (y + 1) * row), ((top + y) * size + left) * channels);
  return page;
}
