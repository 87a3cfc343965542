/** The one state of the page. Changes are gathered, and all views draw in the next animation frame. */

import { sceneOf } from "../arithmetic/scene_of_settings";
import { NOTHING, sameCell, type Cell, type Selection } from "./selection";
import type { Mistake, Settings } from "./settings";
import type { Actions, Moment, View } from "./view";

export interface Store extends Actions {
  readonly moment: Moment;
  add(view: View): void;
  /** Call back after each drawing. */
  listen(listener: (moment: Moment) => void): void;
  /** Mark a field as not readable, or readable again (null). */
  flag(field: string, text: string | null): void;
  /** Replace everything, as an address does. */
  reset(settings: Settings, selection: Selection): void;
  /** Draw all again, in other colours; at once, because a printer does not wait. */
  repaint(): void;
}

export function createStore(settings: Settings, selection: Selection, announce: (text: string) => void): Store {
  const views: View[] = [];
  const listeners: ((moment: Moment) => void)[] = [];
  const flags = new Map<string, string>();
  let moment: Moment;
  let waiting = false;
  const changed = { scene: true, selection: true };

  const build = (next: Settings, chosen: Selection): void => {
    const built = sceneOf(next);
    const flagged = [...flags].map(([field, text]): Mistake => ({ field, text }));
    const mistakes = [...flagged, ...built.mistakes.filter((mistake) => !flags.has(mistake.field))];
    const scene = mistakes.length ? null : built.scene;
    moment = {
      settings: next,
      scene,
      mistakes,
      notes: built.notes,
      selection: scene ? fitting(chosen, scene) : chosen,
    };
    changed.scene = true;
    later();
  };

  const later = (): void => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(draw);
  };

  const draw = (): void => {
    waiting = false;
    const now = { ...changed };
    changed.scene = changed.selection = false;
    for (const view of views) view.draw(moment, now);
    for (const listener of listeners) listener(moment);
  };

  const store: Store = {
    get moment() {
      return moment;
    },
    add(view) {
      views.push(view);
      changed.scene = changed.selection = true;
      later();
    },
    listen(listener) {
      listeners.push(listener);
    },
    change(part) {
      changed.selection = true;
      build({ ...moment.settings, ...part }, { ...moment.selection, pointed: null });
    },
    select(part) {
      const next = { ...moment.selection, ...part };
      if (
        part.pointed !== undefined &&
        Object.keys(part).length === 1 &&
        sameCell(next.pointed, moment.selection.pointed)
      )
        return;
      moment = { ...moment, selection: next };
      changed.selection = true;
      later();
    },
    flag(field, text) {
      if (text === null ? !flags.delete(field) : flags.get(field) === text) return;
      if (text !== null) flags.set(field, text);
      build(moment.settings, moment.selection);
    },
    reset(next, chosen) {
      flags.clear();
      changed.selection = true;
      build(next, chosen);
    },
    repaint() {
      changed.scene = changed.selection = true;
      draw();
    },
    announce,
  };
  build(settings, selection);
  return store;
}

/** Return the selection without what this scene does not have. */
function fitting(selection: Selection, scene: NonNullable<Moment["scene"]>): Selection {
  const { input, output } = scene.channels;
  const inside = (cell: Cell | null): Cell | null => {
    if (!cell) return null;
    const shape = cell.board === "input" ? scene.inputShape : scene.outputShape;
    const fits = cell.index.length === shape.length && cell.index.every((place, axis) => place < (shape[axis] ?? 0));
    return fits && cell.channel < (cell.board === "input" ? input : output) ? cell : null;
  };
  return {
    ...selection,
    pointed: inside(selection.pointed),
    pinned: inside(selection.pinned),
    shown: {
      input: Math.min(selection.shown.input, input - 1),
      output: Math.min(selection.shown.output, output - 1),
    },
    time: selection.time >= scene.x.length ? NOTHING.time : selection.time,
  };
}
