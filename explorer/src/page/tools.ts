/** Buttons beside the title: the link of what is shown, the whole page for an embedded one, the theme. */

import { addressOf } from "../state/address";
import type { Store } from "../state/store";
import { copyButton } from "./copying";
import { make } from "./elements";
import { themeButton } from "./theme";

export function tools(store: Store, embed: boolean): HTMLElement[] {
  const link = (): string => {
    const { settings, selection } = store.moment;
    return location.href.replace(/[?#].*/s, "") + addressOf(settings, selection);
  };
  // the frame of a notebook has no address of its own
  if (location.protocol === "about:") return [themeButton()];
  const copy = copyButton(link, "link of this page with these settings", store, "Copy link");
  copy.title =
    "All settings and the pinned cell stand behind the #: the link shows the same in every copy of this page.";
  if (!embed) return [copy, themeButton()];
  const whole = make("a", { class: "button quiet", target: "_blank", rel: "noopener" }, "Whole page");
  store.listen(() => (whole.href = link()));
  return [copy, whole];
}
