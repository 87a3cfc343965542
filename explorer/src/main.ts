/** The page: settings, boards and panels around one store. */

import { sceneOf } from "./arithmetic/scene_of_settings";
import { boardViews } from "./boards/views";
import { followAddress, followLinks } from "./page/address_bar";
import { announcer } from "./page/announcer";
import { hints } from "./page/hints";
import { notices } from "./page/notices";
import { presetLinks } from "./page/presets";
import { foldSettings, settingsForm } from "./page/settings_form";
import { staleNote } from "./page/stale_note";
import { followTheme, onTheme } from "./page/theme";
import { tools } from "./page/tools";
import { createPanels } from "./panels/index";
import { readAddress } from "./state/address";
import { FIRST_LOOK } from "./state/defaults";
import { NOTHING } from "./state/selection";
import { createStore } from "./state/store";
import type { View } from "./state/view";

const address = readAddress(location.hash);
const embed = address.embed || new URLSearchParams(location.search).has("embed");
document.documentElement.classList.toggle("embed", embed);
// the page around a frame has a title of its own
document.querySelector("h1")!.classList.toggle("visually-hidden", embed);
followTheme();

const { say, tell } = announcer();
// boards of wrong settings keep the last picture: an address of wrong settings has none, so it begins with the first look
const isRight = sceneOf(address.settings).scene !== null;
const store = isRight ? createStore(address.settings, address.selection, say) : createStore(FIRST_LOOK, NOTHING, say);
if (!isRight)
  requestAnimationFrame(() => requestAnimationFrame(() => store.reset(address.settings, address.selection)));

followLinks();
const complaints = notices();
complaints.show(address.complaints);
const write = followAddress(address.embed, (next) => {
  complaints.show(next.complaints);
  store.reset(next.settings, next.selection);
});

const at = (selector: string): HTMLElement => document.querySelector<HTMLElement>(selector)!;
const into = (selector: string, ...views: View[]): void => {
  for (const view of views) {
    at(selector).append(view.element);
    store.add(view);
  }
};
at("#tools").append(...tools(store, embed));
at("#examples").append(presetLinks());
at("#notices").append(complaints.element);
into("#settings", settingsForm(store));
into("#hints", hints());
into("#stale", staleNote());
into("#boards", ...boardViews(store, createPanels("near")(store)));
into("#panels", createPanels("below")(store));
store.listen((moment) => {
  at("#boards").classList.toggle("stale", !moment.scene);
  tell(moment);
  write(moment);
});
onTheme(() => store.repaint());
foldSettings();
