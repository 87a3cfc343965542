/** First look: three things to try, or what to see in the example that is chosen. */

import type { View } from "../state/view";
import { make } from "./elements";
import { lessonOf } from "./presets";

export function hints(): View {
  const title = make("h2", { id: "hints-title" });
  const list = make(
    "ol",
    {},
    make(
      "li",
      {},
      make("b", {}, "Point at or tap an OUTPUT cell. "),
      "The inputs and taps that it sums light up. A click pins it.",
    ),
    make("li", {}, make("b", {}, "Press Play. "), "The input elements paint one after the other."),
    make("li", {}, make("b", {}, "Change the padding. "), "It cuts the border of the output off. Then try the stride."),
  );
  const lesson = make("p");
  const element = make("section", { class: "hints", "aria-labelledby": "hints-title" }, title, list, lesson);
  let shown: ReturnType<typeof lessonOf>;
  return {
    element,
    draw({ settings }, changed) {
      if (!changed.scene) return;
      const found = lessonOf(settings);
      // once: a panel that is closed again stays closed
      if (found?.panel && found !== shown) document.querySelector(`#panel-${found.panel}`)?.setAttribute("open", "");
      shown = found;
      title.textContent = found ? `What to see: ${found.title}` : "Try this";
      lesson.textContent = found?.lesson ?? "";
      list.hidden = Boolean(found);
      lesson.hidden = !found;
    },
  };
}
