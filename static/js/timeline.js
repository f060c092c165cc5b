// Applies a run's events to its timeline at once. What an event means beyond a state or a piece of text (a plan to
// draw, a result to format) is drawn by the server: live.js fetches those parts, so that both can never disagree.

const LABELS = {
  pending: "waiting", awaiting_approval: "needs your approval", running: "running", succeeded: "done",
  failed: "failed", skipped: "skipped", cancelled: "stopped", unknown: "may have happened", planning: "planning",
};
const MAX_OUTPUT_CHARS = 20_000;

const NEEDS_REDRAW = new Set([
  "RUN_STARTED", "STATE_SNAPSHOT", "PLAN_READY", "TOOL_CALL_ARGS", "STEP_FINISHED", "APPROVAL_REQUIRED", "TOOL_CALL_RESULT",
  "TEXT_MESSAGE_START", "TEXT_MESSAGE_END", "INPUT_REQUIRED", "PLAN_PREVIEW", "RUN_FINISHED", "RUN_ERROR",
]);

export const needsRedraw = (event) => NEEDS_REDRAW.has(event.type);

const HANDLERS = {
  RUN_STARTED: (root) => setRunState(root, "running"),
  STEP_STARTED: (root, event) => setStepState(root, event.step, "running"),
  TOOL_CALL_START: (root, event) => setStepState(root, event.step, "running"),
  TOOL_CALL_PROGRESS: showProgress,
  TOOL_CALL_LOG: showLog,
  STEP_FINISHED: (root, event) => setStepState(root, event.step, event.status),
  APPROVAL_REQUIRED(root, event) {
    setStepState(root, event.step, event.reason === "unknown" ? "unknown" : "awaiting_approval");
    setRunState(root, "awaiting_approval");
  },
  TEXT_MESSAGE_START: startAnswer,
  TEXT_MESSAGE_CONTENT: (root, event) => appendAnswer(root, event.delta),
  RUN_FINISHED: (root, event) => setRunState(root, event.status ?? "succeeded"),
  RUN_ERROR: (root) => setRunState(root, "failed"),
};

export function apply(root, event) {
  HANDLERS[event.type]?.(root, event);
  announce(root, event);
}

const card = (root, step) => root.querySelector(`[data-step="${CSS.escape(String(step))}"]`);

// The server's next drawing of this part replaces it even when the server's text is the same as before.
const touch = (element) => element.closest("[data-part]")?.setAttribute("data-touched", "");

function setRunState(root, state) {
  const badge = root.querySelector("[data-run-badge]");
  if (!badge || badge.dataset.state === state) return;
  badge.dataset.state = state;
  badge.textContent = LABELS[state] ?? state;
  touch(badge);
}

function setStepState(root, step, state) {
  const element = card(root, step);
  if (!element || element.dataset.state === state) return;
  element.dataset.state = state;
  const badge = element.querySelector(".badge[data-state]");
  badge.dataset.state = state;
  badge.textContent = LABELS[state] ?? state;
  if (state === "running") element.querySelector("[data-since]")?.setAttribute("data-since", new Date().toISOString());
  if (state !== "running") element.querySelector("progress")?.setAttribute("hidden", "");
  touch(element);
  root.dispatchEvent(new CustomEvent("steps:changed", { bubbles: true }));
}

// A server's progress messages are the output that grows while it works.
function showProgress(root, event) {
  const element = card(root, event.step);
  const bar = element?.querySelector("progress");
  if (!bar) return;
  bar.hidden = false;
  if (event.total) {
    bar.max = event.total;
    bar.value = event.progress;
  } else {
    bar.removeAttribute("value");
  }
  appendOutput(element, event.message);
  touch(element);
}

// What a started command writes to its standard error, folded away until somebody asks.
function showLog(root, event) {
  const element = card(root, event.step);
  const log = element?.querySelector("[data-log]");
  if (!log || typeof event.delta !== "string") return;
  log.closest("details").hidden = false;
  log.textContent = (log.textContent + event.delta).slice(-MAX_OUTPUT_CHARS);
  touch(element);
}

function appendOutput(element, message) {
  const output = element.querySelector("[data-partial]");
  if (!output || !message) return;
  const before = output.textContent ? `${output.textContent}\n` : "";
  output.hidden = false;
  output.textContent = (before + message).slice(-MAX_OUTPUT_CHARS);
  output.scrollTop = output.scrollHeight;
}

const arriving = new Map(); // text element → what came since the last frame

function startAnswer(root) {
  const text = root.querySelector("[data-answer]");
  if (!text) return;
  arriving.delete(text);
  text.replaceChildren();
  text.hidden = false;
  text.classList.add("streaming");
  touch(text);
}

// However fast words come, the page is written to and scrolled once a frame.
function appendAnswer(root, delta) {
  const text = root.querySelector("[data-answer]");
  if (!text || typeof delta !== "string") return;
  if (!arriving.size) requestAnimationFrame(writeArrived);
  arriving.set(text, (arriving.get(text) ?? "") + delta);
  touch(text);
}

function writeArrived() {
  const following = window.innerHeight + window.scrollY > document.body.scrollHeight - 160;
  for (const [text, words] of arriving) {
    text.hidden = false;
    text.classList.add("streaming");
    if (text.lastChild?.nodeType === Node.TEXT_NODE) text.lastChild.appendData(words);
    else text.append(words);
  }
  arriving.clear();
  if (following) window.scrollTo({ top: document.body.scrollHeight });
}

function announce(root, event) {
  const line = root.querySelector("[data-announce]");
  const words = {
    PLAN_READY: () => "The plan is ready.",
    PLAN_PREVIEW: () => "The plan waits for your approval.",
    STEP_FINISHED: () => `Step ${event.step}: ${LABELS[event.status] ?? event.status}.`,
    APPROVAL_REQUIRED: () => `Step ${event.step} ${event.reason === "unknown" ? "may have happened: say how to go on" : "needs your approval"}.`,
    RUN_FINISHED: () => `The run is ${LABELS[event.status] ?? "done"}.`,
    RUN_ERROR: () => "The run failed.",
  }[event.type];
  if (line && words) line.textContent = words();
}
