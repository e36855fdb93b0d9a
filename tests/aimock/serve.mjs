// Serves the fixtures of this folder on a free port of loopback, for as long as its stdin is open.
//
//     node serve.mjs FOLDER      where FOLDER/node_modules holds @copilotkit/aimock
//
// Prints {"listening": "127.0.0.1:PORT"} when it listens.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { fillGaps } from "./gaps.mjs";

const installed = createRequire(`${process.argv[2]}/package.json`);
const { LLMock } = installed("@copilotkit/aimock");

const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent" });
mock.loadFixtureDir(fileURLToPath(new URL("fixtures", import.meta.url)));
mock.onRerank("capital", [
  { index: 1, relevance_score: 0.9 },
  { index: 0, relevance_score: 0.1 },
]);
fillGaps(mock);
const url = await mock.start();
console.log(JSON.stringify({ listening: new URL(url).host }));

process.stdin.on("end", () => process.exit()).resume();
