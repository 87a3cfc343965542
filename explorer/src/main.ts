/** The page: settings, boards and panels around one store. */

import { cellViews } from "./boards/views";
import { make } from "./page/elements";
import { followTheme, onTheme, themeButton } from "./page/theme";
import { notices } from "./page/notices";
import { presetLinks } from "./page/presets";
import { settingsForm } from "./page/settings_form";
import { createPanels } from "./panels/index";
import { addressOf, readAddress } from "./state/address";
import { createStore } from "./state/store";
import type { View } from "./state/view";

const announcer = document.querySelector<HTMLElement>("#announcer")!;
const address = readAddress(location.hash);
if (address.embed || new URLSearchParams(location.search).has("embed")) document.documentElement.classList.add("embed");
followTheme();

const store = createStore(address.settings, address.selection, (text) => void (announcer.textContent = text));
const complaints = notices();
complaints.show(address.complaints);

const into = (selector: string, ...views: (View | HTMLElement)[]): void => {
  const place = document.querySelector(selector)!;
  for (const view of views) {
    if (view instanceof HTMLElement) place.append(view);
    else {
      place.append(view.element);
      store.add(view);
    }
  }
};
into("#tools", themeButton());
into("#examples", presetLinks());
into("#notices", complaints.element);
into("#settings", settingsForm(store));
into("#boards", ...cellViews(store, createPanels("near")(store)));
into("#panels", createPanels("below")(store));
onTheme(() => store.repaint());

// the address follows the state; browsers allow few changes a second
let writing = 0;
store.add({
  element: make("i"),
  draw({ settings, selection, scene }, changed) {
    document.querySelector("#boards")!.classList.toggle("stale", !scene);
    if (!changed.scene && !changed.selection) return;
    clearTimeout(writing);
    writing = window.setTimeout(() => {
      const next = addressOf(settings, selection) + (address.embed ? "&embed" : "");
      const first = !location.hash && next === addressOf(readAddress("").settings);
      if (next !== location.hash && !first) history.replaceState(null, "", next);
    }, 250);
  },
});
addEventListener("hashchange", () => {
  clearTimeout(writing);
  const next = readAddress(location.hash);
  complaints.show(next.complaints);
  store.reset(next.settings, next.selection);
});
