/** A quiz on the settings of the page: the output is hidden, the user predicts a value or the size, then it is revealed. */

import { type Cell, shownCell } from "../state/selection";
import { perAxis } from "../state/sizes";
import type { Actions, Moment } from "../state/view";
import { count, fill, make } from "./elements";
import type { Panel } from "./frame";
import { outputName } from "./place_names";
import { judgedSize, judgedValue, type Judgement } from "./usual_errors";

export const predict: Panel = {
  name: "predict",
  title: "Predict, then reveal",
  place: "below",
  open: false,
  make: (actions) => {
    const quiz = new Quiz(actions);
    return { element: quiz.element, draw: (moment) => quiz.draw(moment) };
  },
};

class Quiz {
  readonly element: HTMLElement;
  private moment: Moment | null = null;
  private asked = 0;
  private right = 0;
  private readonly done = new Set<string>();
  private readonly question = make("label", { for: "predict-value" });
  private readonly value = make("input", {
    type: "text",
    id: "predict-value",
    inputmode: "text",
    autocomplete: "off",
    size: 8,
  });
  private readonly size = make("input", {
    type: "text",
    id: "predict-size",
    inputmode: "text",
    autocomplete: "off",
    size: 8,
  });
  private readonly answer = make("p", { role: "status", id: "predict-answer" });
  private readonly score = make("p", { class: "hint", id: "predict-score" }, "Nothing answered yet.");
  private readonly hide = make(
    "button",
    { type: "button", class: "button", id: "predict-hide", onclick: () => this.toggle() },
    "Hide the output",
  );

  constructor(private readonly actions: Actions) {
    const form = (onsubmit: () => void, ...content: (Node | string)[]) =>
      make(
        "form",
        {
          onsubmit: (event) => {
            event.preventDefault();
            onsubmit();
          },
        },
        make("p", {}, ...content, " ", make("button", { class: "button" }, "Check")),
      );
    this.element = make(
      "div",
      { class: "predict" },
      make("p", {}, "Hide the numbers of the output, work one out, and type it."),
      make(
        "p",
        {},
        this.hide,
        " ",
        make(
          "button",
          { type: "button", class: "button quiet", onclick: () => this.another() },
          "Choose a cell for me",
        ),
      ),
      form(() => this.checkValue(), this.question, " ", this.value),
      form(
        () => this.checkSize(),
        make("label", { for: "predict-size" }, "The output's size (rows × columns) is "),
        this.size,
      ),
      this.answer,
      this.score,
    );
  }

  draw(moment: Moment): void {
    this.moment = moment;
    this.hide.textContent = moment.selection.hidden ? "Reveal the output" : "Hide the output";
    const cell = this.cell();
    fill(
      this.question,
      cell && moment.scene
        ? `${outputName(moment.scene, cell.channel, cell.index)} is `
        : "Point at an output cell and pin it (Enter). Its value is ",
    );
  }

  private cell(): Cell | null {
    if (!this.moment) return null;
    // typing moves the pointer off the boards: the pinned cell is the one that is asked for
    const { pinned } = this.moment.selection;
    const cell = pinned?.board === "output" ? pinned : shownCell(this.moment.selection);
    return cell?.board === "output" ? cell : null;
  }

  private toggle(): void {
    const hidden = !this.moment?.selection.hidden;
    this.actions.select({ hidden, time: Infinity });
    this.actions.announce(hidden ? "The numbers of the output are hidden." : "The numbers of the output are shown.");
    if (hidden && !this.cell()) this.another();
  }

  private another(): void {
    if (!this.moment?.scene) return;
    const { scene, selection } = this.moment;
    const index = scene.outputShape.map((size) => Math.floor(Math.random() * size));
    const channel = Math.floor(Math.random() * scene.channels.output);
    // the boards show the channel that is asked for
    const shown = { ...selection.shown, output: channel };
    this.actions.select({ pinned: { board: "output", channel, index }, shown, hidden: true, time: Infinity });
    fill(this.answer);
    this.value.value = "";
    this.value.focus();
  }

  private checkValue(): void {
    const cell = this.cell();
    const scene = this.moment?.scene;
    if (!cell || !scene)
      return this.say(
        {
          right: false,
          text: "No output cell is chosen. Press “Choose a cell for me”, or point at one and press Enter.",
        },
        null,
      );
    const given = readNumber(this.value.value);
    if (given === null)
      return this.say(
        { right: false, text: `“${this.value.value.slice(0, 20)}” is not a number. Type one such as 14 or −0.5.` },
        null,
      );
    this.say(judgedValue(scene, cell.channel, cell.index, given), this.keyOf(`${cell.channel}:${cell.index.join()}`));
  }

  private checkSize(): void {
    const scene = this.moment?.scene;
    if (!scene) return;
    const rank = scene.outputShape.length;
    const parts = this.size.value
      .trim()
      .split(/\s*[x×*,]\s*|\s+/i)
      .map(readNumber);
    const whole = parts.filter((part): part is number => part !== null && Number.isInteger(part));
    if (whole.length !== parts.length || (whole.length !== 1 && whole.length !== rank)) {
      return this.say(
        {
          right: false,
          text:
            `“${this.size.value.slice(0, 20)}” is not a size. Type ` +
            `${rank === 2 ? "one such as 7 or 7 × 5" : "a number such as 7"}.`,
        },
        null,
      );
    }
    this.say(judgedSize(scene, perAxis(whole, rank)), this.keyOf("size"));
  }

  /** Name of a question, for which only the first answer counts. */
  private keyOf(what: string): string {
    return `${JSON.stringify(this.moment?.settings)} ${what}`;
  }

  private say(judgement: Judgement, key: string | null): void {
    if (key !== null && !this.done.has(key)) {
      this.done.add(key);
      this.asked++;
      if (judgement.right) this.right++;
      fill(this.score, `${this.right} right of ${count(this.asked, "question")}. The first answer to each counts.`);
    }
    this.answer.className = judgement.right ? "right" : "wrong";
    fill(this.answer, judgement.text);
  }
}

function readNumber(text: string): number | null {
  const plain = text
    .trim()
    .replace("−", "-")
    .replace(/^(-?\d+),(\d+)$/, "$1.$2");
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(plain) ? Number(plain) : null;
}
