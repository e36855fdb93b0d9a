// Keys and records: one direction of an exchange (spec/protocol.md, sections 8 and 9). No input or output.

import { Aes256Gcm, CipherSuite, HkdfSha256 } from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";

const { subtle } = globalThis.crypto;
const OVERHEAD = 20, TAG = 16, MAX_RECORDS = 2 ** 32, MAX_BYTES = 2 ** 38;
export const MAX_SEALED = 69_632, NONCE_SIZE = 32, FULL_RECORD = { request: 65_616, response: 69_581 };
export const suite = new CipherSuite({ kem: new XWing(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });

/** `reason` is a word of spec/vectors/README.md: for a developer, never for the other side. */
export class Refused extends Error {
  constructor(reason, detail = reason) { super(detail); this.reason = reason; }
}

export const label = (name, message) => Buffer.concat([Buffer.from(`blindrelay/v1 ${name}\0`), message]);
export const sha256 = async (bytes) => Buffer.from(await subtle.digest("SHA-256", bytes));
export const sizeOf = (part) => OVERHEAD + part.length;
export const random = (size) => globalThis.crypto.getRandomValues(Buffer.alloc(size));

/** The keys of both directions, 32 bytes each. The response's also takes the nonce that comes with it. */
export function keySchedule(secret, envelopeHash) {
  const derive = async (name, message) => {
    const key = await subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]), salt = new Uint8Array();
    return subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info: label(name, message) }, key, 256);
  };
  const response = (nonce) => derive("response", Buffer.concat([envelopeHash, nonce]));
  return { request: () => derive("request", envelopeHash), response };
}

/** Begins an exchange: seals a fresh secret to a bridge's key. */
export async function encapsulate(envelope, publicKey) {
  const secret = random(32), envelopeHash = await sha256(envelope);
  const recipientPublicKey = await suite.kem.importKey("raw", Uint8Array.from(publicKey).buffer, true);
  const { enc, ct } = await suite.seal({ recipientPublicKey, info: label("encapsulation", envelopeHash) }, secret);
  const encapsulatedSecret = Buffer.concat([Buffer.from(enc), Buffer.from(ct)]);
  return { encapsulatedSecret, keys: keySchedule(secret, envelopeHash) };
}

/** The records of one direction, in order. A record's nonce is its place, and whether it is the final one. */
export class Records {
  #key; #place = 0; #size = 0;

  constructor(key) { this.#key = subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]); }

  /** One record of `size` bytes. */
  async seal(part, { size = sizeOf(part), final = false } = {}) {
    const plaintext = Buffer.alloc(size - TAG);
    plaintext.writeUInt32BE(part.length);
    plaintext.set(part, 4);
    const sealed = await subtle.encrypt(this.#algorithm(final), await this.#key, plaintext);
    return this.#counted(Buffer.from(sealed));
  }

  /** The part in a record, and whether the record is the final one. */
  async open(sealed) {
    for (const final of sealed.length >= OVERHEAD ? [false, true] : []) {
      const opened = await subtle.decrypt(this.#algorithm(final), await this.#key, sealed).catch(() => undefined);
      if (opened === undefined) continue;
      this.#counted(sealed);
      const plaintext = Buffer.from(opened), end = 4 + plaintext.readUInt32BE();
      const isPadded = end <= plaintext.length && plaintext.subarray(end).every((byte) => byte === 0);
      if (!isPadded) throw new Refused("violation", "a record's length or padding is wrong");
      return { encoded: plaintext.subarray(4, end), final };
    }
    throw new Refused("open_failure", "a record did not open");
  }

  #algorithm(final) {
    const hasRoom = this.#place < MAX_RECORDS && this.#size <= MAX_BYTES - MAX_SEALED;
    if (!hasRoom) throw new Refused("open_failure", "a key is used up");
    const iv = Buffer.alloc(12);
    iv.writeBigUInt64BE(BigInt(this.#place), 3);
    iv[11] = final ? 1 : 0;
    return { name: "AES-GCM", iv };
  }

  #counted(sealed) {
    this.#place += 1;
    this.#size += sealed.length;
    return sealed;
  }
}

/** A length that tells less (section 9.3): a BigInt, rounded up to a multiple of 2^(e − s). */
export function padme(length) {
  const e = length.toString(2).length - 1, loose = 2n ** BigInt(e - e.toString(2).length) - 1n;
  return (length + loose) & ~loose;
}

/** The sizes of the last record that has content, and of the padding records after it. */
export function lastSizes(direction, sent, last) {
  const full = FULL_RECORD[direction], sizes = [];
  let rest = Number(padme(BigInt(Math.max(4_096, sent + last)))) - sent;
  for (; rest >= full + OVERHEAD; rest -= full) sizes.push(full);
  return [...sizes, rest];
}
