// What may be typed into the command box. Pure: a line in, the commands it means out, or an error that says what is wrong with it.

export const WORDS = [
  { name: "help", about: "this list" },
  { name: "ra", about: "drop every link, fetch addresses afresh, dial and authenticate again" },
  { name: "restart", about: "end Kith cleanly and start it anew; open the app again with “kith open”" },
  { name: "doctor", args: "[FRIEND]", about: "why does a friend not connect? One cause, one thing to do", of: "friends" },
  { name: "explain", args: "[CODE]", about: "what a code of the doctor means", of: "codes" },
  { name: "status", about: "this computer at a glance" },
  { name: "friends", about: "who is connected, and how" },
  { name: "ports", about: "the ports in use" },
  { name: "backup", args: "[SET]", about: "back up now, everything or one set", of: "sets" },
  { name: "pause", args: "DURATION", about: "pause backups, as in pause 30m, pause 8h or pause 1h30m" },
  { name: "resume", about: "end the pause" },
  { name: "near", about: "look for computers nearby, for ten minutes" },
  { name: "scrub", about: "read everything that is kept for friends, and compare it" },
  { name: "overview", about: "go to that page" },
  { name: "network", about: "go to that page" },
  { name: "options", about: "go to that page" },
];

const SAME = new Map([["look", "near"], ["settings", "options"], ["?", "help"]]);
const LONGEST_LINE = 2000;
const MOST_COMMANDS = 16;
const UNITS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };

// How many letters have to be put in, taken out or changed.
function distance(one, other) {
  let row = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (let line = 1; line <= one.length; line += 1) {
    const next = [line];
    for (let column = 1; column <= other.length; column += 1) {
      const replaced = row[column - 1] + (one[line - 1] === other[column - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[column] + 1, next[column - 1] + 1));
    }
    row = next;
  }
  return row[other.length];
}

// The word that somebody meant who mistyped it, if there is one near enough.
export function nearest(typed, words) {
  const bearable = typed.length < 4 ? 1 : typed.length < 8 ? 2 : 3;
  const ranked = words.map((word) => [word.startsWith(typed) ? 0 : distance(typed, word), word]).filter(([wrong]) => wrong <= bearable);
  ranked.sort(([one], [other]) => one - other);
  return ranked[0]?.[1];
}

// `1h30m` in seconds.
export function seconds(text) {
  const parts = [...text.matchAll(/(\d{1,9})([smhdw])\s*/gy)];
  const whole = parts.map(([part]) => part).join("");
  if (parts.length === 0 || whole !== text) throw new Error(`“${text}” is not a duration. Write it as 30m, 8h or 1h30m`);
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * UNITS[unit], 0);
}

// The commands of a line, in order. Nothing of a line is done when anything in it is wrong.
export function parse(line) {
  if (line.length > LONGEST_LINE) throw new Error("That is too long for a command");
  const parts = line.split(",").map((part) => part.trim()).filter((part) => part !== "");
  if (parts.length === 0) throw new Error("Type a command, for example: help");
  if (parts.length > MOST_COMMANDS) throw new Error(`No more than ${MOST_COMMANDS} commands in one line`);
  const names = WORDS.map(({ name }) => name);
  return parts.map((part, position) => {
    const [first] = part.split(/\s/, 1);
    const typed = first.toLowerCase();
    const name = SAME.get(typed) ?? typed;
    const argument = part.slice(first.length).trim();
    const word = WORDS.find((known) => known.name === name);
    if (!word) {
      const meant = nearest(name, [...names, ...SAME.keys()]);
      throw new Error(`“${first}” is not a command. ${meant ? `Did you mean “${meant}”? ` : ""}Type “help” for all of them`);
    }
    if (argument !== "" && !word.args) throw new Error(`“${name}” takes nothing behind it. Several commands are separated by commas: ra, restart`);
    if (name === "pause" && argument === "") throw new Error("For how long? As in: pause 8h");
    if (name === "pause") seconds(argument);
    if (name === "restart" && position < parts.length - 1) throw new Error("“restart” has to be the last one: the access of this page ends with it");
    return { name, argument };
  });
}
