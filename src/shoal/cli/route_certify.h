// `shoal route certify`: which threshold keeps a promise about wrong answers, shown on labels that nothing else has
// used; routing/certify.h has the statistics. The labels are answers of a model, graded as `shoal route fit` does, or
// a file of any scores. What is shown becomes a certificate in the data folder, which a server loads.
// Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_route_certify(CLI::App& group, CommandContext& context);

}  // namespace shoal::cli
