import { readFileSync, readdirSync } from "node:fs";
import { decode, encode, SignedKeyDirectory, RequestPart, ResponsePart } from "./protobuf.js";
import * as s from "./sealing.js";
import * as t from "./trust.js";
const hex=(x)=>Buffer.from(x).toString("hex"), un=(x)=>Uint8Array.from(Buffer.from(x,"hex"));
const dir=process.argv[2]; let ok=0,bad=0;
async function run(v){
  switch(v.kind){
  case "identity": try { return hex(await t.parseIdentity(v.text))===v.identity ? "accept":"wrong"; } catch(e){ return e.reason }
  case "key": try { t.parseConfig(un(v.config)); return hex(await t.keyId(un(v.config)))===v.key_id?"accept":"wrong" } catch(e){ return e.reason}
  case "directory": { const h=new t.DirectoryHistory(); let last; for(const st of v.steps){ const sd=decode(SignedKeyDirectory,un(st.signed)); try { const d=await t.verifyDirectory(sd,un(v.identity),st.now); h.judge(d,un(st.signed)); last="accept"} catch(e){ last=e.reason ?? String(e)} if(last!==st.expect) return `${last} instead of ${st.expect}`; } return last; }
  case "padding": return v.cases.every(c=>s.padme(c.length)===c.padded)?"accept":"wrong";
  default: return undefined;
  }
}
for(const k of readdirSync(dir)){ if(k==="inputs"||k.endsWith(".md")) continue; for(const f of readdirSync(`${dir}/${k}`)){ const v=JSON.parse(readFileSync(`${dir}/${k}/${f}`)); const r=await run(v); if(r===undefined) continue; if(r===v.expect) ok++; else {bad++; console.log(k,f,r,v.expect)} } }
console.log(ok,bad);
