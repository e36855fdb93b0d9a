// node chat.js "What is the capital of France?"     with the connection string in BLINDRELAY_CONNECTION

import { Client } from "./client.js";

const client = await Client.connect(process.env.BLINDRELAY_CONNECTION ?? "");
const messages = [{ role: "user", content: process.argv[2] ?? "Hello" }];
const response = await client.fetch("https://api.openai.com/v1/chat/completions", {
  method: "POST", headers: { "content-type": "application/json" },
  body: JSON.stringify({ model: "gpt-5", stream: true, messages }),
});
for await (const chunk of response.body) process.stdout.write(chunk);
client.close();
