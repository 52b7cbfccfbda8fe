// What the fields of a record must say of one another and of other records, once the file and the variables were both
// read. Place: inside config/, the last step of load(). Threads: any; pure.
#pragma once

#include <vector>

#include "shoal/config/fault.h"
#include "shoal/config/load.h"

namespace shoal::config {

// References only for the time of the call.
struct RecordCheck {
  const Config& config;
  const RecordOrigins& origins;
  const Environment& environment;
  const SourceText& source;
};

// In the order of the records. A record with a wrong value is judged only where that value does not matter.
[[nodiscard]] std::vector<Fault> check_records(const RecordCheck& check);

// Routes on which nobody set a policy and that have no `remote` answer locally: makes their policy slm_only.
void settle_policies(Config& config, const RecordOrigins& origins);

}  // namespace shoal::config
