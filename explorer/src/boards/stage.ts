/** Row of boards with signs between them, which fits its boards to its width. */

import { make } from "../page/elements";
import type { Board } from "./board";
import type { Room } from "./fitting";

export interface Stage {
  readonly element: HTMLElement;
  room(): Room;
}

const SIGN = 52; // pixels of a sign with the space around it

/** Make a stage; `fitted` is called when its width has changed. */
export function stage(parts: readonly (Board | string)[], fitted: () => void, limits: Partial<Room> = {}): Stage {
  const element = make(
    "div",
    { class: "stage" },
    ...parts.map((part) =>
      typeof part === "string" ? make("span", { class: "sign", "aria-hidden": true }, part) : part.element,
    ),
  );
  let width = 0;
  new ResizeObserver(() => {
    if (Math.abs(element.clientWidth - width) < 1) return;
    width = element.clientWidth;
    fitted();
  }).observe(element);
  return {
    element,
    room: () => ({ width: element.clientWidth || 600, height: 440, largest: 44, gap: SIGN, ...limits }),
  };
}
