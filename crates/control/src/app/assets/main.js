// Starts the page: gets a token, shows the right page, keeps it fresh.

import { exchange, forgetToken, hasToken, Refusal, Unreachable } from "./api.js";
import { listenToThePerson } from "./actions.js";
import { listenToTheBox } from "./box.js";
import { examineIfNew, forget, leave, markPatient } from "./doctor.js";
import { listen } from "./live.js";
import { complainIn, explained, forgive, load, toast } from "./view.js";

const OVERVIEW = ["verdict", "jobs", "friends", "near", "sets", "computer", "activity"];
const LIVE = [...OVERVIEW, "network", "doctor"];
const PAGES = ["overview", "doctor", "network", "options"];
const AGING = 30000; // Times like “5 minutes ago” are drawn anew this often.
const by = (id) => document.getElementById(id);
const wanted = new Set();
let unlocked = false;

function show(page) {
  for (const name of ["locked", ...PAGES]) by(name).hidden = name !== page;
  for (const link of document.querySelectorAll("[data-page-link]")) {
    if (link.dataset.pageLink === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  for (const element of document.querySelectorAll("[data-needs-token]")) element.hidden = page === "locked";
}

function lock(why) {
  unlocked = false;
  forgetToken();
  forget();
  for (const place of document.querySelectorAll("[data-section]")) place.replaceChildren();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  by("command-output").replaceChildren();
  by("offline").hidden = true;
  if (why) by("locked-why").textContent = why;
  show("locked");
}

function reachable(yes) {
  by("offline").hidden = yes;
  by("connection").className = `state ${yes ? "good" : "bad"}`;
  by("connection-word").textContent = yes ? "Live" : "No answer";
  if (!yes) {
    by("offline-why").textContent = `It may be starting, or it is not running: “kith status” in a terminal tells. If it runs, a firewall on this computer must let TCP port ${location.port} through from localhost to localhost. This page tries again by itself.`;
  }
}

// Whoever had Kith started anew from here knows why the access is gone, and learns that it was done.
function ended() {
  const asked = sessionStorage.getItem("kith-restarted") !== null;
  sessionStorage.removeItem("kith-restarted");
  return asked ? "Kith was started anew, as you asked. The access of this page has ended with the old run." : "The access has ended: Kith was started anew, or this tab was open for very long.";
}

function complain(error, dialog) {
  if (error instanceof Unreachable) return reachable(false);
  if (error instanceof Refusal && error.status === 401) return lock(ended());
  const text = explained(error);
  if (!dialog?.open || !complainIn(dialog, text)) toast(text, "bad");
}

async function guarded(work, button) {
  const dialog = button?.closest("dialog");
  const focused = button !== undefined && document.activeElement === button;
  if (dialog) forgive(dialog);
  if (button) button.disabled = true;
  try {
    await work();
  } catch (error) {
    complain(error, dialog);
  } finally {
    if (button) button.disabled = false;
    if (focused && document.activeElement === document.body) button.focus();
  }
}

// Draws sections anew; while the tab is hidden only remembers them.
function refresh(sections) {
  for (const section of sections) wanted.add(section);
  if (document.hidden || !unlocked) return;
  // What stands on another page than the first is fetched by who looks at it.
  const due = [...wanted].filter((section) => OVERVIEW.includes(section) || by(section)?.hidden === false);
  wanted.clear();
  guarded(async () => {
    await Promise.all(due.map((section) => load(section)));
    if (due.includes("doctor")) markPatient();
  });
}

function route() {
  if (!unlocked) return;
  const named = /^#\/(\w+)/.exec(location.hash)?.[1];
  const page = PAGES.includes(named) ? named : "overview";
  show(page);
  document.title = page === "overview" ? "Kith" : `Kith – ${by(page).querySelector("h1").textContent}`;
  if (page === "doctor") {
    refresh(["doctor"]);
    markPatient();
    return guarded(async () => examineIfNew());
  }
  leave();
  if (page === "options") guarded(() => load("settings"));
  else refresh(page === "network" ? ["network"] : OVERVIEW);
}

async function start() {
  const code = /^#code=([A-Za-z0-9_-]+)$/.exec(location.hash)?.[1];
  if (code) {
    // Out of the address, the history and everybody's sight before anything else.
    history.replaceState(null, "", "/");
    try {
      await exchange(code);
    } catch (error) {
      if (error instanceof Unreachable) return reachable(false);
      return lock(explained(error));
    }
  }
  if (!hasToken()) return lock();
  unlocked = true;
  route();
  try {
    await listen(refresh, (alive) => {
      reachable(alive);
      if (alive) refresh(LIVE);
    });
  } catch (error) {
    complain(error);
  }
}

listenToTheBox(guarded);
listenToThePerson(guarded);
addEventListener("hashchange", () => (location.hash.startsWith("#code=") ? location.reload() : route()));
document.addEventListener("visibilitychange", () => refresh([]));
setInterval(() => {
  if (!unlocked) return;
  if (!by("overview").hidden) refresh(OVERVIEW);
  else if (!by("network").hidden) refresh(["network"]);
}, AGING);
start();
