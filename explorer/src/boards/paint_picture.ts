/** The scatter: each input element paints the kernel, scaled by its value, into the output. */

import { flat } from "../arithmetic/indices";
import type { Product, Scene } from "../arithmetic/scene";
import { colours } from "../page/theme";
import type { Selection } from "../state/selection";
import type { Store } from "../state/store";
import { Board } from "./board";
import { Brush } from "./brush";
import { cellBoard } from "./cell_boards";
import { inputFace, kernelFace, kernelShape, longestOf } from "./cell_faces";
import { grey, mix, shades } from "./colour";
import { type Face, type Frame, gridOf, indexAt, type Look, type Mark, type Marks, spotOf } from "./face";
import { cellMarks, type Lit, litBy, pairMarks } from "./lit";
import { short } from "./number_text";
import { Painting } from "./painting";
import { outputCaption, type Picture, timesText } from "./picture";

export function paintPicture(store: Store): Picture {
  let painting: Painting;
  let selection: Selection;
  let hues: string[] = [];
  let drawnScene: Scene;
  const input = cellBoard({ name: "input", title: "INPUT", board: "input" }, store);
  const kernel = new Board({ name: "kernel", title: "KERNEL" });
  const output = cellBoard({ name: "output", title: "OUTPUT", board: "output", indexOf: outputIndex }, store);

  const brush = new Brush(() => output.light(outputMarks(drawnScene, selection, litBy(drawnScene, selection))));

  function outputIndex([row, column]: readonly [number, number]): number[] {
    const [top, left] = painting.first;
    return indexAt([row - top, column - left], store.moment.settings.rank);
  }

  /** Colour of an input element once it has painted. */
  function inputFill(scene: Scene): (row: number, column: number) => string {
    const [rows, columns] = gridOf(scene.inputShape);
    return (row, column) => {
      const at = row * columns + column;
      const painted = selection.shown.input * rows * columns + at < selection.time;
      return painted ? hues[at]! : colours().page;
    };
  }

  function fullFace(scene: Scene): Face {
    const board = painting;
    const most = scene.geometry.axes.reduce(
      (all, axis, a) => all * Math.min(scene.inputShape[a]!, Math.ceil(axis.kernel / axis.stride)),
      1,
    );
    const [rows, columns] = gridOf(scene.outputShape);
    const frame: Frame = {
      row: board.first[0],
      column: board.first[1],
      rows,
      columns,
      colour: colours().output,
      width: 3,
    };
    const isKept = (row: number, column: number) =>
      row >= frame.row && row < frame.row + rows && column >= frame.column && column < frame.column + columns;
    return {
      rows: board.rows,
      columns: board.columns,
      inside: frame,
      frames: [frame],
      longest: longestOf(scene.full),
      look: (row, column): Look => {
        const at = row * board.columns + column;
        const count = board.counts[at]!;
        const { page } = colours();
        const fill = count === 0 ? page : count === 1 ? hues[board.painter[at]!]! : grey(count, most);
        if (!isKept(row, column))
          return { fill: mix(page, fill, 0.35), text: count ? short(board.sums[at]!) : "", hatched: true, faint: true };
        const unpainted = !count && selection.time !== Infinity;
        return { fill, text: selection.hidden ? "?" : unpainted ? "" : short(board.sums[at]!) };
      },
    };
  }

  /** Cells that an input element paints, with its products in them. */
  function landed(scene: Scene, lit: Lit): Mark[] {
    const hue = hues[flat(lit.cell!.index, scene.inputShape)]!;
    return lit.pairs.map((pair) => {
      const [row, column] = painting.spotOfFull(pair.full);
      return { row, column, look: { fill: hue, text: short(pair.product), hatched: !pair.output } };
    });
  }

  function around(pairs: readonly Product[]): Frame[] {
    const [first, last] = [pairs[0], pairs.at(-1)];
    if (!first || !last) return [];
    const [row, column] = painting.spotOfFull(first.full);
    const [bottom, right] = painting.spotOfFull(last.full);
    return [{ row, column, rows: bottom - row + 1, columns: right - column + 1, colour: colours().chosen, width: 3 }];
  }

  function outputMarks(scene: Scene, chosen: Selection, lit: Lit): Marks {
    const isInput = lit.cell?.board === "input";
    const place = (index: readonly number[]) => painting.spotOfOutput(index);
    const own = cellMarks(isInput ? { ...lit, pairs: [] } : lit, chosen, "output", place);
    if (isInput) return { cells: [...landed(scene, lit), ...own], frames: around(lit.pairs) };
    return { cells: own, frames: lit.cell ? [] : brush.frames() };
  }

  return {
    parts: [input, "×", kernel, "→", output],
    faces(scene, chosen) {
      selection = chosen;
      painting = new Painting(scene, selection.shown.output);
      painting.advance(selection.time);
      drawnScene = scene;
      brush.put(scene, painting, selection.shown.output, selection.time);
      hues = shades(...gridOf(scene.inputShape));
      return [
        { face: inputFace(scene, selection, inputFill(scene)), caption: timesText(scene.inputShape) },
        { face: kernelFace(scene, selection), caption: timesText(kernelShape(scene)) },
        { face: fullFace(scene), caption: outputCaption(scene, selection, keptText(scene)) },
      ];
    },
    marks(scene, chosen, lit) {
      selection = chosen;
      const isInput = lit.cell?.board === "input";
      return [
        { cells: cellMarks(lit, chosen, "input"), frames: lit.cell ? [] : brush.element() },
        { cells: isInput ? [] : pairMarks(lit, (pair) => spotOf(pair.tap)), frames: [] },
        outputMarks(scene, chosen, lit),
      ];
    },
    advance(chosen, before) {
      selection = chosen;
      brush.put(drawnScene, painting, selection.shown.output, selection.time);
      const spots = painting.advance(selection.time);
      const isStep = spots !== null && Number.isFinite(before.time) && Number.isFinite(selection.time);
      if (isStep) {
        const [rows, columns] = gridOf(drawnScene.inputShape);
        const first = before.time - selection.shown.input * rows * columns;
        const painted = Array.from({ length: selection.time - before.time }, (_, at) => first + at);
        input.refresh(
          painted.filter((at) => at >= 0 && at < rows * columns).map((at) => [Math.floor(at / columns), at % columns]),
        );
        output.refresh(spots);
      } else {
        input.repaint();
        output.repaint();
      }
    },
  };
}

/** Text of what the crop makes of the full result: cut, extended by a negative crop, or both. */
function keptText({ geometry, fullShape }: Scene): string {
  const crops = geometry.axes.flatMap((axis) => axis.crop);
  const [isCut, isExtended] = [crops.some((crop) => crop > 0), crops.some((crop) => crop < 0)];
  const verb = isCut && isExtended ? "cut and extended from" : isExtended ? "extended from" : "kept of";
  return isCut || isExtended ? ` ${verb} ${timesText(fullShape)}` : "";
}
