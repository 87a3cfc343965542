/** Faces of the input, of the kernel and of the output as it is kept. */

import { product } from "../arithmetic/indices";
import type { Scene } from "../arithmetic/scene";
import { colours } from "../page/theme";
import type { Selection } from "../state/selection";
import { type Face, gridOf } from "./face";
import { short } from "./number_text";

type Fill = (row: number, column: number) => string;

const plain: Fill = () => colours().surface;

/** Return the numbers of one channel. */
export function channelOf(values: Float64Array, channel: number, size: number): Float64Array {
  return values.subarray(channel * size, (channel + 1) * size);
}

/** Return the face of the shown input channel. */
export function inputFace(scene: Scene, selection: Selection, fill: Fill = plain): Face {
  return gridFace(scene.inputShape, channelOf(scene.x, selection.shown.input, product(scene.inputShape)), fill);
}

/** Return the face of the shown output channel, as it is after the crop. */
export function outputFace(scene: Scene, selection: Selection, fill: Fill = plain): Face {
  const values = channelOf(scene.output, selection.shown.output, product(scene.outputShape));
  return gridFace(scene.outputShape, values, fill, selection.hidden);
}

/** Return the face of the kernel between the shown channels, its taps in reverse if `flipped`. */
export function kernelFace(scene: Scene, selection: Selection, fill: Fill = plain, flipped = false): Face {
  const values = kernelValues(scene, selection);
  return gridFace(kernelShape(scene), flipped ? values.toReversed() : values, fill);
}

export function kernelShape(scene: Scene): number[] {
  return scene.geometry.axes.map((axis) => axis.kernel);
}

/** Numbers of the kernel between the shown channels; zeros where the groups part them. */
export function kernelValues(scene: Scene, selection: Selection): Float64Array {
  const { input, output } = selection.shown;
  const taps = product(kernelShape(scene));
  const outer = scene.channels.output / scene.geometry.groups;
  const inner = scene.channels.input / scene.geometry.groups;
  if (Math.floor(input / inner) !== Math.floor(output / outer)) return new Float64Array(taps);
  return channelOf(scene.weight, input * outer + (output % outer), taps);
}

function gridFace(shape: readonly number[], values: Float64Array, fill: Fill, hidden = false): Face {
  const [rows, columns] = gridOf(shape);
  return {
    rows,
    columns,
    longest: longestOf(values),
    look: (row, column) => ({ fill: fill(row, column), text: hidden ? "?" : short(values[row * columns + column]!) }),
  };
}

/** Return the length of the longest text of these numbers. */
export function longestOf(values: Float64Array): number {
  let [least, most, longest] = [0, 0, 1];
  for (const value of values) {
    if (Number.isInteger(value)) {
      least = Math.min(least, value);
      most = Math.max(most, value);
    } else longest = Math.max(longest, short(value).length);
  }
  return Math.max(longest, short(least).length, short(most).length);
}
