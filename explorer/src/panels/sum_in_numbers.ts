/** The cell that is pointed at: its sum in numbers, the inputs and taps in it, its phase, and its row of the matrix. */

import type { Index } from "../arithmetic/geometry";
import { choices, flat } from "../arithmetic/indices";
import { phaseOf } from "../arithmetic/phases";
import type { Product, Scene } from "../arithmetic/scene";
import { type Cell, shownCell } from "../state/selection";
import type { Moment } from "../state/view";
import { count, factor, fill, make, noOperator, shown } from "./elements";
import { bracketed, fullName, inputName, outputName, tapName } from "./place_names";
import type { Panel } from "./frame";

const MOST_TERMS = 16;
const HINT = "Point at a cell, or move to one with Tab and the arrow keys; Enter pins it. For example:";

export const sumInNumbers: Panel = {
  name: "sum",
  title: "The sum in numbers",
  place: "near",
  open: true,
  make: () => {
    const element = make("div", { class: "sum-in-numbers" });
    return {
      element,
      draw(moment) {
        const { scene } = moment;
        const cell = shownCell(moment.selection);
        if (!scene) fill(element, noOperator(moment));
        else if (!cell)
          fill(element, make("p", { class: "hint" }, HINT), ...outputCell(scene, example(scene, moment), moment));
        else if (cell.board === "output") fill(element, ...outputCell(scene, cell, moment));
        else fill(element, ...inputCell(scene, cell, moment));
      },
    };
  },
};

/** Cell that stands for all until one is chosen: of those in the middle the one with the longest sum. */
function example(scene: Scene, { selection }: Moment): Cell {
  const channel = selection.shown.output;
  const places = choices(scene.outputShape.map((size) => [size >> 1, Math.max(0, (size >> 1) - 1)]));
  const lengthOf = (index: Index) => scene.gathered(channel, index).length;
  const index = places.reduce((best, next) => (lengthOf(next) > lengthOf(best) ? next : best));
  return { board: "output", channel, index };
}

function outputCell(scene: Scene, cell: Cell, { selection }: Moment): HTMLElement[] {
  const products = scene.gathered(cell.channel, cell.index);
  const name = outputName(scene, cell.channel, cell.index);
  const value = products.reduce((sum, each) => sum + each.product, 0);
  const first = products.slice(0, MOST_TERMS);
  const rest = products.length - first.length;
  const more = rest > 0 ? ` + … (${rest} more)` : "";
  const isPainted = (each: Product) => inputPlace(scene, each.inputChannel, each.input) < selection.time;
  const painted = products.filter(isPainted);
  const lines: HTMLElement[] = [
    make("p", {}, make("strong", { class: "side-output" }, "OUTPUT "), make("code", {}, name)),
  ];
  if (products.length === 0) {
    lines.push(
      make("p", { class: "sum" }, make("code", {}, `${name} = 0`)),
      make("p", {}, "No input reaches it: nothing is summed here. In a layer with a bias it holds the bias alone."),
    );
  } else {
    const terms = first.flatMap((each, place) => [
      place > 0 ? " + " : "",
      make(
        "span",
        { class: isPainted(each) ? "term" : "term later" },
        `${inputName(scene, each.inputChannel, each.input)}·${tapName(scene, each)}`,
      ),
    ]);
    lines.push(make("p", { class: "sum" }, make("code", {}, `${name} = `, ...terms, more)));
    lines.push(
      selection.hidden
        ? make("p", { class: "sum" }, make("code", {}, "= ?"), " (hidden until you reveal it)")
        : make(
            "p",
            { class: "sum" },
            make(
              "code",
              {},
              `= ${first.map((each) => `${factor(each.x)}·${factor(each.w)}`).join(" + ")}${more}`,
              make("br"),
              make("strong", {}, `= ${shown(value)}`),
            ),
          ),
    );
  }
  if (painted.length < products.length) {
    const sum = painted.reduce((total, each) => total + each.product, 0);
    lines.push(
      make(
        "p",
        { class: "hint" },
        `Painted so far: ${painted.length} of ${count(products.length, "product")}${selection.hidden ? "" : `, together ${shown(sum)}`}.`,
      ),
    );
  }
  lines.push(outputFacts(scene, cell, products));
  return lines;
}

function outputFacts(scene: Scene, cell: Cell, products: readonly Product[]): HTMLElement {
  const full = cell.index.map((entry, axis) => entry + scene.geometry.axes[axis]!.crop[0]);
  const strides = scene.geometry.axes.map((axis) => axis.stride);
  const row = flat([cell.channel, ...cell.index], [scene.channels.output, ...scene.outputShape]);
  return facts([
    ["inputs", listed(unique(products.map((each) => inputName(scene, each.inputChannel, each.input)))) || "none"],
    ["taps", listed(unique(products.map((each) => tapName(scene, each)))) || "none"],
    ["before the crop", fullName(scene, cell.channel, full)],
    [
      "phase",
      `${bracketed(phaseOf(scene.geometry, cell.index))}: the place ${bracketed(full)} modulo the stride ${bracketed(strides)}`,
    ],
    [
      "matrix",
      `row ${row} of Kᵀ, column ${row} of K: ${count(products.length, "entry that is", "entries that are")} not always 0`,
    ],
  ]);
}

function inputCell(scene: Scene, cell: Cell, { selection }: Moment): HTMLElement[] {
  const products = scene.painted(cell.channel, cell.index);
  const row = inputPlace(scene, cell.channel, cell.index);
  const x = scene.x[row]!;
  const name = inputName(scene, cell.channel, cell.index);
  const removed = products.filter((each) => !each.output).length;
  const first = products.slice(0, MOST_TERMS);
  const places = first.map((each) => {
    const place = each.output
      ? outputName(scene, each.outputChannel, each.output)
      : fullName(scene, each.outputChannel, each.full);
    const numbers = selection.hidden
      ? `${name}·${tapName(scene, each)}`
      : `${factor(each.x)}·${factor(each.w)} = ${shown(each.product)}`;
    return make(
      "li",
      each.output ? {} : { class: "removed" },
      make("code", {}, `${place} += ${numbers}`),
      !each.output && " removed by the crop",
    );
  });
  return [
    make("p", {}, make("strong", { class: "side-input" }, "INPUT "), make("code", {}, `${name} = ${shown(x)}`)),
    make(
      "p",
      {},
      `It paints the kernel, times ${shown(x)}, on ${count(products.length, "place")} of the full result`,
      removed > 0 ? `; the crop removes ${removed} of them.` : ".",
    ),
    make(
      "ul",
      { class: "paints" },
      ...places,
      products.length > first.length && make("li", {}, `… and ${products.length - first.length} more`),
    ),
    facts([["matrix", `row ${row} of K, column ${row} of Kᵀ`]]),
  ];
}

/** Place of an input element in x, which is its turn in the scatter, too. */
function inputPlace(scene: Scene, channel: number, index: readonly number[]): number {
  return flat([channel, ...index], [scene.channels.input, ...scene.inputShape]);
}

function facts(entries: readonly (readonly [string, string])[]): HTMLElement {
  return make(
    "dl",
    { class: "facts" },
    ...entries.flatMap(([term, text]) => [make("dt", {}, term), make("dd", {}, text)]),
  );
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)];
}

function listed(names: readonly string[]): string {
  return names.slice(0, MOST_TERMS).join(", ") + (names.length > MOST_TERMS ? ", …" : "");
}
