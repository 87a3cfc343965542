/** Zero insertion: put stride - 1 zeros between the inputs, then slide the flipped kernel over them. */

import { extent } from "../arithmetic/geometry";
import { flat, product } from "../arithmetic/indices";
import type { Scene } from "../arithmetic/scene";
import { colours } from "../page/theme";
import type { Store } from "../state/store";
import { Board } from "./board";
import { cellBoard } from "./cell_boards";
import { channelOf, kernelFace, kernelShape, longestOf, outputFace } from "./cell_faces";
import { shades } from "./colour";
import { type Face, type Frame, gridOf, indexAt, type Spot, spotOf } from "./face";
import { cellMarks, type Lit, pairMarks, withProducts } from "./lit";
import { short } from "./number_text";
import { type Picture, timesText } from "./picture";

/** One axis of the input with zeros: its length, and the places of input 0 and of output 0's window. */
interface Spread {
  readonly length: number;
  readonly input: number;
  readonly window: number;
  readonly stride: number;
  readonly reach: number;
}

export function zeroInsertionPicture(store: Store): Picture {
  let spreads: Spread[] = [];
  const input = cellBoard({ name: "zeros-input", title: "INPUT with zeros", board: "input", indexOf: (spot) => inputAt(spot) }, store);
  const kernel = new Board({ name: "zeros-kernel", title: "KERNEL, flipped" });
  const output = cellBoard({ name: "zeros-output", title: "OUTPUT", board: "output" }, store);

  function inputAt(spot: Spot): number[] | null {
    const { scene } = store.moment;
    const index = indexAt(spot, spreads.length).map((place, a) => (place - spreads[a]!.input) / spreads[a]!.stride);
    return scene && index.every((place, a) => Number.isInteger(place) && place >= 0 && place < scene.inputShape[a]!) ? index : null;
  }

  const place = (index: readonly number[]): Spot => spotOf(index.map((at, a) => at * spreads[a]!.stride + spreads[a]!.input));

  function spreadFace(scene: Scene, channel: number): Face {
    const [rows, columns] = gridOf(spreads.map((spread) => spread.length));
    const hues = shades(...gridOf(scene.inputShape));
    const values = channelOf(scene.x, channel, product(scene.inputShape));
    return {
      rows,
      columns,
      longest: longestOf(values),
      look: (row, column) => {
        const index = inputAt([row, column]);
        const { page, surface } = colours();
        if (index) {
          const at = flat(index, scene.inputShape);
          return { fill: hues[at]!, text: short(values[at]!) };
        }
        const places = indexAt([row, column], spreads.length);
        const between = places.every((at, a) => at >= spreads[a]!.input && at <= spreads[a]!.input + spreads[a]!.stride * (scene.inputShape[a]! - 1));
        return { fill: between ? surface : page, text: "0", faint: true };
      },
    };
  }

  function windowOf(lit: Lit): Frame[] {
    if (lit.cell?.board !== "output") return [];
    const [row, column] = spotOf(lit.cell.index.map((at, a) => at + spreads[a]!.window));
    const [rows, columns] = gridOf(spreads.map((spread) => spread.reach));
    return [{ row, column, rows, columns, colour: colours().chosen, width: 3 }];
  }

  return {
    parts: [input, "∗", kernel, "→", output],
    limits: { largest: 32, height: 340 },
    faces(scene, selection) {
      spreads = scene.geometry.axes.map((axis, a) => {
        const reach = extent(axis);
        const window = axis.crop[0] - (reach - 1);
        const first = Math.min(0, window);
        const last = Math.max(axis.stride * (scene.inputShape[a]! - 1), axis.crop[0] + scene.outputShape[a]! - 1);
        return { length: last - first + 1, input: -first, window: window - first, stride: axis.stride, reach };
      });
      return [
        { face: spreadFace(scene, selection.shown.input), caption: timesText(spreads.map((spread) => spread.length)) },
        { face: kernelFace(scene, selection, undefined, true), caption: timesText(kernelShape(scene)) },
        { face: outputFace(scene, selection), caption: timesText(scene.outputShape) },
      ];
    },
    marks(scene, selection, lit) {
      const flipped = (tap: readonly number[]): Spot => spotOf(tap.map((t, a) => scene.geometry.axes[a]!.kernel - 1 - t));
      return [
        { cells: withProducts(cellMarks(lit, selection, "input", place), lit), frames: windowOf(lit) },
        { cells: pairMarks(lit, (pair) => (pair.output ? flipped(pair.tap) : null)), frames: [] },
        { cells: cellMarks(lit, selection, "output"), frames: [] },
      ];
    },
  };
}
