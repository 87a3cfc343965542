/** K and its transpose beside the inverse: what the name "deconvolution" suggests, and what it would need. */

import { product } from "../arithmetic/indices";
import { leastSquares } from "../arithmetic/least_squares";
import { type Matrix, matrixOf } from "../arithmetic/matrix";
import type { Scene } from "../arithmetic/scene";
import type { Selection } from "../state/selection";
import type { Moment } from "../state/view";
import { fill, make, noOperator, numberTable, shown } from "./elements";
import type { Panel } from "./frame";

const LONGEST = 12; // side of a table of numbers
const MOST_PRODUCTS = 2_000_000;

export const notTheInverse: Panel = {
  name: "inverse",
  title: "The transpose, not the inverse",
  place: "below",
  open: false,
  make: () => {
    const element = make("div", { class: "not-the-inverse" });
    let key = "";
    return {
      element,
      draw(moment, changed) {
        const { hidden, shown: channels } = moment.selection;
        const next = JSON.stringify([hidden, channels]);
        if (!changed.scene && next === key) return;
        key = next;
        fill(element, ...content(moment));
      },
    };
  },
};

function content(moment: Moment): HTMLElement[] {
  const { scene, selection } = moment;
  if (!scene) return [noOperator(moment)];
  if (selection.hidden) return [make("p", {}, "The output is hidden: reveal it first.")];
  const K = matrixOf(scene);
  const lead = make(
    "p",
    {},
    `K has ${K.rows} rows, the inputs, and ${K.columns} columns, the outputs. The ordinary convolution takes an OUTPUT to an INPUT: it multiplies by K. ` +
      "This operator multiplies by the transpose: y = Kᵀx. The name “deconvolution” suggests that the convolution takes y back to x; but K times Kᵀ is not the identity.",
  );
  if (scene.x.length * product(scene.geometry.axes.map((axis) => axis.kernel)) * scene.channels.output > MOST_PRODUCTS)
    return [lead, make("p", {}, "These sizes are too large to compute it beside the page. Use a smaller input.")];
  const back = K.times(scene.output);
  const solved = leastSquares(K, scene.output);
  return [
    lead,
    make(
      "div",
      { class: "side-by-side" },
      array(scene.x, scene, selection, "input", "x, the input"),
      array(scene.output, scene, selection, "output", "y = Kᵀ x, the output"),
      array(back, scene, selection, "input", "K y: the convolution of it, not x"),
      solved && array(rounded(solved.x, scene.x), scene, selection, "input", "least squares of y"),
    ),
    ...verdicts(scene, K, back, solved),
  ];
}

function verdicts(scene: Scene, K: Matrix, back: Float64Array, solved: ReturnType<typeof leastSquares>): HTMLElement[] {
  const apart = distance(back, scene.x);
  const there = distance(K.transposedTimes(back), scene.output);
  const first =
    (apart === 0
      ? "Here K y is x: for this x, or because the taps never overlap and have length 1. With other settings it is not."
      : `K y differs from x by up to ${shown(apart)}.`) +
    " In a network the convolution mostly comes first: from a picture y to K y, and the transposed convolution makes Kᵀ(K y) of it, " +
    `as large as the picture, ${there === 0 ? "and here equal to it" : `with other numbers: here they differ by up to ${shown(there)}`}.`;
  if (!solved)
    return [
      make("p", {}, first),
      make(
        "p",
        {},
        `Least squares of ${K.rows} unknowns takes too long beside the page; tconv.linear_operator and SciPy's lsqr solve it.`,
      ),
    ];
  const error = distance(solved.x, scene.x);
  const second = solved.fullRank
    ? `What the name promises is the x of smallest |Kᵀx − y|. It has to be solved for: ${K.columns} equations in ${K.rows} unknowns. It differs from x by ${error < 1e-6 ? "rounding alone" : `up to ${shown(error)}, because the equations are nearly dependent`}.`
    : `Even least squares cannot: K has rank ${solved.rank}, fewer than its ${K.rows} rows, so many x have this y. The shortest of them differs from x by up to ${shown(error)}.`;
  return [make("p", {}, first), make("p", {}, second)];
}

function array(
  values: Float64Array,
  scene: Scene,
  selection: Selection,
  side: "input" | "output",
  caption: string,
): HTMLElement | null {
  const shape = side === "input" ? scene.inputShape : scene.outputShape;
  if (Math.max(...shape) > LONGEST) return null;
  const cells = product(shape);
  const channel = selection.shown[side];
  const named = scene.channels[side] > 1 ? `${caption} (channel ${channel})` : caption;
  return numberTable(values.subarray(channel * cells, (channel + 1) * cells), shape, named);
}

function distance(a: Float64Array, b: Float64Array): number {
  return a.reduce((most, value, at) => Math.max(most, Math.abs(value - b[at]!)), 0);
}

/** Solution with rounding errors left out, so that 2.9999999999 reads as 3. */
function rounded(values: Float64Array, like: Float64Array): Float64Array {
  const scale = like.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-300);
  return values
    .map((value) => (Math.round((value / scale) * 1e9) / 1e9) * scale)
    .map((value) => (Math.abs(value - Math.round(value)) < 1e-8 * scale ? Math.round(value) : value));
}
