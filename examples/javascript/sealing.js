// The message path: encapsulation, records, parts and padding (spec/protocol.md, sections 8 to 10). No input or output.

import { Aes256Gcm, CipherSuite, HkdfSha256 } from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";
import { decode, encode, RequestPart, ResponsePart } from "./protobuf.js";

const subtle = globalThis.crypto.subtle;
const suite = new CipherSuite({ kem: new XWing(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });

export const MAX_SEALED = 69_632, MAX_BODY = 65_536, MAX_HEAD = 32_768, NONCE_SIZE = 32;
const OVERHEAD = 20, TUNNEL_STATUS = 101, TUNNEL_KIND = 2, CLOSE = 8;
const FULL_RECORD = { request: 65_616, response: 69_581 };

/** `kind` is open_failure, violation or truncated: for a developer, never for the other side. */
export class SealingError extends Error {
  constructor(kind, detail) {
    super(detail ?? "a record did not open");
    this.kind = kind;
  }
}

export const bytesOf = (...chunks) => Uint8Array.from(Buffer.concat(chunks));
export const label = (name, message) => bytesOf(Buffer.from(`blindrelay/v1 ${name}\0`), message);
export const sha256 = async (bytes) => new Uint8Array(await subtle.digest("SHA-256", bytes));
export const random = (size) => globalThis.crypto.getRandomValues(new Uint8Array(size));

/** The key schedule of section 8: the two directions' keys from the exchange's secret and the envelope's hash. */
export function keySchedule(secret, envelopeHash) {
  const derive = async (name, message) => {
    const key = await subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
    const parameters = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: label(name, message) };
    return new Uint8Array(await subtle.deriveBits(parameters, key, 256));
  };
  return {
    request: () => derive("request", envelopeHash),
    response: (nonce) => derive("response", bytesOf(envelopeHash, nonce)),
  };
}

/** Begins an exchange as its client. */
export async function encapsulate(envelope, publicKey) {
  const secret = random(32), bound = await sha256(envelope);
  const recipientPublicKey = await suite.kem.importKey("raw", Uint8Array.from(publicKey).buffer, true);
  const { ct, enc } = await suite.seal({ recipientPublicKey, info: label("encapsulation", bound) }, secret);
  return { encapsulatedSecret: bytesOf(new Uint8Array(enc), new Uint8Array(ct)), keys: keySchedule(secret, bound) };
}

/** What a bridge does; a client needs it for the vectors only. */
export async function decapsulate(envelope, encapsulated, seed) {
  const bound = await sha256(envelope);
  try {
    if (encapsulated.length !== 1_168) throw new Error("its size");
    const recipientKey = await suite.kem.importKey("raw", Uint8Array.from(seed).buffer, false);
    const enc = encapsulated.slice(0, 1_120);
    const parameters = { recipientKey, enc, info: label("encapsulation", bound) };
    return new Uint8Array(await suite.open(parameters, encapsulated.slice(1_120)));
  } catch {
    throw new SealingError("open_failure");
  }
}

async function cipher(key) {
  return subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]);
}

function nonceOf(place, final) {
  const nonce = new DataView(new ArrayBuffer(12));
  nonce.setBigUint64(3, BigInt(place));
  nonce.setUint8(11, final ? 1 : 0);
  return nonce.buffer;
}

/** Opens the records of one direction. Every call after a failure fails in the same way. */
export class RecordOpener {
  #place = 0;
  #failure;
  #key;
  #deriveKey;
  #nonceSize;
  finished = false;

  constructor(deriveKey, nonceSize = 0) {
    this.#deriveKey = deriveKey;
    this.#nonceSize = nonceSize;
  }

  /** The part in a record. Sets `finished` with the final one. */
  async open(sealed) {
    if (this.#failure) throw this.#failure;
    if (this.finished || sealed.length > MAX_SEALED) this.fail(new SealingError("open_failure"));
    if (this.#key === undefined) {
      this.#key = await cipher(await this.#deriveKey(sealed.slice(0, this.#nonceSize)));
      sealed = sealed.subarray(this.#nonceSize);
    }
    if (sealed.length < OVERHEAD) this.fail(new SealingError("open_failure"));
    const plaintext = (await this.#decrypt(sealed, false)) ?? (await this.#decrypt(sealed, true));
    if (plaintext === undefined) this.fail(new SealingError("open_failure"));
    this.#place += 1;
    const end = 4 + new DataView(plaintext.buffer).getUint32(0);
    if (end > plaintext.length || plaintext.subarray(end).some((byte) => byte !== 0)) {
      this.fail(new SealingError("violation", "a record's length or padding is wrong"));
    }
    return plaintext.subarray(4, end);
  }

  close() {
    if (this.#failure) throw this.#failure;
    if (!this.finished) this.fail(new SealingError("truncated", "the stream was cut"));
  }

  fail(error) {
    this.#key = this.#deriveKey = undefined;
    this.#failure = error;
    throw error;
  }

  async #decrypt(sealed, final) {
    try {
      const opened = await subtle.decrypt({ name: "AES-GCM", iv: nonceOf(this.#place, final) }, this.#key, sealed);
      this.finished = final;
      return new Uint8Array(opened);
    } catch {
      return undefined;
    }
  }
}

/** Seals the records of one direction. */
export class RecordSealer {
  #place = 0;
  #key;
  #prefix;

  constructor(key, prefix = new Uint8Array()) {
    this.#key = cipher(key);
    this.#prefix = prefix;
  }

  /** A record of `size` bytes, without the prefix; the shortest by default. */
  async seal(part, { size = OVERHEAD + part.length, final = false } = {}) {
    const plaintext = new Uint8Array(size - 16);
    new DataView(plaintext.buffer).setUint32(0, part.length);
    plaintext.set(part, 4);
    const iv = nonceOf(this.#place++, final);
    const sealed = new Uint8Array(await subtle.encrypt({ name: "AES-GCM", iv }, await this.#key, plaintext));
    const prefix = this.#prefix;
    this.#prefix = new Uint8Array();
    return bytesOf(prefix, sealed);
  }
}

/** PADMÉ (section 9.3). */
export function padme(length) {
  const exponent = Math.floor(Math.log2(length));
  const step = 2 ** (exponent - Math.floor(Math.log2(exponent)) - 1);
  return Math.ceil(length / step) * step;
}

/** The sizes of the last record that has content, and of the padding records after it (section 9.3). */
export function lastSizes(direction, sent, last) {
  const full = FULL_RECORD[direction], sizes = [];
  let rest = padme(Math.max(4_096, sent + last)) - sent;
  for (; rest >= full + OVERHEAD; rest -= full) sizes.push(full);
  return [...sizes, rest];
}

/** The records of a request, in order. */
export async function* sealRequest(key, head, body) {
  const sealer = new RecordSealer(key);
  let part = { head }, room = Math.min(MAX_BODY, 65_590 - (encode(RequestPart[1][1], head).length + 4)), sent = 0;
  if (encode(RequestPart[1][1], head).length > MAX_HEAD) throw new SealingError("violation", "the head is over 32,768 bytes");
  while (body.length > room) {
    part.body = body.subarray(0, room);
    yield sealer.seal(encode(RequestPart, part), { size: FULL_RECORD.request });
    [part, body, room, sent] = [{}, body.subarray(room), MAX_BODY, sent + FULL_RECORD.request];
  }
  if (body.length > 0) part.body = body;
  part.end = {};
  const encoded = encode(RequestPart, part);
  const [first, ...more] = lastSizes("request", sent, OVERHEAD + encoded.length);
  yield sealer.seal(encoded, { size: first, final: more.length === 0 });
  for (const [place, size] of more.entries()) {
    yield sealer.seal(new Uint8Array(), { size, final: place === more.length - 1 });
  }
}

/** The record of one part of a tunnel, padded by itself. */
export function sealInTunnel(sealer, encoded, final) {
  return sealer.seal(encoded, { size: padme(Math.max(1_024, OVERHEAD + encoded.length)), final });
}

const ORDER = {
  request: {
    HEAD: { head: "BODY", "tunnel head": "FRAMES" },
    BODY: { body: "BODY", end: "PADDING" },
    FRAMES: { frame: "FRAMES", close: "CLOSED", end: "PADDING" },
    CLOSED: { end: "PADDING" },
    PADDING: { padding: "PADDING" },
  },
  response: {
    HEAD: { head: "BODY", "tunnel head": "FRAMES", error: "PADDING" },
    BODY: { body: "BODY", tail: "PADDING", error: "PADDING" },
    FRAMES: { frame: "FRAMES", close: "CLOSED", error: "PADDING" },
    CLOSED: { tail: "PADDING", error: "PADDING" },
    PADDING: { padding: "PADDING" },
  },
};

/** Opens one direction: records in, parts out. `direction` is request or response. */
export class MessageOpener {
  #stage = "HEAD";
  #inMessage = false;
  #records;
  #direction;

  constructor(direction, deriveKey) {
    this.#direction = direction;
    this.#records = new RecordOpener(deriveKey, direction === "response" ? NONCE_SIZE : 0);
  }

  /** Whether the message is whole: only padding can follow. */
  get ended() {
    return this.#stage === "PADDING";
  }

  get finished() {
    return this.#records.finished;
  }

  async open(sealed) {
    const encoded = await this.#records.open(sealed);
    let part;
    try {
      part = decode(this.#direction === "request" ? RequestPart : ResponsePart, encoded);
      this.#judge(part);
      if (this.finished && !this.ended) throw new Error("the final record comes before the end");
    } catch (error) {
      this.#records.fail(new SealingError("violation", error.message));
    }
    return { part, encoded };
  }

  close() {
    this.#records.close();
  }

  #judge(part) {
    const schema = this.#direction === "request" ? RequestPart : ResponsePart;
    if (part.head && encode(schema[1][1], part.head).length > MAX_HEAD) throw new Error("a head is over 32,768 bytes");
    if (part.body && part.body.length > MAX_BODY) throw new Error("a body piece is over 65,536 bytes");
    const status = part.head?.status;
    if (this.#direction === "response" && part.head && status !== TUNNEL_STATUS && !(status >= 200 && status <= 599)) {
      throw new Error("a status is not one of a response");
    }
    if (part.error && Buffer.byteLength(part.error.message) > 1_024) throw new Error("an error's message is too long");
    const names = Object.values(schema).map(([name]) => name).filter((name) => part[name] !== undefined);
    for (const name of names.length ? names : ["padding"]) {
      const next = ORDER[this.#direction][this.#stage][this.#named(name, part)];
      if (next === undefined) throw new Error(`${name} cannot come here`);
      this.#stage = next;
      if (name === "frame") this.#judgeFrame(part.frame);
    }
  }

  #named(name, part) {
    const opensTunnel = part.head && (part.head.kind === TUNNEL_KIND || part.head.status === TUNNEL_STATUS);
    if (name === "head" && opensTunnel) return "tunnel head";
    return name === "frame" && part.frame.opcode === CLOSE ? "close" : name;
  }

  #judgeFrame({ opcode, fin, data }) {
    if (opcode === CLOSE) {
      if (!fin || data.length > 125 || data.length === 1) throw new Error("a close is not one frame of 0, or 2 to 125 bytes");
      if (data.length > 0) {
        const code = (data[0] << 8) | data[1];
        const known = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
        if (!known) throw new Error("a close has a code that no close may have");
        new TextDecoder("utf-8", { fatal: true }).decode(data.subarray(2));
      }
      return;
    }
    if (![0, 1, 2].includes(opcode) || data.length > MAX_BODY) throw new Error("a frame is not one that is carried");
    if ((opcode === 0) !== this.#inMessage) throw new Error("a frame is not where its message is");
    this.#inMessage = !fin;
  }
}
