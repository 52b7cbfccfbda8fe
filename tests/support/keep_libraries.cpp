// Linked into the unit tests of the AddressSanitizer build. ggml opens each of its CPU backends and closes those that
// do not fit this machine; what their constructors allocated can then no longer be reached, and counts as leaked by
// code that has no name any more.
#include <dlfcn.h>

extern "C" int dlclose(void* /*library*/) {
  return 0;
}
