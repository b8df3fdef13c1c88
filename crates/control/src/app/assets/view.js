// Puts parts of the page in their places without disturbing what the person is doing: focus, open details, typed text and
// running transitions stay.

import { fragment } from "./api.js";

const KEPT = new Set(["open", "aria-current"]);

function syncAttributes(target, source) {
  for (const { name } of [...target.attributes]) {
    if (!source.hasAttribute(name) && !KEPT.has(name)) target.removeAttribute(name);
  }
  for (const { name, value } of source.attributes) {
    if (!KEPT.has(name) && target.getAttribute(name) !== value) target.setAttribute(name, value);
  }
}

const alike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.id ?? "") === (other.id ?? "");

// Makes the children of `target` like those of `source`.
export function morph(target, source) {
  const byId = new Map();
  for (const child of target.children) if (child.id) byId.set(child.id, child);
  let cursor = target.firstChild;
  for (const wanted of source.childNodes) {
    let found = wanted.id ? byId.get(wanted.id) : null;
    if (!found && cursor && alike(cursor, wanted)) found = cursor;
    if (!found || found.nodeName !== wanted.nodeName) {
      target.insertBefore(document.importNode(wanted, true), cursor);
      continue;
    }
    if (found === cursor) cursor = cursor.nextSibling;
    else target.insertBefore(found, cursor);
    if (found.nodeType !== Node.ELEMENT_NODE) {
      if (found.data !== wanted.data) found.data = wanted.data;
    } else if (!found.isEqualNode(wanted)) {
      syncAttributes(found, wanted);
      morph(found, wanted);
    }
  }
  while (cursor) {
    const next = cursor.nextSibling;
    cursor.remove();
    cursor = next;
  }
}

const loading = new Map();

// Fetches a section and puts it in its place. While one fetch runs, at most one more is due: the engine is never asked faster than it answers.
export function load(section, query = "") {
  const running = loading.get(section);
  if (running) {
    running.again = true;
    return running.done;
  }
  const entry = { again: false };
  loading.set(section, entry);
  entry.done = (async () => {
    try {
      do {
        entry.again = false;
        const body = await fragment(section + query);
        for (const place of document.querySelectorAll(`[data-section="${section}"]`)) morph(place, body);
      } while (entry.again);
    } finally {
      loading.delete(section);
    }
  })();
  return entry.done;
}

// A form starts afresh: nothing typed earlier is left in it.
export async function loadFresh(section, query = "") {
  for (const place of document.querySelectorAll(`[data-section="${section}"]`)) place.replaceChildren();
  await load(section, query);
}

// A sentence out of words that don't begin or end like one.
export const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?…:]$/.test(words) ? "" : ".");
export const explained = (error) => [error.message, error.hint].filter(Boolean).map(sentence).join(" ");

export function toast(text, tone = "good") {
  const place = document.getElementById("toasts");
  const note = document.createElement("p");
  note.className = `toast ${tone}`;
  note.textContent = text;
  place.append(note);
  // Shown anew each time, so that it lies above a dialog opened meanwhile.
  if (place.matches(":popover-open")) place.hidePopover();
  place.showPopover();
  setTimeout(() => {
    note.remove();
    if (place.childElementCount === 0 && place.matches(":popover-open")) place.hidePopover();
  }, tone === "bad" ? 12000 : 4000);
}

// What went wrong in a dialog stands in the dialog, where the eyes are.
export function complainIn(dialog, text) {
  const buttons = [...dialog.querySelectorAll(".buttons")].find((row) => row.checkVisibility());
  if (!buttons) return false;
  forgive(dialog);
  const note = document.createElement("p");
  note.className = "trouble";
  note.setAttribute("role", "alert");
  note.dataset.complaint = "";
  note.textContent = text;
  buttons.before(note);
  return true;
}

export function forgive(dialog) {
  for (const note of dialog.querySelectorAll("[data-complaint]")) note.remove();
}
