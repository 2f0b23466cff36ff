// Two small things that need no library: a temperature slider without a kernel (lesson 03), and a filter for the ledger.
"use strict";

function softened(logits, temperature) {
  const highest = Math.max(...logits);
  const weights = logits.map((z) => Math.exp((z - highest) / temperature));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / sum);
}

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.append(...children);
  return made;
}

function bars(title, count) {
  const fills = Array.from({ length: count }, () => element("span", { class: "fill" }));
  const values = Array.from({ length: count }, () => element("span", { class: "value" }));
  const rows = fills.map((fill, k) => element("div", { class: "bar" }, element("span", { class: "name" }, `class ${k}`), element("span", { class: "track" }, fill), values[k]));
  return { box: element("div", { class: "bars" }, element("p", { class: "bars-title" }, title), ...rows), fills, values };
}

function temperatureSlider(place) {
  const logits = JSON.parse(place.dataset.logits);
  const count = logits.length;
  const slider = element("input", { type: "range", id: "temperature-slider", min: "-1", max: "2", step: "0.02", value: "0" });
  const said = element("output", { for: "temperature-slider" });
  const above = bars("teacher's probability", count);
  const below = bars("push on the student's logits, with T²", count);
  const largest = Math.max(...logits.map((z) => Math.abs(z))) / 2;

  function draw() {
    const temperature = 10 ** Number(slider.value);
    const p = softened(logits, temperature);
    const text = `T = ${temperature.toFixed(2)}`;
    said.textContent = text;
    slider.setAttribute("aria-valuetext", `${text}, probabilities ${p.map((x) => x.toFixed(2)).join(", ")}`);
    p.forEach((x, k) => {
      const push = temperature * (x - 1 / count); // minus the gradient of T² KL for a student whose logits are all 0
      above.fills[k].style.width = `${100 * x}%`;
      above.values[k].textContent = x.toFixed(3);
      const half = Math.min(Math.abs(push) / largest, 1) * 50;
      below.fills[k].style.width = `${half}%`;
      below.fills[k].style.marginLeft = push < 0 ? `${50 - half}%` : "50%";
      below.values[k].textContent = push.toFixed(2);
    });
  }

  slider.addEventListener("input", draw);
  const label = element("label", { for: "temperature-slider" }, "Temperature ");
  place.replaceChildren(element("p", { class: "slider" }, label, slider, " ", said), above.box, below.box);
  draw();
}

function ledgerFilter(table) {
  const rows = [...table.tBodies[0].rows];
  const found = [...new Set(rows.flatMap((row) => row.dataset.verdicts.split(" ")))].filter((name) => name !== "MISSING");
  const choice = element("select", { id: "verdict-filter" }, element("option", { value: "" }, "all verdicts"), ...found.map((name) => element("option", { value: name }, name)));
  const said = element("span", { role: "status" });

  function show() {
    const wanted = choice.value;
    rows.forEach((row) => { row.hidden = Boolean(wanted) && !row.dataset.verdicts.split(" ").includes(wanted); });
    said.textContent = ` ${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
  }

  choice.addEventListener("change", show);
  const around = table.closest(".wide") || table;
  around.before(element("p", { class: "filter" }, element("label", { for: "verdict-filter" }, "Show "), choice, said));
  show();
}

// A link to a claim that the filter hides, or into a folded block, opens what it leads to.
function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let node = target; node; node = node.parentElement) {
    if (node.tagName === "DETAILS") node.open = true;
    if (node.hidden) node.hidden = false;
  }
  target.scrollIntoView();
}

document.querySelectorAll(".temperature[data-logits]").forEach(temperatureSlider);
document.querySelectorAll("table#ledger").forEach(ledgerFilter);
window.addEventListener("hashchange", reveal);

// What is wider than its place can be scrolled; then the keyboard must reach it.
function reachable() {
  document.querySelectorAll(".bd-article .cell_output table, .bd-article section[aria-label] table, .bd-article div.math, .bd-article mjx-container[display]").forEach((box) => {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
  });
}

window.addEventListener("load", () => { reachable(); setTimeout(reachable, 1500); });
window.addEventListener("resize", reachable);
