/** Contents of panels: elements, sentences and tables of numbers. */

import { short } from "../boards/number_text";
import { type Child, make } from "../page/elements";
import type { Moment } from "../state/view";

export { make };

/** Replace the content of an element. */
export function fill(element: HTMLElement, ...children: readonly Child[]): void {
  element.replaceChildren(...children.filter((child): child is Node | string => Boolean(child)));
}

/** Paragraph for settings that describe no operator: the first mistake. */
export function noOperator({ mistakes }: Moment): HTMLElement {
  return make("p", {}, `No operator: ${mistakes[0]?.text ?? "the settings describe none"}.`);
}

/** Text of a number in a sentence: with one digit more than in a cell. */
export function shown(value: number): string {
  return short(value, 4);
}

/** Text of a factor in a product: a negative one in brackets. */
export function factor(value: number): string {
  return value < 0 ? `(${shown(value)})` : shown(value);
}

/** "1 cell", "2 cells". */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** Code or output of a program, named for screen readers; it scrolls by itself, so the keyboard must reach it. */
export function codeBlock(name: string, ...content: readonly Child[]): HTMLPreElement {
  return make("pre", { tabindex: 0, role: "group", "aria-label": name }, ...content);
}

/** A table of numbers, a row per first index, that scrolls by itself where it is wide. */
export function numberTable(values: ArrayLike<number>, shape: readonly number[], caption: string): HTMLElement {
  const columns = shape.at(-1) ?? 1;
  const rows = Math.max(1, Math.round(values.length / Math.max(1, columns)));
  const body = make("tbody");
  for (let row = 0; row < rows; row++) {
    const line = make("tr");
    for (let column = 0; column < columns; column++)
      line.append(make("td", {}, shown(values[row * columns + column] ?? 0)));
    body.append(line);
  }
  const table = make("table", { class: "number-table", "aria-label": caption }, body);
  const scroll = make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": caption }, table);
  return make("figure", { class: "array" }, make("figcaption", {}, caption), scroll);
}
