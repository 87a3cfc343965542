/** Sentences about an address that could not be read. */

import { make } from "./elements";

export function notices(): { element: HTMLElement; show(sentences: readonly string[]): void } {
  const element = make("div", { class: "notices", role: "status" });
  return {
    element,
    show(sentences) {
      element.replaceChildren(
        ...sentences.map((sentence) => make("p", { class: "note" }, sentence)),
        sentences.length ? make("p", { class: "note" }, "The rest of the address is shown.") : "",
      );
    },
  };
}
