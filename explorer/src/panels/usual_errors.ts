/** Answers to a prediction: right, or which usual error gives the number that was typed. */

import { convSize, extent, fullSize } from "../arithmetic/geometry";
import { flat, product } from "../arithmetic/indices";
import type { Product, Scene } from "../arithmetic/scene";
import { count, shown } from "./elements";
import { inputName } from "./place_names";

export interface Judgement {
  readonly right: boolean;
  readonly text: string;
}

/** Judge a value of an output cell. */
export function judgedValue(scene: Scene, channel: number, index: readonly number[], given: number): Judgement {
  const products = scene.gathered(channel, index);
  const value = scene.output[flat([channel, ...index], [scene.channels.output, ...scene.outputShape])]!;
  if (near(given, value)) {
    return {
      right: true,
      text:
        products.length === 0
          ? "Right: no input reaches this place, so it is 0."
          : `Right: ${count(products.length, "paint")} together give ${shown(value)}.`,
    };
  }
  const found = valueErrors(scene, channel, index, products, value).find(([wrong]) => near(given, wrong));
  return {
    right: false,
    text: found
      ? `Not ${shown(given)}: ${found[1]}`
      : `Not ${shown(given)}. Which inputs reach this place, and with which tap? Each input i paints from stride·i on.`,
  };
}

type Wrong = readonly [value: number, text: string];

function valueErrors(
  scene: Scene,
  channel: number,
  index: readonly number[],
  products: readonly Product[],
  value: number,
): Wrong[] {
  const wrong: Wrong[] = [];
  for (const each of products) {
    if (products.length > 1)
      wrong.push([
        value - each.product,
        `that is the value without the paint of ${inputName(scene, each.inputChannel, each.input)}. All ` +
          "paints that meet here are added.",
      ]);
  }
  for (const each of products) {
    if (products.length > 2)
      wrong.push([
        each.product,
        `that is the paint of ${inputName(scene, each.inputChannel, each.input)} alone. ${products.length} ` +
          "paints meet here, and are added.",
      ]);
  }
  const kernel = scene.geometry.axes.map((axis) => axis.kernel);
  const taps = product(kernel);
  const flipped = products.reduce((sum, each) => {
    const own = flat(each.tap, kernel);
    const row =
      (each.inputChannel * scene.channels.output) / scene.geometry.groups +
      (each.outputChannel % (scene.channels.output / scene.geometry.groups));
    return sum + each.x * scene.weight[row * taps + (taps - 1 - own)]!;
  }, 0);
  wrong.push([
    flipped,
    "that is the sum with the kernel turned around. In this operator an input paints the kernel as it stands.",
  ]);
  const uncropped = index.every((entry, axis) => entry < scene.fullShape[axis]!)
    ? scene.full[flat([channel, ...index], [scene.channels.output, ...scene.fullShape])]
    : undefined;
  if (uncropped !== undefined)
    wrong.push([uncropped, "that is the number at this place before the crop. The crop in front moves all places."]);
  wrong.push([-value, "the sign is wrong."]);
  wrong.push([
    products.reduce((sum, each) => sum + each.x, 0),
    "that is the sum of the inputs. Each is multiplied by its tap first.",
  ]);
  wrong.push([
    products.reduce((sum, each) => sum + each.w, 0),
    "that is the sum of the taps. Each is multiplied by its input first.",
  ]);
  return wrong;
}

/** Judge a size of the output. */
export function judgedSize(scene: Scene, given: readonly number[]): Judgement {
  const { geometry, inputShape, fullShape, outputShape } = scene;
  const same = (sizes: readonly number[]) => sizes.every((size, axis) => size === given[axis]);
  if (same(outputShape)) return { right: true, text: `Right: ${outputShape.join(" × ")}.` };
  const perAxis = (size: (axis: (typeof geometry.axes)[number], input: number) => number) =>
    geometry.axes.map((axis, each) => size(axis, inputShape[each]!));
  const wrong: (readonly [readonly number[], string])[] = [
    [fullShape, "that is the full result, before the crop."],
    [
      perAxis((axis, n) => fullSize(axis, n) - axis.crop[0] * 2),
      "the two ends are cropped differently: output_padding, or SAME, cuts less at one end.",
    ],
    [
      perAxis((axis, n) => axis.stride * n),
      "that is stride × input. The last paint reaches kernel − stride further, and the crop removes some of it.",
    ],
    [
      perAxis((axis, n) => axis.stride * (n - 1) + axis.kernel - axis.crop[0] - axis.crop[1]),
      "the dilation is missing: a paint spans dilation·(kernel − 1) + 1.",
    ],
    [
      perAxis((axis, n) => convSize(axis, n)),
      "that is the size after an ordinary convolution. This one goes the other way, from its small side to the large one.",
    ],
    [
      perAxis((axis, n) => fullSize(axis, n) + axis.crop[0] + axis.crop[1]),
      "padding makes the output of a transposed convolution smaller, not larger.",
    ],
    [
      perAxis((axis, n) => axis.stride * n + extent(axis) - axis.crop[0] - axis.crop[1]),
      "between n inputs there are n − 1 strides.",
    ],
    [inputShape, "that is the input's size."],
  ];
  const found = wrong.find(([sizes]) => same(sizes));
  return {
    right: false,
    text: `Not ${given.join(" × ")}: ${found ? found[1] : "size = stride·(input − 1) + dilation·(kernel − 1) + 1 − crops, on each axis."}`,
  };
}

function near(given: number, value: number): boolean {
  return (
    Math.abs(given - value) <= 1e-9 + 5e-3 * Math.abs(value) &&
    (!Number.isInteger(value) || Math.abs(value) > 1e6 || Math.abs(given - value) < 1e-9)
  );
}
