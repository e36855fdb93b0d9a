// What SDKs ask for and aimock does not have, or has in OpenAI's shape only: one file for each provider.

import * as anthropic from "./gaps_anthropic.mjs";
import * as gemini from "./gaps_gemini.mjs";
import * as mistral from "./gaps_mistral.mjs";

export const everybody = { ...anthropic.mounts, ...gemini.mounts };
export const mistrals = mistral.mounts;

/** Mounts functions from (request, path below the mount) to the answer's JSON or bytes; undefined leaves it to aimock. */
export function mountAll(mock, mounts) {
  for (const [path, answerTo] of Object.entries(mounts)) {
    mock.mount(path, {
      async handleRequest(request, response, below) {
        const answer = await answerTo(request, below);
        if (answer === undefined) return false;
        const bytes = answer instanceof Uint8Array;
        response.writeHead(200, { "content-type": bytes ? "application/octet-stream" : "application/json" });
        response.end(bytes ? answer : JSON.stringify(answer));
        return true;
      },
    });
  }
}
