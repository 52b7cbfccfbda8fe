// What the chat page sends and keeps, against a server of our own making. Run by test_chat_page.py.
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import test from 'node:test';

const source = readFileSync(new URL('../../web/chat/conversation.js', import.meta.url), 'utf8');
const {Conversation} = new Function(source + '; return {Conversation};')();

const chunk = (content, more = {}) => `data: ${JSON.stringify({choices: [{delta: {content}, finish_reason: null}], ...more})}\n\n`;
const DONE = 'data: [DONE]\n\n';

// A server that answers each request with the next of `answers`: texts are the parts of a stream, a number is the
// status of an error, a function gets the abort signal.
function conversation(...answers) {
  const sent = [];
  const made = new Conversation(async (path, request) => {
    sent.push(JSON.parse(request.body));
    const answer = answers.shift();
    if (typeof answer === 'function') return answer(request.signal);
    if (typeof answer === 'number') {
      return new Response(JSON.stringify({error: {message: 'it broke', code: 'internal'}}), {status: answer});
    }
    return new Response(new Blob(answer).stream());
  });
  return {made, sent, ask: (text) => made.send(text, 'm', {}, () => {})};
}

test('an answer is put together and sent along with the next question', async () => {
  const {ask, sent} = conversation([chunk('Hel'), ': ping\n\n', chunk('lo'), 'data: {"choices":[],"usage":{"completion_tokens":2}}\n\n', DONE], [chunk('x'), DONE]);
  const first = await ask('Hi');
  assert.deepEqual([first.answer, first.error, first.stopped, first.details.usage.completion_tokens], ['Hello', null, false, 2]);
  await ask('And?');
  assert.deepEqual(sent[1].messages.map((m) => m.role + ':' + m.content), ['user:Hi', 'assistant:Hello', 'user:And?']);
});

test('a failed send leaves nothing behind', async () => {
  const {ask, sent} = conversation(500, [chunk('x'), DONE]);
  assert.equal((await ask('one')).error, 'it broke (internal)');
  await ask('two');
  assert.deepEqual(sent[1].messages, [{role: 'user', content: 'two'}]);
});

test('an error inside the stream is told, and what came before it is kept', async () => {
  const {ask, made} = conversation([chunk('half'), 'data: {"error":{"message":"died","code":"worker_crashed"}}\n\n']);
  const {answer, error} = await ask('Hi');
  assert.deepEqual([answer, error, made.turns.length], ['half', 'died (worker_crashed)', 2]);
});

test('a stream that ends without [DONE] is an error', async () => {
  const {ask} = conversation([chunk('half')]);
  assert.equal((await ask('Hi')).error, 'The server broke the answer off.');
});

test('a server that is gone is told in words', async () => {
  const {ask, made} = conversation(() => { throw new TypeError('Failed to fetch'); });
  assert.equal((await ask('Hi')).error, 'The server cannot be reached.');
  assert.deepEqual([made.turns, made.busy], [[], false]);
});

test('stop ends the wait and keeps what came', async () => {
  const {made} = conversation((signal) => new Response(new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(chunk('so far')));
      signal.addEventListener('abort', () => controller.error(new DOMException('', 'AbortError')));
    },
  })));
  const {answer, stopped, error} = await made.send('Hi', 'm', {}, () => made.stop());
  assert.deepEqual([answer, stopped, error, made.busy], ['so far', true, null, false]);
});

test('characters and events that are split over packets are joined', async () => {
  const bytes = new TextEncoder().encode(chunk('äöü😀') + DONE);
  const parts = Array.from(bytes, (byte) => new Uint8Array([byte]));
  const {ask} = conversation(() => new Response(new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part);
      controller.close();
    },
  })));
  assert.equal((await ask('Hi')).answer, 'äöü😀');
});
