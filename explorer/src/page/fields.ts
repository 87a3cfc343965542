/** Fields of the settings: numbers with a slider, choices, texts, boxes to tick; each says its own mistake. */

import { perAxis, readSizes, sizesText } from "../state/sizes";
import { make } from "./elements";

export interface Field {
  readonly element: HTMLElement;
  /** Show a value, unless it is being typed. */
  show(text: string): void;
  /** Show what is wrong, or nothing. */
  blame(text: string | null): void;
  /** Show a remark on a legal value, or nothing. */
  remark(text: string | null): void;
}

export interface FieldOptions {
  readonly name: string;
  readonly label: string;
  readonly hint?: string | undefined;
  readonly least?: number | undefined;
  readonly most?: number | undefined;
}

/** Make a field with a text and a slider under one label. `change` gets the text as typed. */
export function sizeField(options: FieldOptions, rank: () => number, change: (text: string) => void): Field {
  const { name, least = 0, most = 9 } = options;
  const label = make("label", { for: `field-${name}`, id: `label-${name}` }, options.label);
  const text = make("input", {
    id: `field-${name}`,
    name,
    type: "text",
    inputmode: "text",
    autocomplete: "off",
    spellcheck: "false",
    class: "numbers",
  });
  const slider = make("input", { type: "range", min: least, max: most, step: 1, "aria-labelledby": `label-${name}` });
  text.addEventListener("input", () => change(text.value));
  text.addEventListener("keydown", (event) => {
    const step = event.key === "ArrowUp" ? 1 : event.key === "ArrowDown" ? -1 : 0;
    const sizes = step && readSizes(text.value, rank());
    if (!sizes) return;
    event.preventDefault();
    text.value = sizesText(sizes.map((size) => Math.max(least, size + step)));
    change(text.value);
  });
  slider.addEventListener("input", () => {
    text.value = slider.value;
    change(slider.value);
  });
  return framed(options, label, [slider, text], [text, slider], (shown) => {
    if (document.activeElement !== text || text.value === "") text.value = shown;
    const sizes = readSizes(shown, rank());
    if (sizes) slider.value = String(Math.max(...perAxis(sizes, rank())));
  });
}

/** Make a field of a choice. */
export function choiceField(
  options: FieldOptions,
  choices: readonly (readonly [string, string])[],
  change: (value: string) => void,
): Field {
  const { name } = options;
  const select = make(
    "select",
    { id: `field-${name}`, name },
    ...choices.map(([value, text]) => make("option", { value }, text)),
  );
  select.addEventListener("change", () => change(select.value));
  const label = make("label", { for: `field-${name}` }, options.label);
  return framed(options, label, [select], [select], (shown) => {
    // a value that is no choice is one while it is shown: nobody could choose it again
    for (const option of [...select.options].slice(choices.length)) option.remove();
    if (!choices.some(([value]) => value === shown)) select.append(make("option", { value: shown }, shown));
    select.value = shown;
  });
}

/** Make a field of free text. */
export function textField(options: FieldOptions, change: (text: string) => void): Field {
  const { name } = options;
  const text = make("input", {
    id: `field-${name}`,
    name,
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    class: "numbers wide",
  });
  text.addEventListener("input", () => change(text.value));
  const label = make("label", { for: `field-${name}` }, options.label);
  return framed(options, label, [text], [text], (shown) => {
    if (document.activeElement !== text) text.value = shown;
  });
}

/** Make a box to tick. */
export function flagField(options: FieldOptions, change: (text: string) => void): Field {
  const { name } = options;
  const box = make("input", { id: `field-${name}`, name, type: "checkbox" });
  box.addEventListener("change", () => change(String(box.checked)));
  const label = make("label", { for: `field-${name}` }, options.label);
  return framed(options, label, [box], [box], (shown) => void (box.checked = shown.toLowerCase() === "true"));
}

function framed(
  options: FieldOptions,
  label: HTMLElement,
  parts: HTMLElement[],
  inputs: HTMLElement[],
  show: (text: string) => void,
): Field {
  const hint = options.hint ? make("p", { class: "hint", id: `hint-${options.name}` }, options.hint) : null;
  const mistake = make("p", { class: "mistake", id: `mistake-${options.name}`, hidden: true });
  const remark = make("p", { class: "hint", id: `remark-${options.name}`, hidden: true });
  const described = [hint, mistake, remark].flatMap((part) => (part ? [part.id] : [])).join(" ");
  for (const input of inputs) input.setAttribute("aria-describedby", described);
  const element = make(
    "div",
    { class: "field", "data-field": options.name },
    label,
    make("div", { class: "controls" }, ...parts),
    hint,
    mistake,
    remark,
  );
  return {
    element,
    show,
    blame(text) {
      if (mistake.textContent === (text ?? "")) return;
      mistake.hidden = text === null;
      mistake.textContent = text;
      for (const input of inputs) input.setAttribute("aria-invalid", String(text !== null));
    },
    remark(text) {
      remark.hidden = text === null;
      remark.textContent = text;
    },
  };
}
