/** Changes of the settings that touch several of them: another dialect, another number of axes, a word at its default. */

import { type Geometry, type Index, uncropped } from "../arithmetic/geometry";
import type { Word } from "../dialects/dialect";
import { dialects } from "../dialects/registry";
import { ruleOf } from "../state/defaults";
import type { Store } from "../state/store";

/** Change a word of the dialect to the text of its field. */
export function changeWord(store: Store, word: Word, text: string): void {
  const { [word.name]: _, ...others } = store.moment.settings.words;
  // only what differs from the default is kept, and stands in the address
  store.change({ words: text.trim() === word.fallback ? others : { ...others, [word.name]: text } });
}

/**
 * Change the dialect: the same operator in its words where it has them, else what it has of stride and dilation, with its own padding.
 * Return a sentence that says so, or null.
 */
export function changeDialect(store: Store, name: string): string | null {
  const { settings, scene } = store.moment;
  const target = dialects[name];
  if (!target) return null;
  const own = new Map(target.words(settings.rank).map((word) => [word.name, word]));
  const wordsOf = (geometry: Geometry, input: Index): Record<string, string> | null =>
    target.reasonsAgainst(geometry, input).length
      ? null
      : Object.fromEntries(
          Object.entries(target.wordsOf(geometry, input)).filter(
            ([key, text]) => own.has(key) && own.get(key)!.fallback !== text,
          ),
        );
  if (!scene) {
    store.change({ dialect: name, words: {} });
    return null;
  }
  const exact = wordsOf(scene.geometry, scene.inputShape);
  const plain = uncropped(scene.geometry);
  const undilated = { ...plain, axes: plain.axes.map((axis) => ({ ...axis, dilation: 1 })) };
  const near = wordsOf(plain, scene.inputShape) ?? wordsOf(undilated, scene.inputShape) ?? {};
  store.change({
    dialect: name,
    words: exact ?? Object.fromEntries(Object.entries(near).filter(([key]) => own.get(key)!.part !== "crop")),
  });
  if (exact) return null;
  const reasons = target.reasonsAgainst(scene.geometry, scene.inputShape).join("; ");
  return `${target.framework} cannot say the settings before: ${reasons}. What it has is shown, with its own padding.`;
}

/** Change the number of axes: the first size of each field stands for all, own numbers give way to a rule. */
export function changeRank(store: Store, rank: 1 | 2): void {
  const { settings } = store.moment;
  // ncnn has fields of its own for each axis
  const fields = dialects[settings.dialect]!.words(rank).map((word) => word.name);
  const kept = Object.entries(settings.words).filter(([name]) => fields.includes(name));
  const words = Object.fromEntries(
    kept.map(([name, text]) => [name, /^\d+(x\d+)+$/.test(text) ? text.split("x")[0]! : text]),
  );
  store.flag("kernel", null);
  store.flag("input", null);
  store.change({
    rank,
    words,
    kernel: settings.kernel.slice(0, 1),
    input: settings.input.slice(0, 1),
    values: { x: ruleOf(settings.values.x), weight: ruleOf(settings.values.weight) },
  });
}
