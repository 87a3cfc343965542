/** The same call in every framework, to copy, or the reason why a framework cannot say it. */

import { uncropped } from "../arithmetic/geometry";
import { Refusal } from "../arithmetic/refusal";
import type { Scene } from "../arithmetic/scene";
import { cautionsOf } from "../dialects/cautions";
import type { Dialect } from "../dialects/dialect";
import { dialects, titleOf } from "../dialects/registry";
import type { Settings } from "../state/settings";
import type { Actions, Moment } from "../state/view";
import { copyButton } from "../page/copying";
import { tconvCode } from "./applied_settings";
import { codeBlock, fill, make, noOperator } from "./elements";
import type { Panel } from "./frame";

const FIRST = ["torch", "tensorflow", "keras", "jax", "onnx"];

export const frameworkCode: Panel = {
  name: "code",
  title: "The same call in every framework",
  place: "below",
  open: false,
  make: (actions) => {
    const element = make("div", { class: "calls" });
    return {
      element,
      draw(moment, changed) {
        if (changed.scene) fill(element, ...callsOf(moment, actions));
      },
    };
  },
};

function callsOf(moment: Moment, actions: Actions): HTMLElement[] {
  const { scene, settings } = moment;
  if (!scene) return [noOperator(moment)];
  const own = section(
    "tconv",
    tconvCode(settings, scene.geometry, scene.inputShape),
    `x and weight in ${titleOf(dialects[settings.dialect]!)}'s layouts; arrays of NumPy, or of the frameworks.`,
    [],
    actions,
  );
  const names = Object.keys(dialects);
  const first = [settings.dialect, ...FIRST.filter((name) => name !== settings.dialect)];
  const of = (name: string) =>
    dialectCall(dialects[name]!, scene, name === settings.dialect ? settings.words : {}, actions);
  const others = names.filter((name) => !first.includes(name));
  return [
    own,
    ...first.map(of),
    make(
      "details",
      { class: "others" },
      make("summary", {}, `Others: ${others.map((name) => titleOf(dialects[name]!)).join(", ")}`),
      ...others.map(of),
    ),
  ];
}

function dialectCall(dialect: Dialect, scene: Scene, own: Settings["words"], actions: Actions): HTMLElement {
  const { geometry, inputShape } = scene;
  const reasons = dialect.reasonsAgainst(geometry, inputShape);
  // of the call that is shown: with reasons against the whole, that of the full result
  const called = reasons.length ? uncropped(geometry) : geometry;
  try {
    return section(
      titleOf(dialect),
      dialect.code(geometry, inputShape, own),
      layouts(dialect, geometry.groups, inputShape.length),
      reasons,
      actions,
      cautionsOf(dialect.name, called, inputShape).map(({ text }) => text),
    );
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return section(titleOf(dialect), null, "", reasons, actions);
  }
}

function section(
  name: string,
  code: string | null,
  layout: string,
  reasons: readonly string[],
  actions: Actions,
  cautions: readonly string[] = [],
): HTMLElement {
  const why =
    reasons.length > 0 &&
    `${name} cannot say ${reasons.join("; nor ")}.${code === null ? " A slice of its result does not help." : " So: its full result, then a slice."}`;
  return make(
    "section",
    {},
    make(
      "div",
      { class: "call-head" },
      make("h3", {}, name),
      code !== null && copyButton(() => code, `the ${name} call`, actions),
    ),
    why && make("p", { class: "why-not" }, why),
    ...cautions.map((caution) => make("p", { class: "why-not" }, caution)),
    code !== null && codeBlock(`${name} call`, code),
    layout !== "" && make("p", { class: "hint" }, layout),
  );
}

/** "x [N, h, w, C], weight [kh, kw, C_out, C_in]", with the flip where there is one. */
function layouts(dialect: Dialect, groups: number, rank: number): string {
  const axes = (pattern: string, names: Readonly<Record<string, string>>) =>
    [...pattern].map((letter) => names[letter] ?? letter).join(", ");
  const { pattern, grouped, flip } = dialect.weight(groups, rank);
  const split = groups > 1 && grouped !== "G";
  const weight = axes(pattern, {
    I: split && grouped === "O" ? "C_in/groups" : "C_in",
    O: split && grouped === "I" ? "C_out/groups" : "C_out",
    G: "groups",
    "*": rank === 1 ? "k" : "kh, kw",
  });
  const data = axes(dialect.dataPattern, { "*": rank === 1 ? "n" : "h, w" });
  return `x [${data}], weight [${weight}]${flip ? ", its taps stored in reverse" : ""}.`;
}
