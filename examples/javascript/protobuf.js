// The messages of proto/blindrelay/v1 that a client reads and writes. Small, because it is strict: what is not well
// formed throws, as the vectors want it. Exact bytes stay bytes; 64-bit integers are BigInt.

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

// field number: [name, type, repeated]; a type is a word below or another message.
const Header = { 1: ["name", "bytes"], 2: ["value", "bytes"] };
const Shaping = { 1: ["profile", "int"], 2: ["tick_class", "int"], 3: ["cell_class", "int"] };
const SignedReceipt = { 1: ["receipt", "bytes"], 2: ["signature", "bytes"] };
const Frame = { 1: ["opcode", "int"], 2: ["fin", "bool"], 3: ["data", "bytes"] };
const RequestHead = {
  1: ["kind", "int"], 2: ["method", "string"], 3: ["url", "string"], 4: ["headers", Header, true],
  5: ["credential", "int"], 6: ["deadline_class", "int"], 7: ["shaping", Shaping], 8: ["retry_token", "bytes"],
  9: ["on_disconnect", "int"],
};
const ResponseHead = { 1: ["status", "int"], 2: ["headers", Header, true] };
const ResponseTail = { 1: ["body_end", "int"], 2: ["receipt", SignedReceipt] };
const ExchangeError = { 1: ["code", "int"], 2: ["message", "string"], 3: ["execution", "int"] };

export const RequestPart = { 1: ["head", RequestHead], 2: ["body", "bytes"], 3: ["end", {}], 4: ["frame", Frame] };
export const ResponsePart = {
  1: ["head", ResponseHead], 2: ["body", "bytes"], 3: ["tail", ResponseTail], 4: ["error", ExchangeError],
  5: ["frame", Frame],
};
export const Envelope = {
  1: ["version", "int"], 2: ["exchange_id", "bytes"], 3: ["identity", "bytes"], 4: ["key_id", "bytes"],
  5: ["issued_at", "long"], 6: ["max_units", "long"], 7: ["service_class", "int"],
};
export const KeyConfig = {
  1: ["suite", "int"], 2: ["public_key", "bytes"], 3: ["not_before", "long"], 4: ["not_after", "long"],
};
export const Delegation = {
  1: ["identity", "bytes"], 2: ["signing_key", "bytes"], 3: ["not_before", "long"], 4: ["not_after", "long"],
  5: ["next_identity_hash", "bytes"],
};
export const KeyDirectory = {
  1: ["identity", "bytes"], 2: ["replica_id", "bytes"], 3: ["sequence", "long"], 4: ["issued_at", "long"],
  5: ["expires_at", "long"], 6: ["next_identity_hash", "bytes"], 7: ["configs", "bytes", true], 8: ["started_at", "long"],
};
export const SignedKeyDirectory = {
  1: ["directory", "bytes"], 2: ["signature", "bytes"], 3: ["delegation", "bytes"], 4: ["delegation_signature", "bytes"],
};
export const GetKeyDirectoryResponse = { 1: ["directories", SignedKeyDirectory, true] };
export const ExchangeRequest = { 1: ["encapsulated_secret", "bytes"], 2: ["sealed", "bytes"] };
export const ExchangeResponse = { 1: ["sealed", "bytes"] };

const EMPTY = { int: 0, long: 0n, bool: false, string: "", bytes: new Uint8Array() };
const isVarint = (type) => type === "int" || type === "long" || type === "bool";

/** Reads a message. Scalars that are absent have their default; messages, and a part's body, are undefined. */
export function decode(schema, bytes) {
  const message = {};
  for (const [name, type, repeated] of Object.values(schema)) {
    if (repeated) message[name] = [];
    else if (typeof type === "string" && !hasPresence(schema, name)) message[name] = EMPTY[type];
  }
  for (let at = 0; at < bytes.length; ) {
    let key, value;
    [key, at] = varint(bytes, at);
    const wire = Number(key & 7n), number = Number(key >> 3n);
    if (number === 0 || number > 0x1fffffff) throw new Error("a field has an impossible number");
    [value, at] = field(bytes, at, wire);
    const [name, type, repeated] = schema[number] ?? [];
    if (name === undefined || wire !== (isVarint(type) ? 0 : 2)) continue; // an unknown field
    const read = typeof type === "string" ? scalar(type, value) : decode(type, value);
    if (repeated) message[name].push(read);
    else if (typeof type !== "string" && message[name] !== undefined) merge(message[name], read, type, value);
    else message[name] = read;
  }
  return message;
}

/** Writes a message deterministically: fields by number, defaults absent. */
export function encode(schema, message) {
  const chunks = [];
  for (const [number, [name, type, repeated]] of Object.entries(schema)) {
    for (const value of repeated ? (message[name] ?? []) : [message[name]]) {
      if (value === undefined || (!repeated && isDefault(schema, name, type, value))) continue;
      if (isVarint(type)) {
        chunks.push(varintOf(BigInt(number) << 3n), varintOf(BigInt(value)));
      } else {
        const data = type === "bytes" ? value : type === "string" ? Buffer.from(value) : encode(type, value);
        chunks.push(varintOf((BigInt(number) << 3n) | 2n), varintOf(BigInt(data.length)), data);
      }
    }
  }
  return Uint8Array.from(Buffer.concat(chunks));
}

// `body` is the one scalar that may be present and empty.
const hasPresence = (schema, name) => name === "body" && (schema === RequestPart || schema === ResponsePart);

function isDefault(schema, name, type, value) {
  if (typeof type !== "string" || hasPresence(schema, name)) return false;
  return isVarint(type) ? BigInt(value) === 0n : value.length === 0;
}

function scalar(type, value) {
  if (type === "bytes") return value;
  if (type === "string") return utf8.decode(value); // throws where it is not UTF-8
  if (type === "long") return value;
  return type === "bool" ? value !== 0n : Number(BigInt.asUintN(32, value));
}

// A message that comes twice is one: its scalars are the last ones, its lists one list.
function merge(message, later, schema, bytes) {
  for (const [name, type, repeated] of Object.values(schema)) {
    if (repeated) message[name].push(...later[name]);
    else if (typeof type !== "string" ? later[name] !== undefined : !isDefault(schema, name, type, later[name])) {
      message[name] = later[name];
    }
  }
}

function field(bytes, at, wire) {
  if (wire === 0) return varint(bytes, at);
  let size = { 1: 8, 5: 4 }[wire];
  if (wire === 2) {
    let length;
    [length, at] = varint(bytes, at);
    size = Number(length);
  }
  if (size === undefined || at + size > bytes.length) throw new Error("a field ends after its message");
  return [bytes.subarray(at, at + size), at + size];
}

function varint(bytes, at) {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    if (at >= bytes.length) throw new Error("a number ends after its message");
    const byte = bytes[at++];
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [BigInt.asUintN(64, value), at];
  }
  throw new Error("a number has more than 64 bits");
}

function varintOf(value) {
  const bytes = [];
  for (; value > 127n; value >>= 7n) bytes.push(Number(value & 127n) | 128);
  return Buffer.from([...bytes, Number(value)]);
}
