// Draws the arrows between a plan's cards: one SVG under them, one path for each need that no longer path implies.

const SVG = "http://www.w3.org/2000/svg";
const HEAD = 7; // pixels, as all here
const TOP = 7; // above the cards
const observer = new ResizeObserver((entries) => entries.forEach(({ target }) => draw(target.closest(".steps"))));

export function drawAll(root) {
  const plans = root.matches?.(".steps") ? [root] : root.querySelectorAll?.(".steps") ?? [];
  for (const steps of plans) {
    draw(steps);
    observer.observe(steps);
    steps.querySelectorAll(".step").forEach((step) => observer.observe(step));
  }
}

document.addEventListener("steps:changed", (event) => event.target.querySelectorAll(".steps").forEach(draw));

function draw(steps) {
  if (!steps?.isConnected) return;
  const cards = new Map([...steps.querySelectorAll(".step")].map((step) => [step.dataset.step, step]));
  const edges = edgesOf(cards);
  const svg = canvas(steps);
  const key = JSON.stringify(edges.map(([source, target]) => [geometry(steps, source, target), flow(source, target)]));
  steps.classList.add("drawn");
  if (svg.dataset.key === key) return;
  svg.dataset.key = key;
  svg.replaceChildren(...edges.map(([source, target]) => arrow(steps, source, target)));
}

function canvas(steps) {
  let svg = steps.querySelector(":scope > svg.arrows");
  if (!svg) {
    svg = document.createElementNS(SVG, "svg");
    svg.classList.add("arrows");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("width", "1");
    svg.setAttribute("height", "1");
    steps.prepend(svg);
  }
  return svg;
}

function edgesOf(cards) {
  const needs = (id) => (cards.get(id)?.dataset.needs ?? "").split(" ").filter((need) => cards.has(need));
  const reaches = (from, to) => needs(from).some((need) => need === to || reaches(need, to));
  return [...cards].flatMap(([id, target]) => {
    const direct = needs(id);
    const implied = (need) => direct.some((other) => other !== need && reaches(other, need));
    return direct.filter((need) => !implied(need)).map((need) => [cards.get(need), target]);
  });
}

function flow(source, target) {
  const [from, to] = [source.dataset.state, target.dataset.state];
  if (from === "failed") return "failed";
  if (from !== "succeeded") return "waiting";
  return to === "running" ? "flowing" : "done";
}

function box(steps, card) {
  const frame = steps.getBoundingClientRect();
  const rect = card.getBoundingClientRect();
  return {
    left: rect.left - frame.left + steps.scrollLeft, right: rect.right - frame.left + steps.scrollLeft,
    top: rect.top - frame.top, bottom: rect.bottom - frame.top,
  };
}

// Beside each other: from the right edge to the left edge at the height of the titles, over the cards between them.
// Below each other: straight down, or by the left margin past the cards between them.
function geometry(steps, source, target) {
  const [a, b] = [box(steps, source), box(steps, target)];
  const isFar = layerOf(steps, target) - layerOf(steps, source) > 1;
  if (b.left >= a.right) return isFar ? overTheTop(a, b) : sideways(a, b);
  return isFar || !isNext(steps, source, target) ? byTheMargin(a, b) : straightDown(a, b);
}

const layerOf = (steps, card) => [...steps.querySelectorAll(".layer")].indexOf(card.closest(".layer"));

function isNext(steps, source, target) {
  const cards = [...steps.querySelectorAll(".step")];
  return cards.indexOf(target) === cards.indexOf(source) + 1;
}

function sideways(a, b) {
  const [x1, y1, x2, y2] = [a.right + 5, a.top + 30, b.left - 5, b.top + 30].map(Math.round);
  const bend = Math.min(60, (x2 - x1) / 2);
  return { path: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - HEAD - bend} ${y2} ${x2 - HEAD} ${y2}`, head: [x2, y2, 0] };
}

function overTheTop(a, b) {
  const [x1, y1, x2, y2] = [a.right + 5, a.top + 30, b.left - 5, b.top + 30].map(Math.round);
  const up = `C${x1 + 22} ${y1} ${x1 + 6} ${TOP} ${x1 + 34} ${TOP}`;
  const down = `C${x2 - HEAD - 4} ${TOP} ${x2 - HEAD - 24} ${y2} ${x2 - HEAD} ${y2}`;
  return { path: `M${x1} ${y1}${up}L${x2 - HEAD - 30} ${TOP}${down}`, head: [x2, y2, 0] };
}

function straightDown(a, b) {
  const [x, y1, y2] = [a.left + 28, a.bottom + 4, b.top - 4].map(Math.round);
  return { path: `M${x} ${y1}L${x} ${y2 - HEAD}`, head: [x, y2, 90] };
}

function byTheMargin(a, b) {
  const [x, y1, y2] = [a.left - 1, a.bottom - 18, b.top + 26].map(Math.round);
  const margin = Math.max(3, x - 8);
  return { path: `M${x} ${y1}H${margin}V${y2}H${x - 4}`, head: [x, y2, 0] };
}

function arrow(steps, source, target) {
  const { path, head } = geometry(steps, source, target);
  const group = document.createElementNS(SVG, "g");
  group.dataset.flow = flow(source, target);
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("class", "arrow");
  line.setAttribute("d", path);
  const tip = document.createElementNS(SVG, "path");
  tip.setAttribute("class", "arrow-head");
  tip.setAttribute("d", `M0 0L${-HEAD - 1} -5L${-HEAD - 1} 5Z`);
  tip.setAttribute("transform", `translate(${head[0]} ${head[1]}) rotate(${head[2]})`);
  group.append(line, tip);
  return group;
}
