/** Writer of .npy files for the tests, with any header. */

const SETTERS = {
  f4: "setFloat32",
  f8: "setFloat64",
  i2: "setInt16",
  u2: "setUint16",
  i4: "setInt32",
  u1: "setUint8",
  i1: "setInt8",
  b1: "setUint8",
};

/** Bytes of a .npy file with these numbers as they lie in it. */
export function npyFile(numbers, shape, { descr = "<f8", version = 1, fortran = false, header } = {}) {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  let text = header ?? `{'descr': '${descr}', 'fortran_order': ${fortran ? "True" : "False"}, 'shape': (${sizes}), }`;
  const start = version === 1 ? 10 : 12;
  text = text.padEnd(Math.ceil((start + text.length + 1) / 64) * 64 - start - 1) + "\n";
  const kind = descr.slice(1);
  const size = Number(kind.slice(1)) || 8;
  const bytes = new Uint8Array(start + text.length + numbers.length * size);
  const view = new DataView(bytes.buffer);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  if (version === 1) view.setUint16(8, text.length, true);
  else view.setUint32(8, text.length, true);
  bytes.set(new TextEncoder().encode(text), start);
  numbers.forEach((number, place) => {
    const at = start + text.length + place * size;
    const little = descr[0] !== ">";
    if (kind === "i8") view.setBigInt64(at, BigInt(number), little);
    else if (kind === "f2") view.setUint16(at, halfBits(number), little);
    else if (SETTERS[kind]) view[SETTERS[kind]](at, number, little);
  });
  return bytes;
}

function halfBits(number) {
  if (number === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(number)));
  return (
    (number < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | Math.round((Math.abs(number) / 2 ** exponent - 1) * 1024)
  );
}
