/** The output's size per axis with the numbers in it, and what the crop removes. */

import { fullSize, outputSize } from "../arithmetic/geometry";
import { product } from "../arithmetic/indices";
import type { Scene } from "../arithmetic/scene";
import { dialects } from "../dialects/registry";
import { sizeInWords } from "../dialects/size_in_words";
import type { Settings } from "../state/settings";
import { codeBlock, count, fill, make, noOperator } from "./elements";
import type { Panel } from "./frame";

export const sizeFormula: Panel = {
  name: "size",
  title: "The size formula, with your numbers",
  place: "below",
  open: true,
  make: () => {
    const element = make("div", { class: "size-formula" });
    let hidden = false;
    return {
      element,
      draw(moment, changed) {
        const { scene, settings, selection } = moment;
        if (!changed.scene && hidden === selection.hidden) return;
        hidden = selection.hidden;
        if (!scene) fill(element, noOperator(moment));
        else if (hidden) fill(element, make("p", {}, "The output is hidden: reveal it first."));
        else fill(element, ...formulas(scene, settings), ...removed(scene));
      },
    };
  },
};

/** A formula per axis; one for both where they agree. */
function formulas(scene: Scene, settings: Settings): HTMLElement[] {
  const { inputShape, geometry } = scene;
  const texts = inputShape.map((size, axis) => JSON.stringify([size, geometry.axes[axis]]));
  if (texts.every((text) => text === texts[0]))
    return [axisFormula(scene, settings, 0, inputShape.length > 1 ? "Rows and columns alike" : null)];
  return [axisFormula(scene, settings, 0, "Axis 0: rows"), axisFormula(scene, settings, 1, "Axis 1: columns")];
}

function axisFormula(scene: Scene, settings: Settings, axis: number, title: string | null): HTMLElement {
  const a = scene.geometry.axes[axis]!;
  const n = scene.inputShape[axis]!;
  const full = fullSize(a, n);
  const [lo, hi] = a.crop;
  const output = outputSize(a, n);
  const lines = [
    `full   = stride·(input − 1) + dilation·(kernel − 1) + 1`,
    `       = ${a.stride}·(${n} − 1) + ${a.dilation}·(${a.kernel} − 1) + 1 = ${full}`,
    `output = full − crop in front − crop behind`,
    `       = ${full} − ${signed(lo)} − ${signed(hi)} = ${output}`,
  ];
  const dialect = dialects[settings.dialect]!;
  const own = sizeInWords({ dialect, words: settings.words, axis: a, input: n, output });
  return make(
    "section",
    {},
    title && make("h3", {}, title),
    codeBlock(`Size formula of axis ${axis}`, lines.join("\n")),
    own && make("p", {}, `The same in the words of ${dialect.framework}:`),
    own &&
      codeBlock(
        `Size formula of axis ${axis} in the words of ${dialect.framework}`,
        `output = ${own.words}\n       = ${own.numbers}${/[:,] /.test(own.numbers) ? "" : ` = ${output}`}`,
      ),
  );
}

function signed(value: number): string {
  return value < 0 ? `(−${-value})` : String(value);
}

function removed(scene: Scene): HTMLElement[] {
  const crops = scene.geometry.axes.map((axis) => axis.crop);
  if (crops.every(([lo, hi]) => lo === 0 && hi === 0))
    return [make("p", {}, "Nothing is cut away: the output is the full result.")];
  const kept = product(
    scene.geometry.axes.map(
      (axis, each) => scene.fullShape[each]! - Math.max(axis.crop[0], 0) - Math.max(axis.crop[1], 0),
    ),
  );
  const sentences: string[] = [];
  const lost = product(scene.fullShape) - kept;
  if (lost > 0) {
    sentences.push(
      `Padding makes the output smaller: ${sides(scene, 1)} of the full result are cut away, ` +
        `${count(lost, "element")} of ${product(scene.fullShape)}. ` +
        "They were computed as all others; nothing is added around the input.",
    );
  }
  if (crops.some(([lo, hi]) => lo < 0 || hi < 0)) {
    sentences.push(
      `The output is longer than the full result: ${sides(scene, -1)} are added. No input reaches them; ` +
        "they hold 0, or the bias of a layer.",
    );
  }
  if (crops.some(([lo, hi]) => lo !== hi))
    sentences.push("One end loses more than the other: the output is not centred on the input.");
  return sentences.map((sentence) => make("p", {}, sentence));
}

/** "1 row in front and 2 behind" of all axes, of crops of a sign. */
function sides(scene: Scene, sign: 1 | -1): string {
  const names =
    scene.inputShape.length === 1
      ? [["element", "elements"]]
      : [
          ["row", "rows"],
          ["column", "columns"],
        ];
  return scene.geometry.axes
    .map(({ crop }, axis) => {
      const [lo, hi] = crop.map((side) => Math.max(0, side * sign)) as [number, number];
      if (lo === 0 && hi === 0) return "";
      const [one, many] = names[axis] as [string, string];
      return lo === 0
        ? `${count(hi, one, many)} behind and none in front`
        : `${count(lo, one, many)} in front and ${hi || "none"} behind`;
    })
    .filter(Boolean)
    .join(", ");
}
