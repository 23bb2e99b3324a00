// Brings a picture to the network's size as dsconv does in Python: Pillow's resize by its BILINEAR filter, a triangle
// as wide as the reduction, along the rows, then along the columns, in fixed point with 22 bits.

const BITS = 22;

function coefficients(from, to) {
  const scale = from / to, support = Math.max(scale, 1), places = [];
  for (let place = 0; place < to; place++) {
    const centre = (place + 0.5) * scale;
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
function resizeAxis(pixels, from, to, lines, step, jump, channels, outStep, outJump) {
  if (from === to) return pixels;
  const out = new Uint8Array(to * lines * channels);
  coefficients(from, to).forEach(({start, weights}, place) => {
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

// RGBA pixels of `width` × `height`, opaque → Uint8Array of `size` × `size` × `channels`; 1 is grey by ITU-R 601.
export function prepare(rgba, width, height, size, channels) {
  const pixels = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    const [red, green, blue] = [rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2]];
    if (channels === 3) pixels.set([red, green, blue], 3 * i);
    else pixels[i] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
  }
  const narrow = resizeAxis(pixels, width, size, height, channels, width * channels, channels, channels, size * channels);
  return resizeAxis(narrow, height, size, size, size * channels, channels, channels, size * channels, channels);
}
