// Listens to the engine. EventSource can't show a token, so the stream is read by hand.

import { authorization, Refusal } from "./api.js";

const QUIET = 40000; // The engine says something every 15 s.

// Calls `stale(names)` for sections that changed, `state(true|false)` as the stream comes and goes. Ends only if the token is refused.
export async function listen(stale, state) {
  let pause = 500;
  for (;;) {
    const stop = new AbortController();
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
      stop.abort();
    }
    state(false);
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 8000);
  }
}
