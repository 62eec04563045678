// What the benchmarks call, as a JavaScript component.

const text = "sixteen bytes ok";
const value = 20.25;
const byte = 0x5a;

export const transfer = {
  bytesIn: (items) => items.length,
  bytesOut: (count) => new Uint8Array(count).fill(byte),
  bytesEcho: (items) => items,

  floatsIn: (items) => items.length,
  floatsOut: (count) => new Float32Array(count).fill(value),
  floatsEcho: (items) => items,

  stringsIn: (items) => items.length,
  stringsOut: (count) => Array.from({ length: count }, () => text),
  stringsEcho: (items) => items,

  recordsIn: (items) => items.length,
  recordsOut: (count) =>
    Array.from({ length: count }, (_, at) => ({ sensor: at + 1, name: text, value, valid: true })),
  recordsEcho: (items) => items,
};
