#include "shoal/worker/embed_queue.h"

#include <algorithm>
#include <utility>
#include <variant>

#include <fmt/format.h>

namespace shoal::worker {
namespace {

// The gateway bounds its own queue; this one only has to be bounded.
constexpr std::size_t kMaxWaiting = 1024;

}  // namespace

Result<void> EmbedQueue::push(const ipc::FrameHeader& header, const ipc::Embed& request) {
  if (!model_.shape().embeds) {
    return Error(ErrorCode::kUnsupportedParameter, "this model writes answers and does not embed text")
        .with_param("model");
  }
  if (waiting_.size() >= kMaxWaiting)
    return Error(ErrorCode::kOverloaded, fmt::format("{} requests wait already", kMaxWaiting));
  if (request.inputs.empty())
    return Error(ErrorCode::kInvalidRequest, "there is no input; send at least one").with_param("input");
  Waiting waiting;
  waiting.request = header.request;
  waiting.deadline.at_ns = header.deadline_ns;
  for (const auto& input : request.inputs) {
    PromptInput prompt = std::string();
    std::visit([&prompt](const auto& value) { prompt = value; }, input);
    std::vector<std::int32_t> tokens = SHOAL_TRY(model_.tokenize(prompt, true));
    if (tokens.empty())
      return Error(ErrorCode::kInvalidRequest, "an input is empty; send at least one token").with_param("input");
    if (tokens.size() > model_.shape().sequence_length) {
      return Error(ErrorCode::kContextLengthExceeded,
                   fmt::format("input {} has {} tokens and this model reads {}", waiting.inputs.size(), tokens.size(),
                               model_.shape().sequence_length))
          .with_param("input");
    }
    waiting.inputs.push_back(std::move(tokens));
  }
  waiting_.push_back(std::move(waiting));
  return {};
}

bool EmbedQueue::cancel(std::uint64_t request) {
  return std::erase_if(waiting_, [request](const Waiting& w) { return w.request == request; }) > 0;
}

void EmbedQueue::expire(const base::Clock& clock) {
  std::erase_if(waiting_, [&](const Waiting& w) {
    if (!w.deadline.passed(clock)) return false;
    fail(w.request, {ErrorCode::kDeadlineExceeded, "the deadline passed before all inputs were embedded"});
    return true;
  });
}

// One input of each in turn, then the next of each, while there is room. The first always fits: push() saw to it.
std::vector<EmbedQueue::Item> EmbedQueue::pack() {
  const ModelShape& shape = model_.shape();
  std::vector<Item> batch;
  std::size_t tokens = 0;
  for (bool more = true; more;) {
    more = false;
    for (auto w = waiting_.begin(); w != waiting_.end(); ++w) {
      if (batch.size() == shape.sequence_ids || w->taken == w->inputs.size()) continue;
      if (!batch.empty() && batch.front().owner != w && (w->alone || batch.front().owner->alone)) continue;
      const std::size_t size = w->inputs[w->taken].size();
      if (tokens + size > shape.batch_tokens) continue;
      tokens += size;
      batch.push_back({w, w->taken++});
      more = true;
    }
  }
  return batch;
}

void EmbedQueue::step(const std::function<bool(std::vector<std::uint64_t>)>& begin) {
  interrupted_ = false;
  const std::vector<Item> batch = pack();
  std::vector<std::uint64_t> requests;
  for (const Item& item : batch) {
    if (std::ranges::find(requests, item.owner->request) == requests.end()) requests.push_back(item.owner->request);
  }
  if (!begin(std::move(requests))) return give_back(batch);
  std::vector<std::vector<std::int32_t>> inputs;
  for (const Item& item : batch) inputs.push_back(std::move(item.owner->inputs[item.index]));
  auto vectors = model_.embed(inputs);
  if (!vectors.ok()) {
    for (std::size_t i = 0; i < batch.size(); ++i) batch[i].owner->inputs[batch[i].index] = std::move(inputs[i]);
    return failed(batch, vectors.error());
  }
  for (std::size_t i = 0; i < batch.size(); ++i) {
    Waiting& w = *batch[i].owner;
    tokens_ += inputs[i].size();
    ++w.sent;
    send_(w.request,
          ipc::Embedding{static_cast<std::uint32_t>(batch[i].index), static_cast<std::int32_t>(inputs[i].size()),
                         w.sent == w.inputs.size(), std::move((*vectors)[i])});
  }
  for (const Item& item : batch) waiting_.splice(waiting_.end(), waiting_, item.owner);
  std::erase_if(waiting_, [](const Waiting& w) { return w.sent == w.inputs.size(); });
}

void EmbedQueue::give_back(const std::vector<Item>& batch) {
  for (const Item& item : batch) item.owner->taken = item.owner->sent;
}

void EmbedQueue::failed(const std::vector<Item>& batch, const Error& error) {
  give_back(batch);
  // The cancel of one: its request is gone when the others are computed again.
  interrupted_ = error.code() == ErrorCode::kCancelled;
  if (interrupted_) return;
  const auto first = batch.front().owner;
  if (std::ranges::all_of(batch, [first](const Item& item) { return item.owner == first; })) {
    fail(first->request, error);
    cancel(first->request);
    return;
  }
  for (const Item& item : batch) item.owner->alone = true;
}

void EmbedQueue::fail(std::uint64_t request, const Error& error) {
  send_(request, ipc::Failed{error.code(), error.message(), error.param()});
}

}  // namespace shoal::worker
