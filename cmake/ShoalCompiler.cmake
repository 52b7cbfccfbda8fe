# Flags that every Shoal target gets; third-party code sees none of them.
add_library(shoal_flags INTERFACE)
target_compile_options(shoal_flags INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Wnon-virtual-dtor -Werror
  # Asserts guard the ledger, the audit and the frames: they stay on in release.
  -UNDEBUG
  -fno-omit-frame-pointer -fstack-protector-strong
  # An empty optional or an index past the end aborts, also in release: better than to go on with other memory.
  -D_GLIBCXX_ASSERTIONS
  $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>  # without effect in tests, which are not optimised
  # gcc 12 sees overflows and uninitialised members inside fmt, std::string and std::variant that are not there
  # (gcc PR 105329, 105562, 105762); clang 19 still checks them.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow -Wno-restrict -Wno-array-bounds -Wno-maybe-uninitialized>
  # clang: std::stable_sort of libstdc++ 12 calls what the same header deprecates, and fields with a default need none.
  $<$<CXX_COMPILER_ID:Clang>:-Wno-gnu-statement-expression -Wno-deprecated-declarations
    -Wno-missing-field-initializers>)
target_compile_definitions(shoal_flags INTERFACE
  BOOST_ASIO_DISABLE_BOOST_COROUTINE   # spawn() on Boost.Context, not on the deprecated Boost.Coroutine
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION)

# Every archive ends up in a program, so archives and programs are compiled alike.
add_compile_options($<$<NOT:$<STREQUAL:$<TARGET_PROPERTY:TYPE>,MODULE_LIBRARY>>:-fPIE>)
add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie> -Wl,-z,relro,-z,now)

find_program(CCACHE ccache)
if(CCACHE)
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})  # for precompiled headers
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

if(SHOAL_SANITIZE STREQUAL "address")
  # Not vptr: it asks the kernel through a pipe whether memory is readable, which the worker's sandbox forbids, and
  # takes a full descriptor table for a broken object.
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
  add_compile_definitions(SHOAL_SANITIZE_ADDRESS BOOST_USE_UCONTEXT BOOST_USE_ASAN)
elseif(SHOAL_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
  add_compile_definitions(SHOAL_SANITIZE_THREAD BOOST_USE_UCONTEXT BOOST_USE_TSAN)
elseif(NOT SHOAL_SANITIZE STREQUAL "")
  message(FATAL_ERROR "SHOAL_SANITIZE: wanted address, thread or nothing; got '${SHOAL_SANITIZE}'")
endif()
