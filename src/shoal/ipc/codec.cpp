// Bodies: one write() and one read() overload per frame, in the order of ipc/frames.h. A field that is added
// to one is added to the other, and kProtocolVersion is raised.
#include "shoal/ipc/codec.h"

#include "shoal/ipc/bodies.h"

namespace shoal::ipc {
namespace {

using Input = std::variant<std::string, std::vector<std::int32_t>>;

void write_ids(Writer& w, const std::vector<std::int32_t>& ids) {
  w.count(ids.size());
  for (const std::int32_t id : ids) w.number(id);
}

std::vector<std::int32_t> read_ids(Reader& r) {
  std::vector<std::int32_t> ids(r.count(sizeof(std::int32_t)));
  for (std::int32_t& id : ids) id = r.number<std::int32_t>();
  return ids;
}

void write_messages(Writer& w, const std::vector<types::Message>& messages) {
  w.count(messages.size());
  for (const types::Message& message : messages) {
    w.number(message.role);
    w.text(message.content);
    w.text(message.name);
  }
}

std::vector<types::Message> read_messages(Reader& r) {
  std::vector<types::Message> messages(r.count(1 + 2 * sizeof(std::uint32_t)));
  for (types::Message& message : messages) {
    message.role = r.enumerator(types::Role::kTool);
    message.content = r.text();
    message.name = r.text();
  }
  return messages;
}

using Prompt = std::variant<std::vector<types::Message>, std::string, std::vector<std::int32_t>>;

void write_prompt(Writer& w, const Prompt& prompt) {
  w.number(static_cast<std::uint8_t>(prompt.index()));
  if (const auto* messages = std::get_if<std::vector<types::Message>>(&prompt)) {
    write_messages(w, *messages);
  } else if (const auto* text = std::get_if<std::string>(&prompt)) {
    w.text(*text);
  } else {
    write_ids(w, std::get<std::vector<std::int32_t>>(prompt));
  }
}

Prompt read_prompt(Reader& r) {
  switch (r.number<std::uint8_t>()) {
    case 0:
      return read_messages(r);
    case 1:
      return r.text();
    case 2:
      return read_ids(r);
    default:
      r.fail();
      return {};
  }
}

void write_floats(Writer& w, const std::vector<float>& values) {
  w.count(values.size());
  for (const float value : values) w.number(value);
}

std::vector<float> read_floats(Reader& r) {
  std::vector<float> values(r.count(sizeof(float)));
  for (float& value : values) value = r.number<float>();
  return values;
}

void write_usage(Writer& w, const types::Usage& usage) {
  w.number(usage.prompt_tokens);
  w.number(usage.completion_tokens);
  w.number(usage.cached_tokens);
}

types::Usage read_usage(Reader& r) {
  types::Usage usage;
  usage.prompt_tokens = r.number<std::int32_t>();
  usage.completion_tokens = r.number<std::int32_t>();
  usage.cached_tokens = r.number<std::int32_t>();
  return usage;
}

void write_sampling(Writer& w, const types::SamplingParams& p) {
  w.number(p.temperature);
  w.number(p.top_p);
  w.number(p.top_k);
  w.number(p.min_p);
  w.number(p.presence_penalty);
  w.number(p.frequency_penalty);
  w.number(p.repetition_penalty);
  w.number(static_cast<std::uint8_t>(p.seed.has_value()));
  w.number(p.seed.value_or(0));
  w.count(p.logit_bias.size());
  for (const auto& [id, bias] : p.logit_bias) {
    w.number(id);
    w.number(bias);
  }
}

types::SamplingParams read_sampling(Reader& r) {
  types::SamplingParams p;
  p.temperature = r.number<float>();
  p.top_p = r.number<float>();
  p.top_k = r.number<std::int32_t>();
  p.min_p = r.number<float>();
  p.presence_penalty = r.number<float>();
  p.frequency_penalty = r.number<float>();
  p.repetition_penalty = r.number<float>();
  const bool seeded = r.boolean();
  const auto seed = r.number<std::uint64_t>();
  if (seeded) p.seed = seed;
  const std::size_t biases = r.count(sizeof(std::int32_t) + sizeof(float));
  p.logit_bias.reserve(biases);
  for (std::size_t i = 0; i < biases; ++i) {
    const auto id = r.number<std::int32_t>();
    p.logit_bias.emplace_back(id, r.number<float>());
  }
  return p;
}

void write_token(Writer& w, const types::Token& t) {
  w.number(t.id);
  w.text(t.bytes);
  w.number(t.logprob);
  w.number(t.entropy);
  w.number(t.margin);
  w.number(t.self_certainty);
  w.number(t.decode_us);
  w.count(t.top.size());
  for (const types::TopLogprob& top : t.top) {
    w.number(top.id);
    w.text(top.bytes);
    w.number(top.logprob);
  }
}

types::Token read_token(Reader& r) {
  types::Token t;
  t.id = r.number<std::int32_t>();
  t.bytes = r.text();
  t.logprob = r.number<float>();
  t.entropy = r.number<float>();
  t.margin = r.number<float>();
  t.self_certainty = r.number<float>();
  t.decode_us = r.number<std::uint32_t>();
  t.top.resize(r.count(sizeof(std::int32_t) + sizeof(std::uint32_t) + sizeof(float)));
  for (types::TopLogprob& top : t.top) {
    top.id = r.number<std::int32_t>();
    top.bytes = r.text();
    top.logprob = r.number<float>();
  }
  return t;
}

void write_summary(Writer& w, const types::SignalSummary& s) {
  w.number(s.mean);
  w.number(s.worst);
  w.number(s.worst_window);
}

types::SignalSummary read_summary(Reader& r) {
  types::SignalSummary s;
  s.mean = r.number<float>();
  s.worst = r.number<float>();
  s.worst_window = r.number<float>();
  return s;
}

void write_signals(Writer& w, const types::AnswerSignals& s) {
  w.number(s.tokens);
  write_summary(w, s.logprob);
  write_summary(w, s.entropy);
  write_summary(w, s.margin);
  write_summary(w, s.self_certainty);
  w.number(static_cast<std::uint8_t>(s.p_true.has_value()));
  w.number(s.p_true.value_or(0));
}

types::AnswerSignals read_signals(Reader& r) {
  types::AnswerSignals s;
  s.tokens = r.number<std::int32_t>();
  s.logprob = read_summary(r);
  s.entropy = read_summary(r);
  s.margin = read_summary(r);
  s.self_certainty = read_summary(r);
  const bool asked = r.boolean();
  const auto p_true = r.number<float>();
  if (asked) s.p_true = p_true;
  return s;
}

}  // namespace

void write(Writer& w, const Generate& b) {
  w.number(b.principal);
  w.number(b.credits);
  w.number(b.max_tokens);
  w.number(b.top_logprobs);
  w.number(static_cast<std::uint8_t>(b.ignore_eos));
  w.number(static_cast<std::uint8_t>(b.p_true));
  w.number(static_cast<std::uint8_t>(b.hidden_state));
  w.number(static_cast<std::uint8_t>(b.streams));
  write_sampling(w, b.sampling);
  w.count(b.stop.size());
  for (const std::string& stop : b.stop) w.text(stop);
  write_prompt(w, b.prompt);
}

void read(Reader& r, Generate& b) {
  b.principal = r.number<std::uint64_t>();
  b.credits = r.number<std::uint32_t>();
  b.max_tokens = r.number<std::int32_t>();
  b.top_logprobs = r.number<std::int32_t>();
  b.ignore_eos = r.boolean();
  b.p_true = r.boolean();
  b.hidden_state = r.boolean();
  b.streams = r.boolean();
  b.sampling = read_sampling(r);
  b.stop.resize(r.count(sizeof(std::uint32_t)));
  for (std::string& stop : b.stop) stop = r.text();
  b.prompt = read_prompt(r);
}

void write(Writer& w, const Embed& b) {
  w.number(b.principal);
  w.count(b.inputs.size());
  for (const Input& input : b.inputs) {
    w.number(static_cast<std::uint8_t>(input.index()));
    if (const auto* text = std::get_if<std::string>(&input)) {
      w.text(*text);
    } else {
      write_ids(w, std::get<std::vector<std::int32_t>>(input));
    }
  }
}

void read(Reader& r, Embed& b) {
  b.principal = r.number<std::uint64_t>();
  b.inputs.resize(r.count(1 + sizeof(std::uint32_t)));
  for (Input& input : b.inputs) {
    if (r.boolean()) {
      input = read_ids(r);
    } else {
      input = r.text();
    }
  }
}

void write(Writer& w, const Score& b) {
  w.number(b.principal);
  w.count(b.labels.size());
  for (const std::string& label : b.labels) w.text(label);
  write_prompt(w, b.prompt);
}

void read(Reader& r, Score& b) {
  b.principal = r.number<std::uint64_t>();
  b.labels.resize(r.count(sizeof(std::uint32_t)));
  for (std::string& label : b.labels) label = r.text();
  b.prompt = read_prompt(r);
}

void write(Writer& w, const Tokenize& b) {
  w.number(static_cast<std::uint8_t>(b.add_special));
  w.number(static_cast<std::uint8_t>(b.input.index()));
  if (const auto* messages = std::get_if<std::vector<types::Message>>(&b.input)) {
    write_messages(w, *messages);
  } else {
    w.text(std::get<std::string>(b.input));
  }
}

void read(Reader& r, Tokenize& b) {
  b.add_special = r.boolean();
  if (r.boolean()) {
    b.input = r.text();
  } else {
    b.input = read_messages(r);
  }
}

void write(Writer& w, const Detokenize& b) {
  w.number(static_cast<std::uint8_t>(b.skip_special));
  write_ids(w, b.tokens);
}

void read(Reader& r, Detokenize& b) {
  b.skip_special = r.boolean();
  b.tokens = read_ids(r);
}

void write(Writer&, const Cancel&) {}
void read(Reader&, Cancel&) {}

void write(Writer& w, const Credit& b) {
  w.number(b.tokens);
}
void read(Reader& r, Credit& b) {
  b.tokens = r.number<std::uint32_t>();
}

void write(Writer&, const Ping&) {}
void read(Reader&, Ping&) {}

void write(Writer&, const Drain&) {}
void read(Reader&, Drain&) {}

void write(Writer& w, const Lease& b) {
  w.number(b.threads);
  w.number(b.number);
}

void read(Reader& r, Lease& b) {
  b.threads = r.number<std::uint32_t>();
  b.number = r.number<std::uint64_t>();
}

void write(Writer& w, const Ready& b) {
  w.text(b.cpu_backend);
  w.text(b.sandbox);
  w.number(b.context_length);
  w.number(b.sequence_length);
  w.number(b.slots);
  w.number(b.vocabulary);
  w.number(b.embedding_length);
  w.number(b.kv_type);
  w.number(b.load_us);
  w.number(static_cast<std::uint8_t>(b.exact));
  w.number(static_cast<std::uint8_t>(b.keeps_prefixes));
}

void read(Reader& r, Ready& b) {
  b.cpu_backend = r.text();
  b.sandbox = r.text();
  b.context_length = r.number<std::uint32_t>();
  b.sequence_length = r.number<std::uint32_t>();
  b.slots = r.number<std::uint32_t>();
  b.vocabulary = r.number<std::uint32_t>();
  b.embedding_length = r.number<std::uint32_t>();
  b.kv_type = r.enumerator(types::kLastKvType);
  b.load_us = r.number<std::uint64_t>();
  b.exact = r.boolean();
  b.keeps_prefixes = r.boolean();
}

void write(Writer& w, const Accepted& b) {
  w.number(b.prompt_tokens);
}

void read(Reader& r, Accepted& b) {
  b.prompt_tokens = r.number<std::int32_t>();
}

void write(Writer& w, const TokenFrame& b) {
  write_token(w, b.token);
  w.text(b.text);
}

void read(Reader& r, TokenFrame& b) {
  b.token = read_token(r);
  b.text = r.text();
}

void write(Writer& w, const Finished& b) {
  w.number(b.reason);
  w.text(b.text);
  write_usage(w, b.usage);
  w.number(b.timings.queue_us);
  w.number(b.timings.prefill_us);
  w.number(b.timings.decode_us);
  write_signals(w, b.signals);
}

void read(Reader& r, Finished& b) {
  b.reason = r.enumerator(types::FinishReason::kLength);
  b.text = r.text();
  b.usage = read_usage(r);
  b.timings.queue_us = r.number<std::uint64_t>();
  b.timings.prefill_us = r.number<std::uint64_t>();
  b.timings.decode_us = r.number<std::uint64_t>();
  b.signals = read_signals(r);
}

void write(Writer& w, const Scored& b) {
  write_usage(w, b.usage);
  w.count(b.labels.size());
  for (const types::LabelLogprobs& label : b.labels) {
    write_ids(w, label.tokens);
    write_floats(w, label.logprobs);
  }
}

void read(Reader& r, Scored& b) {
  b.usage = read_usage(r);
  b.labels.resize(r.count(2 * sizeof(std::uint32_t)));
  for (types::LabelLogprobs& label : b.labels) {
    label.tokens = read_ids(r);
    label.logprobs = read_floats(r);
  }
}

void write(Writer& w, const HiddenState& b) {
  write_floats(w, b.values);
}
void read(Reader& r, HiddenState& b) {
  b.values = read_floats(r);
}

void write(Writer& w, const Embedding& b) {
  w.number(b.index);
  w.number(b.tokens);
  w.number(static_cast<std::uint8_t>(b.last));
  write_floats(w, b.values);
}

void read(Reader& r, Embedding& b) {
  b.index = r.number<std::uint32_t>();
  b.tokens = r.number<std::int32_t>();
  b.last = r.boolean();
  b.values = read_floats(r);
}

void write(Writer& w, const Tokens& b) {
  w.number(static_cast<std::uint8_t>(b.last));
  w.number(static_cast<std::uint8_t>(b.lossless));
  write_ids(w, b.ids);
}

void read(Reader& r, Tokens& b) {
  b.last = r.boolean();
  b.lossless = r.boolean();
  b.ids = read_ids(r);
}

void write(Writer& w, const Text& b) {
  w.number(static_cast<std::uint8_t>(b.last));
  w.text(b.bytes);
}

void read(Reader& r, Text& b) {
  b.last = r.boolean();
  b.bytes = r.text();
}

void write(Writer& w, const Failed& b) {
  w.number(b.code);
  w.text(b.message);
  w.text(b.param);
}

void read(Reader& r, Failed& b) {
  b.code = r.enumerator(static_cast<base::ErrorCode>(base::error_table().size() - 1));
  b.message = r.text();
  b.param = r.text();
}

void write(Writer&, const Pong&) {}
void read(Reader&, Pong&) {}

void write(Writer& w, const Stats& b) {
  w.number(b.work);
  w.number(b.tokens_decoded);
  w.number(b.running);
  w.number(b.queued);
  w.number(b.kv_used);
  w.number(b.kv_kept);
  w.number(b.cold_bytes);
  w.number(b.evictions);
  w.number(b.tokens_prefilled);
  w.number(b.done.decode_steps);
  w.number(b.done.decode_tokens);
  w.number(b.done.decode_cells);
  w.number(b.done.decode_ns);
  w.number(b.done.prefill_tokens);
  w.number(b.done.prefill_ns);
}

void read(Reader& r, Stats& b) {
  b.work = r.number<std::uint64_t>();
  b.tokens_decoded = r.number<std::uint64_t>();
  b.running = r.number<std::uint32_t>();
  b.queued = r.number<std::uint32_t>();
  b.kv_used = r.number<std::uint32_t>();
  b.kv_kept = r.number<std::uint32_t>();
  b.cold_bytes = r.number<std::uint64_t>();
  b.evictions = r.number<std::uint64_t>();
  b.tokens_prefilled = r.number<std::uint64_t>();
  b.done.decode_steps = r.number<std::uint64_t>();
  b.done.decode_tokens = r.number<std::uint64_t>();
  b.done.decode_cells = r.number<std::uint64_t>();
  b.done.decode_ns = r.number<std::uint64_t>();
  b.done.prefill_tokens = r.number<std::uint64_t>();
  b.done.prefill_ns = r.number<std::uint64_t>();
}

void write(Writer& w, const LeaseHeld& b) {
  w.number(b.threads);
  w.number(b.number);
}

void read(Reader& r, LeaseHeld& b) {
  b.threads = r.number<std::uint32_t>();
  b.number = r.number<std::uint64_t>();
}

void write(Writer& w, const TaskProgress& b) {
  w.number(b.done);
  w.number(b.total);
}

void read(Reader& r, TaskProgress& b) {
  b.done = r.number<std::uint64_t>();
  b.total = r.number<std::uint64_t>();
}

void write(Writer& w, const Rewritten& b) {
  w.number(b.bytes);
  w.number(b.changed);
  w.number(b.kept);
}

void read(Reader& r, Rewritten& b) {
  b.bytes = r.number<std::uint64_t>();
  b.changed = r.number<std::uint32_t>();
  b.kept = r.number<std::uint32_t>();
}

void write(Writer& w, const Compared& b) {
  w.number(b.tokens);
  w.number(b.kl);
  w.number(b.agreement);
  w.number(b.source_perplexity);
  w.number(b.perplexity);
}

void read(Reader& r, Compared& b) {
  b.tokens = r.number<std::uint64_t>();
  b.kl = r.number<double>();
  b.agreement = r.number<double>();
  b.source_perplexity = r.number<double>();
  b.perplexity = r.number<double>();
}

}  // namespace shoal::ipc
