/** Sentence above the boards while the settings describe no operator: the picture is an older one. */

import type { View } from "../state/view";
import { make } from "./elements";

export function staleNote(): View {
  const element = make("p", { class: "note", hidden: true, id: "stale-note" });
  return {
    element,
    draw({ mistakes }, changed) {
      if (!changed.scene) return;
      element.hidden = !mistakes.length;
      element.textContent = mistakes.length
        ? `${mistakes.map((mistake) => mistake.text).join(". ")}. The picture is that of the last settings without a mistake.`
        : "";
    },
  };
}
