// Loaded into every Node process under `blindrelay run` (NODE_OPTIONS), because Node's own clients ignore proxy
// variables. A connection to another machine fails with "not sealed: HOST", after asking the endpoint, which
// counts the refusal. This holds net, tls, http, https, http2, fetch and dgram. It does not hold native add-ons,
// or a program that removes this file.
"use strict";

const dgram = require("node:dgram");
const { syncBuiltinESMExports } = require("node:module");
const net = require("node:net");
const threads = require("node:worker_threads");

const endpoint = new URL(process.env.BLINDRELAY_RUN_ENDPOINT);
const connect = net.Socket.prototype.connect;
const send = dgram.Socket.prototype.send;
const connectDatagrams = dgram.Socket.prototype.connect;

const loopback = new net.BlockList();
loopback.addSubnet("127.0.0.0", 8);
loopback.addAddress("::1", "ipv6");

function isLocal(host) {
  const name = host.replace(/^\[|\]$/g, "").toLowerCase();
  if (name === "localhost") return true;
  const family = net.isIP(name);
  return family !== 0 && loopback.check(name, family === 6 ? "ipv6" : "ipv4");
}

function notSealed(host) {
  return Object.assign(new Error(`not sealed: ${host}`), { code: "ERR_NOT_SEALED", host });
}

// The arguments of connect(): a path, options, or a port and a host.
function target(args) {
  const first = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (first !== null && typeof first === "object") {
    return first.path ? null : { host: first.host || "localhost", port: first.port };
  }
  if (typeof first === "string" && !(Number(first) >= 0)) return null;
  return { host: typeof args[1] === "string" ? args[1] : "localhost", port: first };
}

net.Socket.prototype.connect = function (...args) {
  const { host, port } = target(args) ?? {};
  if (host === undefined || isLocal(String(host))) return connect.apply(this, args);
  const refuse = () => this.destroy(notSealed(host));
  const asking = new net.Socket();
  connect.call(asking, { host: endpoint.hostname, port: endpoint.port });
  const authority = `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
  asking.write(`CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n\r\n`);
  asking.once("data", () => asking.destroy()).once("error", () => {}).once("close", refuse);
  this.connecting = true;
  return this;
};

dgram.Socket.prototype.connect = function (port, address, callback) {
  const host = typeof address === "string" ? address : "localhost";
  if (!isLocal(host)) throw notSealed(host);
  return connectDatagrams.apply(this, arguments);
};

// send(message, [offset, length,] [port,] [address,] [callback]): the address is the last argument before the
// callback. Resolvers also accept a number as an address.
dgram.Socket.prototype.send = function (...args) {
  const given = args.slice(1).filter((each) => typeof each !== "function");
  const host = [2, 4].includes(given.length) && given.at(-1) ? String(given.at(-1)) : undefined;
  if (host !== undefined && !isLocal(host)) throw notSealed(host);
  return send.apply(this, args);
};

// A worker with its own environment would not load this file, which NODE_OPTIONS names.
const load = `--require="${__filename.replace(/[\\"]/g, "\\$&")}"`;
const held = ({ NODE_OPTIONS: own = "" }) => ({
  NODE_OPTIONS: `${own} ${load}`.trim(),
  BLINDRELAY_RUN_ENDPOINT: endpoint.href,
});
threads.Worker = class Worker extends threads.Worker {
  constructor(filename, options) {
    const env = options?.env;
    const isOwn = env !== null && typeof env === "object";
    super(filename, isOwn ? { ...options, env: { ...env, ...held(env) } } : options);
  }
};
syncBuiltinESMExports();
