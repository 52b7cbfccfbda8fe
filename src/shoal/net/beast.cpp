// The one translation unit that compiles Beast, for whoever speaks HTTP as a client.
#include <boost/beast/src.hpp>
