/** The address of the browser follows the state, and the state follows the address. */

import { addressOf, readAddress, type Address } from "../state/address";
import { FIRST_LOOK } from "../state/defaults";
import type { Moment } from "../state/view";

const CALM = 250; // milliseconds: browsers allow few changes of the address in a second

/** Follow links inside the page: to a part of it, which is no address of settings, or to settings, also in a notebook's frame. */
export function followLinks(): void {
  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element && event.target.closest("a")?.getAttribute("href");
    if (!target || !target.startsWith("#") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const part = document.getElementById(target.slice(1));
    if (part) part.focus();
    // a frame without an address of its own would load the notebook's page
    else location.hash = target;
  });
}

/** Return what writes a moment to the address; `read` is called when a link or the user has changed the address. */
export function followAddress(embed: boolean, read: (address: Address) => void): (moment: Moment) => void {
  let writing = 0;
  addEventListener("hashchange", () => {
    clearTimeout(writing);
    read(readAddress(location.hash));
  });
  return ({ settings, selection }) => {
    clearTimeout(writing);
    writing = window.setTimeout(() => {
      const next = addressOf(settings, selection) + (embed ? "&embed" : "");
      const isFirstLook = !location.hash && next === addressOf(FIRST_LOOK);
      // the frame of a notebook has no address of its own
      if (next !== location.hash && !isFirstLook && location.protocol !== "about:")
        history.replaceState(null, "", next);
    }, CALM);
  };
}
