// Brings a picture to the network's size as dsconv does in Python: Pillow's resize by its BILINEAR filter, a triangle
// as wide as the reduction, along the rows, then along the columns, in fixed point with 22 bits.

const BITS = 22, MARGIN = 128; // the level of the margins of a padded picture

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

// Resizes along one axis: `lines` lines of `from` places, which stand `step` apart, a line `jump` after the one before.
// Of each line the `taken` places in the middle become `to`.
function resizeAxis(pixels, from, taken, to, lines, step, jump, channels, outStep, outJump) {
  if (from === to && from === taken) return pixels;
  const out = new Uint8Array(to * lines * channels);
  coefficients(from, taken, to).forEach(({start, weights}, place) => {
    for (let line = 0; line < lines; line++) {
      for (let channel = 0; channel < channels; channel++) {
        let sum = 2 ** (BITS - 1);
        for (let i = 0; i < weights.length; i++) sum += weights[i] * pixels[line * jump + (start + i) * step + channel];
        out[line * outJump + place * outStep + channel] = Math.min(Math.max(Math.floor(sum / 2 ** BITS), 0), 255);
      }
    }
  });
  return out;
}

// As Python's round: a half goes to the even number.
const round = number => (number % 1 === 0.5 ? 2 * Math.round(number / 2) : Math.round(number));

// RGBA pixels of `width` × `height`, opaque → Uint8Array of `size` × `size` × `channels`; 1 is grey by ITU-R 601.
// `resize` is what becomes of a picture that is not square, as dataset.resize: squash, crop or pad.
export function prepare(rgba, width, height, size, channels, resize) {
  const pixels = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    const [red, green, blue] = [rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2]];
    if (channels === 3) pixels.set([red, green, blue], 3 * i);
    else pixels[i] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
  }
  const sides = [width, height];
  const shorter = Math.min(...sides), longer = Math.max(...sides);
  const [wide, high] = resize === 'crop' ? [shorter, shorter] : sides;
  const [across, down] = sides.map(side => (resize === 'pad' ? Math.max(1, round(side * size / longer)) : size));
  const step = channels, row = across * channels;
  const narrow = resizeAxis(pixels, width, wide, across, height, step, width * step, channels, step, row);
  const small = resizeAxis(narrow, height, high, down, across, row, step, channels, row, step);
  if (across === size && down === size) return small;
  const page = new Uint8Array(size * size * channels).fill(MARGIN), left = (size - across) >> 1, top = (size - down) >> 1;
  for (let y = 0; y < down; y++) page.set(small.subarray(y * row, (y + 1) * row), ((top + y) * size + left) * channels);
  return page;
}
