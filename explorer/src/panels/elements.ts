/** Elements in one expression, and numbers as a reader expects them. */

type Child = Node | string | number | null | undefined | false;
type Attributes = Readonly<Record<string, string | number | boolean | ((event: Event) => void)>>;

/** Make an element. A function becomes a listener ("onclick"); true a bare attribute; false none. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...present(children));
  return element;
}

/** Replace the content of an element. */
export function fill(element: HTMLElement, ...children: readonly Child[]): void {
  element.replaceChildren(...present(children));
}

function present(children: readonly Child[]): (Node | string)[] {
  return children.flatMap((child) =>
    child === null || child === undefined || child === false ? [] : [typeof child === "number" ? shown(child) : child],
  );
}

/** Text of a number: whole numbers as they are, others with `digits` significant digits, a true minus sign. */
export function shown(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "inf" : "−inf";
  const rounded = Number.isInteger(value) ? value : Number(value.toPrecision(digits));
  const text = Math.abs(rounded) >= 1e7 ? rounded.toExponential(digits - 1) : String(rounded === 0 ? 0 : rounded);
  return text.replace("-", "−");
}

/** Text of a factor in a product: a negative one in brackets. */
export function factor(value: number): string {
  return value < 0 ? `(${shown(value)})` : shown(value);
}

/** "1 cell", "2 cells". */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** A table of numbers, a row per first index, that scrolls by itself where it is wide. */
export function numberTable(values: ArrayLike<number>, shape: readonly number[], caption: string): HTMLElement {
  const columns = shape.at(-1) ?? 1;
  const rows = Math.max(1, Math.round(values.length / Math.max(1, columns)));
  const body = make("tbody");
  for (let row = 0; row < rows; row++) {
    const line = make("tr");
    for (let column = 0; column < columns; column++) line.append(make("td", {}, shown(values[row * columns + column] ?? 0)));
    body.append(line);
  }
  const table = make("table", { class: "number-table" }, make("caption", {}, caption), body);
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, table);
}
