// A sealed fetch: one HTTP exchange through a relay (spec/protocol.md).
//
//     const client = await Client.connect("blindrelay://TOKEN@relay.example:443?bridge=br1…");
//     const response = await client.fetch("https://api.openai.com/v1/chat/completions", { method: "POST", headers, body });
//     for await (const chunk of response.body) …

import grpc from "@grpc/grpc-js";
import { decode, encode, Envelope, ExchangeRequest, ExchangeResponse, GetKeyDirectoryResponse, SignedKeyDirectory } from "./protobuf.js";
import { encapsulate, MessageOpener, random, sealRequest, SealingError } from "./sealing.js";
import { DirectoryHistory, parseIdentity, TrustError, verifyDirectory } from "./trust.js";

const SERVICE = "/blindrelay.v1.ExchangeService/";
const HOUR = 3_600, INJECTED = 1, EXCHANGE = 1, NOT_STARTED = 1;
const asIs = (bytes) => Buffer.from(bytes);

/** The exchange failed: `code` and `execution` are the bridge's, sealed; `status` is the relay's word, a hint. */
export class ExchangeFailed extends Error {}

export class Client {
  #rpc;
  #identity;
  #metadata;
  #history = new DirectoryHistory();
  #directories = [];

  static async connect(connectionString) {
    const { username, host, protocol, searchParams } = new URL(connectionString.replace(/^blindrelay:/, "https:"));
    if (!connectionString.startsWith("blindrelay://") || !searchParams.has("bridge")) {
      throw new Error("a connection string has the form blindrelay://TOKEN@relay.example:443?bridge=br1…");
    }
    const identity = await parseIdentity(searchParams.get("bridge"));
    const open = searchParams.get("tls") === "off";
    return new Client(host.includes(":") ? host : `${host}:443`, decodeURIComponent(username), identity, open);
  }

  constructor(address, token, identity, open) {
    const credentials = open ? grpc.credentials.createInsecure() : grpc.credentials.createSsl();
    const limits = { "grpc.max_receive_message_length": 131_072, "grpc.enable_retries": 0 };
    this.#rpc = new grpc.Client(address, credentials, limits);
    this.#identity = identity;
    this.#metadata = new grpc.Metadata();
    if (token) this.#metadata.set("authorization", `Bearer ${token}`);
  }

  close() {
    this.#rpc.close();
  }

  /** Seals a request and sends it. The body is bytes or a string; `signal` aborts. */
  async fetch(url, { method = "GET", headers = {}, body = "", signal } = {}) {
    const head = {
      kind: EXCHANGE, method, url, credential: INJECTED, deadline_class: 3,
      headers: Object.entries(headers).map(([name, value]) => ({ name: Buffer.from(name.toLowerCase()), value: Buffer.from(value) })),
    };
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#exchange(head, Buffer.from(body), signal);
      } catch (error) {
        const again = error.execution === NOT_STARTED || error.restarted;
        if (!(again && attempt < 3)) throw error;
      }
    }
  }

  async #exchange(head, body, signal) {
    const now = Math.floor(Date.now() / 1_000), issuedAt = BigInt(now - (now % 10));
    const key = await this.#key(issuedAt, now);
    const envelope = encode(Envelope, {
      version: 1, exchange_id: random(16), identity: this.#identity, key_id: key.key_id, issued_at: issuedAt, max_units: 1_000_000n,
    });
    const { encapsulatedSecret, keys } = await encapsulate(envelope, key.public_key);
    const metadata = this.#metadata.clone();
    metadata.set("blindrelay-envelope-bin", Buffer.from(envelope));
    const deadline = Date.now() + (HOUR + 30) * 1_000;
    const call = this.#rpc.makeBidiStreamRequest(`${SERVICE}Exchange`, asIs, asIs, metadata, { deadline });
    signal?.addEventListener("abort", () => call.cancel(), { once: true });
    const ended = new Promise((resolve) => call.on("status", resolve));
    call.on("error", () => {}); // the status says it
    const sending = send(call, sealRequest(await keys.request(), head, body), encapsulatedSecret);
    const parts = receive(call, new MessageOpener("response", keys.response));
    try {
      const { value: part } = await parts.next();
      await sending;
      if (part?.head) return { status: part.head.status, headers: part.head.headers, body: bodyOf(part, parts) };
      throw failure(part?.error);
    } catch (error) {
      call.cancel();
      if (!(error instanceof SealingError) || error.kind !== "truncated") throw error;
      const { details } = await ended;
      const failed = Object.assign(new ExchangeFailed(`the relay says: ${details}`), { status: details });
      failed.restarted = details === "key_unknown" && (await this.#hasRestarted(key));
      throw failed;
    }
  }

  /** Section 12: sealed again only if the key is gone and a replica has started after it was announced. */
  async #hasRestarted(key) {
    await this.#fetchDirectories(Math.floor(Date.now() / 1_000));
    const keys = this.#directories.flatMap((directory) => directory.keys);
    const listed = keys.some((each) => Buffer.compare(each.key_id, key.key_id) === 0);
    return !listed && this.#directories.some((directory) => directory.started_at > key.announced);
  }

  async #key(issuedAt, now) {
    const usable = () => this.#directories.filter((each) => each.expires_at >= BigInt(now)).flatMap((directory) => directory.keys
      .filter((key) => key.not_before <= issuedAt && issuedAt <= key.not_after)
      .map((key) => ({ ...key, announced: directory.issued_at })));
    if (usable().length === 0) await this.#fetchDirectories(now);
    const keys = usable();
    if (keys.length === 0) throw new TrustError("no_key", "no directory of the pinned bridge has a key for now");
    return keys[Math.floor(Math.random() * keys.length)];
  }

  async #fetchDirectories(now) {
    const response = await new Promise((resolve, reject) => {
      const done = (error, value) => (error ? reject(error) : resolve(value));
      const options = { deadline: Date.now() + 30_000 };
      this.#rpc.makeUnaryRequest(`${SERVICE}GetKeyDirectory`, asIs, asIs, new Uint8Array(), this.#metadata, options, done);
    });
    this.#directories = [];
    for (const signed of decode(GetKeyDirectoryResponse, response).directories.slice(0, 64)) {
      try {
        const directory = await verifyDirectory(signed, this.#identity, now);
        this.#history.judge(directory, encode(SignedKeyDirectory, signed));
        this.#directories.push(directory);
      } catch (error) {
        if (!(error instanceof TrustError)) throw error;
        console.error(`A key directory was refused: ${error.message}.`);
      }
    }
  }
}

async function send(call, records, encapsulatedSecret) {
  let first = { encapsulated_secret: encapsulatedSecret };
  for await (const sealed of records) {
    if (call.destroyed) return;
    const passed = call.write(encode(ExchangeRequest, { ...first, sealed }));
    first = {};
    if (!passed) await new Promise((resolve) => { call.once("drain", resolve); call.once("status", resolve); });
  }
  call.end();
}

async function* receive(call, opener) {
  try {
    for await (const message of call) {
      const { part } = await opener.open(decode(ExchangeResponse, message).sealed);
      if (Object.values(part).some((value) => value !== undefined)) yield part;
    }
  } catch (error) {
    if (error instanceof SealingError) throw error;
  }
  if (!opener.ended) opener.close(); // the stream was cut: never a shorter response
}

async function* bodyOf(part, parts) {
  for (; part; part = (await parts.next()).value) {
    if (part.body?.length) yield part.body;
    if (part.error) throw failure(part.error);
  }
}

function failure(error) {
  if (!error) return new SealingError("truncated", "the stream was cut");
  return Object.assign(new ExchangeFailed(error.message), { code: error.code, execution: error.execution });
}
