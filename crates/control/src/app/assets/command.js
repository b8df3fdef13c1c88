// The command box. A line is split at commas; each part is one of the words below and nothing else: no text typed here is
// ever run as a command of the computer.

import { call } from "./api.js";

export const COMMANDS = new Map([
  ["ra", { about: "drop every link, fetch addresses afresh, dial and authenticate again", path: "/v1/ra", done: "Calling all friends anew." }],
  ["restart", { about: "end Kith cleanly and start it anew", path: "/v1/restart", done: "Kith is starting anew. Open the app again with “kith open”." }],
  ["resume", { about: "end a pause", path: "/v1/resume", done: "Backups go on." }],
  ["help", { about: "this list" }],
]);

// The words of a line, or an error that names the first one that is not known.
export function parse(line) {
  const words = line.split(",").map((word) => word.trim().toLowerCase()).filter((word) => word !== "");
  if (words.length === 0) throw new Error("Type a command, for example: help");
  const unknown = words.find((word) => !COMMANDS.has(word));
  if (unknown !== undefined) throw new Error(`“${unknown}” is not a command. Type: help`);
  return words;
}

export async function run(line, say) {
  for (const word of parse(line)) {
    const command = COMMANDS.get(word);
    if (!command.path) {
      for (const [name, { about }] of COMMANDS) say(`${name} — ${about}`);
      say("Several at once: ra, restart");
      continue;
    }
    await call("POST", command.path, {});
    say(command.done);
  }
}
