// Tries every way out that Node has, here and in worker threads, and prints the outcomes.
import dgram from "node:dgram";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";
import { Worker, isMainThread } from "node:worker_threads";

const host = "192.0.2.1";
const failure = (emitter) => new Promise((done) => emitter.once("error", (error) => done(error.message)));
const udp = dgram.createSocket("udp4");
const ways = {
  fetch: () => fetch(`https://${host}/`).catch((error) => error.cause.message),
  https: () => failure(https.get(`https://${host}/`)),
  http: () => failure(http.get({ host, path: "/" })),
  http2: () => failure(http2.connect(`https://${host}`)),
  net: () => failure(net.connect(443, host)),
  net6: () => failure(net.connect({ host: "2001:db8::1", port: 443 })),
  tls: () => failure(tls.connect({ host, port: 443 })),
  udp: () => new Promise((done, fail) => udp.send("x", 53, host, fail)).catch((error) => error.message),
  udpNumber: () =>
    new Promise((done, fail) => udp.send("x", 0, 1, 53, "3221225985", fail)).catch((error) => error.message),
};
const found = {};
for (const [name, way] of Object.entries(ways)) found[name] = await way();
udp.close();
if (isMainThread) {
  console.log(JSON.stringify(found));
  for (const options of [{}, { env: {} }, { env: { NODE_OPTIONS: "--no-warnings" }, execArgv: [] }]) {
    await new Promise((done) => new Worker(new URL(import.meta.url), options).once("exit", done));
  }
} else {
  console.log(JSON.stringify(found));
}
