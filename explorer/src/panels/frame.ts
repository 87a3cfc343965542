/** Contract of a panel, and the frame around it: a heading that opens and closes it. */

import type { Actions, Moment, View, ViewFactory } from "../state/view";
import { make } from "./elements";

export interface Panel {
  /** Short name, as in the id of its element: "panel-size". */
  readonly name: string;
  readonly title: string;
  /** Directly under the boards, or below all of them. */
  readonly place: "near" | "below";
  /** True if it is open at first. */
  readonly open: boolean;
  readonly make: ViewFactory;
}

/** Return the panel in its frame. A closed panel draws nothing; it draws the last moment when it is opened. */
export function framed(panel: Panel, actions: Actions): View {
  const content = panel.make(actions);
  const element = make("details", { class: `panel ${panel.place}`, id: `panel-${panel.name}`, open: panel.open });
  const isNear = panel.place === "near";
  // a panel near the boards keeps its height, so that the boards stand still, and scrolls inside it
  const scrolls = isNear && ({ tabindex: 0, role: "region", "aria-label": panel.title } as const);
  element.append(
    make("summary", {}, make(isNear ? "h3" : "h2", {}, panel.title)),
    make("div", { class: "panel-body", ...scrolls }, content.element),
  );
  let last: Moment | null = null;
  const missed = { scene: true, selection: true };
  const draw = () => {
    if (!last || !element.open || !(missed.scene || missed.selection)) return;
    const changed = { ...missed };
    missed.scene = missed.selection = false;
    content.draw(last, changed);
  };
  element.addEventListener("toggle", draw);
  return {
    element,
    draw(moment, changed) {
      last = moment;
      missed.scene ||= changed.scene;
      missed.selection ||= changed.selection;
      draw();
    },
  };
}
