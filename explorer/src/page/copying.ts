/** Buttons that copy a text, in pages from files too, where the clipboard may be refused. */

import type { Actions } from "../state/view";
import { make } from "./elements";

/** Make a button that copies; `named` ends the sentence of a screen reader: "Copied the PyTorch call." */
export function copyButton(text: () => string, named: string, actions: Actions, label = "Copy"): HTMLButtonElement {
  const button = make("button", { type: "button", class: "button quiet", "aria-label": `Copy ${named}` }, label);
  button.addEventListener("click", () => {
    void copied(text()).then((done) => {
      button.textContent = done ? "Copied" : "Not copied";
      actions.announce(done ? `Copied ${named}.` : `The browser did not allow it. Select the text and press Ctrl+C.`);
      setTimeout(() => (button.textContent = label), 1500);
    });
  });
  return button;
}

async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedBySelection(text);
  }
}

/** Copy through a selection, the older way, which pages from files and in frames may still use. */
function copiedBySelection(text: string): boolean {
  const before = document.activeElement;
  const area = make("textarea", { class: "visually-hidden", "aria-hidden": "true", tabindex: -1 });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  return done;
}
