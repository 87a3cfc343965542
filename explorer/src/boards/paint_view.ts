/** The scatter: each input element paints the kernel, scaled by its value, into the output. */

import { flat } from "../arithmetic/indices";
import type { Scene } from "../arithmetic/scene";
import { colours } from "../page/theme";
import type { Actions, Moment, View } from "../state/view";
import { Board } from "./board";
import { grey, mix, shades } from "./colour";
import { cellBoard, kernelFace, longestOf } from "./cell_boards";
import { type Face, type Frame, gridOf, type Look, type Mark, type Spot, spotOf } from "./face";
import { fit } from "./fitting";
import { type Lit, litBy } from "./lit";
import { short } from "./number_text";
import { Painting } from "./painting";
import { stage, type Stage } from "./stage";

export function paintView(actions: Actions): View {
  let now: Moment | null = null;
  let scene: Scene | null = null;
  let painting: Painting | null = null;
  let hues: string[] = [];
  const current = () => (now && scene ? { scene, selection: now.selection } : null);
  const input = cellBoard({ name: "input", title: "INPUT", board: "input" }, actions, current);
  const kernel = new Board({ name: "kernel", title: "KERNEL" });
  const output = cellBoard({ name: "output", title: "OUTPUT", board: "output", origin: () => painting?.first ?? [0, 0] }, actions, current);
  const place: Stage = stage([input, "×", kernel, "→", output], () => show());

  function show(): void {
    if (!now || !scene) return;
    painting = new Painting(scene, now.selection.shown.output);
    painting.advance(now.selection.time);
    const [rows, columns] = gridOf(scene.inputShape);
    hues = shades(rows, columns);
    const faces = [inputFace(scene), kernelFace(scene, now.selection), outputFace(scene)] as const;
    const cells = fit(faces, place.room());
    input.show(faces[0], cells[0]!, scene.inputShape.join(" × "));
    kernel.show(faces[1], cells[1]!, scene.geometry.axes.map((axis) => axis.kernel).join(" × "));
    const cut = scene.geometry.axes.some((axis) => axis.crop[0] > 0 || axis.crop[1] > 0);
    output.show(faces[2], cells[2]!, `${scene.outputShape.join(" × ")}${cut ? ` kept of ${scene.fullShape.join(" × ")}` : ""}`);
    light();
  }

  function inputFace(of: Scene): Face {
    const [rows, columns] = gridOf(of.inputShape);
    const values = channelOf(of.x, now!.selection.shown.input, rows * columns);
    return {
      rows,
      columns,
      longest: longestOf(values),
      look: (row, column) => {
        const at = row * columns + column;
        const painted = now!.selection.shown.input * rows * columns + at < now!.selection.time;
        return { fill: painted ? hues[at]! : colours().page, text: short(values[at]!) };
      },
    };
  }

  function outputFace(of: Scene): Face {
    const board = painting!;
    const most = of.geometry.axes.reduce((all, axis, a) => all * Math.min(of.inputShape[a]!, Math.ceil(axis.kernel / axis.stride)), 1);
    const [rows, columns] = gridOf(of.outputShape);
    const frame: Frame = { row: board.first[0], column: board.first[1], rows, columns, colour: colours().output, width: 3 };
    const inside = (row: number, column: number) =>
      row >= frame.row && row < frame.row + rows && column >= frame.column && column < frame.column + columns;
    return {
      rows: board.rows,
      columns: board.columns,
      inside: frame,
      frames: [frame],
      longest: longestOf(of.full),
      look: (row, column): Look => {
        const at = row * board.columns + column;
        const count = board.counts[at]!;
        const kept = inside(row, column);
        const { page } = colours();
        const fill = count === 0 ? page : count === 1 ? hues[board.painter[at]!]! : grey(count, most);
        const text = now!.selection.hidden && kept ? "?" : count || now!.selection.time === Infinity ? short(board.sums[at]!) : "";
        return kept ? { fill, text } : { fill: mix(page, fill, 0.35), text, hatched: true, faint: true };
      },
    };
  }

  function light(): void {
    if (!now || !scene || !painting) return;
    const lit = litBy(scene, now.selection);
    const { chosen } = colours();
    const pins = pinMarks(now, painting);
    const at = lit.cell && spotOf(lit.cell.index);
    const isOutput = lit.cell?.board === "output";
    const own = (spot: Spot): Mark => ({ row: spot[0], column: spot[1], colour: chosen });
    const inputs = lit.pairs.map((pair) => mark(spotOf(pair.input), pair));
    const taps = lit.pairs.map((pair) => mark(spotOf(pair.tap), pair));
    input.light({ cells: [...(isOutput ? inputs : at ? [own(at)] : []), ...pins.input], frames: [] });
    kernel.light({ cells: isOutput ? taps : [], frames: [] });
    output.light({
      cells: [...(isOutput ? [own(painting.spotOfOutput(lit.cell!.index))] : landed(lit)), ...pins.output],
      frames: isOutput ? [] : around(lit),
    });
  }

  /** Cells that an input element paints, with its products in them. */
  function landed(lit: Lit): Mark[] {
    if (!scene || !lit.cell) return [];
    const hue = hues[flat(lit.cell.index, scene.inputShape)]!;
    return lit.pairs.map((pair) => {
      const [row, column] = painting!.spotOfFull(pair.full);
      return { row, column, colour: colours().chosen, look: { fill: hue, text: short(pair.product), hatched: !pair.output } };
    });
  }

  function around(lit: Lit): Frame[] {
    const first = lit.pairs[0];
    const last = lit.pairs.at(-1);
    if (!first || !last) return [];
    const [row, column] = painting!.spotOfFull(first.full);
    const [bottom, right] = painting!.spotOfFull(last.full);
    return [{ row, column, rows: bottom - row + 1, columns: right - column + 1, colour: colours().chosen, width: 3 }];
  }

  return {
    element: place.element,
    draw(moment, changed) {
      const before = now?.selection;
      now = moment;
      if (!moment.scene) return;
      const anew = changed.scene || moment.scene !== scene || !before || before.shown !== moment.selection.shown || before.hidden !== moment.selection.hidden;
      scene = moment.scene;
      if (anew) return show();
      if (before.time !== moment.selection.time) {
        const spots = painting!.advance(moment.selection.time);
        if (spots && moment.selection.time !== Infinity && before.time !== Infinity) output.refresh(spots);
        else output.repaint();
        input.repaint();
      }
      light();
    },
  };
}

function mark([row, column]: Spot, pair: { colour: string; badge: string }): Mark {
  return { row, column, colour: pair.colour, badge: pair.badge };
}

/** Marks of the pinned cell, on its board. */
function pinMarks(moment: Moment, painting: Painting): { input: Mark[]; output: Mark[] } {
  const { pinned, pointed } = moment.selection;
  if (!pinned || !pointed) return { input: [], output: [] };
  const [row, column] = pinned.board === "input" ? spotOf(pinned.index) : painting.spotOfOutput(pinned.index);
  const pin: Mark = { row, column, colour: colours().chosen, dashed: true };
  return pinned.board === "input" ? { input: [pin], output: [] } : { input: [], output: [pin] };
}

export function channelOf(values: Float64Array, channel: number, size: number): Float64Array {
  return values.subarray(channel * size, (channel + 1) * size);
}
