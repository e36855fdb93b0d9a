// The JavaScript client as a program that the conformance kit can ask (docs/conformance.md).
// What only a bridge does is written here.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { constants, inflateRawSync } from "node:zlib";
import { Client, ExchangeFailed } from "../../../examples/javascript/client.js";
import { decode, encode } from "../../../examples/javascript/messages.js";
import { MessageOpener, sealRequest } from "../../../examples/javascript/parts.js";
import {
  encapsulate, keySchedule, label, lastSizes, padme, Records, Refused, sha256, sizeOf, suite,
} from "../../../examples/javascript/records.js";
import { DirectoryHistory, parseConfig, parseIdentity, verifyDirectory } from "../../../examples/javascript/trust.js";

const FLUSHED = {
  dictionary: readFileSync(new URL("../../../spec/cell-dictionary.bin", import.meta.url)),
  finishFlush: constants.Z_SYNC_FLUSH,
  windowBits: 13,
};
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const raw = (text) => Buffer.from(text, "hex");
const accept = (fields) => ({ outcome: "accept", ...fields });

/** Throws where the program refuses. */
function refuseUnless(holds) {
  if (!holds) throw new Refused("refused");
}

async function identity({ text }) {
  return accept({ identity: hex(await parseIdentity(text)) });
}

async function key({ config }) {
  const { key_id, not_before, not_after } = await parseConfig(raw(config));
  return accept({ key_id: hex(key_id), not_before: String(not_before), not_after: String(not_after) });
}

async function directory({ identity, steps }) {
  const history = new DirectoryHistory(), outcomes = [];
  let proof = [];
  for (const { signed, now } of steps) {
    try {
      history.judge(await verifyDirectory(decode("SignedKeyDirectory", raw(signed)), raw(identity), BigInt(now)));
      outcomes.push("accept");
    } catch (error) {
      outcomes.push(error.reason);
      proof = error.proof?.map(hex) ?? proof;
    }
  }
  return { outcomes, proof };
}

async function envelope({ values }) {
  refuseUnless(values.length === 1 && raw(values[0]).length <= 512);
  const bytes = raw(values[0]);
  let fields;
  try {
    fields = decode("Envelope", bytes);
  } catch {
    refuseUnless(false);
  }
  refuseUnless(bytes.equals(encode("Envelope", fields))); // its one encoding
  const { version, exchange_id, identity, key_id, issued_at, max_units, service_class } = fields;
  refuseUnless(version === 1 && service_class === 0);
  refuseUnless(exchange_id.length === 16 && identity.length === 32 && key_id.length === 16);
  refuseUnless(issued_at > 0n && issued_at % 10n === 0n);
  refuseUnless(/^[125]0*$/.test(String(max_units)) && max_units < 2n ** 63n);
  const shown = Object.entries(fields).map(([name, value]) =>
    [name, typeof value === "bigint" ? String(value) : typeof value === "number" ? value : hex(value)]);
  return accept({ envelope: Object.fromEntries(shown), envelope_hash: hex(await sha256(bytes)) });
}

async function decapsulated({ kem_seed, envelope, encapsulated_secret }) {
  const sealed = raw(encapsulated_secret), envelopeHash = await sha256(raw(envelope));
  const info = label("encapsulation", envelopeHash);
  try {
    const recipientKey = await suite.kem.importKey("raw", Uint8Array.from(raw(kem_seed)).buffer, false);
    const enc = Uint8Array.from(sealed.subarray(0, 1_120)), ciphertext = Uint8Array.from(sealed.subarray(1_120));
    const secret = Buffer.from(await suite.open({ recipientKey, enc, info }, ciphertext));
    if (secret.length === 32) return { secret, envelopeHash, info };
  } catch {
    // The same for every cause.
  }
  throw new Refused("open_failure");
}

async function decapsulate(asked) {
  const { secret, envelopeHash, info } = await decapsulated(asked), keys = keySchedule(secret, envelopeHash);
  const response_key = hex(await keys.response(raw(asked.response_nonce ?? ""))), exchange_secret = hex(secret);
  const request_key = hex(await keys.request());
  return accept({ envelope_hash: hex(envelopeHash), info: hex(info), exchange_secret, request_key, response_key });
}

function claim({ attempts }) {
  const claimed = new Set();
  const outcomes = attempts.map(({ now, exchange_id, issued_at }) => {
    const distance = BigInt(now) - BigInt(issued_at);
    if (claimed.has(exchange_id) || distance > 300n || distance < -300n) return "refused";
    claimed.add(exchange_id);
    return "accept";
  });
  return { outcomes };
}

function head(asked) {
  const { kind, credential, deadline_class, headers, shaping, ...reserved } = decode("RequestHead", raw(asked.head));
  if (![1, 2].includes(kind) || ![1, 2].includes(credential) || deadline_class > 4) return { outcome: "malformed" };
  const isShaped = shaping && (shaping.profile > 3 || shaping.tick_class || shaping.cell_class);
  const { retry_token, on_disconnect, price_table_hash, rounding } = reserved;
  const isReserved = retry_token.length > 0 || on_disconnect > 1 || rounding > 2;
  if (isShaped || isReserved) return { outcome: "unsupported" };
  if (![0, 32].includes(price_table_hash.length)) return { outcome: "malformed" };
  const isName = (name) => /^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name.toString("latin1"));
  const isValue = (value) => !/[\x00-\x08\x0a-\x1f\x7f]/.test(value.toString("latin1"));
  const areHeaders = headers.length <= 64 && headers.every(({ name, value }) => isName(name) && isValue(value));
  return { outcome: areHeaders ? "accept" : "not_allowed" };
}

const padding = ({ lengths }) => ({ padded: lengths.map((length) => String(padme(BigInt(length)))) });

/** The sizes of a request's records, by sealing one. */
async function cut({ head, body }) {
  const url = "x".repeat(head - (head < 130 ? 2 : head < 16_387 ? 3 : 4)), records = [];
  for await (const sealed of sealRequest(Buffer.alloc(32), { url }, Buffer.alloc(body))) records.push(sealed.length);
  return { records };
}

function sizes({ direction, tunnel, sent, parts }) {
  const nonce = direction === "response" && sent === "0" ? 32 : 0, unpadded = parts.map((part) => 20 + part);
  const early = unpadded.slice(0, -1), before = early.reduce((sum, size) => sum + size, Number(sent) + nonce);
  const inOrder = () => [...early, ...lastSizes(direction, before, unpadded.at(-1))];
  const [first, ...more] = tunnel ? unpadded.map(inTunnel) : inOrder();
  return { records: [nonce + first, ...more] };
}

const inTunnel = (size) => Number(padme(BigInt(Math.max(1_024, size))));
const keysOf = ({ exchange_secret, envelope_hash }) => keySchedule(raw(exchange_secret), raw(envelope_hash));

async function open({ direction, asked, records, ...secrets }) {
  const opener = new MessageOpener(direction, keysOf(secrets)[direction], asked === "tunnel"), parts = [];
  try {
    for (const record of records) parts.push(hex((await opener.open(raw(record))).encoded));
    await opener.close();
    return accept({ parts });
  } catch (error) {
    return { outcome: error.reason, parts };
  }
}

// What cells inflate to is sealed again, as records of a key of our own, so that the client's opener judges it.
async function cells({ records, ...secrets }) {
  const key = Buffer.alloc(32), nonce = Buffer.alloc(32), resealed = new Records(key), parts = [];
  const opener = new MessageOpener("response", () => key), deflated = [];
  let sealed, unread = Buffer.alloc(0), inflated = 0, isFinal = false;
  const outcome = async (reason) => ({ outcome: reason, parts });
  for (const [place, record] of records.map(raw).entries()) {
    const ofRecord = [];
    sealed ??= new Records(await keysOf(secrets).response(record.subarray(0, 32)));
    try {
      const { encoded, final } = await sealed.open(place === 0 ? record.subarray(32) : record);
      const { cell, ...others } = decode("ResponsePart", encoded);
      const isAlone = Object.values(others).every((field) => field == null);
      if (place === 0 && cell == null) return open({ ...secrets, direction: "response", records });
      if (cell == null || !isAlone) return outcome("violation");
      deflated.push(cell);
      const all = inflateRawSync(Buffer.concat(deflated), { ...FLUSHED, maxOutputLength: inflated + 262_144 });
      unread = Buffer.concat([unread, all.subarray(inflated)]);
      inflated = all.length;
      while (unread.length >= 4 && unread.length >= 4 + unread.readUInt32BE()) {
        const part = unread.subarray(4, 4 + unread.readUInt32BE());
        unread = unread.subarray(4 + part.length);
        const again = await resealed.seal(part);
        const opened = await opener.open(parts.length + ofRecord.length === 0 ? Buffer.concat([nonce, again]) : again);
        ofRecord.push(hex(opened.encoded));
      }
      if (final && !opener.ended) return outcome("violation");
      isFinal = final;
      parts.push(...ofRecord);
    } catch (error) {
      return outcome(error.reason ?? "violation");
    }
  }
  return outcome(isFinal ? "accept" : "truncated");
}

async function tunnel({ direction, response_nonce, parts, ...secrets }) {
  const nonce = raw(response_nonce ?? ""), sealer = new Records(await keysOf(secrets)[direction](nonce)), records = [];
  for (const [place, part] of parts.map(raw).entries()) {
    const options = { size: inTunnel(sizeOf(part)), final: place === parts.length - 1 };
    records.push(hex(Buffer.concat([place === 0 ? nonce : Buffer.alloc(0), await sealer.seal(part, options)])));
  }
  return { records };
}

async function messageOf(opener, records) {
  const parts = [];
  for (const record of records) parts.push(await opener.open(raw(record)));
  await opener.close();
  const head = { ...parts[0].head, headers: parts[0].head.headers.map(({ name, value }) => [hex(name), hex(value)]) };
  const errors = parts.flatMap(({ error }) => (error ? [error.message] : []));
  const body = hex(Buffer.concat(parts.map(({ body }) => body ?? Buffer.alloc(0))));
  return { ...head, body, ...(errors.length > 0 && { errors }) };
}

async function exchange(asked) {
  const { secret, envelopeHash } = await decapsulated(asked), keys = keySchedule(secret, envelopeHash);
  const { method, url, headers, body } = await messageOf(new MessageOpener("request", keys.request), asked.request);
  const response_message = await messageOf(new MessageOpener("response", keys.response), asked.response);
  return { request_message: { method, url, headers, body }, response_message };
}

async function seal({ config, envelope, message: { method, url, headers, body } }) {
  const { public_key } = await parseConfig(raw(config)), records = [];
  const { encapsulatedSecret, keys } = await encapsulate(raw(envelope), public_key);
  const pairs = headers.map(([name, value]) => ({ name: raw(name), value: raw(value) }));
  const head = { kind: 1, method, url, credential: 1, headers: pairs };
  for await (const sealed of sealRequest(await keys.request(), head, raw(body))) records.push(hex(sealed));
  return { encapsulated_secret: hex(encapsulatedSecret), records };
}

const clients = new Map();

async function fetch({ connection, method, url, headers, body, abort }) {
  if (!clients.has(connection)) clients.set(connection, await Client.connect(connection));
  const aborting = new AbortController();
  try {
    const options = { method, headers: Object.fromEntries(headers), body: raw(body), signal: aborting.signal };
    const response = await clients.get(connection).fetch(url, options);
    for await (const piece of response.body) {
      console.log(JSON.stringify({ piece: hex(piece) }));
      if (abort) aborting.abort();
    }
    return { outcome: "complete", status: response.status };
  } catch (error) {
    if (aborting.signal.aborted) return { outcome: "aborted" };
    const { code, execution, message } = error;
    const isSealed = error instanceof ExchangeFailed && code;
    return isSealed ? { outcome: "error", code, execution } : { outcome: "failed", message };
  }
}

const QUESTIONS = {
  identity, key, directory, envelope, decapsulate, claim, head, padding, cut, sizes, open, cells, exchange, seal,
  tunnel, fetch,
};

async function answer(asked) {
  const question = QUESTIONS[asked.question];
  if (question === undefined) return { unsupported: true };
  try {
    return await question(asked);
  } catch (error) {
    return { outcome: error.reason ?? String(error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
for (const client of clients.values()) client.close();
