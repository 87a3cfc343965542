/** Contract of all parts of the page: an element that is drawn again when the scene or the selection changes. */

import type { Scene } from "../arithmetic/scene";
import type { Selection } from "./selection";
import type { Mistake, Settings } from "./settings";

/** All that a part may read. `scene` is null while the settings describe no operator; `mistakes` then says why. */
export interface Moment {
  readonly settings: Settings;
  readonly scene: Scene | null;
  readonly mistakes: readonly Mistake[];
  /** Remarks on settings that are legal, and surprising. */
  readonly notes: readonly Mistake[];
  readonly selection: Selection;
}

/** All that a part may do. */
export interface Actions {
  change(settings: Partial<Settings>): void;
  select(selection: Partial<Selection>): void;
  /** Say a sentence to screen readers. */
  announce(text: string): void;
}

export interface View {
  readonly element: HTMLElement;
  /** Draw the moment. `changed` names what differs from the last one, so that a hover redraws little. */
  draw(moment: Moment, changed: { readonly scene: boolean; readonly selection: boolean }): void;
}

export type ViewFactory = (actions: Actions) => View;
