/** The gather: each output cell sums the inputs below the kernel's window, times the taps that meet them. */

import type { Axis } from "../arithmetic/geometry";
import type { Scene } from "../arithmetic/scene";
import { colours } from "../page/theme";
import type { Store } from "../state/store";
import { Board } from "./board";
import { cellBoard } from "./cell_boards";
import { inputFace, kernelFace, kernelShape, outputFace } from "./cell_faces";
import { type Frame, spotOf } from "./face";
import { cellMarks, type Lit, pairMarks } from "./lit";
import { type Picture, timesText } from "./picture";

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
      const phase = (place: (axis: Axis) => (at: number) => number) => (row: number, column: number) => {
        const places = axes.length === 1 ? [column] : [row, column];
        const number = axes.reduce((all, axis, a) => all * axis.stride + remainder(place(axis)(places[a]!), axis.stride), 0);
        const { cells, surface } = colours();
        return axes.every((axis) => axis.stride === 1) ? surface : cells[number % cells.length]!;
      };
      return [
        { face: outputFace(scene, selection, phase((axis) => (at) => at + axis.crop[0])), caption: timesText(scene.outputShape) },
        { face: inputFace(scene, selection), caption: timesText(scene.inputShape) },
        { face: kernelFace(scene, selection, phase((axis) => (tap) => tap * axis.dilation)), caption: timesText(kernelShape(scene)) },
      ];
    },
    marks(scene, selection, lit) {
      return [
        { cells: cellMarks(lit, selection, "output"), frames: [] },
        { cells: cellMarks(lit, selection, "input"), frames: windowOn(scene, lit) },
        { cells: pairMarks(lit, (pair) => (pair.output ? spotOf(pair.tap) : null)), frames: [] },
      ];
    },
  };
}

/** Frame of the kernel on the input: a tap is as wide as an input divided by the stride. */
function windowOn(scene: Scene, lit: Lit): Frame[] {
  if (lit.cell?.board !== "output") return [];
  const { index } = lit.cell;
  const sides = scene.geometry.axes.map((axis, a) => {
    const last = index[a]! + axis.crop[0];
    const half = 0.5 / axis.stride;
    const from = (last - axis.dilation * (axis.kernel - 1)) / axis.stride + 0.5 - half;
    return [from, last / axis.stride + 0.5 + half - from] as const;
  });
  const [[row, rows], [column, columns]] = sides.length === 1 ? [[0, 1] as const, sides[0]!] : [sides[0]!, sides[1]!];
  return [{ row, column, rows, columns, colour: colours().chosen, width: 2, dashed: true }];
}

const remainder = (number: number, by: number): number => ((number % by) + by) % by;
