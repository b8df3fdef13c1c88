// What the words of the command box do: calls of the engine's API, and nothing else. No text typed here is ever run as a command of
// the computer.

import { call, fragment } from "./api.js";
import { parse, seconds, WORDS } from "./words.js";

const part = encodeURIComponent;

// Characters that act on the reading order or show as nothing are shown as what they are.
const shown = (text) => String(text ?? "").replace(/[\p{Cc}\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu, (sign) => `\\u{${sign.codePointAt(0).toString(16)}}`);
const stop = (words) => (/[.!?…:]$/.test(words) ? words : `${words}.`);
const sentence = (words) => stop(words.charAt(0).toUpperCase() + words.slice(1));
const time = (stamp) => new Date(stamp).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

const go = (page) => ({ say }) => {
  location.hash = page;
  say("Here it is.");
};

const DOES = {
  help({ say }) {
    for (const { name, args, about } of WORDS) say(`${args ? `${name} ${args}` : name}: ${about}`);
    say("Several at once, separated by commas: ra, restart");
  },
  async ra({ say }) {
    await call("POST", "/v1/ra", {});
    say("All links were dropped. Friends are called and authenticated anew.");
  },
  async restart({ say }) {
    await call("POST", "/v1/restart", {});
    sessionStorage.setItem("kith-restarted", "yes");
    say("Kith is starting anew. The access of this page ends with that: type “kith open” in a terminal to open it again.");
  },
  async doctor({ argument, say, link }) {
    say("Looking; ten seconds at most.");
    const friends = await call("GET", "/v1/friends");
    const wanted = friends.find(({ name, device_id: id }) => name === argument || id === argument)
      ?? friends.find(({ name }) => name.toLowerCase() === argument.toLowerCase());
    if (argument !== "" && !wanted) throw new Error(`There is no friend called “${shown(argument)}”. Type “friends” for all of them`);
    const { verdict, outward, inward } = await call("POST", "/v1/doctor", { friend: wanted?.device_id ?? null });
    const passage = { open: "gets through", closed: "does not get through", unknown: "not known" };
    say(sentence(shown(verdict.sentence)));
    say(verdict.next_step === null ? "Nothing has to be done." : `What to do: ${sentence(shown(verdict.next_step))}`);
    if (wanted) say(`From here to ${shown(wanted.name)}: ${passage[outward.state]}. From ${shown(wanted.name)} to here: ${passage[inward.state]}.`);
    link("Why, and the way as a picture", wanted ? `#/doctor/${part(wanted.device_id)}` : "#/doctor");
  },
  async explain({ argument, add }) {
    add(await fragment(`explain?code=${part(argument)}`));
  },
  async status({ say }) {
    const status = await call("GET", "/v1/status");
    const { listener, friends } = status;
    say(`${shown(status.name)}, Kith ${shown(status.version)}, running since ${time(status.started)}.`);
    say(listener.state === "listening" ? `Port ${listener.port} is open for friends.` : sentence(shown(listener.error ?? "the port for friends is closed by the settings")));
    if (listener.state === "listening") say(sentence(shown(status.mapping.sentence)));
    say(`${friends.filter(({ connected }) => connected).length} of ${friends.length} friends are connected.`);
    if (status.paused_until !== null) say(`Backups are paused until ${time(status.paused_until)}.`);
  },
  async friends({ say }) {
    const friends = await call("GET", "/v1/friends");
    if (friends.length === 0) say("There are no friends yet.");
    for (const friend of friends) {
      const why = friend.last_error === null ? "" : ` (${shown(friend.last_error)})`;
      say(friend.connected ? `${shown(friend.name)}: connected, at ${shown(friend.address)}` : `${shown(friend.name)}: not connected${why}`);
    }
  },
  async ports({ say }) {
    for (const { local, protocol, purpose, state } of await call("GET", "/v1/ports")) say(`${protocol} ${shown(local)}, ${state}: ${shown(purpose)}`);
  },
  async backup({ argument, say }) {
    const jobs = await call("POST", "/v1/backups", { set: argument === "" ? null : argument, friend: null });
    if (jobs.length === 0) say("There is nothing to back up.");
    for (const { set, friend } of jobs) say(`Backing up ${shown(set)} to ${shown(friend)}.`);
  },
  async pause({ argument, say }) {
    await call("POST", "/v1/pause", { seconds: seconds(argument) });
    say(`Backups are paused for ${argument}. “resume” ends that.`);
  },
  async resume({ say }) {
    await call("POST", "/v1/resume", {});
    say("Backups go on.");
  },
  async near({ say }) {
    await call("POST", "/v1/near", {});
    location.hash = "#/";
    say("Computers nearby are looked for, for ten minutes: see “Computers near you”.");
  },
  async scrub({ say }) {
    await call("POST", "/v1/scrub", {});
    say("Everything that is kept for friends is read and compared now.");
  },
  overview: go("#/"),
  network: go("#/network"),
  options: go("#/options"),
};

// Does what a line says, one command after the other. `begin(words)` is told which, and gives what shows its result.
export async function run(line, begin) {
  for (const { name, argument } of parse(line)) {
    await DOES[name]({ argument, ...begin(argument === "" ? name : `${name} ${shown(argument)}`) });
  }
}

// What may follow a word: names of friends, of sets, codes.
const CHOICES = {
  friends: async () => (await call("GET", "/v1/friends")).map(({ name }) => name),
  sets: async () => (await call("GET", "/v1/sets")).map(({ name }) => name),
  codes: async () => [...(await fragment("explain")).querySelectorAll("[data-explained]")].map(({ dataset }) => dataset.explained),
};

const MOST_MATCHES = 8;

// What the last command of a line could become: whole lines, each with what it is for.
export async function matches(line) {
  const before = line.slice(0, line.lastIndexOf(",") + 1);
  const last = line.slice(before.length).trimStart();
  const lead = before === "" ? "" : `${before} `;
  const typed = last.toLowerCase();
  const word = WORDS.find(({ name, of }) => of && typed.startsWith(`${name} `));
  if (word) {
    const rest = typed.slice(word.name.length).trim();
    const all = await CHOICES[word.of]();
    const fit = all.filter((choice) => choice.toLowerCase().includes(rest) && !choice.includes(","));
    return fit.slice(0, MOST_MATCHES).map((choice) => ({ line: `${lead}${word.name} ${choice}`, label: `${word.name} ${shown(choice)}`, about: "" }));
  }
  if (typed === "") return [];
  const begins = WORDS.filter(({ name }) => name.startsWith(typed));
  const about = WORDS.filter(({ name, about: text }) => !name.startsWith(typed) && typed.length > 2 && text.toLowerCase().includes(typed));
  return [...begins, ...about].slice(0, MOST_MATCHES).map(({ name, args, about: text }) => ({ line: `${lead}${name}${args ? " " : ""}`, label: args ? `${name} ${args}` : name, about: text }));
}
