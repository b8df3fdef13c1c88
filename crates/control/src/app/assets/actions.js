// What buttons and forms do. Buttons say it in data attributes; names in them go to the engine as JSON or percent-encoded.

import { call } from "./api.js";
import { examine, patient } from "./doctor.js";
import { forgive, load, loadFresh, sentence, toast } from "./view.js";

const GIGABYTE = 1_000_000_000;
const part = encodeURIComponent;
const lines = (text) => text.split("\n").map((line) => line.replace(/\r$/, "")).filter((line) => line.trim() !== "");
const quota = (text) => (text === "" ? null : Number(text) * GIGABYTE);

async function confirmed(title, text, yes) {
  const dialog = document.getElementById("confirm");
  document.getElementById("confirm-title").textContent = title;
  document.getElementById("confirm-text").textContent = text;
  document.getElementById("confirm-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}

const ACTIONS = {
  async backup({ set = null, friend = null }) {
    const jobs = await call("POST", "/v1/backups", { set, friend });
    toast(jobs.length === 0 ? "There is nothing to back up." : "The backup has been started.");
  },
  async cancel({ job }) {
    await call("DELETE", `/v1/jobs/${part(job)}`);
    toast("Cancelled. What is at your friend already need not be sent again.");
  },
  async resume() {
    await call("POST", "/v1/resume", {});
    toast("Backups go on.");
  },
  async "remove-set"({ set, shown }) {
    if (!await confirmed(`Remove “${shown}”?`, "It is not backed up any more. What has been backed up stays at your friends.", "Remove the set")) return;
    await call("DELETE", `/v1/sets/${part(set)}`);
    await load("sets");
  },
  async "open-near"() {
    await call("POST", "/v1/near", {});
    await load("near");
  },
  async "close-near"() {
    await call("DELETE", "/v1/near");
    await load("near");
  },
  async meet({ device }) {
    await call("POST", "/v1/near/meetings", { device_id: device });
    await load("near");
  },
  async "refuse-meeting"({ meeting }) {
    await call("POST", `/v1/near/meetings/${part(meeting)}/refuse`, {});
    await load("near");
  },
  async "examine-again"() {
    await examine(patient());
  },
  async "report-code"({ friend }) {
    const { code, note } = await call("POST", "/v1/report-codes", { friend });
    const dialog = document.getElementById("report-code");
    dialog.querySelector("[data-report-code]").value = code;
    dialog.querySelector("[data-note]").textContent = sentence(note);
    dialog.showModal();
  },
  async "remove-friend"({ friend, shown }) {
    if (!await confirmed(`Remove ${shown}?`, "You stop backing up to each other. What is kept here for this friend stays on the disk.", "Remove the friend")) return;
    await call("DELETE", `/v1/friends/${part(friend)}`);
    document.getElementById("friend").close();
    await load("friends");
  },
};

const FORMS = {
  async invite(form, dialog) {
    const view = await call("POST", "/v1/invites", { quota_bytes: quota(form.elements.quota.value), own: form.elements.own.checked });
    const result = dialog.querySelector("[data-result]");
    result.querySelector("[data-invite]").value = view.invite;
    result.querySelector("[data-expires]").textContent = new Date(view.expires).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
    showResult(dialog, result);
  },
  async join(form, dialog) {
    const body = { invite: form.elements.invite.value.trim(), quota_bytes: quota(form.elements.quota.value), own: form.elements.own.checked };
    const view = await call("POST", "/v1/joins", body);
    const result = dialog.querySelector("[data-result]");
    const here = view.friend !== null;
    result.querySelector("[data-title]").textContent = here ? "You are friends now" : "Almost there";
    result.querySelector("[data-text]").textContent = here ? `${view.friend.name} and this computer can back up to each other.` : "";
    result.querySelector("[data-words]").textContent = view.safety_words;
    result.querySelector("[data-unreached]").hidden = view.reply === null;
    result.querySelector("[data-reply]").value = view.reply ?? "";
    result.querySelector("[data-failures]").replaceChildren(...view.failures.map(({ address, reason }) => {
      const line = document.createElement("li");
      line.textContent = `${address}: ${reason}`;
      return line;
    }));
    form.reset();
    showResult(dialog, result);
  },
  async meeting(form) {
    await call("POST", `/v1/near/meetings/${part(form.dataset.meeting)}/confirm`, { own: form.elements.own.checked });
    await load("near");
  },
  async set(form, dialog) {
    const checked = (name) => [...form.querySelectorAll(`input[name=${name}]:checked`)].map((box) => box.value);
    const [to, alternate] = [checked("to"), checked("alternate")];
    if (to.length === 0) throw new Error("choose at least one friend");
    const body = { name: form.elements.name.value.trim(), paths: lines(form.elements.paths.value), to, alternate, exclude: lines(form.elements.exclude.value) };
    await call("POST", "/v1/sets", body);
    dialog.close();
    await Promise.all([load("sets"), load("verdict")]);
    toast("The set is there. Start its first backup when you like.");
  },
  async friend(form, dialog) {
    const { name, quota: space, address, paused } = form.elements;
    const change = {};
    if (name.value !== name.dataset.was) change.name = name.value.trim();
    if (space.value !== (space.dataset.was ?? "") && space.value !== "") change.quota_bytes = quota(space.value);
    if (address.value.trim() !== "") change.add_address = address.value.trim();
    if (paused.checked !== (paused.dataset.was === "true")) change.paused = paused.checked;
    if (Object.keys(change).length > 0) await call("PATCH", `/v1/friends/${part(form.dataset.friend)}`, change);
    dialog.close();
    await load("friends");
  },
  async pause(form, dialog) {
    await call("POST", "/v1/pause", { seconds: Number(form.elements.seconds.value) });
    dialog.close();
    await Promise.all([load("verdict"), load("computer")]);
  },
  async outward(form) {
    const { way, host, port, user, password, mapped } = form.elements;
    const change = (key, value) => call("PUT", `/v1/settings/${part(key)}`, { value });
    if (way.value === "socks5" || way.value === "http") {
      if (host.value.trim() === "" || port.value === "") throw new Error("the proxy needs a host and a port");
      if (form.dataset.login === "true" && user.value !== "" && password.value === "") throw new Error("type the password of the proxy again");
      const login = user.value === "" ? "" : `${part(user.value)}:${part(password.value)}@`;
      await change("network.proxy", `${way.value}://${login}${host.value.trim()}:${port.value}`);
    } else {
      const table = way.value === "mapped" ? lines(mapped.value).map((line) => {
        const [destination, firewall] = line.split("=").map((side) => side.trim());
        if (!destination || !firewall) throw new Error(`“${line}” is not of the form DESTINATION = FIREWALL:PORT`);
        return `${JSON.stringify(destination)} = ${JSON.stringify(firewall)}`;
      }) : [];
      if (way.value === "mapped" && table.length === 0) throw new Error("name at least one port of the firewall");
      await change("network.mapped", `{ ${table.join(", ")} }`);
      await change("network.proxy", "");
    }
    await loadFresh("settings");
    toast("Friends are called by this way now.");
  },
  async examine(form) {
    await examine(form.dataset.friend, form.elements.with.value.trim());
    scrollTo(0, 0);
  },
  async setting(form) {
    const { key } = form.dataset;
    await call("PUT", `/v1/settings/${part(key)}`, { value: form.elements.value.value });
    form.reset();
    form.classList.remove("changed");
    await load("settings");
    toast(`${key} is changed.`);
  },
};

function showResult(dialog, result) {
  for (const form of dialog.querySelectorAll("form")) form.hidden = true;
  result.hidden = false;
  result.querySelector("button.primary")?.focus();
}

async function openDialog(name, { friend, code }) {
  const dialog = document.getElementById(name);
  forgive(dialog);
  for (const form of dialog.querySelectorAll("form")) form.hidden = false;
  for (const result of dialog.querySelectorAll("[data-result]")) result.hidden = true;
  const section = dialog.querySelector("[data-section]")?.dataset.section;
  const about = friend ? `?friend=${part(friend)}` : code ? `?code=${part(code)}` : "";
  if (section) await loadFresh(section, about);
  dialog.showModal();
}

async function copy(text) {
  await navigator.clipboard.writeText(text);
  toast("Copied.");
}

// `guarded(work)` runs work and shows its errors.
export function listenToThePerson(guarded) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { action, dialog, copy: text, copyFrom } = button.dataset;
    const holder = button.closest("dialog");
    if (button.hasAttribute("data-close")) holder.close();
    else if (action) guarded(() => ACTIONS[action](button.dataset), button);
    else if (dialog) guarded(() => openDialog(dialog, button.dataset), button);
    else if (text) guarded(() => copy(text), button);
    else if (copyFrom) guarded(() => copy(holder.querySelector(copyFrom).value), button);
  });
  // “Save” appears beside a setting when there is something to save.
  document.addEventListener("input", ({ target }) => {
    const form = target.closest("form.setting");
    if (!form) return;
    const was = target.options ? [...target.options].find((option) => option.defaultSelected)?.value : target.defaultValue;
    form.classList.toggle("changed", target.value !== was);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.form) return;
    event.preventDefault();
    guarded(() => FORMS[form.dataset.form](form, form.closest("dialog")), event.submitter);
  });
}
