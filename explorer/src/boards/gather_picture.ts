/** The gather: each output cell sums the inputs below the kernel's window, times the taps that meet them. */

import type { Index } from "../arithmetic/geometry";
import { flat, product } from "../arithmetic/indices";
import { phaseOf } from "../arithmetic/phases";
import { colours } from "../page/theme";
import type { Store } from "../state/store";
import { Board } from "./board";
import { cellBoard } from "./cell_boards";
import { inputFace, kernelFace, kernelShape, outputFace } from "./cell_faces";
import { mix } from "./colour";
import { indexAt, spotOf } from "./face";
import { cellMarks, pairMarks, withProducts } from "./lit";
import { outputCaption, type Picture, timesText } from "./picture";

export function gatherPicture(store: Store): Picture {
  const input = cellBoard({ name: "gather-input", title: "INPUT", board: "input" }, store);
  const kernel = new Board({ name: "gather-kernel", title: "KERNEL" });
  const output = cellBoard({ name: "gather-output", title: "OUTPUT", board: "output" }, store);
  return {
    parts: [output, "←", input, "×", kernel],
    limits: { largest: 36, height: 340 },
    faces(scene, selection) {
      const { axes } = scene.geometry;
      // cells of one colour use the same taps: a phase
      const { lines, page } = colours();
      const strides = axes.map((axis) => axis.stride);
      const fills = Array.from({ length: product(strides) }, (_, at) => mix(page, lines[at % lines.length]!, 0.3));
      const fillOf = (phase: (index: Index) => Index) => (row: number, column: number) =>
        fills[flat(phase(indexAt([row, column], axes.length)), strides)]!;
      const phaseOfTap = (tap: Index) => tap.map((t, a) => (t * axes[a]!.dilation) % axes[a]!.stride);
      return [
        {
          face: outputFace(
            scene,
            selection,
            fillOf((index) => phaseOf(scene.geometry, index)),
          ),
          caption: outputCaption(scene, selection),
        },
        { face: inputFace(scene, selection), caption: timesText(scene.inputShape) },
        { face: kernelFace(scene, selection, fillOf(phaseOfTap)), caption: timesText(kernelShape(scene)) },
      ];
    },
    marks(_scene, selection, lit) {
      return [
        { cells: cellMarks(lit, selection, "output"), frames: [] },
        { cells: withProducts(cellMarks(lit, selection, "input"), lit), frames: [] },
        { cells: pairMarks(lit, (pair) => (pair.output ? spotOf(pair.tap) : null)), frames: [] },
      ];
    },
  };
}
