// What every page shares: messages of failed requests, keyboard shortcuts, copy buttons, confirmations.

const TOAST_MS = 9000;
const WORDS = {
  0: "The server cannot be reached. Check that it is running, then try again.",
  403: "You may not do this, or your session changed. Reload the page and try again.",
  404: "This is not there any more. Reload the page to see what is.",
  429: "Too many requests. Wait a little, then try again.",
};

export function wirePage() {
  document.addEventListener("keydown", shortcuts);
  document.addEventListener("keydown", pressByKey);
  document.addEventListener("click", copy);
  document.addEventListener("click", confirmFirst, true);
  document.addEventListener("submit", busy);
  document.addEventListener("change", chooseTools);
  const body = document.body;
  body.addEventListener("htmx:responseError", (event) => toast(errorOf(event.detail.xhr)));
  body.addEventListener("htmx:sendError", () => toast(WORDS[0]));
  body.addEventListener("htmx:timeout", () => toast("This took too long. Try again."));
  body.addEventListener("htmx:beforeSwap", leaveWhenSignedOut);
  body.addEventListener("runChanged", (event) => {
    document.querySelector(`[data-live="${event.detail.value}"]`)?.dispatchEvent(new Event("run:changed"));
  });
}

export const csrfToken = () => JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];

export function toast(text, tone = "bad") {
  const element = document.createElement("div");
  element.className = `toast ${tone}`;
  const words = document.createElement("p");
  words.textContent = text;
  const close = document.createElement("button");
  close.className = "button small quiet";
  close.type = "button";
  close.textContent = "Close";
  close.addEventListener("click", () => element.remove());
  element.append(words, close);
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), TOAST_MS);
}

function errorOf(xhr) {
  try {
    return JSON.parse(xhr.responseText).error.message;
  } catch {
    return WORDS[xhr.status] ?? `The request failed (${xhr.status}). Try again; if it stays so, look at the server's log.`;
  }
}

function leaveWhenSignedOut(event) {
  if (!new URL(event.detail.xhr.responseURL || location.href).pathname.startsWith("/accounts/login")) return;
  event.detail.shouldSwap = false;
  location.reload();
}

// In a form with such a button Ctrl-Enter presses it, once what was typed is taken in.
function pressByKey(event) {
  const button = event.target.form?.querySelector("[data-ctrl-enter]");
  if (!button || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  button.click();
}

function shortcuts(event) {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.querySelector("[data-slash]") ?? document.querySelector(".search input");
  if (!search) return;
  event.preventDefault();
  search.focus();
  search.select();
}

async function copy(event) {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
    button.textContent = "Copied";
  } catch {
    source.select?.();
    button.textContent = "Press Ctrl-C";
  }
  setTimeout(() => { button.textContent = words; }, 2000);
}

function confirmFirst(event) {
  const button = event.target.closest?.("[data-confirm]");
  if (button && !window.confirm(button.dataset.confirm)) {
    event.preventDefault();
    event.stopPropagation();
  }
}

// Ticking one tool off means: only these.
function chooseTools(event) {
  if (event.target.name !== "tools") return;
  const chosen = event.target.form.querySelector('input[name="scope"][value="chosen"]');
  if (chosen) chosen.checked = true;
}

function busy(event) {
  if (event.target.hasAttribute("hx-post") || event.defaultPrevented) return;
  const button = event.submitter;
  if (!button || event.target.method === "get") return;
  setTimeout(() => {
    button.setAttribute("aria-busy", "true");
    button.disabled = true;
  });
}

window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll('button[aria-busy="true"]')) {
    button.removeAttribute("aria-busy");
    button.disabled = false;
  }
});
