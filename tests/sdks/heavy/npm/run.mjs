// Runs the checks of one module beside this file and prints {name: what it gave, or {error}} as JSON.
//
//     node run.mjs MODULE FOLDER      where FOLDER/node_modules holds the SDKs
//
// The endpoint's address is in ENDPOINT, its token in TOKEN.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [module, folder] = process.argv.slice(2);
const { resolve } = createRequire(`${folder}/package.json`);
const { checks } = await import(`./${module}.mjs`);
const load = (name) => import(pathToFileURL(resolve(name)).href);

const results = {};
for (const [name, check] of Object.entries(await checks(load, process.env.ENDPOINT, process.env.TOKEN))) {
  results[name] = await check().catch((error) => ({ error: String(error), status: error.status }));
}
console.log(JSON.stringify(results));
