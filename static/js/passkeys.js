// Passkeys and security keys: a form with data-passkey asks the browser for a credential, then sends it.
// data-options names the element with the server's question, data-ask the address to fetch it from.

const WORDS = {
  NotAllowedError: "Nothing was done: it was cancelled, or took too long. Try again.",
  InvalidStateError: "This key is known already, or cannot be used here.",
  NotSupportedError: "This key cannot do what is asked of it. Try it without “Sign in with it alone”, or another one.",
  SecurityError: "The browser refuses passkeys at this address.",
};

export function wirePasskeys() {
  for (const form of document.querySelectorAll("form[data-passkey]")) wire(form);
}

function wire(form) {
  const button = form.querySelector("button");
  const why = whyNot();
  if (why.length) return tell(form, ...why);
  button.disabled = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answer(form, button);
  });
}

// Words, and where to go instead; browsers know passkeys by the name of a site, never by a number.
function whyNot() {
  const { hostname, port } = location;
  if (hostname === "127.0.0.1" || hostname === "[::1]") {
    return ["Passkeys need a name instead of a number:", `http://localhost${port && `:${port}`}${location.pathname}`];
  }
  if (/^[\d.]+$|^\[/.test(hostname)) return ["Passkeys need this registry to be reached by a name, not by a number."];
  if (!window.isSecureContext) return ["Passkeys need HTTPS."];
  return window.webauthnJSON?.supported() ? [] : ["This browser knows no passkeys."];
}

async function answer(form, button) {
  button.disabled = true;
  tell(form, "");
  try {
    const credential = await window.webauthnJSON[form.dataset.passkey](await question(form));
    form.elements.credential.value = JSON.stringify(credential);
    form.submit();
  } catch (error) {
    tell(form, WORDS[error.name] ?? "It did not work. Reload the page and try again.");
    button.disabled = false;
  }
}

async function question(form) {
  const { options, ask } = form.dataset;
  if (options) return chosen(form, JSON.parse(document.getElementById(options).textContent));
  const response = await fetch(ask, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return (await response.json()).request_options;
}

// A passkey that signs in alone is kept by its device and asks who holds it.
function chosen(form, options) {
  const alone = form.elements.passwordless;
  if (!alone) return options;
  const wanted = options.publicKey.authenticatorSelection;
  wanted.residentKey = alone.checked ? "required" : "discouraged";
  wanted.requireResidentKey = alone.checked;
  if (alone.checked) wanted.userVerification = "required";
  return options;
}

function tell(form, words, address) {
  const place = form.querySelector("[role=alert]");
  place.textContent = words;
  place.hidden = !words;
  if (!address) return;
  const link = document.createElement("a");
  link.href = link.textContent = address;
  place.append(" ", link);
}
