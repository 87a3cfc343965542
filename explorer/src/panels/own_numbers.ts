/** Numbers of the user: pasted as text, or from a .npy file, as the weight or as x. */

import { asInput, asWeight, groupsOf, type Placed } from "../own_numbers/into_settings";
import { readNpy } from "../own_numbers/npy_file";
import { type NumberArray, readNumberText, UnreadableNumbers } from "../own_numbers/number_text";
import type { Settings } from "../state/settings";
import type { Actions } from "../state/view";
import { fill, make } from "./elements";
import type { Panel } from "./frame";

const LARGEST_FILE = 64 * 2 ** 20;

export const ownNumbers: Panel = {
  name: "numbers",
  title: "Your own numbers",
  place: "below",
  open: false,
  make: (actions) => {
    const form = new Form(actions);
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault(); // the browser would leave the page and show the file
      const file = event.dataTransfer?.files[0];
      if (!file) return;
      form.element.closest("details")?.setAttribute("open", "");
      void form.takeFile(file);
    });
    return {
      element: form.element,
      draw: ({ settings }) => form.follow(settings),
    };
  },
};

class Form {
  readonly element: HTMLElement;
  private settings: Settings | null = null;
  private last: NumberArray | null = null;
  /** Groups when it was read: of a part of it there may be none. */
  private groups = 1;
  private readonly text = make("textarea", { id: "own-text", rows: 4, spellcheck: "false", placeholder: "0 1\n2 3" });
  private readonly file = make("input", {
    type: "file",
    id: "own-file",
    accept: ".npy",
    onchange: () => this.chosen(),
  });
  private readonly target = make(
    "select",
    { id: "own-target" },
    make("option", { value: "weight" }, "the weight"),
    make("option", { value: "x" }, "the input x"),
  );
  private readonly first = {
    input: this.channelField("own-in", "first input channel"),
    output: this.channelField("own-out", "first output channel"),
  };
  private readonly channels = make("p", { hidden: true }, this.first.input.label, " ", this.first.output.label);
  private readonly answer = make("p", { role: "status", id: "own-answer" });

  constructor(private readonly actions: Actions) {
    const use = make(
      "button",
      { type: "button", class: "button", onclick: () => this.take(() => readNumberText(this.text.value)) },
      "Use these numbers",
    );
    const back = make(
      "button",
      { type: "button", class: "button quiet", onclick: () => this.reset() },
      "Back to small whole numbers",
    );
    this.element = make(
      "div",
      { class: "own-numbers" },
      make("p", {}, make("label", { for: "own-target" }, "The numbers are "), this.target),
      make(
        "p",
        {},
        make(
          "label",
          { for: "own-text" },
          "Paste a matrix: rows of numbers, or what Python, NumPy, PyTorch or JSON print",
        ),
        this.text,
      ),
      make("p", {}, use, " ", back),
      make(
        "p",
        {},
        make("label", { for: "own-file" }, "Or choose a .npy file, or drop one anywhere on this page: "),
        this.file,
      ),
      make(
        "p",
        { class: "hint" },
        "A whole weight is read in the layout of the chosen dialect. Nothing leaves this page, and nothing in a file is run.",
      ),
      this.channels,
      this.answer,
    );
  }

  follow(settings: Settings): void {
    this.settings = settings;
  }

  async takeFile(file: File): Promise<void> {
    if (file.size > LARGEST_FILE)
      return this.take(() => {
        throw new UnreadableNumbers(
          `${file.name} has ${Math.round(file.size / 2 ** 20)} MB; at most ${LARGEST_FILE / 2 ** 20} MB are ` +
            "read. Save the weight of one layer.",
        );
      });
    try {
      const bytes = new Uint8Array(await file.arrayBuffer());
      this.take(() => readNpy(bytes));
    } catch {
      this.take(() => {
        throw new UnreadableNumbers(`${file.name} cannot be read: the browser was refused. Choose a file, no folder.`);
      });
    }
  }

  private chosen(): void {
    const file = this.file.files?.[0];
    if (file) void this.takeFile(file);
    this.file.value = ""; // so that the same file can be chosen again
  }

  private take(read: () => NumberArray): void {
    try {
      this.last = read();
      if (this.settings) this.groups = groupsOf(this.settings);
      this.channels.hidden = this.target.value !== "weight" || this.last.shape.length < 3;
      this.place();
    } catch (error) {
      this.refuse(error);
    }
  }

  private place(): void {
    if (!this.last || !this.settings) return;
    try {
      this.use(this.target.value === "x" ? asInput(this.last, this.settings) : this.weight(this.last, this.settings));
    } catch (error) {
      this.refuse(error);
    }
  }

  private weight(array: NumberArray, settings: Settings): Placed {
    const from = (field: HTMLInputElement) => Math.max(0, Math.floor(Number(field.value)) || 0);
    return asWeight(array, settings, this.groups, {
      input: from(this.first.input.field),
      output: from(this.first.output.field),
    });
  }

  private use(placed: Placed): void {
    this.actions.change(placed.settings);
    this.answer.className = "hint";
    fill(this.answer, placed.read);
  }

  private refuse(error: unknown): void {
    if (!(error instanceof UnreadableNumbers)) throw error;
    this.answer.className = "mistake";
    fill(this.answer, error.message);
  }

  private reset(): void {
    this.last = null;
    this.channels.hidden = true;
    this.actions.change({ values: { x: { rule: "counting" }, weight: { rule: "counting" } } });
    this.answer.className = "hint";
    fill(this.answer, "x and the weight are small whole numbers again.");
  }

  private channelField(id: string, name: string): { label: HTMLElement; field: HTMLInputElement } {
    const field = make("input", { type: "number", id, min: 0, value: 0, onchange: () => this.place() });
    return { label: make("label", { for: id }, `${name} `, field), field };
  }
}
