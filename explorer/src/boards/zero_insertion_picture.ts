/** Zero insertion: put stride - 1 zeros between the inputs, then slide the flipped kernel over them. */

import { extent, type Index } from "../arithmetic/geometry";
import { flat, indexOf } from "../arithmetic/indices";
import type { Scene } from "../arithmetic/scene";
import { inserted, type Spread, windowStart } from "../arithmetic/zero_insertion";
import { colours } from "../page/theme";
import type { Store } from "../state/store";
import { Board } from "./board";
import { cellBoard } from "./cell_boards";
import { kernelFace, kernelShape, longestOf, outputFace } from "./cell_faces";
import { shades } from "./colour";
import { type Face, type Frame, gridOf, indexAt, type Spot, spotOf } from "./face";
import { cellMarks, type Lit, pairMarks, withProducts } from "./lit";
import { short } from "./number_text";
import { outputCaption, type Picture, timesText } from "./picture";

export function zeroInsertionPicture(store: Store): Picture {
  let spread: Spread;
  const input = cellBoard({ name: "zeros-input", title: "INPUT with zeros", board: "input", indexOf: inputAt }, store);
  const kernel = new Board({ name: "zeros-kernel", title: "KERNEL, flipped" });
  const output = cellBoard({ name: "zeros-output", title: "OUTPUT", board: "output" }, store);

  function inputAt(spot: Spot): number[] | null {
    const { scene } = store.moment;
    const place = spread.origin[flat(indexAt(spot, spread.shape.length), spread.shape)]!;
    return scene && place >= 0 ? indexOf(place, scene.inputShape) : null;
  }

  function spreadFace(scene: Scene): Face {
    const [rows, columns] = gridOf(spread.shape);
    const hues = shades(...gridOf(scene.inputShape));
    const { page, surface } = colours();
    const isBetween = (index: Index) =>
      index.every((at, a) => at >= spread.around[a]![0] && at < spread.shape[a]! - spread.around[a]![1]);
    return {
      rows,
      columns,
      longest: longestOf(spread.values),
      look: (row, column) => {
        const index = indexAt([row, column], spread.shape.length);
        const at = flat(index, spread.shape);
        const place = spread.origin[at]!;
        if (place >= 0) return { fill: hues[place]!, text: short(spread.values[at]!) };
        return { fill: isBetween(index) ? surface : page, text: "0", faint: true };
      },
    };
  }

  function windowOf(scene: Scene, lit: Lit): Frame[] {
    if (lit.cell?.board !== "output") return [];
    const [row, column] = spotOf(windowStart(scene.geometry, lit.cell.index));
    const [rows, columns] = gridOf(scene.geometry.axes.map(extent));
    return [{ row, column, rows, columns, colour: colours().chosen, width: 3 }];
  }

  return {
    parts: [input, "∗", kernel, "→", output],
    limits: { largest: 32, height: 340 },
    faces(scene, selection) {
      spread = inserted(scene, selection.shown.input);
      return [
        { face: spreadFace(scene), caption: timesText(spread.shape) },
        { face: kernelFace(scene, selection, undefined, true), caption: timesText(kernelShape(scene)) },
        { face: outputFace(scene, selection), caption: outputCaption(scene, selection) },
      ];
    },
    marks(scene, selection, lit) {
      const { axes } = scene.geometry;
      const place = (index: Index): Spot => spotOf(index.map((at, a) => at * axes[a]!.stride + spread.around[a]![0]));
      const flipped = (tap: Index): Spot => spotOf(tap.map((t, a) => axes[a]!.kernel - 1 - t));
      return [
        { cells: withProducts(cellMarks(lit, selection, "input", place), lit), frames: windowOf(scene, lit) },
        { cells: pairMarks(lit, (pair) => (pair.output ? flipped(pair.tap) : null)), frames: [] },
        { cells: cellMarks(lit, selection, "output"), frames: [] },
      ];
    },
  };
}
