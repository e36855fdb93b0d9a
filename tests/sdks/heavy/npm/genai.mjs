export async function checks(load, endpoint, token) {
  const { GoogleGenAI } = await load("@google/genai");
  const client = new GoogleGenAI({ apiKey: token, httpOptions: { baseUrl: `${endpoint}/gemini` } });
  const question = { model: "gemini-3", contents: "What is the capital of France?" };

  return {
    content: async () => (await client.models.generateContent(question)).text,
    "content, streamed": async () => {
      let text = "";
      for await (const chunk of await client.models.generateContentStream(question)) text += chunk.text ?? "";
      return text;
    },
  };
}
