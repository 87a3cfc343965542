/** The matrix: y = K-transpose x, and K itself, whose rows are the inputs and whose columns are the outputs. */

import { flat, indexOf, product } from "../arithmetic/indices";
import { type Entry, matrixOf } from "../arithmetic/matrix";
import type { Scene } from "../arithmetic/scene";
import { colours } from "../page/theme";
import type { Selection } from "../state/selection";
import type { Store } from "../state/store";
import type { Board } from "./board";
import { cellBoard } from "./cell_boards";
import { channelOf, kernelShape, kernelValues, longestOf } from "./cell_faces";
import { shades } from "./colour";
import { type Face, type Frame, gridOf, type Mark, type Marks, type Spot } from "./face";
import { cellMarks, type Lit } from "./lit";
import { short } from "./number_text";
import { type Picture, timesText } from "./picture";

const MOST_ENTRIES = 40_000;

type Turn = (input: number, output: number) => Spot;
const upright: Turn = (input, output) => [input, output];
const turned: Turn = (input, output) => [output, input];

/** Picture of y = K-transpose x. */
export function transposePicture(store: Store): Picture {
  const board = lineBoard(store, "matrix-transpose", "K transposed", "output");
  const x = lineBoard(store, "matrix-input", "INPUT", "input");
  const y = lineBoard(store, "matrix-output", "OUTPUT", "output");
  return {
    parts: [y, "=", board, "·", x],
    limits: { largest: 30, height: 480 },
    faces(scene, selection) {
      const [inputs, outputs] = [product(scene.inputShape), product(scene.outputShape)];
      const hues = shades(...gridOf(scene.inputShape));
      const values = channelOf(scene.output, selection.shown.output, outputs);
      const { surface } = colours();
      return [
        {
          face: vectorFace(values, () => surface, selection.hidden),
          caption: selection.hidden ? "?" : String(outputs),
        },
        { face: matrixFace(scene, selection, turned), caption: sizesOf(scene, selection, turned) },
        {
          face: vectorFace(channelOf(scene.x, selection.shown.input, inputs), (at) => hues[at]!),
          caption: String(inputs),
        },
      ];
    },
    marks(scene, selection, lit) {
      const column =
        (shape: readonly number[]) =>
        (index: readonly number[]): Spot => [flat(index, shape), 0];
      return [
        { cells: cellMarks(lit, selection, "output", column(scene.outputShape)), frames: [] },
        matrixMarks(scene, lit, turned),
        { cells: cellMarks(lit, selection, "input", column(scene.inputShape)), frames: [] },
      ];
    },
  };
}

/** Picture of K. */
export function matrixPicture(store: Store): Picture {
  return {
    parts: [lineBoard(store, "matrix", "K", "input")],
    limits: { largest: 30, height: 480 },
    faces: (scene, selection) => [
      { face: matrixFace(scene, selection, upright), caption: sizesOf(scene, selection, upright) },
    ],
    marks: (scene, _selection, lit) => [matrixMarks(scene, lit, upright)],
  };
}

/** Make a board whose rows are the cells of the input or the output, in C order. */
function lineBoard(store: Store, name: string, title: string, board: "input" | "output"): Board {
  return cellBoard({ name, title, board, indexOf: ([row]) => rowIndex(store, board, row) }, store);
}

function rowIndex(store: Store, board: "input" | "output", row: number): number[] | null {
  const { scene } = store.moment;
  return scene && indexOf(row, board === "input" ? scene.inputShape : scene.outputShape);
}

function vectorFace(values: Float64Array, fill: (at: number) => string, hidden = false): Face {
  return {
    rows: values.length,
    columns: 1,
    longest: longestOf(values),
    look: (row) => ({ fill: fill(row), text: hidden ? "?" : short(values[row]!) }),
  };
}

/** Entries of K between the shown channels that a tap lies on, with rows and columns counted in those channels. */
function entriesOf(scene: Scene, selection: Selection): Entry[] {
  const [inputs, outputs] = [product(scene.inputShape), product(scene.outputShape)];
  const { input, output } = selection.shown;
  const matrix = matrixOf(scene);
  return Array.from({ length: inputs }, (_, row) =>
    matrix.row(input * inputs + row).flatMap(({ column, value }) => {
      const place = column - output * outputs;
      return place >= 0 && place < outputs ? [{ row, column: place, value }] : [];
    }),
  ).flat();
}

function matrixFace(scene: Scene, selection: Selection, turn: Turn): Face {
  const entries = isLarge(scene) ? [] : entriesOf(scene, selection);
  const [rows, columns] = turn(product(scene.inputShape), product(scene.outputShape));
  const hues = shades(...gridOf(scene.inputShape));
  const spots = entries.map((entry) => turn(entry.row, entry.column));
  const placed = new Map(entries.map((entry, at) => [spots[at]![0] * columns + spots[at]![1], entry]));
  return {
    rows,
    columns,
    filled: spots,
    longest: longestOf(kernelValues(scene, selection)),
    look(row, column) {
      const entry = placed.get(row * columns + column);
      return entry ? { fill: hues[entry.row]!, text: short(entry.value) } : null;
    },
  };
}

function sizesOf(scene: Scene, { hidden }: Selection, turn: Turn): string {
  const { input, output } = scene.channels;
  const block = input * output > 1 ? " between the channels shown" : "";
  const sizes = turn(product(scene.inputShape), product(scene.outputShape));
  // the longer side of K tells the output's size
  const texts = sizes.map((size, axis) => (hidden && axis === turn(0, 1).indexOf(1) ? "?" : String(size)));
  return timesText(texts) + block + (isLarge(scene) ? ", too large to draw" : "");
}

/** Return true if K has more entries than a screen shows. */
function isLarge(scene: Scene): boolean {
  return product(scene.inputShape) * product(kernelShape(scene)) > MOST_ENTRIES;
}

function matrixMarks(scene: Scene, lit: Lit, turn: Turn): Marks {
  if (!lit.cell) return { cells: [], frames: [] };
  const [inputs, outputs] = [product(scene.inputShape), product(scene.outputShape)];
  const isInput = lit.cell.board === "input";
  const line = flat(lit.cell.index, isInput ? scene.inputShape : scene.outputShape);
  const [row, column] = isInput ? turn(line, 0) : turn(0, line);
  const [rows, columns] = isInput ? turn(1, outputs) : turn(inputs, 1);
  const frame: Frame = { row, column, rows, columns, colour: colours().chosen, width: 3 };
  const cells = lit.pairs.flatMap((pair): Mark[] => {
    if (!pair.output) return [];
    const [r, c] = turn(flat(pair.input, scene.inputShape), flat(pair.output, scene.outputShape));
    return [{ row: r, column: c, colour: pair.colour }];
  });
  return { cells, frames: [frame] };
}
