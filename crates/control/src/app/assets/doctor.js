// The doctor's page: has the way to a friend looked at, and shows that it is being done.

import { fragment } from "./api.js";
import { morph } from "./view.js";

const LONGEST = 10; // Seconds: the engine promises no more.
const by = (id) => document.getElementById(id);
let running = null;
let shown = null;

// Whom the page is about: a device id, or nothing for this computer alone.
export const patient = () => /^#\/doctor\/([\w-]+)$/.exec(location.hash)?.[1] ?? "";

export function markPatient() {
  for (const link of document.querySelectorAll("[data-patient]")) {
    if (link.dataset.patient === patient()) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

// Only one is looked at at a time: whoever chooses another ends the first.
export async function examine(friend, code = null) {
  running?.abort();
  const stop = new AbortController();
  running = stop;
  const place = by("diagnosis");
  if (shown !== friend) {
    place.replaceChildren();
    shown = null;
  }
  place.classList.add("stale");
  const begun = performance.now();
  const tick = () => {
    const passed = (performance.now() - begun) / 1000;
    by("examining-bar").value = Math.min(passed, LONGEST);
    by("examining-time").textContent = `${Math.floor(passed)} s of ${LONGEST} s at most`;
  };
  tick();
  by("examining").hidden = false;
  by("examine-again").hidden = true;
  const clock = setInterval(tick, 250);
  try {
    const body = await fragment("diagnosis", { friend: friend === "" ? null : friend, with: code }, stop.signal);
    if (running !== stop) return;
    shown = friend;
    morph(place, body);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    clearInterval(clock);
    if (running === stop) {
      running = null;
      place.classList.remove("stale");
      by("examining").hidden = true;
      by("examine-again").hidden = false;
    }
  }
}

// What is shown stays until the person asks again or chooses somebody else.
export const examineIfNew = () => (shown === patient() && running === null ? undefined : examine(patient()));

export function leave() {
  running?.abort();
}

export function forget() {
  leave();
  shown = null;
}
