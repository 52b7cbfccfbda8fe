// The OpenAI JavaScript SDK, unmodified: chat, stream, embed, list, abort, and its own error classes.
// Run by test_sdk_javascript.py: node sdk.mjs BASE_URL CHAT_MODEL EMBED_MODEL
import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
const require = createRequire(process.env.SHOAL_NODE_MODULES + '/');
const OpenAI = require('openai').default ?? require('openai');

const [baseURL, model, embedder] = process.argv.slice(2);
const client = new OpenAI({baseURL, apiKey: 'unused', maxRetries: 0});
const messages = [{role: 'user', content: 'What is the capital of France?'}];

const whole = await client.chat.completions.create({model, messages, temperature: 0, max_tokens: 24});
assert.ok(whole.choices[0].message.content.length > 10);

let text = '', usage = null;
for await (const chunk of await client.chat.completions.create(
    {model, messages, temperature: 0, max_tokens: 24, stream: true, stream_options: {include_usage: true}})) {
  text += chunk.choices[0]?.delta?.content ?? '';
  usage = chunk.usage ?? usage;
}
assert.equal(text, whole.choices[0].message.content);
assert.deepEqual({...usage, prompt_tokens_details: 0}, {...whole.usage, prompt_tokens_details: 0});
assert.ok(usage.prompt_tokens_details.cached_tokens > 0);  // the prompt was there already

const embedded = await client.embeddings.create({model: embedder, input: 'a happy person'});
assert.equal(embedded.data[0].embedding.length, 384);

const names = (await client.models.list()).data.map((m) => m.id);
assert.ok(names.includes(model));

const stream = await client.chat.completions.create({model, messages, max_tokens: 1500, stream: true, ignore_eos: true});
let seen = 0;
for await (const _ of stream) {
  if (++seen === 5) stream.controller.abort();
}
assert.ok(seen >= 5 && seen < 1000, `the stream went on after the abort: ${seen}`);

await assert.rejects(client.chat.completions.create({model: 'nothing', messages}), OpenAI.NotFoundError);
await assert.rejects(client.chat.completions.create({model, messages, temperature: 9}), OpenAI.BadRequestError);
await assert.rejects(client.chat.completions.create({model, messages, tools: [{type: 'function', function: {name: 'f'}}]}),
                     OpenAI.UnprocessableEntityError);
console.log('javascript sdk: ok');
