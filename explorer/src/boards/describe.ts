/** Sentences that say a cell in words and numbers. */

import { flat, product } from "../arithmetic/indices";
import type { Scene } from "../arithmetic/scene";
import type { Cell, Selection } from "../state/selection";
import { short } from "./number_text";

const MOST_TERMS = 6;

/** Return the value of a cell. */
export function valueOf(scene: Scene, cell: Cell): number {
  const [values, shape] = cell.board === "input" ? [scene.x, scene.inputShape] : [scene.output, scene.outputShape];
  return values[cell.channel * product(shape) + flat(cell.index, shape)] ?? Number.NaN;
}

/** Return a name like "OUTPUT (1, 2)", with the channel where there are several. */
export function nameOf(scene: Scene, cell: Cell): string {
  const many = scene.channels[cell.board] > 1 ? ` of channel ${cell.channel}` : "";
  return `${cell.board.toUpperCase()} (${cell.index.join(", ")})${many}`;
}

/** Return the sentence of a cell: its value, and where it comes from or goes to. */
export function sentenceOf(scene: Scene, cell: Cell, selection: Selection): string {
  const name = nameOf(scene, cell);
  if (cell.board === "input") {
    const painted = scene.painted(cell.channel, cell.index);
    const kept = painted.filter((one) => one.output).length;
    const lost = painted.length - kept;
    return (
      `${name} is ${short(valueOf(scene, cell))}: it paints ${kept} output ` +
      `${kept === 1 ? "cell" : "cells"}${lost ? `, and ${lost} that the crop cuts off` : ""}.`
    );
  }
  const products = scene.gathered(cell.channel, cell.index);
  const value = selection.hidden ? "?" : short(valueOf(scene, cell));
  if (!products.length) return `${name} is ${value}: no input element reaches it.`;
  const terms = products.slice(0, MOST_TERMS).map((one) => `${short(one.x)} × ${short(one.w)}`);
  const more = products.length > MOST_TERMS ? ` + … (${products.length} products)` : "";
  return `${name} is ${value} = ${terms.join(" + ")}${more}.`;
}
