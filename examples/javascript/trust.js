// Whose key a client seals to: identities, keys, and directories (spec/protocol.md, sections 4, 5).

import { decode, encode } from "./messages.js";
import { label, Refused, sha256 } from "./records.js";

const { subtle } = globalThis.crypto, BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
const SKEW = 300n, LONGEST = 172_800n, isHash = ({ length }) => length === 0 || length === 32;

/** The 32 bytes of an identity's text. */
export async function parseIdentity(text) {
  if (!/^br1[a-z2-7]{56}$/.test(text)) throw new Refused("mistyped", "an identity is br1 and 56 letters and digits");
  const bits = [...text.slice(3)].map((letter) => BASE32.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const bytes = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2))), identity = bytes.subarray(0, 32);
  const checksum = (await sha256(label("identity", identity))).subarray(0, 3);
  if (!checksum.equals(bytes.subarray(32))) throw new Refused("mistyped", "an identity has a typing error");
  return identity;
}

/** Reads exact KeyConfig bytes. */
export async function parseConfig(bytes) {
  const config = parsed("KeyConfig", bytes), { suite, public_key, not_before, not_after } = config;
  if (suite !== 1) throw new Refused("unknown_suite", `a key has suite ${suite}`);
  const validity = not_after - not_before, isStepped = not_before % 10n === 0n && not_after % 10n === 0n;
  if (public_key.length !== 1_216 || validity <= 0n || validity > LONGEST || !isStepped || !isReduced(public_key)) {
    throw new Refused("malformed", "a key's form is wrong");
  }
  return { ...config, key_id: (await sha256(label("key config", bytes))).subarray(0, 16) };
}

/** FIPS 203, section 7.2: each of the 768 coefficients of 12 bits is below 3,329. */
function isReduced(publicKey) {
  const pairs = Array.from({ length: 384 }, (_, place) => publicKey.readUIntLE(3 * place, 3));
  return pairs.every((pair) => (pair & 0xfff) < 3_329 && pair >> 12 < 3_329);
}

function parsed(name, bytes) {
  try {
    return decode(name, bytes);
  } catch {
    throw new Refused("malformed", `a ${name} is not a protobuf message`);
  }
}

/** False, too, if the key or the signature has another size. */
const isSigned = (publicKey, name, message, signature) =>
  subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"])
    .then((key) => subtle.verify("Ed25519", key, signature, label(name, message))).catch(() => false);

/** Verifies a SignedKeyDirectory for a pinned identity at `now` (Unix seconds); section 5. */
export async function verifyDirectory(signed, identity, now) {
  const refuseUnless = (holds, reason) => { if (!holds) throw new Refused(reason); };
  const delegation = parsed("Delegation", signed.delegation), { signing_key } = delegation;
  refuseUnless(delegation.identity.length === 32, "malformed");
  refuseUnless(delegation.identity.equals(identity), "foreign_identity");
  const { directory: exact, signature, delegation_signature } = signed;
  refuseUnless(await isSigned(identity, "delegation", signed.delegation, delegation_signature), "bad_delegation");
  refuseUnless(await isSigned(signing_key, "key directory", exact, signature), "bad_signature");
  const directory = parsed("KeyDirectory", exact);
  const { replica_id, issued_at, expires_at, next_identity_hash, price_table_hash, configs, started_at } = directory;
  refuseUnless(directory.identity.equals(identity), "foreign_identity");
  refuseUnless(replica_id.length === 16 && [next_identity_hash, price_table_hash].every(isHash), "malformed");
  refuseUnless(configs.length >= 1 && configs.length <= 8, "malformed");
  refuseUnless(started_at <= issued_at && issued_at < expires_at && expires_at - issued_at <= LONGEST, "malformed");
  refuseUnless(next_identity_hash.equals(delegation.next_identity_hash), "bad_delegation");
  refuseUnless(now - issued_at <= SKEW && now <= expires_at, "stale");
  refuseUnless(issued_at - now <= SKEW, "future");
  const isDelegated = (moment) => moment <= delegation.not_after && moment + SKEW >= delegation.not_before;
  refuseUnless(isDelegated(now) && isDelegated(issued_at), "bad_delegation");
  const until = expires_at < delegation.not_after ? expires_at : delegation.not_after;
  const keys = (await Promise.all(configs.map(parseConfig))).map((key) => ({ ...key, announced_at: issued_at, until }));
  return { ...directory, keys, exact, signed: encode("SignedKeyDirectory", signed) };
}

/** The newest directory of each replica, and the replicas that have contradicted themselves. */
export class DirectoryHistory {
  #newest = new Map(); #forks = new Map();

  /** Compares a verified directory with the earlier ones of its replica, and keeps it. A fork has its `proof`. */
  judge(directory) {
    const replica = Buffer.concat([directory.identity, directory.replica_id]).toString("hex");
    const { sequence, exact, signed } = directory, newest = this.#newest.get(replica) ?? directory;
    if (newest.sequence === sequence && !newest.exact.equals(exact) && !this.#forks.has(replica)) {
      this.#forks.set(replica, Object.assign(new Refused("forked"), { proof: [newest.signed, signed] }));
    }
    if (this.#forks.has(replica)) throw this.#forks.get(replica);
    if (sequence < newest.sequence) throw new Refused("rolled_back");
    this.#newest.set(replica, directory);
  }
}
