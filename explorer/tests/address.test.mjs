/** The address: what it says is what it is read as, and a broken one explains itself. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";

const { addressOf, readAddress } = await bundled("state/address.ts");
const { dialects } = await bundled("dialects/registry.ts");

let seed = 11;
const random = (least, most) => least + (((seed = (seed * 1103515245 + 12345) % 2147483648) >> 8) % (most - least + 1));
const pick = (list) => list[random(0, list.length - 1)];

function randomState() {
  const rank = random(1, 2);
  const sizes = () => (random(0, 1) && rank === 2 ? [random(1, 9), random(1, 9)] : [random(1, 9)]);
  const dialect = pick(Object.keys(dialects));
  const names = dialects[dialect].words(rank).map((word) => word.name);
  const values = (rules) =>
    random(0, 2)
      ? { rule: pick(rules) }
      : random(0, 1)
        ? { rule: "random", seed: random(1, 99) }
        : { shape: [2, 2], numbers: [random(-9, 9), 0.5, -1e-9, 3] };
  const settings = {
    dialect,
    rank,
    kernel: sizes(),
    input: sizes(),
    words: Object.fromEntries(
      names
        .filter(() => random(0, 1))
        .map((name) => [name, pick(["1", "3x2", "SAME", "[[1, 0], [2, 2]]", "a&b=c %", "é"])]),
    ),
    channels: { input: random(1, 4), output: random(1, 4) },
    values: { x: values(["counting", "random", "ones"]), weight: values(["counting", "random", "ones", "bilinear"]) },
  };
  const cell = {
    board: pick(["input", "output"]),
    channel: random(0, 3),
    index: Array.from({ length: rank }, () => random(0, 9)),
  };
  const selection = {
    pointed: null,
    pinned: random(0, 1) ? cell : null,
    shown: { input: random(0, 3), output: random(0, 3) },
    time: random(0, 1) ? random(0, 99) : Infinity,
    hidden: Boolean(random(0, 1)),
  };
  return { settings, selection };
}

test("an address is read as what it was written from", () => {
  for (let round = 0; round < 500; round++) {
    const state = randomState();
    const read = readAddress(addressOf(state.settings, state.selection));
    assert.deepEqual(read.complaints, []);
    const plain = ({ kernel, input, ...rest }) => ({
      ...rest,
      sizes: [kernel, input].map((sizes) => (sizes[0] === sizes.at(-1) ? [sizes[0]] : sizes)),
    });
    assert.deepEqual(plain(read.settings), plain(state.settings));
    assert.deepEqual(read.selection, state.selection);
  }
});

test("an address is readable, and leaves defaults out", () => {
  const address = "#dialect=keras&kernel=3&strides=2&padding=same&input=5x4&pin=output:0:3,2";
  const { settings, selection, complaints } = readAddress(address);
  assert.deepEqual(complaints, []);
  assert.equal(addressOf(settings, selection), address);
});

test("a pinned cell decides the channel that is shown, where the address does not", () => {
  const shownIn = (address) => readAddress(`#dialect=torch&channels=2:2&pin=output:1:0,0${address}`).selection.shown;
  assert.deepEqual(
    [shownIn(""), shownIn("&shown=1:0")],
    [
      { input: 0, output: 1 },
      { input: 1, output: 0 },
    ],
  );
});

test("a broken address says what is wrong, and keeps the rest", () => {
  const broken = [
    ["#dialect=nonsense&kernel=4", /dialect=nonsense; there are torch, tensorflow/],
    ["#dialect=torch&kernel=abc", /kernel=abc; write a size like 3 or 3x2/],
    ["#dialect=torch&rank=3&kernel=4", /rank=3; write rank=1 or rank=2/],
    ["#dialect=torch&kernel=4&strid=2", /strid=2; PyTorch has stride, padding/],
    ["#dialect=torch&kernel=4&pin=output:0:1", /pin=output:0:1; write a cell like output:0:3,2/],
    ["#dialect=torch&kernel=4&weight=2x2:1,2,3", /weight=2x2:1,2,3; write counting/],
    ["#dialect=torch&kernel=4&weight=2x2:1,,2,3", /weight=2x2:1,,2,3; write counting/],
    ["#dialect=torch&kernel=4&weight=2x2:1,0x2,2,3", /write counting/],
    ["#dialect=torch&kernel=4&weight=1x1:", /write counting/],
    ["#dialect=torch&kernel=4&weight=1x1:1:2", /write counting/],
    ["#dialect=torch&kernel=4&x=1x1:1e999", /write counting/],
    ["#dialect=torch&kernel=4&x=bilinear", /x=bilinear; write counting, random, ones or/],
    ["#dialect=torch&kernel=3&kernel=4", /says kernel twice; the last one counts/],
    ["#dialect=torch&kernel=4&channels=2x2", /channels=2x2; write the channels/],
    ["#dialect=torch&kernel=4&time=-1", /time=-1; write a whole number/],
    ["#dialect=__proto__&kernel=4", /dialect=__proto__; there are/],
    ["#kernel=4&%E0%A4%A", /%E0%A4%A=; PyTorch has/],
  ];
  for (const [address, message] of broken) {
    const { complaints, settings } = readAddress(address);
    assert.equal(complaints.length, 1, address);
    assert.match(complaints[0], message);
    if (address.includes("kernel=4")) assert.deepEqual(settings.kernel, [4]);
  }
});

test("an argument without a field is read, too", () => {
  const { settings, complaints } = readAddress("#dialect=onnx&kernel=3&kernel_shape=3&input=3");
  assert.deepEqual([settings.words, complaints], [{ kernel_shape: "3" }, []]);
});

test("half of a surrogate pair is written as a character that is none", () => {
  assert.equal(
    addressOf({ ...readAddress("").settings, words: { padding: "a\ud800" } }).includes("padding=a%EF%BF%BD"),
    true,
  );
});

test("no argument of a dialect has the name of another part of the address", () => {
  const parts = [
    "dialect",
    "rank",
    "kernel",
    "input",
    "channels",
    "x",
    "weight",
    "shown",
    "pin",
    "time",
    "predict",
    "embed",
  ];
  for (const { name, names, words } of Object.values(dialects)) {
    const all = [...names, ...[1, 2].flatMap((rank) => words(rank).map((word) => word.name))];
    assert.deepEqual(
      all.filter((each) => parts.includes(each)),
      [],
      name,
    );
  }
});

test("an empty address is the first look, with or without embed", () => {
  assert.deepEqual(readAddress("").settings, readAddress("#embed").settings);
  assert.equal(readAddress("").settings.words.stride, "2");
  assert.ok(readAddress("#embed").embed && !readAddress("#dialect=torch").embed);
});
