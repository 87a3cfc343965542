/** Overlap and checkerboard: taps and gain of every phase, the response to a constant input, and what removes the pattern. */

import { indexOf, product } from "../arithmetic/indices";
import { checkerboardOf, isEven, overlapOf, responseOf, VISIBLE } from "../arithmetic/phases";
import type { Scene } from "../arithmetic/scene";
import { solve } from "../arithmetic/size_solver";
import { dialects } from "../dialects/registry";
import { colours, onTheme } from "../page/theme";
import type { Settings } from "../state/settings";
import type { Actions, Moment } from "../state/view";
import { applied, argumentsText } from "./applied_settings";
import { fill, make, noOperator, numberTable } from "./elements";
import type { Panel } from "./frame";

const CELL = 14; // pixels of the picture
const SIDE = 12; // cells of the picture, about
const MOST_PHASES = 64;

export const overlap: Panel = {
  name: "overlap",
  title: "Overlap and checkerboard",
  place: "below",
  open: false,
  make: (actions) => {
    const element = make("div", { class: "overlap" });
    let last: Moment | null = null;
    const draw = (): void => {
      if (!last) return;
      const { scene, settings } = last;
      if (scene) fill(element, ...content(scene, settings, last.selection.shown, actions));
      else fill(element, noOperator(last));
    };
    onTheme(draw);
    return {
      element,
      draw(moment, changed) {
        const { shown } = moment.selection;
        const isSame =
          !changed.scene && last?.selection.shown.output === shown.output && last.selection.shown.input === shown.input;
        last = moment;
        if (!isSame) draw();
      },
    };
  },
};

function content(scene: Scene, settings: Settings, shown: Shown, actions: Actions): (HTMLElement | false)[] {
  const score = checkerboardOf(scene);
  const { period, numbers } = gainsOf(scene, shown);
  const counts = overlapOf(scene.geometry);
  const shape = period.length === 1 ? [1, period[0]!] : period;
  const taps = Array.from({ length: product(period) }, (_, at) =>
    indexOf(at, period).reduce((all, r, axis) => all * counts[axis]![r]!, 1),
  );
  const few = taps.length <= MOST_PHASES;
  const many = scene.channels.input * scene.channels.output > 1;
  return [
    ...verdict(scene, score, taps),
    make(
      "div",
      { class: "side-by-side" },
      few && numberTable(taps, shape, "Taps in each phase"),
      few &&
        numberTable(
          numbers,
          shape,
          many
            ? `Gain of each phase, input channel ${shown.input} to output channel ${shown.output}`
            : "Gain of each phase: the sum of its taps",
        ),
      picture(numbers, shape),
    ),
    make(
      "p",
      { class: "hint" },
      "Rows and columns are the places modulo the stride, before the crop. A phase's gain is what it " +
        "returns for a constant input of 1: the stronger a cell of the picture, the larger; a negative one " +
        "has the colour of OUTPUT.",
    ),
    ...remedies(scene, settings, score, actions),
  ];
}

interface Shown {
  readonly input: number;
  readonly output: number;
}

/** Gains of the phases between the two channels that the boards show. */
function gainsOf(scene: Scene, shown: Shown): { period: readonly number[]; numbers: Float64Array } {
  const { period, numbers } = responseOf(scene);
  const phases = product(period);
  const pair = shown.input * scene.channels.output + shown.output;
  return { period, numbers: numbers.slice(pair * phases, (pair + 1) * phases) };
}

function verdict(scene: Scene, score: number, taps: readonly number[]): HTMLElement[] {
  const strides = scene.geometry.axes.map((axis) => axis.stride);
  if (product(strides) === 1)
    return [make("p", {}, "With stride 1 there is one phase: all outputs use all taps, and no pattern can arise.")];
  const [least, most] = [Math.min(...taps), Math.max(...taps)];
  const counted =
    least === most
      ? `Every output sums ${most === 1 ? "1 product" : `${most} products`} per input channel, away from the ` +
        "border: the overlap is even."
      : `Outputs sum between ${least} and ${most} products per input channel, in a pattern that repeats with ` +
        "the stride: the overlap is uneven.";
  const percent = `${(score * 100).toPrecision(2)} %`;
  const seen =
    score < VISIBLE
      ? `No checkerboard with these weights: ${score === 0 ? "all phases have the same gain" : `only ${percent} of the output for a constant input is a pattern`}.`
      : `Checkerboard: for a constant input, ${percent} of the output's root mean square is a pattern of phases.`;
  const none = least === 0 && "No input reaches some phases, because they have no tap: they hold 0, or the bias alone.";
  return [
    make("p", {}, counted),
    make("p", { class: score < VISIBLE ? "right" : "wrong" }, make("strong", {}, seen)),
    ...(none ? [make("p", {}, none)] : []),
  ];
}

/** Picture of the response to a constant input, far from the border: brightness is the gain. */
function picture(gains: Float64Array, [rows = 1, columns = 1]: readonly number[]): HTMLElement {
  const height = rows === 1 ? 3 : Math.max(rows, Math.floor(SIDE / rows) * rows);
  const width = Math.max(columns, Math.floor(SIDE / columns) * columns);
  const canvas = make("canvas", {
    width: width * CELL,
    height: height * CELL,
    role: "img",
    "aria-label": "Response to a constant input, far from the border",
  });
  const context = canvas.getContext("2d")!;
  const largest = gains.reduce((most, gain) => Math.max(most, Math.abs(gain)), 0) || 1;
  const { page, ink, output } = colours();
  context.fillStyle = page;
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const gain = gains[(row % rows) * columns + (column % columns)]!;
      context.globalAlpha = Math.abs(gain) / largest;
      context.fillStyle = gain < 0 ? output : ink;
      context.fillRect(column * CELL, row * CELL, CELL - 1, CELL - 1);
    }
  }
  return make("figure", { class: "response" }, make("figcaption", {}, "Response to a constant input"), canvas);
}

function remedies(scene: Scene, settings: Settings, score: number, actions: Actions): HTMLElement[] {
  if (score < VISIBLE) return [];
  const items: HTMLElement[] = [];
  const { axes } = scene.geometry;
  const kernel = axes.map((axis) => Math.ceil(axis.kernel / axis.stride) * axis.stride);
  const widened = { ...scene.geometry, axes: axes.map((axis, a) => ({ ...axis, kernel: kernel[a]! })) };
  if (!isEven(widened)) {
    items.push(
      make(
        "li",
        {},
        "A dilation without a factor in common with the stride: with this one some phases have no tap, whatever the kernel.",
      ),
    );
  } else if (!isEven(scene.geometry)) {
    const found = solve({
      input: scene.inputShape,
      output: scene.outputShape,
      kernel,
      stride: axes.map((axis) => axis.stride),
      dilation: axes.map((axis) => axis.dilation),
    })
      .map(({ geometry }) => ({ ...geometry, groups: scene.geometry.groups }))
      .find(
        (geometry) =>
          isEven(geometry) && dialects[settings.dialect]!.reasonsAgainst(geometry, scene.inputShape).length === 0,
      );
    const button =
      found &&
      make(
        "button",
        {
          type: "button",
          class: "button quiet",
          onclick: () => actions.change(applied(settings, found, scene.inputShape)),
        },
        `Use kernel ${kernel.join(" × ")}, the same sizes`,
      );
    items.push(
      make(
        "li",
        {},
        `A kernel that is a multiple of the stride, ${kernel.join(" × ")}: as many taps in every phase. `,
        button ?? "",
      ),
    );
  }
  // the gain of a phase without a tap is 0 for all weights
  const isFilled = overlapOf(scene.geometry).every((counts) => counts.every((count) => count > 0));
  const isSmooth = axes.every((axis) => axis.kernel >= 2 * axis.stride - 1);
  if (isFilled && isSmooth) {
    const use = () => actions.change({ values: { ...settings.values, weight: { rule: "bilinear" } } });
    items.push(
      make(
        "li",
        {},
        "Weights whose phases have equal gains, as those of linear interpolation. ",
        make("button", { type: "button", class: "button quiet", onclick: use }, "Use these weights"),
      ),
    );
  }
  if (isFilled) {
    const given = `${settings.dialect === "torch" ? "" : `, dialect="${settings.dialect}"`}${argumentsText(settings, scene.geometry, scene.inputShape)}`;
    items.push(
      make(
        "li",
        {},
        "Trained weights: ",
        make("code", {}, `weight = tconv.artifacts.equalise(weight${given})`),
        " gives every phase the same gain.",
      ),
    );
  }
  items.push(make("li", {}, "Or resize first, then an ordinary convolution with stride 1."));
  return [make("h3", {}, "What would remove it"), make("ul", {}, ...items)];
}
