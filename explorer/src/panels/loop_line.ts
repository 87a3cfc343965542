/** The scatter as five lines of Python, the line that runs, and its values for the cell that is pointed at. */

import type { Geometry } from "../arithmetic/geometry";
import { indexOf } from "../arithmetic/indices";
import type { Product, Scene } from "../arithmetic/scene";
import { type Cell, shownCell, type Selection } from "../state/selection";
import { codeBlock, fill, make, shown } from "./elements";
import { bracketed, outputName } from "./place_names";
import type { Panel } from "./frame";

const MOST_RUNS = 9;
const INPUTS = ["i", "j"];
const TAPS = ["a", "b"];

export const loopLine: Panel = {
  name: "loop",
  title: "The line of the loop",
  place: "near",
  open: true,
  make: () => {
    const code = loopCode("The scatter in Python");
    const runs = make("div", { class: "runs" });
    const element = make("div", {}, code, runs);
    return {
      element,
      draw({ scene, selection }, changed) {
        if (!scene) {
          fill(code, "");
          fill(runs);
          return;
        }
        if (changed.scene || code.textContent === "") {
          const { lines, running } = scatterLines(scene);
          fill(code, ...linesOf(lines, running));
        }
        fill(runs, ...runsOf(scene, selection));
      },
    };
  },
};

function loopCode(name: string, lines: readonly string[] = []): HTMLElement {
  const code = codeBlock(name, ...linesOf(lines));
  code.classList.add("loop");
  return code;
}

function linesOf(lines: readonly string[], running = -1): HTMLElement[] {
  return lines.map((line, place) => make("span", { class: place === running ? "line running" : "line" }, `${line}\n`));
}

/** Lines of the loop, and the number of the one that multiplies and adds. */
export function scatterLines(scene: Scene): { lines: string[]; running: number } {
  const { geometry } = scene;
  const rank = geometry.axes.length;
  const i = INPUTS.slice(0, rank);
  const t = TAPS.slice(0, rank);
  const places = geometry.axes
    .map((axis, each) => `${times(axis.stride, i[each]!)} + ${times(axis.dilation, t[each]!)}`)
    .join(", ");
  const { head, x, w, full } = channelNames(scene);
  const channels = scene.channels.output > 1 ? [scene.channels.output] : [];
  const indent = "    ".repeat(head.length);
  const lines = [
    `full = np.zeros(${bracketed([...channels, ...scene.fullShape])})`,
    ...head,
    `${indent}for ${i.join(", ")} in ${range(scene.inputShape)}:`,
    `${indent}    for ${t.join(", ")} in ${range(geometry.axes.map((axis) => axis.kernel))}:`,
    `${indent}        full[${full}${places}] += x[${x}${i.join(", ")}] * w[${w}${t.join(", ")}]`,
    `y = ${cropped(geometry, scene.fullShape, channels.length > 0)}`,
  ];
  return { lines, running: lines.length - 2 };
}

/** Lines around the loop and names before the indices, where there are several channels or groups. */
function channelNames({ geometry, channels }: Scene): { head: string[]; x: string; w: string; full: string } {
  if (channels.input === 1 && channels.output === 1) return { head: [], x: "", w: "", full: "" };
  const full = (name: string) => (channels.output > 1 ? `${name}, ` : "");
  const x = (name: string) => (channels.input > 1 ? `${name}, ` : "");
  if (geometry.groups === 1)
    return {
      head: [`for c, d in np.ndindex(${channels.input}, ${channels.output}):`],
      x: x("c"),
      w: "c, d, ",
      full: full("d"),
    };
  const inputs = channels.input / geometry.groups;
  const outputs = channels.output / geometry.groups;
  const name = (per: number, letter: string) => (per === 1 ? "g" : `${per}*g + ${letter}`);
  return {
    head: [`for g, c, d in np.ndindex(${geometry.groups}, ${inputs}, ${outputs}):`],
    x: x(name(inputs, "c")),
    w: `${name(inputs, "c")}, d, `,
    full: full(name(outputs, "d")),
  };
}

function cropped(geometry: Geometry, full: readonly number[], hasChannels: boolean): string {
  const cuts = geometry.axes.map(({ crop: [lo, hi] }, axis) =>
    lo > 0 || hi > 0 ? `${Math.max(lo, 0)}:${full[axis]! - Math.max(hi, 0)}` : ":",
  );
  const text = cuts.every((cut) => cut === ":")
    ? "full"
    : `full[${[...(hasChannels ? [":"] : []), ...cuts].join(", ")}]`;
  if (geometry.axes.every(({ crop }) => crop[0] >= 0 && crop[1] >= 0)) return text;
  const pads = geometry.axes.map(({ crop }) => `(${Math.max(0, -crop[0])}, ${Math.max(0, -crop[1])})`);
  const all = [...(hasChannels ? ["(0, 0)"] : []), ...pads];
  return `np.pad(${text}, ${all.length === 1 ? all[0] : `(${all.join(", ")})`})`;
}

/** Runs of the line for the cell in focus, or else for the input that the time slider has come to. */
function runsOf(scene: Scene, selection: Selection): HTMLElement[] {
  const cell = shownCell(selection);
  const { title, products } = cell ? cellRuns(scene, cell) : timeRuns(scene, selection.time);
  if (!title)
    return [
      make("p", { class: "hint" }, "Point at a cell, or play the scatter: the values of the marked line stand here."),
    ];
  if (products.length === 0) return [make("p", {}, `${title}: none. No input reaches it.`)];
  const totals = new Map<string, number>();
  const lines = products.map((each) => {
    const place = [...(scene.channels.output > 1 ? [each.outputChannel] : []), ...each.full].join(", ");
    const total = (totals.get(place) ?? 0) + each.product;
    totals.set(place, total);
    const values = selection.hidden ? "" : ` += ${python(each.x)} * ${python(each.w)}`;
    const so = selection.hidden || cell?.board !== "output" ? "" : `   # ${shown(total)} so far`;
    return `${assigned(INPUTS, each.input)}; ${assigned(TAPS, each.tap)}:  full[${place}]${values}${so}`;
  });
  const rest = lines.length - MOST_RUNS;
  const first = [...lines.slice(0, MOST_RUNS), ...(rest > 0 ? [`… and ${rest} more`] : [])];
  return [make("p", {}, `${title}:`), loopCode("Values of the marked line", first)];
}

function cellRuns(scene: Scene, cell: Cell): { title: string; products: Product[] } {
  const isOutput = cell.board === "output";
  const products = isOutput ? scene.gathered(cell.channel, cell.index) : scene.painted(cell.channel, cell.index);
  return {
    title: isOutput
      ? `Runs of the marked line that reach ${outputName(scene, cell.channel, cell.index)}`
      : "Runs of the marked line for this input",
    products,
  };
}

function timeRuns(scene: Scene, time: number): { title: string; products: Product[] } {
  if (time < 1 || time > scene.x.length) return { title: "", products: [] };
  const [channel = 0, ...index] = indexOf(time - 1, [scene.channels.input, ...scene.inputShape]);
  return {
    title: `Runs of the marked line for input ${time} of ${scene.x.length}`,
    products: scene.painted(channel, index),
  };
}

function assigned(names: readonly string[], index: readonly number[]): string {
  return `${names.slice(0, index.length).join(", ")} = ${index.join(", ")}`;
}

function times(number: number, name: string): string {
  return number === 1 ? name : `${number}*${name}`;
}

function range(sizes: readonly number[]): string {
  return sizes.length === 1 ? `range(${sizes[0]})` : `np.ndindex(${sizes.join(", ")})`;
}

function python(value: number): string {
  return shown(value).replace("−", "-");
}
