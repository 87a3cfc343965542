/** Sentence above the boards while the settings describe no operator: the picture is an older one. */

import { FIRST_LOOK } from "../state/defaults";
import type { View } from "../state/view";
import { make } from "./elements";

export function staleNote(): View {
  const element = make("p", { class: "note", hidden: true, id: "stale-note" });
  /** Settings of the picture: those that the page begins with until others are right. */
  let shown = FIRST_LOOK;
  return {
    element,
    draw({ settings, mistakes }, changed) {
      if (!changed.scene) return;
      if (!mistakes.length) shown = settings;
      element.hidden = !mistakes.length;
      element.textContent = mistakes.length
        ? `${mistakes.map((mistake) => mistake.text).join(". ")}. The picture is that of ${shown === FIRST_LOOK ? "the page's first example, not of these settings" : "the last settings without a mistake"}.`
        : "";
    },
  };
}
