#include "shoal/worker/model_file.h"

#include "shoal/gguf/reader.h"

namespace shoal::worker {

Result<void> check_model_file(int fd) {
  gguf::FileSource source(fd);  // reads by position: the descriptor stays at its beginning
  const gguf::Header header = SHOAL_TRY(gguf::read_header(source));
  if (header.tensors.empty()) return Error(ErrorCode::kModelInvalid, "the model file has no tensors");
  return {};
}

}  // namespace shoal::worker
