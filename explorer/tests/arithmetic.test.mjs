/** The explorer's arithmetic against what tconv answers to the same thousands of calls. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";
import { pythonVectors } from "./python_vectors.mjs";

const own = await bundled(
  "arithmetic/geometry.ts",
  "arithmetic/indices.ts",
  "arithmetic/least_squares.ts",
  "arithmetic/matrix.ts",
  "arithmetic/numbers.ts",
  "arithmetic/phases.ts",
  "arithmetic/refusal.ts",
  "arithmetic/scene.ts",
  "arithmetic/scene_of_settings.ts",
  "arithmetic/size_solver.ts",
  "arithmetic/zero_insertion.ts",
  "dialects/layouts.ts",
  "dialects/reading.ts",
  "dialects/registry.ts",
  "dialects/value.ts",
  "own_numbers/into_settings.ts",
  "state/address.ts",
);
const vectors = pythonVectors();
const missing = typeof vectors === "string" ? vectors : false;
if (missing && process.env.TCONV_VECTORS) throw new Error(missing);

/** Compare every vector of a kind, and report how many agree. */
function compare(kind, check) {
  test(kind, { skip: missing }, (t) => {
    const counts = {};
    vectors[kind].forEach((vector, at) => {
      try {
        for (const done of check(vector)) counts[done] = (counts[done] ?? 0) + 1;
      } catch (error) {
        error.message = `${kind} ${at}: ${error.message}\n${JSON.stringify(vector).slice(0, 2000)}`;
        throw error;
      }
    });
    t.diagnostic(
      `${vectors[kind].length} ${kind}: ${Object.entries(counts)
        .map((pair) => pair.join(" "))
        .join(", ")}`,
    );
  });
}

/** Result of a computation as the vectors have it. */
function answer(compute) {
  try {
    return { ok: compute() };
  } catch (error) {
    if (!(error instanceof own.Refusal)) throw error;
    return { refused: error.message };
  }
}

const plain = (value) => JSON.parse(JSON.stringify(value));
const same = (got, expected) => assert.deepEqual(plain(got), expected);

function close(got, expected, tolerance = 1e-12, scale = Math.max(...expected.map(Math.abs)) || 1) {
  assert.equal(got.length, expected.length);
  expected.forEach((number, at) =>
    assert.ok(Math.abs(got[at] - number) <= tolerance * scale, `${got[at]}, not ${number}`),
  );
}

const filled = ({ geometry, channels, input, x, weight }) =>
  own.makeScene(geometry, channels, input, Float64Array.from(x), Float64Array.from(weight));

/** Convolution of the input with zeros and the flipped kernel, as the picture of the zero insertion shows it. */
function slid(scene) {
  const { geometry, channels, outputShape, weight } = scene;
  const kernel = geometry.axes.map((axis) => axis.kernel);
  const [inner, outer] = [channels.input / geometry.groups, channels.output / geometry.groups];
  const [taps, size] = [own.product(kernel), own.product(outputShape)];
  const spreads = Array.from({ length: channels.input }, (_, channel) => own.inserted(scene, channel));
  return Array.from({ length: channels.output * size }, (_, at) => {
    const channel = Math.floor(at / size);
    const start = own.windowStart(geometry, own.indexOf(at % size, outputShape));
    let sum = 0;
    for (let i = 0; i < inner; i++) {
      const input = Math.floor(channel / outer) * inner + i;
      const { values, shape } = spreads[input];
      for (let t = 0; t < taps; t++) {
        const cell = own.indexOf(t, kernel).map((place, a) => start[a] + geometry.axes[a].dilation * place);
        sum += values[own.flat(cell, shape)] * weight[(input * outer + (channel % outer)) * taps + taps - 1 - t];
      }
    }
    return sum;
  });
}

compare("calls", function* ({ dialect, kernel, input, words, link, ok, refused }) {
  const member = own.dialects[dialect];
  const given = Object.fromEntries(Object.entries(words).map(([name, text]) => [name, own.parsed(text)]));
  const got = answer(() => {
    own.checkNames(member, Object.keys(given));
    return member.geometry({ kernel, input, words: given });
  });
  same(got, ok ? { ok } : { refused });
  yield ok ? "legal" : "refused";
  if (!link) return;
  const { settings, complaints } = own.readAddress(link.address);
  assert.deepEqual(complaints, []);
  const { scene, mistakes } = own.sceneOf(settings);
  same(mistakes, []);
  same(scene.geometry, ok);
  if (link.taps) same(Array.from(scene.weight), link.taps);
  yield "links";
});

compare("geometries", function* ({ geometry, input, dialects }) {
  assert.deepEqual(Object.keys(own.dialects), Object.keys(dialects));
  for (const [name, expected] of Object.entries(dialects)) {
    const member = own.dialects[name];
    same(member.reasonsAgainst(geometry, input), expected.reasons);
    same(
      answer(() => member.code(geometry, input)),
      expected.code,
    );
    yield expected.code.ok ? "codes" : "refused codes";
    if (expected.reasons.length) {
      yield "with reasons against";
      continue;
    }
    const given = member.nativeArguments(geometry, input);
    same(Object.fromEntries(Object.entries(given).map(([key, value]) => [key, own.source(value)])), expected.arguments);
    // the texts of the fields mean the same geometry again
    if (input.length >= member.ranks[0]) {
      const kernel = geometry.axes.map((axis) => axis.kernel);
      const again = own.geometryOf(member, kernel, input, member.wordsOf(geometry, input));
      same(again, geometry);
      yield "read again from the fields";
    }
  }
});

compare("scenes", function* (vector) {
  const scene = filled(vector);
  const { inputShape, outputShape, channels } = scene;
  same([scene.fullShape, outputShape], [vector.full, vector.output]);
  const [inputs, outputs] = [own.product(inputShape), own.product(outputShape)];
  const numbers = (array) => Array.from(array, (number) => number + 0);
  const places = (count, size, shape) =>
    Array.from({ length: count * size }, (_, at) => [Math.floor(at / size), own.indexOf(at % size, shape)]);
  const sum = (products) => products.reduce((all, one) => all + one.product, 0);

  assert.deepEqual(numbers(scene.output), vector.y);
  const gathered = places(channels.output, outputs, outputShape).map(([c, o]) => scene.gathered(c, o));
  assert.deepEqual(gathered.map(sum), vector.y);
  const painted = places(channels.input, inputs, inputShape).flatMap(([c, i]) => scene.painted(c, i));
  const scattered = vector.y.map(() => 0);
  const full = Array.from(scene.full, () => 0);
  for (const one of painted) {
    full[own.flat([one.outputChannel, ...one.full], [channels.output, ...scene.fullShape])] += one.product;
    if (one.output)
      scattered[own.flat([one.outputChannel, ...one.output], [channels.output, ...outputShape])] += one.product;
  }
  assert.deepEqual(scattered, vector.y);
  assert.deepEqual(
    numbers(scene.full),
    full.map((number) => number + 0),
  );
  // the same products in the same order, seen from either side
  const order = new Map(painted.filter((one) => one.output).map((one, at) => [JSON.stringify(one), at]));
  const seen = gathered.map((products) => products.map((one) => order.get(JSON.stringify(one))));
  assert.deepEqual(
    seen.flat().sort((a, b) => a - b),
    [...order.values()],
  );
  for (const list of seen)
    assert.deepEqual(
      list,
      [...list].sort((a, b) => a - b),
    );
  assert.deepEqual(numbers(slid(scene)), vector.y);
  const K = own.matrixOf(scene);
  assert.deepEqual(numbers(K.transposedTimes(scene.x)), vector.y);
  yield "in four equal views";
  if (!vector.matrix) return;
  const entries = Array.from({ length: K.rows }, (_, r) => K.row(r)).flat();
  same(
    entries.filter((one) => one.value).map((one) => [one.row, one.column, one.value]),
    vector.matrix,
  );
  assert.deepEqual(numbers(K.times(vector.y)), vector.adjoint);
  yield "matrices";
});

compare("shapes", function* (vector) {
  const { geometry, input } = vector;
  same(
    geometry.axes.map((axis, a) => own.fullSize(axis, input[a])),
    vector.full,
  );
  same(
    answer(() => own.outputShape(geometry, input)),
    vector.output,
  );
  if (vector.convolution)
    same(
      geometry.axes.map((axis, a) => own.convSize(axis, input[a])),
      vector.convolution,
    );
  same(own.overlapOf(geometry), vector.overlap);
  yield vector.output.ok ? "with an output" : "without";
});

compare("solver", function* ({ wanted, ok, refused }) {
  const got = answer(() => {
    const listed = own.solve(wanted).map(({ geometry, input, output }) => {
      const { axes } = geometry;
      return [
        axes.map((axis) => axis.kernel),
        axes.map((axis) => axis.stride),
        axes.map((axis) => axis.crop),
        input,
        output,
      ];
    });
    return { count: listed.length, ends: [...listed.slice(0, 40), ...listed.slice(40).slice(-20)] };
  });
  same(got, ok ? { ok } : { refused });
  yield ok ? "solved" : "refused";
});

compare("gains", function* (vector) {
  const input = vector.geometry.axes.map(() => 9);
  const scene = filled({ ...vector, input, x: Array(vector.channels.input * own.product(input)).fill(1) });
  close([own.checkerboardOf(scene)], [vector.score]);
  const { numbers } = own.responseOf(scene);
  const { input: inputs } = vector.channels;
  // tconv's gains are root mean squares over the input channels
  const gains = vector.gains.map((_, at) => {
    const each = Array.from({ length: inputs }, (_, channel) => numbers[channel * vector.gains.length + at]);
    return Math.sqrt(each.reduce((sum, gain) => sum + gain ** 2, 0) / inputs);
  });
  close(gains, vector.gains);
  yield "equal";
});

compare("squares", function* (vector) {
  const x = Array(vector.channels.input * own.product(vector.input)).fill(0);
  const matrix = own.matrixOf(filled({ ...vector, x }));
  const found = own.leastSquares(matrix, vector.y);
  assert.equal(found.rank, vector.rank);
  assert.equal(found.fullRank, vector.rank === x.length);
  close(found.x, vector.x, 1e-7);
  const residual = Math.hypot(...matrix.transposedTimes(found.x).map((value, at) => value - vector.y[at]));
  close([residual], [vector.residual], 1e-9, Math.max(1, ...vector.y.map(Math.abs)));
  yield found.fullRank ? "of full rank" : "of lower rank";
});

compare("layouts", function* ({ groups, shape, numbers, native }) {
  const ndim = shape.length - 2;
  const [inputs, outer, ...kernel] = shape;
  for (const [name, expected] of Object.entries(native)) {
    const member = own.dialects[name];
    const layout = member.weight(groups, ndim);
    const { shape: nativeShape, numbers: nativeNumbers, ...said } = expected;
    same({ ...layout, data: member.dataPattern }, said);
    const places = own.weightPlaces(layout, groups, nativeShape);
    same(places.shape, shape);
    const read = numbers.map((_, at) => {
      const [input, output, ...tap] = own.indexOf(at, shape);
      return nativeNumbers[places.placeOf(input, output, tap)];
    });
    same(read, numbers);
    yield "read";
    const field = member.words(2).find((word) => word.part === "groups");
    if (ndim > 2 || ndim < member.ranks[0] || (groups > 1 && !field)) continue;
    const words = field ? { [field.name]: String(groups) } : {};
    const values = { x: { rule: "ones" }, weight: { rule: "ones" } };
    const before = {
      dialect: name,
      rank: ndim,
      kernel: [3],
      input: [3],
      channels: { input: 1, output: 1 },
      words,
      values,
    };
    const { settings } = own.asWeight({ shape: nativeShape, numbers: nativeNumbers }, before);
    const scene = own.sceneOf({ ...before, ...settings }).scene;
    const fits = inputs <= 4 && outer * groups <= 4;
    assert.equal(scene.geometry.groups, fits ? groups : 1);
    const whole = [scene.channels.input, scene.channels.output / scene.geometry.groups, ...kernel];
    same(
      Array.from(scene.weight),
      Array.from({ length: own.product(whole) }, (_, at) => numbers[own.flat(own.indexOf(at, whole), shape)]),
    );
    yield "placed";
  }
});

compare("bilinear", function* ({ geometry, shape, ok, refused }) {
  const got = answer(() => own.numbersOf({ rule: "bilinear" }, shape, "weight", geometry));
  if (ok) close(got.ok, ok);
  else assert.equal(got.refused, refused);
  yield ok ? "equal" : "refused";
});
