/** From a wanted output size to all settings that give it, each a button that applies it. */

import { isEven } from "../arithmetic/phases";
import { Refusal } from "../arithmetic/refusal";
import type { Scene } from "../arithmetic/scene";
import { type Solution, solve } from "../arithmetic/size_solver";
import { dialects } from "../dialects/registry";
import type { Settings } from "../state/settings";
import { perAxis, readSizes, sizesText } from "../state/sizes";
import type { Actions, Moment } from "../state/view";
import { applied, argumentsText } from "./applied_settings";
import { count, fill, make, noOperator } from "./elements";
import type { Panel } from "./frame";

const MOST_SHOWN = 12;

export const wantedSize: Panel = {
  name: "solve",
  title: "Wanted size → settings",
  place: "below",
  open: false,
  make: (actions) => {
    const search = new Search(actions);
    return { element: search.element, draw: (moment, changed) => changed.scene && search.follow(moment) };
  },
};

class Search {
  readonly element: HTMLElement;
  private moment: Moment | null = null;
  private typed = false;
  private limit = MOST_SHOWN;
  private readonly output = make("input", {
    type: "text",
    id: "wanted-output",
    inputmode: "text",
    autocomplete: "off",
    size: 8,
  });
  private readonly keep = {
    kernel: this.box("kernel", false),
    stride: this.box("stride", true),
    input: this.box("input size", true),
  };
  private readonly answer = make("p", { role: "status", id: "wanted-answer" });
  private readonly list = make("ul", { class: "solutions" });

  constructor(private readonly actions: Actions) {
    this.output.addEventListener("input", () => {
      this.typed = true;
      this.search();
    });
    this.element = make(
      "div",
      { class: "wanted-size" },
      make("p", {}, make("label", { for: "wanted-output" }, "The output should be "), this.output),
      make(
        "fieldset",
        { class: "keep" },
        make("legend", {}, "Keep the present"),
        ...Object.values(this.keep).map((box) => make("label", {}, box, ` ${box.dataset.name}`)),
      ),
      this.answer,
      this.list,
    );
  }

  follow(moment: Moment): void {
    this.moment = moment;
    const { scene } = moment;
    if (scene && (!this.typed || !readSizes(this.output.value, scene.outputShape.length))) {
      this.typed = false;
      if (document.activeElement !== this.output) this.output.value = sizesText(scene.outputShape);
    }
    this.search();
  }

  private box(name: string, checked: boolean): HTMLInputElement {
    return make("input", { type: "checkbox", "data-name": name, checked, onchange: () => this.search() });
  }

  private search(): void {
    this.limit = MOST_SHOWN;
    if (!this.moment) return;
    const { scene, settings } = this.moment;
    fill(this.list);
    if (!scene) return fill(this.answer, noOperator(this.moment).textContent);
    const output = readSizes(this.output.value, scene.outputShape.length);
    if (!output || Math.min(...output) < 1)
      return fill(
        this.answer,
        `“${this.output.value.slice(0, 20)}” is not a size. Type one such as ` +
          `${scene.outputShape.length === 2 ? "8 or 8x6" : "8"}.`,
      );
    try {
      this.show(this.found(scene, perAxis(output, scene.outputShape.length)), scene, settings);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      fill(this.answer, error.message);
    }
  }

  private found({ geometry, inputShape }: Scene, output: readonly number[]): Solution[] {
    const { keep } = this;
    const sizes = (name: "kernel" | "stride" | "dilation") => geometry.axes.map((axis) => axis[name]);
    // an unknown input with an unknown kernel is a list of thousands, that nobody reads
    const findsInput = !keep.input.checked;
    return solve({
      output,
      ...(findsInput ? {} : { input: inputShape }),
      ...(keep.kernel.checked || findsInput ? { kernel: sizes("kernel") } : {}),
      ...(keep.stride.checked || findsInput ? { stride: sizes("stride") } : {}),
      dilation: sizes("dilation"),
    }).map((solution) => ({ ...solution, geometry: { ...solution.geometry, groups: geometry.groups } }));
  }

  private show(solutions: readonly Solution[], scene: Scene, settings: Settings): void {
    const dialect = dialects[settings.dialect]!;
    const sayable = solutions.filter(({ geometry, input }) => dialect.reasonsAgainst(geometry, input).length === 0);
    const silent = solutions.length - sayable.length;
    const others =
      silent > 0
        ? ` ${silent} more ${silent === 1 ? "has" : "have"} a crop that ${dialect.framework} cannot say in one call.`
        : "";
    const none = `No setting gives ${this.output.value}${this.keep.kernel.checked || this.keep.stride.checked ? ": keep less of the present ones" : ""}.`;
    fill(
      this.answer,
      solutions.length === 0
        ? none
        : `${count(sayable.length, "setting")} of ${dialect.framework}, the best first.${others}`,
    );
    const rest = sayable.length - this.limit;
    fill(
      this.list,
      ...sayable.slice(0, this.limit).map((solution) => this.item(solution, scene, settings)),
      rest > 0 &&
        make(
          "li",
          {},
          make(
            "button",
            { type: "button", class: "button quiet", onclick: () => this.more(solutions, scene, settings) },
            `${Math.min(rest, 50)} more`,
          ),
        ),
    );
  }

  private more(solutions: readonly Solution[], scene: Scene, settings: Settings): void {
    this.limit += 50;
    this.show(solutions, scene, settings);
  }

  private item(solution: Solution, scene: Scene, settings: Settings): HTMLElement {
    const next = applied(settings, solution.geometry, solution.input);
    const sizes = [`kernel ${sizesText(solution.geometry.axes.map((axis) => axis.kernel))}`];
    if (String(solution.input) !== String(scene.inputShape)) sizes.unshift(`input ${sizesText(solution.input)}`);
    const text = `${sizes.join(", ")}${argumentsText(settings, solution.geometry, solution.input)}`;
    const apply = (): void => {
      this.typed = false;
      this.actions.change(next);
      this.actions.announce(`Applied: ${text}.`);
    };
    return make(
      "li",
      {},
      make("button", { type: "button", class: "button quiet", onclick: apply }, text),
      isEven(solution.geometry) ? " even overlap" : " uneven overlap: a checkerboard",
    );
  }
}
