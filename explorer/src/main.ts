/** The page: settings, boards and panels around one store. */

import { sceneOf } from "./arithmetic/build";
import { boardViews } from "./boards/views";
import { make } from "./page/elements";
import { hints } from "./page/hints";
import { followTheme, onTheme, themeButton } from "./page/theme";
import { notices } from "./page/notices";
import { presetLinks } from "./page/presets";
import { staleNote } from "./page/stale_note";
import { foldSettings, settingsForm } from "./page/settings_form";
import { createPanels } from "./panels/index";
import { addressOf, readAddress } from "./state/address";
import { FIRST_LOOK } from "./state/defaults";
import { NOTHING } from "./state/selection";
import { createStore } from "./state/store";
import type { View } from "./state/view";

const announcer = document.querySelector<HTMLElement>("#announcer")!;
const address = readAddress(location.hash);
if (address.embed || new URLSearchParams(location.search).has("embed")) document.documentElement.classList.add("embed");
followTheme();

const say = (text: string) => void (announcer.textContent = text);
// boards of wrong settings keep the last picture: an address of wrong settings has none, so it begins with the first look
const isRight = sceneOf(address.settings).scene !== null;
const store = isRight ? createStore(address.settings, address.selection, say) : createStore(FIRST_LOOK, NOTHING, say);
if (!isRight) requestAnimationFrame(() => requestAnimationFrame(() => store.reset(address.settings, address.selection)));
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
into("#hints", hints());
into("#notices", complaints.element);
into("#settings", settingsForm(store));
into("#stale", staleNote());
into("#boards", ...boardViews(store, createPanels("near")(store)));
into("#panels", createPanels("below")(store));
onTheme(() => store.repaint());
foldSettings();

// the address follows the state; browsers allow few changes a second
let writing = 0;
let telling = 0;
let first = true;
// said when the slider rests
function tell(text: string): void {
  clearTimeout(telling);
  if (!first) telling = window.setTimeout(() => say(text), 700);
  first = false;
}
store.add({
  element: make("i"),
  draw({ settings, selection, scene, mistakes }, changed) {
    if (changed.scene) tell(scene ? `OUTPUT is ${scene.outputShape.join(" by ")}.` : mistakes.map((mistake) => mistake.text).join(" "));
    document.querySelector("#boards")!.classList.toggle("stale", !scene);
    if (!changed.scene && !changed.selection) return;
    clearTimeout(writing);
    writing = window.setTimeout(() => {
      const next = addressOf(settings, selection) + (address.embed ? "&embed" : "");
      const isFirstLook = !location.hash && next === addressOf(FIRST_LOOK);
      // the frame of a notebook has no address of its own
      if (next !== location.hash && !isFirstLook && location.protocol !== "about:") history.replaceState(null, "", next);
    }, 250);
  },
});
addEventListener("hashchange", () => {
  clearTimeout(writing);
  const next = readAddress(location.hash);
  complaints.show(next.complaints);
  store.reset(next.settings, next.selection);
});
