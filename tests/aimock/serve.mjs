// Serves the fixtures of this folder on free ports of loopback, for as long as its stdin is open.
//
//     node serve.mjs FOLDER      where FOLDER/node_modules holds @copilotkit/aimock
//
// Prints {"url": …, "mistral": …} when it listens: one for all providers, and one for Mistral, whose paths are OpenAI's.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { everybody, mistrals, mountAll } from "./gaps.mjs";

const { LLMock } = createRequire(`${process.argv[2]}/package.json`)("@copilotkit/aimock");

const url = await started(everybody);
const mistral = await started(mistrals);
console.log(JSON.stringify({ url, mistral }));

process.stdin.on("end", () => process.exit()).resume();

async function started(mounts) {
  const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent" });
  mock.loadFixtureDir(fileURLToPath(new URL("fixtures", import.meta.url)));
  mock.onRerank("capital", [
    { index: 1, relevance_score: 0.9 },
    { index: 0, relevance_score: 0.1 },
  ]);
  mountAll(mock, mounts);
  return mock.start();
}
