/** Sentences for screen readers, and the size of the output when the settings rest. */

import type { Settings } from "../state/settings";
import type { Moment } from "../state/view";

const CALM = 700; // milliseconds: a slider that moves would be a stream of words

export interface Announcer {
  say(text: string): void;
  /** Say the size of the output, or what is wrong, after a change of the settings. */
  tell(moment: Moment): void;
}

export function announcer(): Announcer {
  const element = document.querySelector<HTMLElement>("#announcer")!;
  let telling = 0;
  let told: Settings | null = null;
  const say = (text: string): void => void (element.textContent = text);
  return {
    say,
    tell({ settings, scene, mistakes }) {
      if (settings === told) return;
      clearTimeout(telling);
      const text = scene
        ? `OUTPUT is ${scene.outputShape.join(" by ")}.`
        : mistakes.map((mistake) => mistake.text).join(". ");
      // nothing has changed when the page opens
      if (told) telling = window.setTimeout(() => say(text), CALM);
      told = settings;
    },
  };
}
