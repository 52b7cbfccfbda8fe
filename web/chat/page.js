// The chat page: one conversation, kept in this tab only.
const $ = (id) => document.getElementById(id);
let conversation = new Conversation((...args) => fetch(...args));

function headers() {
  const key = $('key').value.trim();
  return {'Content-Type': 'application/json', ...(key ? {Authorization: 'Bearer ' + key} : {})};
}

function say(text) {
  $('status').textContent = text;
}

// Follows the answer down, unless the reader has scrolled up.
function follow(change) {
  const box = $('messages');
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  change();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function show(role, text) {
  const article = document.createElement('article');
  article.className = role;
  article.textContent = text;
  $('messages').append(article);
  $('messages').scrollTop = $('messages').scrollHeight;
  return article;
}

function footer(details, stopped) {
  const line = document.createElement('footer');
  const cut = details.finish_reason === 'length' ? 'cut: no more tokens were allowed, or fit' : '';
  line.textContent = [stopped ? 'stopped' : cut, details.model, details.usage && details.usage.completion_tokens + ' tokens',
    details.tokens_per_second && details.tokens_per_second.toFixed(1) + ' tokens/s'].filter(Boolean).join(' · ');
  return line;
}

async function loadModels() {
  try {
    const response = await fetch('/v1/models', {headers: headers()});
    if (response.status === 401) $('keybox').open = true;
    if (!response.ok) throw new Error(await failure(response));
    const chosen = $('model').value;
    const models = (await response.json()).data.filter((m) => !m.x_shoal?.capabilities || m.x_shoal.capabilities.includes('chat'));
    $('model').replaceChildren(...models.map((m) => new Option(m.id, m.id, false, m.id === chosen)));
    say(models.length ? '' : 'No model that chats is here. Fetch one with `shoal pull smollm2-135m-instruct`, then reload this page.');
  } catch (error) {
    say(error instanceof TypeError ? 'The server cannot be reached.' : error.message);
  }
}

async function send(text) {
  const mine = conversation;
  const question = show('user', text), article = show('assistant', '');
  article.setAttribute('aria-busy', 'true');
  $('send').disabled = true;
  $('stop').disabled = false;
  say('');
  const {answer, details, stopped, error} = await mine.send(text, $('model').value, headers(),
      (soFar) => follow(() => { article.textContent = soFar; }));
  if (mine !== conversation) return;  // a new chat was begun
  article.removeAttribute('aria-busy');
  $('send').disabled = false;
  $('stop').disabled = true;
  if (answer) {
    follow(() => article.append(footer(details, stopped)));
    $('live').textContent = answer;
  } else {
    // Nothing was answered: the question goes back to where it can be changed and sent again.
    question.remove();
    article.remove();
    if (!$('prompt').value) $('prompt').value = text;
  }
  if (error) say(error);
  else if (stopped) say('Stopped.');
  else if (!answer) say('The model had nothing to say.');
}

$('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('prompt').value.trim();
  if (!text || conversation.busy) return;
  $('prompt').value = '';
  send(text);
});
$('prompt').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $('form').requestSubmit();
  }
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') conversation.stop();
});
$('stop').addEventListener('click', () => {
  conversation.stop();
  $('prompt').focus();
});
$('clear').addEventListener('click', () => {
  conversation.stop();
  conversation = new Conversation(conversation.fetch);
  $('messages').replaceChildren();
  $('send').disabled = false;
  $('stop').disabled = true;
  say('');
  $('prompt').focus();
});
$('key').addEventListener('change', loadModels);
// Enter in the field is a change too.
$('keyform').addEventListener('submit', (event) => event.preventDefault());
loadModels();
