/** The numbers of the boards as tables, for reading aloud, copying and printing. */

import { flat, product } from "../arithmetic/indices";
import type { Scene } from "../arithmetic/scene";
import { make } from "../page/elements";
import type { Moment, View } from "../state/view";
import { channelOf, kernelShape, kernelValues } from "./cell_faces";
import { gridOf, indexAt } from "./face";
import { short } from "./number_text";

const MOST_CELLS = 400;

export function numberTables(): View {
  let now: Moment | null = null;
  const body = make("div", { class: "tables" });
  const element = make("details", { id: "number-tables" }, make("summary", {}, "The numbers as tables"), body);
  const fill = (): void => {
    if (!element.open || !now?.scene) return;
    const { scene, selection } = now;
    const one = (name: string, values: Float64Array, shape: readonly number[], channel: number) =>
      table(name, channelOf(values, channel, product(shape)), shape);
    body.replaceChildren(
      one("INPUT", scene.x, scene.inputShape, selection.shown.input),
      table("KERNEL", kernelValues(scene, selection), kernelShape(scene)),
      selection.hidden
        ? make("p", {}, "OUTPUT: hidden until it is revealed.")
        : one("OUTPUT", scene.output, scene.outputShape, selection.shown.output),
    );
  };
  element.addEventListener("toggle", fill);
  return {
    element,
    draw(moment, changed) {
      const before = now?.selection;
      now = moment;
      if (changed.scene || before?.shown !== moment.selection.shown || before?.hidden !== moment.selection.hidden)
        fill();
    },
  };
}

function table(name: string, values: Float64Array, shape: Scene["inputShape"]): HTMLElement {
  const [rows, columns] = gridOf(shape);
  if (rows * columns > MOST_CELLS)
    return make("p", {}, `${name}: ${rows} × ${columns} numbers are too many for a table.`);
  const head = make("tr", {}, make("td"), ...range(columns, (column) => make("th", { scope: "col" }, String(column))));
  const body = range(rows, (row) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, String(row)),
      ...range(columns, (column) => make("td", {}, short(values[flat(indexAt([row, column], shape.length), shape)]!))),
    ),
  );
  return make(
    "div",
    { class: "scroll", role: "region", tabindex: 0, "aria-label": `${name} as a table` },
    make("table", { class: "numbers" }, make("caption", {}, name), make("thead", {}, head), make("tbody", {}, ...body)),
  );
}

function range<T>(count: number, each: (at: number) => T): T[] {
  return Array.from({ length: count }, (_, at) => each(at));
}
