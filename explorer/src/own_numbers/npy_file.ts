/**
 * Arrays in a `.npy` file of NumPy, versions 1 to 3, read without running anything that is in it.
 *
 * Source of the format: NumPy Enhancement Proposal 1, and numpy.lib.format's documentation of versions 2 and 3.
 */

import { product } from "../arithmetic/indices";
import { MOST_NUMBERS, type NumberArray, UnreadableNumbers } from "./number_text";

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // "\x93NUMPY"
const LONGEST_HEADER = 65_536;
const MOST_AXES = 8;

/** Return the array of the file. Raises UnreadableNumbers, which says what the file is and what is needed. */
export function readNpy(bytes: Uint8Array): NumberArray {
  refuseOthers(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 10) throw new UnreadableNumbers(truncated("its header"));
  const version = bytes[6]!;
  if (version < 1 || version > 3)
    throw new UnreadableNumbers(
      `The file has version ${version} of the format; 1, 2 and 3 are read. Save it again with np.save.`,
    );
  const start = version === 1 ? 10 : 12;
  if (bytes.length < start) throw new UnreadableNumbers(truncated("its header"));
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > LONGEST_HEADER)
    throw new UnreadableNumbers(
      `The file's header has ${length} bytes; those of arrays have a hundred. Save it again with np.save.`,
    );
  if (start + length > bytes.length) throw new UnreadableNumbers(truncated("its header"));
  const header = parsedHeader(
    new TextDecoder(version === 3 ? "utf-8" : "latin1").decode(bytes.subarray(start, start + length)),
  );
  return elements(view, start + length, header);
}

function truncated(part: string): string {
  return `The file ends inside ${part}: it was cut short. Copy or save it again.`;
}

function refuseOthers(bytes: Uint8Array): void {
  if (bytes.length === 0)
    throw new UnreadableNumbers('The file is empty. Write one with np.save("weight.npy", weight).');
  if (MAGIC.every((byte, place) => bytes[place] === byte)) return;
  const advice = 'Write a file of one array: np.save("weight.npy", weight).';
  if (bytes[0] === 0x50 && bytes[1] === 0x4b)
    throw new UnreadableNumbers(`This is a ZIP archive, as .npz and .pt files are. ${advice}`);
  if (bytes[0] === 0x80)
    throw new UnreadableNumbers(`This is a pickle, which is a program and is never run here. ${advice}`);
  if (bytes[0] === 0x89 && bytes[1] === 0x48)
    throw new UnreadableNumbers(`This is an HDF5 file, as Keras writes. ${advice}`);
  if (MAGIC.slice(0, bytes.length).every((byte, place) => bytes[place] === byte))
    throw new UnreadableNumbers(truncated("its header"));
  throw new UnreadableNumbers(`This is not a .npy file. ${advice}`);
}

interface Header {
  readonly descr: string;
  readonly fortran: boolean;
  readonly shape: readonly number[];
}

function parsedHeader(text: string): Header {
  const descr = /['"]descr['"]\s*:\s*(?:'([^']*)'|"([^"]*)"|([[(]))/.exec(text);
  const order = /['"]fortran_order['"]\s*:\s*(True|False)/.exec(text);
  const shape = /['"]shape['"]\s*:\s*\(([^()]*)\)/.exec(text);
  if (descr?.[3])
    throw new UnreadableNumbers(
      'The file has a structured dtype (named fields); one number an element is needed. Save one field: np.save("weight.npy", array["name"]).',
    );
  if (!descr || !order || !shape)
    throw new UnreadableNumbers(
      "The file's header does not say dtype, order and shape as NumPy writes them. Save it again with np.save.",
    );
  const words = shape[1]!
    .split(",")
    .map((word) => word.trim())
    .filter(Boolean);
  const sizes = words.map((word) => (/^\d{1,15}$/.test(word) ? Number(word) : NaN));
  if (sizes.some(Number.isNaN))
    throw new UnreadableNumbers(
      `The file's shape is (${shape[1]!.slice(0, 40)}); whole numbers are needed. Save it again with np.save.`,
    );
  if (sizes.length > MOST_AXES)
    throw new UnreadableNumbers(
      `The file has ${sizes.length} axes; at most ${MOST_AXES} are read. Save the weight of one layer.`,
    );
  return { descr: descr[1] ?? descr[2]!, fortran: order[1] === "True", shape: sizes };
}

/** Readers by kind and size of the dtype: "f4" is a float of 4 bytes. */
const READERS: Readonly<Record<string, (view: DataView, at: number, little: boolean) => number>> = {
  b1: (view, at) => (view.getUint8(at) ? 1 : 0),
  u1: (view, at) => view.getUint8(at),
  i1: (view, at) => view.getInt8(at),
  u2: (view, at, little) => view.getUint16(at, little),
  i2: (view, at, little) => view.getInt16(at, little),
  u4: (view, at, little) => view.getUint32(at, little),
  i4: (view, at, little) => view.getInt32(at, little),
  u8: (view, at, little) => Number(view.getBigUint64(at, little)),
  i8: (view, at, little) => Number(view.getBigInt64(at, little)),
  f2: (view, at, little) => half(view.getUint16(at, little)),
  f4: (view, at, little) => view.getFloat32(at, little),
  f8: (view, at, little) => view.getFloat64(at, little),
};

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
}

function elements(view: DataView, start: number, { descr, fortran, shape }: Header): NumberArray {
  const [, order, kind] = /^([<>|=])([a-zA-Z]\d*)$/.exec(descr) ?? [];
  if (descr.includes("O"))
    throw new UnreadableNumbers(
      'The file has dtype object: its elements are pickles, which are programs and are never run here. Save numbers: np.save("weight.npy", array.astype(float)).',
    );
  const read = kind === undefined ? undefined : READERS[kind];
  if (!read)
    throw new UnreadableNumbers(
      `The file has dtype ${descr.slice(0, 20)}; floats, whole numbers and bools are read. Save it as floats: np.save("weight.npy", array.astype("float32")).`,
    );
  const size = Number(kind!.slice(1));
  const total = product(shape);
  if (total > MOST_NUMBERS)
    throw new UnreadableNumbers(
      `The file has shape (${shape.join(", ")}): ${total} numbers; at most ${MOST_NUMBERS} are read. Save a part: np.save("part.npy", array[:2, :2]).`,
    );
  if (total === 0)
    throw new UnreadableNumbers(
      `The file has shape (${shape.join(", ")}), without an element. Save an array of at least one number.`,
    );
  const missing = start + total * size - view.byteLength;
  if (missing > 0)
    throw new UnreadableNumbers(`${truncated("its numbers")} ${missing} bytes of ${total * size} are missing.`);
  const stored = Array.from({ length: total }, (_, place) => read(view, start + place * size, order !== ">"));
  return { shape, numbers: fortran ? toCOrder(stored, shape) : stored };
}

function toCOrder(stored: readonly number[], shape: readonly number[]): number[] {
  const strides = shape.map((_, axis) => product(shape.slice(0, axis)));
  return stored.map((_, place) => {
    let rest = place;
    let from = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += (rest % shape[axis]!) * strides[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    return stored[from]!;
  });
}
