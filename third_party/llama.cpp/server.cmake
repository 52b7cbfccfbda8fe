# Included by llama.cpp's own project: `tools/third_party.py path llama_server --quick`. The model and its kernels stay
# optimised; only what parses, chats and serves around them is not, which halves its build.
option(SHOAL_UNOPTIMISED_SERVER "Build llama-server's own code without optimisation" OFF)

function(shoal_unoptimised_server)
  foreach(target cpp-httplib llama-common llama-common-base mtmd server-context llama-server-impl llama-server)
    if(TARGET ${target})
      target_compile_options(${target} PRIVATE -O0)
    endif()
  endforeach()
endfunction()

if(SHOAL_UNOPTIMISED_SERVER)
  cmake_language(DEFER CALL shoal_unoptimised_server)
endif()
