# Everything from outside. Debian packages first; llama.cpp is built from source by tools/third_party.py.
find_package(Boost 1.81 REQUIRED COMPONENTS context json)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED)
pkg_check_modules(libsodium REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(libseccomp REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(libutf8proc REQUIRED IMPORTED_TARGET libutf8proc)
if(SHOAL_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

# Boost.Context: Debian's library has only the fcontext implementation, which sanitizers do not
# understand. Sanitizer builds compile the ucontext one from the sources that tools/third_party.py fetches,
# with the same definitions in every translation unit: a mismatch changes a struct.
if(SHOAL_SANITIZE)
  execute_process(
    COMMAND ${CMAKE_SOURCE_DIR}/tools/third_party.py path boost_context
    OUTPUT_VARIABLE SHOAL_BOOST_CONTEXT_DIR OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  add_library(shoal_boost_context STATIC
    ${SHOAL_BOOST_CONTEXT_DIR}/libs/context/src/fiber.cpp
    ${SHOAL_BOOST_CONTEXT_DIR}/libs/context/src/continuation.cpp
    ${SHOAL_BOOST_CONTEXT_DIR}/libs/context/src/posix/stack_traits.cpp)
  target_compile_definitions(shoal_boost_context PRIVATE BOOST_CONTEXT_SOURCE)
  target_link_libraries(shoal_boost_context PUBLIC Boost::headers)
  set(SHOAL_CONTEXT_LIB shoal_boost_context)
else()
  set(SHOAL_CONTEXT_LIB Boost::context)
endif()

# llama.cpp: headers, shared libraries and the chat-template sources, under a prefix that is keyed by
# version, patches, compiler and flags, and shared by every clone on the machine.
if(SHOAL_SANITIZE STREQUAL "thread")
  set(SHOAL_LLAMA_VARIANT tsan)
else()
  set(SHOAL_LLAMA_VARIANT release)
endif()
if(NOT SHOAL_FUZZ)
  execute_process(
    COMMAND ${CMAKE_SOURCE_DIR}/tools/third_party.py path llama_cpp --variant ${SHOAL_LLAMA_VARIANT}
    OUTPUT_VARIABLE SHOAL_LLAMA_DIR OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  add_library(llama_cpp INTERFACE)
  target_include_directories(llama_cpp SYSTEM INTERFACE ${SHOAL_LLAMA_DIR}/include)
  target_link_libraries(llama_cpp INTERFACE
    ${SHOAL_LLAMA_DIR}/lib/libllama.so ${SHOAL_LLAMA_DIR}/lib/libggml.so ${SHOAL_LLAMA_DIR}/lib/libggml-base.so)
endif()

# SQLite, compiled with each build's own compiler and sanitizer; ccache has it the second time. A connection is used by one
# thread at a time (THREADSAFE=2). Its own default, synchronous=FULL, stays. Source of the options: sqlite.org/compile.html,
# "Recommended Compile-time Options". -Os: 7 % more time, 0.35 MiB less memory in which the code lies.
if(NOT SHOAL_FUZZ)
  execute_process(
    COMMAND ${CMAKE_SOURCE_DIR}/tools/third_party.py path sqlite
    OUTPUT_VARIABLE SHOAL_SQLITE_DIR OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  add_library(shoal_sqlite3 STATIC ${SHOAL_SQLITE_DIR}/sqlite3.c)
  target_include_directories(shoal_sqlite3 SYSTEM PUBLIC ${SHOAL_SQLITE_DIR})
  target_compile_options(shoal_sqlite3 PRIVATE -Os -w -fvisibility=hidden)
  target_compile_definitions(shoal_sqlite3 PRIVATE
    HAVE_FDATASYNC HAVE_USLEEP SQLITE_DEFAULT_FOREIGN_KEYS=1 SQLITE_DEFAULT_MEMSTATUS=0 SQLITE_DQS=0
    SQLITE_LIKE_DOESNT_MATCH_BLOBS SQLITE_OMIT_DEPRECATED SQLITE_OMIT_LOAD_EXTENSION SQLITE_OMIT_SHARED_CACHE
    SQLITE_THREADSAFE=2)
  target_link_libraries(shoal_sqlite3 PRIVATE Threads::Threads m)
endif()
