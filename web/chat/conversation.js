'use strict';
// What the chat page knows of a conversation, without the page: the turns so far and how an answer is streamed.
// Tested by tests/e2e/conversation_test.mjs; page.js shows it.

// Yields the parsed data of each server-sent event; comments (pings) are skipped. The end of the stream without
// [DONE] is an error: what was shown may be half an answer.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done) throw new Error('The server broke the answer off.');
    buffer += value;
    const lines = buffer.split('\n');
    buffer = lines.pop();
    for (const line of lines) {
      if (line === 'data: [DONE]') return;
      if (line.startsWith('data: ')) yield JSON.parse(line.slice(6));
    }
  }
}

async function failure(response) {
  try {
    const {error} = await response.json();
    return `${error.message} (${error.code})`;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

class Conversation {
  turns = [];  // what is sent: only turns that have an answer, and the last question while it is answered
  #running = null;

  constructor(fetcher) {
    this.fetch = fetcher;
  }

  get busy() {
    return this.#running !== null;
  }

  // Ends the answer that runs; send() then returns with what came.
  stop() {
    this.#running?.abort();
  }

  // Sends `text` after the turns so far and hands the answer so far to `onText`. The question stays in the turns only
  // with an answer, be it half of one: an empty answer would make the model answer emptily too.
  // Returns {answer, details, stopped, error}; never throws.
  async send(text, model, headers, onText) {
    const running = this.#running = new AbortController();
    const result = {answer: '', details: {}, stopped: false, error: null};
    const question = {role: 'user', content: text};
    try {
      const response = await this.fetch('/v1/chat/completions', {
        method: 'POST', headers, signal: running.signal,
        body: JSON.stringify({model, messages: [...this.turns, question], stream: true, stream_options: {include_usage: true}}),
      });
      if (!response.ok) throw new Error(await failure(response));
      for await (const event of events(response.body)) {
        if (event.error) throw new Error(`${event.error.message} (${event.error.code})`);
        const choice = event.choices?.[0];
        Object.assign(result.details, event.x_shoal, event.usage && {usage: event.usage},
            choice?.finish_reason && {finish_reason: choice.finish_reason});
        if (!choice?.delta?.content) continue;
        result.answer += choice.delta.content;
        onText(result.answer);
      }
    } catch (error) {
      if (running.signal.aborted) result.stopped = true;
      else result.error = error instanceof TypeError ? 'The server cannot be reached.' : error.message;
    }
    this.#running = null;
    if (result.answer) this.turns.push(question, {role: 'assistant', content: result.answer});
    return result;
  }
}
