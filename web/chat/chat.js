'use strict';
// The chat page: one conversation, kept in this tab only. Streams from /v1/chat/completions.
const $ = (id) => document.getElementById(id);
let history = [];
let running = null;

function headers() {
  const key = $('key').value.trim();
  return {'Content-Type': 'application/json', ...(key ? {Authorization: 'Bearer ' + key} : {})};
}

function show(role, text) {
  const article = document.createElement('article');
  article.className = role;
  article.textContent = text;
  $('messages').append(article);
  $('messages').scrollTop = $('messages').scrollHeight;
  return article;
}

async function failure(response) {
  try {
    const {error} = await response.json();
    return `${error.message} (${error.code})`;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

async function loadModels() {
  const response = await fetch('/v1/models', {headers: headers()});
  if (!response.ok) throw new Error(await failure(response));
  const chosen = $('model').value;
  $('model').replaceChildren(...(await response.json()).data
      .filter((m) => !m.x_shoal || !m.x_shoal.capabilities || m.x_shoal.capabilities.includes('chat'))
      .map((m) => new Option(m.id, m.id, false, m.id === chosen)));
}

// Yields the parsed data of each server-sent event; comments (pings) are skipped.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    buffer += value;
    const lines = buffer.split('\n');
    buffer = lines.pop();
    for (const line of lines) {
      if (line.startsWith('data: ') && line !== 'data: [DONE]') yield JSON.parse(line.slice(6));
    }
  }
}

async function send(text) {
  history.push({role: 'user', content: text});
  show('user', text);
  const article = show('assistant', '');
  let answer = '', last = null;
  running = new AbortController();
  $('send').disabled = true;
  $('stop').disabled = false;
  $('status').textContent = '';
  try {
    const response = await fetch('/v1/chat/completions', {
      method: 'POST', headers: headers(), signal: running.signal,
      body: JSON.stringify({model: $('model').value, messages: history, stream: true, stream_options: {include_usage: true}}),
    });
    if (!response.ok) throw new Error(await failure(response));
    for await (const event of events(response.body)) {
      if (event.error) throw new Error(`${event.error.message} (${event.error.code})`);
      answer += event.choices[0]?.delta?.content ?? '';
      article.textContent = answer;
      if (event.usage || event.x_shoal) last = {...last, ...event.x_shoal, usage: event.usage ?? last?.usage};
      $('messages').scrollTop = $('messages').scrollHeight;
    }
  } catch (error) {
    $('status').textContent = error.name === 'AbortError' ? 'Stopped.' : error.message;
  } finally {
    running = null;
    $('send').disabled = false;
    $('stop').disabled = true;
  }
  history.push({role: 'assistant', content: answer});
  $('live').textContent = answer;
  if (last) {
    const footer = document.createElement('footer');
    const parts = [last.model, last.route && 'route ' + last.route, last.usage && last.usage.completion_tokens + ' tokens',
      last.tokens_per_second && last.tokens_per_second.toFixed(1) + ' tokens/s'];
    footer.textContent = parts.filter(Boolean).join(' · ');
    article.append(footer);
  }
}

$('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('prompt').value.trim();
  if (!text || running) return;
  $('prompt').value = '';
  send(text);
});
$('prompt').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $('form').requestSubmit();
  }
});
$('stop').addEventListener('click', () => running?.abort());
$('clear').addEventListener('click', () => {
  running?.abort();
  history = [];
  $('messages').replaceChildren();
  $('status').textContent = '';
});
$('key').addEventListener('change', () => loadModels().catch((e) => { $('status').textContent = e.message; }));
loadModels().catch((e) => { $('status').textContent = e.message; });
