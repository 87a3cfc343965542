/** Time of the scatter: a slider over the input elements, step, play and pause. */

import { make } from "../page/elements";
import type { Actions, Moment, View } from "../state/view";

const SPEEDS = [1, 2, 5, 15, 60] as const; // input elements a second
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export function timeControls(actions: Actions): View {
  let now: Moment | null = null;
  let count = 1;
  let playing = false;
  let last = 0;
  let owed = 0;
  const slider = make("input", { type: "range", min: 0, max: 1, step: 1, id: "time", "aria-describedby": "time-text" });
  const text = make("output", { id: "time-text", for: "time", class: "numbers" });
  const play = make("button", { type: "button", class: "button", id: "play" }, "Play");
  const step = (by: number, label: string, sign: string) =>
    make(
      "button",
      {
        type: "button",
        class: "button quiet",
        "aria-label": label,
        title: label,
        onclick: () => (stop(), go(place() + by)),
      },
      sign,
    );
  const speed = make(
    "select",
    { id: "speed" },
    ...SPEEDS.map((rate) => make("option", { value: rate }, `${rate} / s`)),
  );
  speed.value = "2";

  const place = () => Math.min(now?.selection.time ?? count, count);
  const go = (time: number): void => {
    const next = Math.max(0, Math.min(count, time));
    const input = now?.scene && next ? Math.floor((next - 1) / (count / now.scene.channels.input)) : 0;
    const shown = now?.selection.shown;
    // the boards follow to the channel that paints
    const follow = shown && shown.input !== input && next < count ? { shown: { ...shown, input } } : {};
    actions.select({ time: next >= count ? Infinity : next, ...follow });
  };
  const stop = (): void => {
    playing = false;
    text.setAttribute("aria-live", "polite");
    play.textContent = "Play";
  };
  const frame = (time: number): void => {
    if (!playing) return;
    // not before the last element is seen
    if (place() >= count) return stop();
    owed += ((time - last) / 1000) * Number(speed.value);
    last = time;
    const steps = Math.floor(owed);
    if (steps) {
      owed -= steps;
      go(place() + steps);
    }
    requestAnimationFrame(frame);
  };
  play.addEventListener("click", () => {
    if (playing) return stop();
    if (place() >= count) go(0);
    playing = true;
    // a screen reader says a step, and not every one of many in a second
    text.setAttribute("aria-live", "off");
    play.textContent = "Pause";
    last = performance.now();
    // the first element is painted at once: an answer to the click
    owed = 1;
    requestAnimationFrame(frame);
  });
  slider.addEventListener("input", () => {
    stop();
    go(slider.valueAsNumber);
  });
  // motion is asked for by Play alone; where it is unwanted the slow speed is offered first
  if (calm.matches) speed.value = "1";

  const element = make(
    "div",
    { class: "time", role: "group", "aria-label": "Paint one input element after the other" },
    play,
    step(-1, "Step back", "‹"),
    step(1, "Step forward", "›"),
    make("span", { class: "slider" }, make("label", { for: "time" }, "painted"), slider, text),
    make("span", {}, make("label", { for: "speed" }, "speed"), speed),
  );
  return {
    element,
    draw(moment) {
      now = moment;
      if (!moment.scene) return stop();
      count = moment.scene.x.length;
      slider.max = String(count);
      slider.value = String(place());
      text.textContent = `${place()} of ${count}`;
    },
  };
}
