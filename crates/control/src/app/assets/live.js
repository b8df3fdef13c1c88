// Listens to the engine. EventSource can't show a token, so the stream is read by hand.

import { authorization, Refusal } from "./api.js";

// A browser gives all pages of one origin six connections together: a page that nobody sees lets go of its stream.
const HIDDEN = 10000;
const QUIET = 40000; // The engine says something every 15 s.

const visible = () => new Promise((resolve) => {
  if (!document.hidden) return resolve();
  document.addEventListener("visibilitychange", resolve, { once: true });
});

// Calls `stale(names)` for sections that changed, `state(true|false)` as the stream comes and goes. Ends only if the token is refused.
export async function listen(stale, state) {
  let pause = 500;
  for (;;) {
    await visible();
    const stop = new AbortController();
    let unseen;
    const look = () => {
      clearTimeout(unseen);
      if (document.hidden) unseen = setTimeout(() => stop.abort(), HIDDEN);
    };
    document.addEventListener("visibilitychange", look);
    let watchdog;
    const heard = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => stop.abort(), QUIET);
    };
    try {
      heard();
      const response = await fetch("/events", { headers: authorization(), cache: "no-store", credentials: "omit", signal: stop.signal });
      if (response.status === 401) throw new Refusal(401, null);
      if (!response.ok) throw new Error();
      pause = 500;
      state(true);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        heard();
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) if (line.startsWith("data:")) stale(JSON.parse(line.slice(5)));
      }
    } catch (error) {
      if (error instanceof Refusal) throw error;
    } finally {
      clearTimeout(watchdog);
      clearTimeout(unseen);
      document.removeEventListener("visibilitychange", look);
      stop.abort();
    }
    if (document.hidden) continue;
    state(false);
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 8000);
  }
}
