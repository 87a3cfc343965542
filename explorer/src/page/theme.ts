/** Colours of the page, light or dark: the palette that the pictures of Python have, too. */

import palette from "../../../src/tconv/draw/palette.json";
import { make } from "./elements";

export type Colours = (typeof palette)["light"];
type Choice = "light" | "dark" | "system";

const CHOICES: readonly Choice[] = ["system", "light", "dark"];
const KEY = "tconv-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const listeners: (() => void)[] = [];
// a frame follows the color-scheme that the page around it gives it, as the theme of a book
let choice: Choice = parent === window ? stored() : "system";

/** Return the colours of the theme that is shown. */
export function colours(): Colours {
  return palette[shown()];
}

/** Call back when the theme changes. */
export function onTheme(listener: () => void): void {
  listeners.push(listener);
}

/** Put the palette into the variables of the styles, now and whenever the theme changes. */
export function followTheme(): void {
  dark.addEventListener("change", () => apply());
  // paper is white: a dark page would spend ink on its ground
  addEventListener("beforeprint", () => apply("light"));
  addEventListener("afterprint", () => apply());
  apply();
}

/** Make the button that goes through system, light and dark. */
export function themeButton(): HTMLElement {
  const button = make("button", { type: "button", class: "button quiet" });
  const label = (): void => void (button.textContent = `Theme: ${choice}`);
  button.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length] ?? "system";
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // a page from a file may have no storage: the choice then holds until it is closed
    }
    label();
    apply();
  });
  label();
  return button;
}

let printing: "light" | undefined;

function apply(forced?: "light"): void {
  printing = forced;
  const root = document.documentElement;
  root.dataset.theme = shown();
  for (const [name, value] of Object.entries(colours())) {
    if (typeof value === "string") root.style.setProperty(`--${name}`, value);
    else value.forEach((colour, at) => root.style.setProperty(`--${name.slice(0, -1)}-${at}`, colour));
  }
  for (const listener of listeners) listener();
}

function shown(): "light" | "dark" {
  if (printing) return printing;
  return choice === "system" ? (dark.matches ? "dark" : "light") : choice;
}

function stored(): Choice {
  try {
    const found = localStorage.getItem(KEY);
    return CHOICES.find((one) => one === found) ?? "system";
  } catch {
    return "system";
  }
}
