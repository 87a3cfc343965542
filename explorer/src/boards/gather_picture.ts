/** The gather: each output cell sums the inputs below the kernel's window, times the taps that meet them. */

import type { Axis } from "../arithmetic/geometry";
import { colours } from "../page/theme";
import type { Store } from "../state/store";
import { Board } from "./board";
import { cellBoard } from "./cell_boards";
import { inputFace, kernelFace, kernelShape, outputFace } from "./cell_faces";
import { mix } from "./colour";
import { spotOf } from "./face";
import { cellMarks, pairMarks, withProducts } from "./lit";
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
        const { lines, page, surface } = colours();
        return axes.every((axis) => axis.stride === 1) ? surface : mix(page, lines[number % lines.length]!, 0.3);
      };
      return [
        { face: outputFace(scene, selection, phase((axis) => (at) => at + axis.crop[0])), caption: timesText(scene.outputShape) },
        { face: inputFace(scene, selection), caption: timesText(scene.inputShape) },
        { face: kernelFace(scene, selection, phase((axis) => (tap) => tap * axis.dilation)), caption: timesText(kernelShape(scene)) },
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

const remainder = (number: number, by: number): number => ((number % by) + by) % by;
