/** All views of boards, in the order of the page. */

import { make } from "../page/elements";
import type { Store } from "../state/store";
import type { View } from "../state/view";
import { paintView } from "./paint_view";
import { timeControls } from "./time_controls";

export function cellViews(store: Store, near: View): View[] {
  return [titled("paint", "Paint", "Each input element paints the kernel, scaled by its value; overlapping paint is added.", [paintView(store), timeControls(store)]), near];
}

function titled(name: string, title: string, sentence: string, views: readonly View[]): View {
  const element = make(
    "section",
    { class: `view view-${name}`, "aria-labelledby": `title-${name}` },
    make("h2", { id: `title-${name}` }, title),
    make("p", { class: "lead" }, sentence),
    ...views.map((view) => view.element),
  );
  return {
    element,
    draw(moment, changed) {
      for (const view of views) view.draw(moment, changed);
    },
  };
}
