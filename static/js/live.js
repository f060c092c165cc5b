// Keeps every unfinished run on the page up to date: events change the timeline at once, the server's own drawing
// follows. A drawing carries the sequence number it shows (data-seq); events after it are applied on top again.
import { RunStream } from "./stream.js";
import { apply, needsRedraw } from "./timeline.js";

const REDRAW_AFTER_MS = 60;
const RETRY_REDRAW_MS = 2000;
const runs = new WeakMap();

export function connectAll(root) {
  const found = root.matches?.("[data-live]") ? [root] : root.querySelectorAll("[data-live]");
  for (const element of found) {
    if (!runs.has(element)) runs.set(element, new LiveRun(element));
  }
}

class LiveRun {
  constructor(element) {
    this.element = element;
    this.log = []; // events the newest drawing may not show yet
    this.parts = new Map(partsOf(element).map((part) => [part.dataset.part, part.outerHTML]));
    element.addEventListener("run:changed", () => this.redraw());
    if (element.dataset.finished !== "true") this.listen();
  }

  listen() {
    this.stream?.close();
    this.stream = new RunStream(this.element.dataset.live, Number(this.element.dataset.seq), {
      onEvent: (event) => this.receive(event),
      onState: (state) => this.showLine(state),
    });
  }

  receive(event) {
    this.log.push(event);
    apply(this.element, event);
    if (needsRedraw(event)) this.redrawSoon();
  }

  redrawSoon(pause = REDRAW_AFTER_MS) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.redraw(), pause);
  }

  async redraw() {
    if (this.drawing) {
      this.again = true;
      return;
    }
    this.drawing = true;
    try {
      this.show(await this.fetchDrawing());
    } catch {
      this.redrawSoon(RETRY_REDRAW_MS);
    } finally {
      this.drawing = false;
    }
    if (this.again) {
      this.again = false;
      this.redrawSoon();
    }
  }

  async fetchDrawing() {
    const response = await fetch(this.element.dataset.url, { headers: { "HX-Request": "true", Accept: "text/html" } });
    if (!response.ok || response.redirected) throw new Error(`The run could not be drawn: ${response.status}`);
    const parsed = new DOMParser().parseFromString(await response.text(), "text/html");
    return parsed.querySelector("[data-live]");
  }

  show(drawing) {
    if (!this.element.isConnected) return this.stream?.close();
    this.replaceShape(drawing);
    this.replaceParts(drawing);
    const { seq, finished } = drawing.dataset;
    const wasFinished = this.element.dataset.finished === "true";
    this.element.dataset.seq = seq;
    this.element.dataset.finished = finished;
    this.log = this.log.filter((event) => event.seq > Number(seq));
    this.log.forEach((event) => apply(this.element, event));
    this.element.dispatchEvent(new CustomEvent("fragment:replaced", { bubbles: true }));
    if (finished === "true" && this.log.length === 0) this.stream?.close();
    else if (wasFinished || this.stream?.ended) this.listen();
  }

  // The plan's shape changes when it is first drawn, and when a retry or a new plan changes its steps.
  replaceShape(drawing) {
    const fresh = drawing.querySelector("[data-shape]");
    const old = this.element.querySelector("[data-shape]");
    if (!fresh || !old || fresh.dataset.shape === old.dataset.shape) return;
    const shape = document.importNode(fresh, true);
    old.replaceWith(shape);
    window.htmx?.process(shape);
    partsOf(fresh).forEach((part) => this.parts.set(part.dataset.part, part.outerHTML));
  }

  replaceParts(drawing) {
    const focused = keyOf(document.activeElement);
    for (const fresh of partsOf(drawing)) {
      const name = fresh.dataset.part;
      const old = this.element.querySelector(`[data-part="${CSS.escape(name)}"]`);
      if (!old || (this.parts.get(name) === fresh.outerHTML && !("touched" in old.dataset))) continue;
      this.parts.set(name, fresh.outerHTML);
      const part = document.importNode(fresh, true);
      old.replaceWith(part);
      window.htmx?.process(part);
      if (focused && !document.activeElement?.matches("button, input, textarea, a")) refocus(part, focused);
    }
  }

  showLine(state) {
    const line = this.element.querySelector("[data-connection]");
    if (line) line.hidden = state !== "reconnecting";
  }
}

const partsOf = (root) => [...root.querySelectorAll("[data-part]")];

const keyOf = (element) => element?.closest("[data-part]") && (element.id || element.getAttribute("name"));

function refocus(part, key) {
  part.querySelector(`#${CSS.escape(key)}, [name="${CSS.escape(key)}"]`)?.focus();
}
