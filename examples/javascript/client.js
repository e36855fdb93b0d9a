// A sealed fetch: one HTTP exchange through a relay (spec/protocol.md, sections 5 to 7 and 12). See chat.js.

import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import { decode, encode } from "./messages.js";
import { MessageOpener, sealRequest } from "./parts.js";
import { encapsulate, random, Refused } from "./records.js";
import { DirectoryHistory, parseIdentity, verifyDirectory } from "./trust.js";

const FORM = /^blindrelay:\/\/(?:([^@:/?#]+)@)?(\[[0-9a-f:.]+\]|[^@:/?#[\]]+)(?::(\d+))?\/?\?([^#]+)$/;
const LOCAL = /^(localhost|127(\.\d+){3}|\[::1\])$/;
const SERVICE = "/blindrelay.v1.ExchangeService/";
const OPTIONS = { "grpc.max_receive_message_length": 131_072, "grpc.enable_retries": 0 };
const HEADERS = ["accept", "content-type", "content-encoding", "anthropic-version", "anthropic-beta", "openai-beta"];
const HEAD = { kind: 1, credential: 1, deadline_class: 3 }, SECONDS = 3_600; // an EXCHANGE, INJECTED, of an HOUR
const asIs = (bytes) => bytes, seconds = () => BigInt(Math.floor(Date.now() / 1_000));

/** `code` and `execution` are the bridge's, sealed; `status` is the relay's word, a hint. */
export class ExchangeFailed extends Error {
  constructor(message, fields) { super(message); Object.assign(this, fields); }
}

export class Client {
  #rpc; #identity; #token = new grpc.Metadata(); #shown; #renewAt;
  #history = new DirectoryHistory(); #directories = [];

  /** Takes blindrelay://TOKEN@relay.example:443?bridge=br1…, with &tls=off for a relay on this machine. */
  static async connect(connectionString) {
    const [, token, host, port = 443, query] = FORM.exec(connectionString) ?? [];
    const options = new URLSearchParams(query), tls = options.get("tls") ?? "on";
    const names = [...options.keys()].sort().join(), isFormed = /^bridge(,tls)?$/.test(names) && /^(on|off)$/.test(tls);
    if (!isFormed) throw new Error("a connection string is blindrelay://TOKEN@HOST:PORT?bridge=br1…");
    if (tls === "off" && !LOCAL.test(host)) throw new Error("tls=off is for a relay on this machine");
    const client = new Client(), credentials = grpc.credentials[tls === "off" ? "createInsecure" : "createSsl"]();
    client.#identity = await parseIdentity(options.get("bridge"));
    client.#rpc = new grpc.Client(`${host}:${port}`, credentials, OPTIONS);
    if (token) client.#token.set("authorization", `Bearer ${decodeURIComponent(token)}`);
    return client;
  }

  close() { this.#rpc.close(); }

  /** Seals a request and sends it; `signal` aborts. Gives status and headers, and the body as bytes that come. */
  async fetch(url, { method = "GET", headers = {}, body = "", signal } = {}) {
    const named = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]);
    const other = named.find(([name]) => !HEADERS.includes(name));
    if (other) throw new Error(`the header ${other[0]} cannot be sent: the bridge uses its own credential`);
    const pairs = named.map(([name, value]) => ({ name: Buffer.from(name), value: Buffer.from(value) }));
    const head = { ...HEAD, method, url: url.split("#", 1)[0], headers: pairs };
    const exchange = () => this.#exchange(head, Buffer.from(body), signal);
    return exchange().catch((error) => (error.mayRepeat ? exchange() : Promise.reject(error)));
  }

  async #exchange(head, body, signal) {
    const now = seconds(), issued_at = now - (now % 10n), key = await this.#key(issued_at);
    const names = { exchange_id: random(16), identity: this.#identity, key_id: key.key_id };
    const envelope = encode("Envelope", { version: 1, ...names, issued_at, max_units: 1_000_000 });
    const { encapsulatedSecret, keys } = await encapsulate(envelope, key.public_key);
    const records = sealRequest(await keys.request(), head, body);
    signal?.throwIfAborted();
    const metadata = this.#shown.clone(), deadline = Date.now() + (SECONDS + 30) * 1_000;
    metadata.set("blindrelay-envelope-bin", envelope);
    metadata.set("blindrelay-key", key.key_id.toString("base64url")); // for a proxy that routes
    const call = this.#rpc.makeBidiStreamRequest(`${SERVICE}Exchange`, asIs, asIs, metadata, { deadline });
    const ended = new Promise((resolve) => call.on("status", resolve));
    call.on("error", () => {}); // `ended` has it
    signal?.addEventListener("abort", () => call.cancel(), { once: true });
    const parts = receive(call, new MessageOpener("response", keys.response), signal), answer = parts.next();
    answer.catch(() => {}).then(() => call.end()); // the rest of the request has no use
    try {
      await send(call, records, encapsulatedSecret);
      const { value: part } = await answer;
      if (part.error) throw new ExchangeFailed(part.error.message, part.error);
      return { status: part.head.status, headers: part.head.headers, body: bodyOf(call, part, parts) };
    } catch (error) {
      leave(call, parts, error instanceof ExchangeFailed);
      if (error.reason !== "truncated") throw error;
      const { details: status } = await ended;
      if (status === "lease_unknown") await this.#fetchDirectories(); // the next fetch has a new lease
      const mayRepeat = status === "key_unknown" && (await this.#hasRestarted(key));
      throw new ExchangeFailed(`the relay ended the exchange: ${status}`, { status, mayRepeat });
    }
  }

  /** Section 12: sealing again is safe if the key is gone, and a replica has started since the key was announced. */
  async #hasRestarted({ key_id, announced_at }) {
    await this.#fetchDirectories();
    const isListed = this.#directories.some(({ keys }) => keys.some((key) => key.key_id.equals(key_id)));
    return !isListed && this.#directories.some(({ started_at }) => started_at > announced_at);
  }

  async #key(issuedAt) {
    const usable = () => this.#directories.flatMap(({ keys }) => keys).filter(({ not_before, not_after, until }) =>
      not_before <= issuedAt && issuedAt <= not_after && seconds() <= until);
    if (usable().length === 0 || seconds() >= this.#renewAt) await this.#fetchDirectories();
    const keys = usable(), drawn = keys[Math.floor(Math.random() * keys.length)];
    if (!drawn) throw new Error("no directory of the pinned bridge has a key for now");
    return drawn;
  }

  async #fetchDirectories() {
    const request = promisify(this.#rpc.makeUnaryRequest).bind(this.#rpc, `${SERVICE}GetKeyDirectory`, asIs, asIs);
    const response = await request(Buffer.alloc(0), this.#token, { deadline: Date.now() + 30_000 });
    const { directories, lease, lease_seconds } = decode("GetKeyDirectoryResponse", response);
    if (response.length > 65_536 || directories.length > 64) throw new Refused("malformed", "too many directories");
    // A lease is shown for exchanges in place of the token (section 7.2), until half of its time is over.
    if (!/^[!-~]{0,2048}$/.test(lease)) throw new Refused("malformed", "an invalid lease");
    this.#shown = this.#token.clone();
    if (lease) this.#shown.set("authorization", `Bearer ${lease}`);
    this.#renewAt = lease ? seconds() + BigInt(lease_seconds >> 1) : undefined;
    this.#directories = [];
    for (const signed of directories) {
      try {
        const directory = await verifyDirectory(signed, this.#identity, seconds());
        this.#history.judge(directory);
        this.#directories.push(directory);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        this.#directories = this.#directories.filter(({ signed }) => !error.proof?.some((each) => each.equals(signed)));
        console.error(`A key directory was refused: ${error.message}.`);
      }
    }
  }
}

async function send(call, records, encapsulatedSecret) {
  let first = { encapsulated_secret: encapsulatedSecret };
  for await (const sealed of records) {
    if (call.writableEnded || call.destroyed) return;
    const hasRoom = call.write(encode("ExchangeRequest", { ...first, sealed }));
    first = {};
    if (!hasRoom) await new Promise((resolve) => ["drain", "status"].forEach((event) => call.once(event, resolve)));
  }
  call.end();
}

/** The parts of a response that are no padding. Throws if the stream ends before the message. */
async function* receive(call, opener, signal) {
  try {
    for await (const message of call) {
      const part = await opener.open(decode("ExchangeResponse", message).sealed);
      if (!opener.ended || part.tail || part.error) yield part;
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof Refused) throw error;
  }
  if (!opener.ended) await opener.close(); // it was cut: never a shorter response
}

async function* bodyOf(call, part, parts) {
  try {
    for (; ; part = (await parts.next()).value) {
      if (part.body?.length > 0) yield part.body;
      if (part.error) throw new ExchangeFailed(part.error.message, part.error);
      if (part.tail) return;
    }
  } finally {
    leave(call, parts, part.tail || part.error);
  }
}

/** Reads the padding that follows the end, so that the relay does not take the end for an abort. */
function leave(call, parts, hasEnded) {
  if (hasEnded) parts.next().catch(() => {});
  else call.cancel();
}
