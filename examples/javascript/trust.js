// Whose key a client seals to: identities, directories, and what was seen of them before (spec/protocol.md, sections 4 and 5).

import { Delegation, KeyConfig, KeyDirectory, SignedKeyDirectory, decode } from "./protobuf.js";
import { label, sha256 } from "./sealing.js";

const subtle = globalThis.crypto.subtle;
const W = 300n, LONGEST = 172_800n;
const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
const same = (one, two) => Buffer.compare(one, two) === 0;

/** `reason` is a word of spec/vectors/README.md. */
export class TrustError extends Error {
  constructor(reason, detail = reason) {
    super(detail);
    this.reason = reason;
  }
}

/** The 32 bytes of an identity's text. */
export async function parseIdentity(text) {
  if (!/^br1[a-z2-7]{56}$/.test(text)) throw new TrustError("mistyped");
  const bits = [...text.slice(3)].map((letter) => BASE32.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const bytes = Uint8Array.from(bits.match(/.{8}/g), (byte) => parseInt(byte, 2));
  const checksum = await sha256(label("identity", bytes.subarray(0, 32)));
  if (!same(bytes.subarray(32), checksum.subarray(0, 3))) throw new TrustError("mistyped");
  return bytes.slice(0, 32);
}

export const keyId = async (config) => (await sha256(label("key config", config))).slice(0, 16);

/** Reads exact KeyConfig bytes. */
export function parseConfig(bytes) {
  const config = parsed(KeyConfig, bytes);
  if (config.suite !== 1) throw new TrustError("unknown_suite");
  const validity = config.not_after - config.not_before;
  const stepped = config.not_before % 10n === 0n && config.not_after % 10n === 0n;
  if (config.public_key.length !== 1_216 || validity <= 0n || validity > LONGEST || !stepped) {
    throw new TrustError("malformed", "a key's form is wrong");
  }
  // FIPS 203, section 7.2: each of the 768 coefficients of 12 bits is below 3,329.
  for (let at = 0; at < 1_152; at += 3) {
    const [a, b, c] = config.public_key.subarray(at, at + 3);
    if ((a | ((b & 15) << 8)) >= 3_329 || ((b >> 4) | (c << 4)) >= 3_329) throw new TrustError("malformed", "a key is not valid");
  }
  return config;
}

function parsed(schema, bytes) {
  try {
    return decode(schema, bytes);
  } catch {
    throw new TrustError("malformed", "not a protobuf message");
  }
}

async function isSigned(publicKey, name, message, signature) {
  try {
    const key = await subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
    return await subtle.verify("Ed25519", key, signature, label(name, message));
  } catch {
    return false;
  }
}

/** Verifies a SignedKeyDirectory for a pinned identity at `now` (Unix seconds). */
export async function verifyDirectory(signed, identity, now) {
  now = BigInt(now);
  const delegation = parsed(Delegation, signed.delegation);
  if (!same(delegation.identity, identity)) throw new TrustError("foreign_identity");
  if (!(await isSigned(identity, "delegation", signed.delegation, signed.delegation_signature))) {
    throw new TrustError("bad_delegation");
  }
  if (!(await isSigned(delegation.signing_key, "key directory", signed.directory, signed.signature))) {
    throw new TrustError("bad_signature");
  }
  const directory = parsed(KeyDirectory, signed.directory);
  if (!same(directory.identity, identity)) throw new TrustError("foreign_identity");
  const lifetime = directory.expires_at - directory.issued_at;
  const count = directory.configs.length;
  if (directory.replica_id.length !== 16 || ![0, 32].includes(directory.next_identity_hash.length) || count < 1 || count > 8
    || lifetime <= 0n || lifetime > LONGEST || directory.started_at > directory.issued_at) {
    throw new TrustError("malformed", "a directory's form is wrong");
  }
  if (!same(directory.next_identity_hash, delegation.next_identity_hash)) throw new TrustError("bad_delegation");
  if (now - directory.issued_at > W || now > directory.expires_at) throw new TrustError("stale");
  if (directory.issued_at - now > W) throw new TrustError("future");
  for (const moment of [now, directory.issued_at]) {
    if (moment > delegation.not_after || moment + W < delegation.not_before) throw new TrustError("bad_delegation");
  }
  const keys = [];
  for (const config of directory.configs) keys.push({ ...parseConfig(config), config, key_id: await keyId(config) });
  const expires_at = directory.expires_at < delegation.not_after ? directory.expires_at : delegation.not_after;
  return { ...directory, expires_at, keys, statement: signed.directory };
}

/** What one client has seen of each replica. */
export class DirectoryHistory {
  #seen = new Map();
  #forked = new Map();

  /** Remembers a verified directory; `signed` are the exact bytes of its SignedKeyDirectory, for the proof. */
  judge(directory, signed) {
    const replica = Buffer.from([...directory.identity, ...directory.replica_id]).toString("hex");
    if (this.#forked.has(replica)) throw this.#forked.get(replica);
    const seen = this.#seen.get(replica) ?? [];
    const twin = seen.find((each) => each.sequence === directory.sequence);
    if (twin && !same(twin.statement, directory.statement)) {
      const fork = Object.assign(new TrustError("forked"), { proof: [twin.signed, signed] });
      this.#forked.set(replica, fork);
      throw fork;
    }
    if (seen.some((each) => each.sequence > directory.sequence)) throw new TrustError("rolled_back");
    if (!twin) this.#seen.set(replica, [...seen, { ...directory, signed }]);
  }
}
