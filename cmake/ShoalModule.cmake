# What most files include, parsed once: a quarter of a clang build's time. gcc, whose precompiled headers are five times as
# large, gains nothing by them, and so checks that each file includes what it uses.
if(SHOAL_PRECOMPILE)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/headers.cpp CONTENT "")
  set(common_headers
    <algorithm> <array> <charconv> <chrono> <cmath> <cstdint> <filesystem> <fstream> <functional> <limits> <map> <memory>
    <mutex> <numeric> <optional> <random> <set> <span> <stop_token> <string> <string_view> <thread> <unordered_map>
    <utility> <variant> <vector> <fmt/format.h> <fmt/ranges.h>)
  add_library(shoal_headers STATIC ${CMAKE_BINARY_DIR}/headers.cpp)
  target_link_libraries(shoal_headers PRIVATE shoal_flags fmt::fmt)
  target_precompile_headers(shoal_headers PRIVATE ${common_headers})
  if(SHOAL_TESTS)
    add_library(shoal_test_headers STATIC ${CMAKE_BINARY_DIR}/headers.cpp)
    target_link_libraries(shoal_test_headers PRIVATE shoal_flags fmt::fmt GTest::gmock)
    target_precompile_headers(shoal_test_headers PRIVATE ${common_headers} <gtest/gtest.h> <gmock/gmock.h>)
  endif()
endif()

# shoal_module(NAME base SOURCES a.cpp b.cpp DEPS types LIBS fmt::fmt PRIVATE_LIBS Boost::json)
#   A folder of src/shoal as a static library shoal_<name>; a/b becomes shoal_a_b. DEPS are other folders,
#   as declared in tools/layers.toml.
function(shoal_module)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;DEPS;LIBS;PRIVATE_LIBS" ${ARGN})
  string(REPLACE "/" "_" target shoal_${ARG_NAME})
  if(ARG_SOURCES)
    add_library(${target} STATIC ${ARG_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(${target} PRIVATE shoal_flags ${ARG_PRIVATE_LIBS})
    if(SHOAL_PRECOMPILE)
      target_precompile_headers(${target} REUSE_FROM shoal_headers)
    endif()
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${target} ${scope} ${CMAKE_SOURCE_DIR}/src)
  foreach(dep ${ARG_DEPS})
    string(REPLACE "/" "_" dep shoal_${dep})
    target_link_libraries(${target} ${scope} ${dep})
  endforeach()
  target_link_libraries(${target} ${scope} ${ARG_LIBS})
endfunction()

# shoal_optimised(fit.cpp ...)
#   Sources of this folder whose loops run for long: optimised in every build, or the tests of a sanitizer take minutes.
function(shoal_optimised)
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS -O2 SKIP_PRECOMPILE_HEADERS ON)
endfunction()

# shoal_test(NAME gguf_test SOURCES gguf_test.cpp DEPS gguf [LIBS ...] [ONE_THREAD])
#   A GoogleTest program; every TEST is a ctest case. Tests find data, weights and binaries through the
#   environment variables set here. ONE_THREAD: it starts no thread, so ThreadSanitizer has nothing to look for and its
#   build leaves it out.
function(shoal_test)
  cmake_parse_arguments(ARG "ONE_THREAD" "NAME" "SOURCES;DEPS;LIBS" ${ARGN})
  if(ARG_ONE_THREAD AND SHOAL_SANITIZE STREQUAL "thread")
    return()
  endif()
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  if(SHOAL_SANITIZE STREQUAL "address")
    target_sources(${ARG_NAME} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/keep_libraries.cpp)
  endif()
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_include_directories(${ARG_NAME} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/tests)
  foreach(dep ${ARG_DEPS})
    string(REPLACE "/" "_" dep shoal_${dep})
    target_link_libraries(${ARG_NAME} PRIVATE ${dep})
  endforeach()
  target_link_libraries(${ARG_NAME} PRIVATE shoal_flags ${ARG_LIBS} GTest::gtest_main GTest::gmock)
  if(SHOAL_PRECOMPILE)
    target_precompile_headers(${ARG_NAME} REUSE_FROM shoal_test_headers)
  endif()
  # Tests call optimised code; optimising them as well is a fifth of the time to build them.
  target_compile_options(${ARG_NAME} PRIVATE $<$<CONFIG:Release>:-O0>)
  target_compile_definitions(${ARG_NAME} PRIVATE
    SHOAL_SOURCE_DIR="${CMAKE_SOURCE_DIR}" SHOAL_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
  if(SHOAL_SANITIZE)
    set(timeout_s 400)  # a model under ThreadSanitizer is fifty times as slow
  else()
    set(timeout_s 120)
  endif()
  gtest_discover_tests(${ARG_NAME} DISCOVERY_MODE PRE_TEST
    PROPERTIES TIMEOUT ${timeout_s} LABELS unit)
endfunction()
