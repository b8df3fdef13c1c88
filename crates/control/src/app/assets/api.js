// Speaks with the engine. The token lives in this tab's session storage: bound to the origin, port included, gone with the tab.

const KEY = "kith-token";

// The engine said no; `status` is the HTTP status.
export class Refusal extends Error {
  constructor(status, failure) {
    super(failure?.message ?? `the engine answered ${status}`);
    this.status = status;
    this.hint = failure?.hint ?? null;
  }
}

// The engine could not be asked at all.
export class Unreachable extends Error {}

export const hasToken = () => sessionStorage.getItem(KEY) !== null;
export const forgetToken = () => sessionStorage.removeItem(KEY);
export const authorization = () => ({ Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` });

async function request(method, path, body, headers) {
  const options = { method, headers: { ...headers }, cache: "no-store", credentials: "omit" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Unreachable();
  }
  const text = await response.text().catch(() => { throw new Unreachable(); });
  let json = null;
  try { json = text === "" ? null : JSON.parse(text); } catch { /* reported below, by status */ }
  if (!response.ok) throw new Refusal(response.status, json);
  return json;
}

export const call = (method, path, body) => request(method, path, body, authorization());

// A one-time code becomes a token.
export async function exchange(code) {
  const { token } = await request("POST", "/session", { code }, {});
  sessionStorage.setItem(KEY, token);
}

// A part of the page. The browser's own loader parses it into a document in which nothing runs and nothing loads; its nodes are
// adopted afterwards. No string is ever turned into markup here: with `require-trusted-types-for 'script'` and no policy, every
// such attempt throws.
export function fragment(path, body, signal) {
  return new Promise((resolve, reject) => {
    const loader = new XMLHttpRequest();
    loader.open(body === undefined ? "GET" : "POST", `/fragments/${path}`);
    loader.responseType = "document";
    loader.timeout = 20000;
    for (const [name, value] of Object.entries(authorization())) loader.setRequestHeader(name, value);
    if (body !== undefined) loader.setRequestHeader("Content-Type", "application/json");
    loader.onabort = () => reject(new Error("given up"));
    signal?.addEventListener("abort", () => loader.abort(), { once: true });
    loader.onerror = loader.ontimeout = () => reject(new Unreachable());
    loader.onload = () => {
      if (loader.status === 200 && loader.response) resolve(loader.response.body);
      else reject(new Refusal(loader.status, null));
    };
    loader.send(body === undefined ? null : JSON.stringify(body));
  });
}
