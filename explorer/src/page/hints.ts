/** First look: three things to try. */

import { make } from "./elements";

export function hints(): HTMLElement {
  return make(
    "section",
    { class: "hints", "aria-labelledby": "hints-title" },
    make("h2", { id: "hints-title" }, "Try this"),
    make(
      "ol",
      {},
      make("li", {}, make("b", {}, "Point at or tap an OUTPUT cell. "), "The inputs and taps that it sums light up. A click pins it."),
      make("li", {}, make("b", {}, "Press Play. "), "The input elements paint one after the other."),
      make("li", {}, make("b", {}, "Move padding. "), "It cuts the border of the output off. Then try the stride."),
    ),
  );
}
