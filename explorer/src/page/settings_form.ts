/** The settings: the dialect with its own words, sizes, channels and numbers. */

import type { Word } from "../dialects/dialect";
import { dialects, titleOf } from "../dialects/registry";
import { RULES } from "../state/defaults";
import type { Settings, Values } from "../state/settings";
import { readSizes, sizesText } from "../state/sizes";
import type { Store } from "../state/store";
import type { View } from "../state/view";
import { make } from "./elements";
import { choiceField, type Field, flagField, sizeField, textField } from "./fields";
import { changeDialect, changeRank, changeWord } from "./settings_changes";

export function settingsForm(store: Store): View {
  const fields = new Map<string, Field>();
  /** Sentence on what the chosen dialect could not take over. */
  let lost: { settings: Settings; text: string } | null = null;
  const rank = () => store.moment.settings.rank;
  const keep = (name: string, field: Field): HTMLElement => {
    fields.set(name, field);
    return field.element;
  };
  const sized = (name: "kernel" | "input", label: string, most: number): HTMLElement =>
    keep(
      name,
      sizeField({ name, label, least: 1, most }, rank, (text) => {
        const sizes = readSizes(text, rank());
        store.flag(name, sizes ? null : unreadable(name, text, rank()));
        if (sizes) store.change({ [name]: sizes });
      }),
    );
  const channel = (side: "input" | "output"): HTMLElement => {
    const name = `channels-${side}`;
    return keep(
      name,
      sizeField(
        { name, label: `${side} channels`, least: 1, most: 8 },
        () => 1,
        (text) => {
          const found = readSizes(text, 1)?.[0];
          const count = found !== undefined && found > 0 ? found : null;
          store.flag(
            name,
            count === null ? `${side} channels is ${text || "empty"}; a whole number from 1 is needed. Write 1` : null,
          );
          if (count !== null) store.change({ channels: { ...store.moment.settings.channels, [side]: count } });
        },
      ),
    );
  };
  const numbers = (name: "x" | "weight", label: string): HTMLElement =>
    keep(
      name,
      choiceField(
        { name, label },
        RULES[name].map((rule) => [rule, rule]),
        (rule) => store.change({ values: { ...store.moment.settings.values, [name]: { rule } as Values } }),
      ),
    );

  const words = make("div", { class: "fields" });
  const axes = make(
    "fieldset",
    { class: "field axes" },
    make("legend", {}, "axes"),
    ...([1, 2] as const).map((count) =>
      make(
        "label",
        {},
        make("input", { type: "radio", name: "rank", value: count, onchange: () => changeRank(store, count) }),
        ` ${count}-D`,
      ),
    ),
  );
  const element = make(
    "form",
    { class: "settings", "aria-label": "Settings", onsubmit: (event) => event.preventDefault() },
    keep(
      "dialect",
      choiceField(
        { name: "dialect", label: "in the words of" },
        Object.values(dialects).map((one) => [one.name, titleOf(one)]),
        (name) => {
          const text = changeDialect(store, name);
          lost = text === null ? null : { settings: store.moment.settings, text };
          if (text) store.announce(text);
        },
      ),
    ),
    axes,
    sized("input", "input size", 12),
    sized("kernel", "kernel", 7),
    words,
    make(
      "details",
      { class: "more" },
      make("summary", {}, "Channels and numbers"),
      make(
        "div",
        { class: "settings" },
        channel("input"),
        channel("output"),
        numbers("x", "numbers of the input"),
        numbers("weight", "numbers of the kernel"),
      ),
    ),
  );

  let built = "";
  let names: string[] = [];
  function build(settings: Settings): void {
    for (const name of names) fields.delete(name);
    const list = dialects[settings.dialect]!.words(settings.rank);
    names = list.map((word) => word.name);
    words.replaceChildren(
      ...list.map((word) =>
        keep(
          word.name,
          wordField(word, rank, (text) => changeWord(store, word, text)),
        ),
      ),
    );
    built = `${settings.dialect} ${settings.rank}`;
  }

  return {
    element,
    draw({ settings, mistakes, notes }, changed) {
      if (!changed.scene) return;
      if (built !== `${settings.dialect} ${settings.rank}`) build(settings);
      for (const radio of axes.querySelectorAll("input")) radio.checked = radio.value === String(settings.rank);
      const show = (name: string, text: string) => fields.get(name)?.show(text);
      show("dialect", settings.dialect);
      show("kernel", sizesText(settings.kernel));
      show("input", sizesText(settings.input));
      show("channels-input", String(settings.channels.input));
      show("channels-output", String(settings.channels.output));
      for (const name of ["x", "weight"] as const)
        show(name, "rule" in settings.values[name] ? settings.values[name].rule : "your own");
      for (const word of dialects[settings.dialect]!.words(settings.rank))
        show(word.name, settings.words[word.name] ?? word.fallback);
      for (const [name, field] of fields) {
        const own = mistakes.filter(
          (mistake) => mistake.field === name || (mistake.field === "channels" && name === "channels-input"),
        );
        field.blame(own.length ? own.map((mistake) => mistake.text).join(" ") : null);
        field.remark(
          (name === "dialect" && lost?.settings === settings && lost.text) ||
            (notes.find((note) => note.field === name)?.text ?? null),
        );
      }
      const blamed = [...fields].find(([, field]) => field.element.querySelector(".mistake:not([hidden])"));
      if (blamed)
        for (let at: HTMLElement | null = blamed[1].element; at; at = at.parentElement)
          if (at instanceof HTMLDetailsElement) at.open = true;
    },
  };
}

function wordField(word: Word, rank: () => number, change: (text: string) => void): Field {
  const options = { name: word.name, label: word.name, hint: word.hint, least: word.least, most: word.most };
  if (word.kind === "sizes") return sizeField(options, rank, change);
  if (word.kind === "count") return sizeField(options, () => 1, change);
  if (word.kind === "choice")
    return choiceField(
      options,
      (word.choices ?? []).map((one) => [one, one || "(left out)"]),
      change,
    );
  return word.kind === "flag" ? flagField(options, change) : textField(options, change);
}

function unreadable(name: string, text: string, rank: number): string {
  const needed =
    rank === 2 ? "one whole number, or one per axis, is needed. Write 3 or 3x2" : "a whole number is needed. Write 3";
  return `${name} is ${text.trim() || "empty"}; ${needed}`;
}

/** Fold the settings away on a narrow page, where they would stand above the boards; a chapter's frame shows them. */
export function foldSettings(): void {
  const box = document.querySelector<HTMLDetailsElement>("#settings-box")!;
  const wide = matchMedia("(min-width: 861px)");
  const roomy = document.documentElement.classList.contains("embed") && innerWidth >= 600;
  const fold = (): void => void (box.open = wide.matches || roomy);
  wide.addEventListener("change", fold);
  fold();
}
