// Plays what happened in a run that is over again, from its stored events and with the live timeline's own animation.
// The server draws the run as it was before its first event; each step's last word brings its present card back.
import { apply } from "./timeline.js";
import { toast } from "./page.js";

const MAX_EVENTS = 5000;
const LONGEST_GAP_MS = 1500; // a person who was asked, a slow server: nobody waits for them again
const LEAST_GAP_MS = { STEP_STARTED: 350, STEP_FINISHED: 350, APPROVAL_REQUIRED: 700, RUN_FINISHED: 300, RUN_ERROR: 300 };
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

export function showReplays(root) {
  root.querySelectorAll("[data-replay]").forEach((bar) => { bar.hidden = false; });
}

export function wireReplay() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-replay-open]");
    if (!button) return;
    button.disabled = true;
    try {
      const bar = button.closest("[data-replay]");
      new Replay(bar.closest("[data-live]"), bar, await eventsOf(bar.dataset.replay), await blankOf(bar));
    } catch {
      toast("What happened in this run could not be loaded. Try again.");
    } finally {
      button.disabled = false;
    }
  });
}

async function eventsOf(url) {
  const events = [];
  let next = `${url}?limit=200`;
  while (next && events.length < MAX_EVENTS) {
    const page = await answerOf(next, "application/json").then((response) => response.json());
    events.push(...page.results.map(({ data, ...event }) => ({ ...data, ...event })));
    next = page.next && new URL(page.next).pathname + new URL(page.next).search;
  }
  return events;
}

async function blankOf(bar) {
  const { url } = bar.closest("[data-live]").dataset;
  const response = await answerOf(`${url}?at=start`, "text/html", { "HX-Request": "true" });
  return new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-live]");
}

async function answerOf(url, accept, headers = {}) {
  const response = await fetch(url, { headers: { Accept: accept, ...headers } });
  if (!response.ok || response.redirected) throw new Error(`${url}: ${response.status}`);
  return response;
}

const partsOf = (root) => [...root.querySelectorAll('[data-part]:not([data-part="replay"])')];

class Replay {
  constructor(run, bar, events, blank) {
    Object.assign(this, { run, bar, events });
    this.before = new Map(partsOf(blank).map((part) => [part.dataset.part, part]));
    this.after = new Map(partsOf(run).map((part) => [part.dataset.part, part.cloneNode(true)]));
    this.lastWord = new Map(events.flatMap((event, at) => (event.type === "STEP_FINISHED" ? [[event.step, at]] : [])));
    this.gone = new AbortController();
    this.wire();
    this.seek(0);
    bar.classList.add("open");
    if (calm.matches) this.pause();
    else this.play();
    this.find("play").focus();
  }

  find(name) {
    return this.bar.querySelector(`[data-replay-${name}]`);
  }

  wire() {
    const { signal } = this.gone;
    const slider = this.find("at");
    slider.max = this.events.length;
    this.find("play").addEventListener("click", () => (this.timer ? this.pause() : this.play()), { signal });
    this.find("next").addEventListener("click", () => this.step(), { signal });
    slider.addEventListener("input", () => this.seek(Number(slider.value)), { signal });
    this.find("close").addEventListener("click", () => this.close(), { signal });
    this.run.addEventListener("run:changed", () => this.close(), { signal });
  }

  play() {
    if (this.at >= this.events.length) this.seek(0);
    this.label("⏸ Pause");
    this.wait();
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = null;
    this.label("▶ Play");
  }

  label(words) {
    this.find("play").textContent = words;
  }

  wait() {
    if (this.at >= this.events.length || !this.run.isConnected) return this.pause();
    const speed = Number(this.find("speed").value) || 1;
    this.timer = setTimeout(() => {
      this.forward();
      this.wait();
    }, gapBefore(this.events, this.at) / speed);
  }

  // To the next event that shows.
  step() {
    this.pause();
    while (this.at < this.events.length && !(this.events[this.at].type in LEAST_GAP_MS)) this.forward();
    this.forward();
  }

  // Going back is going forward from the start, at once.
  seek(target) {
    if (this.timer) this.pause();
    if (this.at === undefined || target < this.at) {
      this.at = 0;
      this.show(this.before);
      apply(this.run, { type: "RUN_STARTED" });
    }
    while (this.at < target) this.forward();
    this.tell();
  }

  forward() {
    const event = this.events[this.at];
    if (!event) return;
    apply(this.run, event);
    if (event.type === "STEP_FINISHED" && this.lastWord.get(event.step) === this.at) this.swap(`step-${event.step}`, this.after);
    this.at += 1;
    if (this.at === this.events.length) this.show(this.after);
    this.tell();
  }

  tell() {
    const [first, now] = [this.events[0], this.events[Math.max(0, this.at - 1)]];
    const seconds = first ? (Date.parse(now.at) - Date.parse(first.at)) / 1000 : 0;
    this.find("at").value = this.at;
    this.find("clock").textContent = seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
    this.find("at").setAttribute("aria-valuetext", this.find("clock").textContent);
  }

  show(parts) {
    [...parts.keys()].filter((name) => name !== "head").forEach((name) => this.swap(name, parts));
    if (parts === this.after) this.swap("head", parts);
  }

  swap(name, parts) {
    const old = this.run.querySelector(`[data-part="${CSS.escape(name)}"]`);
    const fresh = parts.get(name);
    if (!old || !fresh) return;
    const part = document.importNode(fresh, true);
    old.replaceWith(part);
    window.htmx?.process(part);
    part.dispatchEvent(new CustomEvent("fragment:replaced", { bubbles: true }));
    this.run.dispatchEvent(new CustomEvent("steps:changed", { bubbles: true }));
  }

  close() {
    this.pause();
    this.gone.abort();
    this.show(this.after);
    this.bar.classList.remove("open");
    this.find("open").focus();
  }
}

// As long as it took, but no longer than one cares to wait; what begins or ends is seen, what does so together stays so.
function gapBefore(events, at) {
  const [event, previous] = [events[at], events[at - 1]];
  if (!previous) return 0;
  const took = Math.min(Date.parse(event.at) - Date.parse(previous.at), LONGEST_GAP_MS);
  const shown = events.slice(0, at).findLast((each) => each.type in LEAST_GAP_MS);
  const isNew = shown?.type !== event.type || Date.parse(event.at) - Date.parse(shown.at) > 50;
  return Math.max(took, isNew ? LEAST_GAP_MS[event.type] ?? 0 : 0);
}
