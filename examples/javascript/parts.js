// What records carry, and in which order (spec/protocol.md, sections 9.3 and 10). No input or output.

import { decode, encode } from "./messages.js";
import { FULL_RECORD, lastSizes, MAX_SEALED, NONCE_SIZE, Records, Refused, sizeOf } from "./records.js";

const MAX_BODY = 65_536, MAX_HEAD = 32_768, MAX_ERROR = 1_024, TUNNEL = 2, SWITCHED = 101, CLOSE = 8;

/** The records of a request, in order. `body` is a Buffer. */
export async function* sealRequest(key, head, body) {
  const records = new Records(key), headSize = encode("RequestHead", head).length;
  if (headSize > MAX_HEAD) throw new Error("a request's method, URL and headers are over 32,768 bytes");
  let part = { head }, room = Math.min(MAX_BODY, 65_590 - (headSize + 4)), sent = 0;
  while (body.length > room) {
    yield records.seal(encode("RequestPart", { ...part, body: body.subarray(0, room) }), { size: FULL_RECORD.request });
    [part, body, room, sent] = [{}, body.subarray(room), MAX_BODY, sent + FULL_RECORD.request];
  }
  const encoded = encode("RequestPart", { ...part, ...(body.length > 0 && { body }), end: {} });
  const sizes = lastSizes("request", sent, sizeOf(encoded));
  for (const [place, size] of sizes.entries()) {
    yield records.seal(place === 0 ? encoded : Buffer.alloc(0), { size, final: place === sizes.length - 1 });
  }
}

/** The fields of both kinds of part, in the order of their numbers. */
const FIELDS = ["head", "body", "frame", "end", "tail", "error"];

/** By the stage that a direction has reached: what may come, and the stage that follows. */
const ORDER = {
  HEAD: { head: "BODY", "tunnel head": "FRAMES", error: "PADDING" },
  BODY: { body: "BODY", end: "PADDING", tail: "PADDING", error: "PADDING" },
  FRAMES: { frame: "FRAMES", close: "CLOSED", end: "PADDING", error: "PADDING" },
  CLOSED: { end: "PADDING", tail: "PADDING", error: "PADDING" },
  PADDING: { padding: "PADDING" },
};

/** Opens one direction: records in, parts out. The first failure is final: every later call fails like it. */
export class MessageOpener {
  #direction; #deriveKey; #mayTunnel; #records; #failure;
  #finished = false; #stage = "HEAD"; #inMessage = false;

  /** `deriveKey` gives the direction's key, of a response for its nonce. `mayTunnel`: a tunnel was asked for. */
  constructor(direction, deriveKey, mayTunnel = false) {
    [this.#direction, this.#deriveKey, this.#mayTunnel] = [direction, deriveKey, mayTunnel];
  }

  /** Whether the message is whole: only padding can follow. */
  get ended() { return this.#stage === "PADDING"; }

  /** The part in a record. */
  open(sealed) { return this.#unlessFailed(() => this.#opened(sealed)); }

  /** The stream has ended. */
  close() {
    return this.#unlessFailed(() => { if (!this.#finished) throw new Refused("truncated", "the stream was cut"); });
  }

  async #unlessFailed(action) {
    if (this.#failure) throw this.#failure;
    try {
      return await action();
    } catch (error) {
      this.#records = this.#deriveKey = undefined;
      this.#failure = error instanceof Refused ? error : new Refused("violation", error.message);
      throw this.#failure;
    }
  }

  async #opened(sealed) {
    if (this.#finished || sealed.length > MAX_SEALED) throw new Refused("open_failure", "a record did not open");
    if (this.#records === undefined) {
      const prefix = this.#direction === "response" ? NONCE_SIZE : 0;
      this.#records = new Records(await this.#deriveKey(sealed.subarray(0, prefix)));
      sealed = sealed.subarray(prefix);
    }
    const { encoded, final } = await this.#records.open(sealed);
    this.#finished = final;
    const part = decode(this.#direction === "request" ? "RequestPart" : "ResponsePart", encoded);
    this.#judge(part);
    if (final && !this.ended) throw new Error("the final record comes before the end of the message");
    return { ...part, encoded };
  }

  #judge(part) {
    const { head, body, frame, error } = part, isResponse = this.#direction === "response";
    const headSize = head && encode(isResponse ? "ResponseHead" : "RequestHead", head).length;
    if (headSize > MAX_HEAD || body?.length > MAX_BODY) throw new Error("a head or a body piece is too large");
    if (error && Buffer.byteLength(error.message) > MAX_ERROR) throw new Error("an error's message is too large");
    const isAsked = ({ status }) => (status >= 200 && status <= 599) || (status === SWITCHED && this.#mayTunnel);
    if (isResponse && head && !isAsked(head)) throw new Error(`${head.status} is not a status that was asked for`);
    const fields = FIELDS.filter((field) => part[field] != null);
    for (const name of fields.length > 0 ? fields.map((field) => nameOf(field, part)) : ["padding"]) {
      const next = ORDER[this.#stage][name];
      if (next === undefined) throw new Error(`${name} cannot come here`);
      this.#stage = next;
    }
    if (frame) this.#judgeFrame(frame);
  }

  #judgeFrame({ opcode, fin, data }) {
    if (opcode === CLOSE) {
      const isSized = data.length === 0 || (data.length >= 2 && data.length <= 125 && isCloseCode(data.readUInt16BE()));
      if (!fin || !isSized) throw new Error("a close has not the form of one");
      new TextDecoder("utf-8", { fatal: true }).decode(data.subarray(2));
    } else {
      const isPlaced = [0, 1, 2].includes(opcode) && (opcode === 0) === this.#inMessage;
      if (!isPlaced || data.length > MAX_BODY) throw new Error("a frame cannot come here");
      this.#inMessage = !fin;
    }
  }
}

/** The field's name in the table, where tunnel heads and closes have their own. */
function nameOf(field, { head, frame }) {
  if (field === "head" && (head.kind === TUNNEL || head.status === SWITCHED)) return "tunnel head";
  return field === "frame" && frame.opcode === CLOSE ? "close" : field;
}

const isCloseCode = (code) => [[1000, 1003], [1007, 1014], [3000, 4999]].some(([low, high]) => low <= code && code <= high);
