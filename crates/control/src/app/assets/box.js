// The command box: the field, the list of what matches, and what came of it.

import { Refusal, Unreachable } from "./api.js";
import { matches, run } from "./command.js";
import { explained } from "./view.js";

const by = (id) => document.getElementById(id);
let offered = [];
let chosen = -1;
let asked = 0;

function offer(list) {
  offered = list;
  chosen = -1;
  const place = by("command-matches");
  place.replaceChildren(...list.map(({ label, about }, position) => {
    const row = document.createElement("li");
    row.id = `command-match-${position}`;
    row.setAttribute("role", "option");
    row.dataset.match = String(position);
    const [name, text] = [document.createElement("code"), document.createElement("span")];
    name.textContent = label;
    text.textContent = about;
    row.append(name, text);
    return row;
  }));
  place.hidden = list.length === 0;
  by("command-line").setAttribute("aria-expanded", String(list.length > 0));
  choose(-1);
}

function choose(position) {
  chosen = position;
  for (const row of by("command-matches").children) row.setAttribute("aria-selected", String(row.dataset.match === String(position)));
  const field = by("command-line");
  if (position < 0) field.removeAttribute("aria-activedescendant");
  else field.setAttribute("aria-activedescendant", `command-match-${position}`);
}

function take(position) {
  const field = by("command-line");
  field.value = offered[position].line;
  field.focus();
  look();
}

// While one list is fetched the person types on: only the newest counts.
async function look() {
  const mine = ++asked;
  let list = [];
  try { list = await matches(by("command-line").value); } catch { /* a list that can't be had is no list */ }
  if (mine !== asked) return;
  const whole = list.length === 1 && list[0].line.trim() === by("command-line").value.trim();
  offer(whole ? [] : list);
}

function hide() {
  asked += 1;
  offer([]);
}

function begin(output) {
  return (words) => {
    const block = document.createElement("section");
    const title = document.createElement("h3");
    title.textContent = `› ${words}`;
    block.append(title);
    output.append(block);
    const say = (text) => {
      const row = document.createElement("p");
      row.textContent = text;
      block.append(row);
      block.scrollIntoView({ block: "nearest" });
    };
    const link = (text, href) => {
      const row = document.createElement("p");
      const anchor = document.createElement("a");
      anchor.href = href;
      anchor.textContent = text;
      row.append(anchor);
      block.append(row);
    };
    const add = (body) => {
      const copies = [...body.childNodes].map((node) => document.importNode(node, true));
      block.append(...copies);
      // The page below may show the same: a name stands once in a document.
      for (const named of block.querySelectorAll("[id]")) named.removeAttribute("id");
    };
    return { say, link, add };
  };
}

export function listenToTheBox(guarded) {
  const [field, output] = [by("command-line"), by("command-output")];
  by("command").addEventListener("submit", (event) => {
    event.preventDefault();
    hide();
    output.replaceChildren();
    by("command-close").hidden = false;
    guarded(async () => {
      try {
        await run(field.value, begin(output));
        field.value = "";
      } catch (error) {
        // Whether the engine is there, and whether it still knows this page, is said where it always is.
        if (error instanceof Unreachable || (error instanceof Refusal && error.status === 401)) throw error;
        const row = document.createElement("p");
        row.className = "trouble";
        row.textContent = explained(error);
        output.append(row);
      }
    });
  });
  field.addEventListener("input", look);
  field.addEventListener("focus", look);
  field.addEventListener("blur", () => setTimeout(() => { if (document.activeElement !== field) hide(); }, 150));
  field.addEventListener("keydown", (event) => {
    const last = offered.length - 1;
    if (event.key === "ArrowDown" && last >= 0) choose(chosen >= last ? 0 : chosen + 1);
    else if (event.key === "ArrowUp" && last >= 0) choose(chosen <= 0 ? last : chosen - 1);
    else if (event.key === "Tab" && !event.shiftKey && last >= 0) take(Math.max(chosen, 0));
    else if (event.key === "Enter" && chosen >= 0) take(chosen);
    else if (event.key === "Escape" && last >= 0) hide();
    else if (event.key === "Escape") field.blur();
    else return;
    event.preventDefault();
  });
  // Before the field loses the focus, with which the list goes.
  by("command-matches").addEventListener("pointerdown", (event) => {
    const row = event.target.closest("[data-match]");
    if (!row) return;
    event.preventDefault();
    take(Number(row.dataset.match));
  });
  by("command-close").addEventListener("click", () => {
    output.replaceChildren();
    by("command-close").hidden = true;
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]") || document.querySelector("dialog[open]");
    const slash = event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !typing;
    const palette = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]");
    if (!slash && !palette) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
}
