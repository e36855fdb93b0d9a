// The messages of proto/blindrelay/v1. 64-bit integers are BigInt; a message that is absent is null.

import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const root = new protobuf.Root();
root.resolvePath = (_, name) => fileURLToPath(new URL(`../../proto/${name}`, import.meta.url));
root.loadSync(["envelope", "exchange", "inner"].map((name) => `blindrelay/v1/${name}.proto`), { keepCase: true });
const typeOf = (name) => root.lookupType(`blindrelay.v1.${name}`);

/** Throws where the bytes are not such a message, or a string in it is not UTF-8. */
export const decode = (name, bytes) =>
  typeOf(name).toObject(typeOf(name).decode(bytes), { defaults: true, longs: BigInt });

/** Fields in the order of their numbers, defaults absent. */
export const encode = (name, message) => typeOf(name).encode(typeOf(name).fromObject(message)).finish();
