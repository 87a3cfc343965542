/** Numbers of users: what is pasted, and .npy files, whole and hostile. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";
import { npyFile } from "./npy_writer.mjs";

const { readNumberText } = await bundled("own_numbers/number_text.ts");
const { readNpy } = await bundled("own_numbers/npy_file.ts");

const TEXTS = [
  ["1 2\n3 4", [2, 2], [1, 2, 3, 4]],
  ["1, -2.5; 3e2\t.5", [4], [1, -2.5, 300, 0.5]],
  ["[[1, 2], [3, 4]]", [2, 2], [1, 2, 3, 4]],
  ["array([[1., 2.],\n       [3., 4.]], dtype=float32)", [2, 2], [1, 2, 3, 4]],
  ["[[ 1  2]\n [-3  4]]", [2, 2], [1, 2, -3, 4]],
  ["tensor([[[1., 2.]], [[3., 4.]]], grad_fn=<X>)", [2, 1, 2], [1, 2, 3, 4]],
  ["((1, 2), (3, 4))", [2, 2], [1, 2, 3, 4]],
  ["w = np.array([True, False])", [2], [1, 0]],
  ['{"weight": [[0.5], [−1]]}', [2, 1], [0.5, -1]],
  ["np.array((1, 2), dtype=float)", [2], [1, 2]],
  ["<tf.Tensor: shape=(1, 2), dtype=int32, numpy=array([[1, 2]], dtype=int32)>", [1, 2], [1, 2]],
  ["Parameter containing:\ntensor([[1., 2.]], device='cuda:0', requires_grad=True)", [1, 2], [1, 2]],
];

for (const [text, shape, numbers] of TEXTS) {
  test(`text ${JSON.stringify(text)}`, () => assert.deepEqual(readNumberText(text), { shape, numbers }));
}

const BAD_TEXTS = [
  ["", /no number/],
  ["  \n ", /no number/],
  ["[]", /no number/],
  ["[[], []]", /no number/],
  ["one two", /“one” is not a number/],
  ["1 2\n3", /Row 1 has 2 numbers and row 2 has 1/],
  ["[[1, 2], [3]]", /entries/],
  ["[[1, 2], 3]", /beside/],
  ["[1, [2]]", /beside/],
  ["[[1, 2], [3, 4]", /not closed/],
  ["[[1 ... 2]]", /left numbers out/],
  ["[".repeat(100000), /brackets/],
  ["1 ".repeat(1_100_000), /more than 1000000/],
  ["1+2j", /not a number/],
  ["np.eye(3)", /“np.eye\(3\)” is not a number, and nothing is computed/],
  ["np.full([2, 2], 3)", /“np.full” is not a number/],
  ["2 * np.array([[1, 2], [3, 4]])", /nothing is computed/],
  ["[[1, 2], [3, 4]] * 2", /“\* 2” stands behind the array/],
  ["np.array([[1, 2], [3, 4]], dtype=float)*2", /stands behind the array/],
  ["([1, 2], [3, 4])", /stands behind the array/],
  ["[1, 2]" + ",a=>".repeat(70) + " !", /stands behind the array/],
  ["__import__('os')", /not a number/],
];

for (const [text, message] of BAD_TEXTS) {
  test(`refused text ${JSON.stringify(text.slice(0, 30))}`, () => assert.throws(() => readNumberText(text), message));
}

const DTYPES = {
  "<f4": 4,
  ">f4": 4,
  "<f8": 8,
  ">f8": 8,
  "<f2": 2,
  "<i2": 2,
  ">i4": 4,
  "<i8": 8,
  "|u1": 1,
  "|i1": 1,
  "|b1": 1,
  "<u2": 2,
};

for (const descr of Object.keys(DTYPES)) {
  for (const version of [1, 2, 3]) {
    test(`.npy of ${descr}, version ${version}`, () => {
      const numbers = descr.includes("b")
        ? [1, 0, 1, 1, 0, 1]
        : descr.includes("u")
          ? [0, 1, 2, 3, 100, 200]
          : [0, -1, 2, -3, 100, 7];
      assert.deepEqual(readNpy(npyFile(numbers, [2, 3], { descr, version })), { shape: [2, 3], numbers });
    });
  }
}

test(".npy in Fortran's order", () => {
  // the file holds the columns of [[1, 2, 3], [4, 5, 6]] one after the other
  const file = npyFile([1, 4, 2, 5, 3, 6], [2, 3], { fortran: true });
  assert.deepEqual(readNpy(file).numbers, [1, 2, 3, 4, 5, 6]);
});

test(".npy of half precision with its special numbers", () => {
  const halves = new Uint8Array(npyFile([0, 0, 0, 0], [4], { descr: "<f2" }));
  halves.set([0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0x00, 0x7c], halves.length - 8);
  assert.deepEqual(readNpy(halves).numbers, [1, -2, 2 ** -24, Infinity]);
});

const good = npyFile([1, 2, 3, 4], [2, 2]);
const BAD_FILES = [
  ["empty", new Uint8Array(), /empty/],
  ["text", new TextEncoder().encode("hello"), /not a \.npy/],
  ["ZIP", Uint8Array.of(0x50, 0x4b, 3, 4), /ZIP/],
  ["pickle", Uint8Array.of(0x80, 4, 0x95), /pickle/],
  ["HDF5", Uint8Array.of(0x89, 0x48, 0x44, 0x46), /HDF5/],
  ["cut in the magic", good.slice(0, 4), /cut short/],
  ["cut in the length", good.slice(0, 9), /cut short/],
  ["cut in the header", good.slice(0, 40), /cut short/],
  ["cut in the numbers", good.slice(0, -3), /3 bytes of 32 are missing/],
  ["version 9", withByte(good, 6, 9), /version 9/],
  ["objects", npyFile([1], [1], { descr: "|O" }), /never run/],
  ["text elements", npyFile([1], [1], { descr: "<U4" }), /dtype <U4/],
  ["complex", npyFile([1], [1], { descr: "<c8" }), /dtype <c8/],
  [
    "fields",
    npyFile([1], [1], { header: "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }" }),
    /structured/,
  ],
  [
    "huge shape",
    npyFile([1], [1], { header: "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }" }),
    /at most/,
  ],
  [
    "negative shape",
    npyFile([1], [1], { header: "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }" }),
    /whole numbers/,
  ],
  ["no shape", npyFile([1], [1], { header: "{'descr': '<f8', 'fortran_order': False}" }), /header does not say/],
  [
    "many axes",
    npyFile([1], [1], { header: `{'descr': '<f8', 'fortran_order': False, 'shape': (${"1, ".repeat(64)}), }` }),
    /64 axes/,
  ],
  [
    "code in the header",
    npyFile([1], [1], { header: "{'descr': __import__('os').system('x'), }" }),
    /header does not say/,
  ],
  ["no element", npyFile([], [0, 3]), /without an element/],
  ["long header", withHeaderLength(good, 4e9), /header has/],
];

for (const [name, bytes, message] of BAD_FILES) {
  test(`refused .npy: ${name}`, () => assert.throws(() => readNpy(bytes), message));
}

test("every cut and every changed byte of a file is read or refused in words", () => {
  for (let at = 0; at < good.length; at++) {
    for (const bytes of [good.slice(0, at), ...[0, 1, 39, 255].map((byte) => withByte(good, at, byte))]) {
      try {
        readNpy(bytes);
      } catch (error) {
        assert.match(error.message, /\. |\.$/);
        assert.equal(error.constructor.name, "UnreadableNumbers");
      }
    }
  }
});

function withByte(bytes, at, byte) {
  const changed = bytes.slice();
  changed[at] = byte;
  return changed;
}

function withHeaderLength(bytes, length) {
  const changed = Uint8Array.from([...bytes.slice(0, 8), 0, 0, 0, 0, ...bytes.slice(10)]);
  changed[6] = 2;
  new DataView(changed.buffer).setUint32(8, length, true);
  return changed;
}
