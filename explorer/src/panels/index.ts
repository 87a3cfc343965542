/** Panels of a place of the page as one view. */

import { make } from "../page/elements";
import type { ViewFactory } from "../state/view";

export function createPanels(place: "near" | "below"): ViewFactory {
  return () => ({ element: make("div", { class: `panels ${place}` }), draw: () => {} });
}
