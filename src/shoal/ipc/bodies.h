// The encoding of every frame body, one write() and one read() each; see ipc/codec.h. Inside ipc/ only.
#pragma once

#include "shoal/ipc/codec.h"
#include "shoal/ipc/frames.h"

namespace shoal::ipc {

void write(Writer& w, const Generate& b);
void read(Reader& r, Generate& b);
void write(Writer& w, const Embed& b);
void read(Reader& r, Embed& b);
void write(Writer& w, const Score& b);
void read(Reader& r, Score& b);
void write(Writer& w, const Tokenize& b);
void read(Reader& r, Tokenize& b);
void write(Writer& w, const Detokenize& b);
void read(Reader& r, Detokenize& b);
void write(Writer& w, const Cancel& b);
void read(Reader& r, Cancel& b);
void write(Writer& w, const Credit& b);
void read(Reader& r, Credit& b);
void write(Writer& w, const Ping& b);
void read(Reader& r, Ping& b);
void write(Writer& w, const Drain& b);
void read(Reader& r, Drain& b);
void write(Writer& w, const Lease& b);
void read(Reader& r, Lease& b);
void write(Writer& w, const Ready& b);
void read(Reader& r, Ready& b);
void write(Writer& w, const Accepted& b);
void read(Reader& r, Accepted& b);
void write(Writer& w, const TokenFrame& b);
void read(Reader& r, TokenFrame& b);
void write(Writer& w, const Finished& b);
void read(Reader& r, Finished& b);
void write(Writer& w, const Scored& b);
void read(Reader& r, Scored& b);
void write(Writer& w, const HiddenState& b);
void read(Reader& r, HiddenState& b);
void write(Writer& w, const Embedding& b);
void read(Reader& r, Embedding& b);
void write(Writer& w, const Tokens& b);
void read(Reader& r, Tokens& b);
void write(Writer& w, const Text& b);
void read(Reader& r, Text& b);
void write(Writer& w, const Failed& b);
void read(Reader& r, Failed& b);
void write(Writer& w, const Pong& b);
void read(Reader& r, Pong& b);
void write(Writer& w, const Stats& b);
void read(Reader& r, Stats& b);
void write(Writer& w, const LeaseHeld& b);
void read(Reader& r, LeaseHeld& b);
void write(Writer& w, const TaskProgress& b);
void read(Reader& r, TaskProgress& b);
void write(Writer& w, const Rewritten& b);
void read(Reader& r, Rewritten& b);
void write(Writer& w, const Compared& b);
void read(Reader& r, Compared& b);

}  // namespace shoal::ipc
