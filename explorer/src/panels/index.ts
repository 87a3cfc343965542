/** Panels of a place of the page as one view. */

import type { ViewFactory } from "../state/view";
import { type Panel, framed } from "./frame";
import { make } from "./elements";
import { panels } from "./registry";

export function createPanels(place: Panel["place"]): ViewFactory {
  return (actions) => {
    const views = panels.filter((panel) => panel.place === place).map((panel) => framed(panel, actions));
    return {
      element: make("div", { class: `panels ${place}` }, ...views.map((view) => view.element)),
      draw: (moment, changed) => views.forEach((view) => view.draw(moment, changed)),
    };
  };
}
