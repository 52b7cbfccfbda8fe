// The one translation unit that compiles Asio's TLS streams.
#include <boost/asio/ssl/impl/src.hpp>
