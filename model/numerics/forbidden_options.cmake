# Stops configuring where a compiler option gives up what NUMERICS.md, section 1, promises:
# strict_arithmetic.h sees most of them too, but not all, and only in what it is compiled into.

cmake_policy(SET CMP0057 NEW)  # IN_LIST, for ci/refusals, which runs this file alone
set(meshparity_forbidden_options
  -Ofast -ffast-math -funsafe-math-optimizations -fassociative-math -freciprocal-math
  -ffinite-math-only -fno-signed-zeros -fsingle-precision-constant -fapprox-func -fno-honor-nans
  -fno-honor-infinities -ffp-contract=fast -ffp-contract=on -ffp-contract=fast-honor-pragmas
  -ffp-model=fast -ffp-model=aggressive -ffp-eval-method=double -ffp-eval-method=extended
  -fdenormal-fp-math=preserve-sign -fdenormal-fp-math=positive-zero -fdenormal-fp-math=dynamic
  -mfpmath=387 -mfpmath=both -mfpmath=387,sse -mfpmath=sse,387 -mfpmath=387+sse -mfpmath=sse+387
  -mdaz-ftz -mrecip -mno-ieee-fp -mlow-precision-div -mlow-precision-sqrt
  -mlow-precision-recip-sqrt -menable-unsafe-fp-math)

# Wherever options for the compiler and the linker come from: the environment (CXX, CXXFLAGS,
# LDFLAGS), the command line, presets. (What links with -ffast-math flushes subnormals.)
function(meshparity_refuse_forbidden_options)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" config)
  get_directory_property(directory COMPILE_OPTIONS)
  get_directory_property(linked LINK_OPTIONS)
  foreach(source CMAKE_CXX_COMPILER_ARG1 CMAKE_CXX_FLAGS CMAKE_CXX_FLAGS_${config}
                 CMAKE_EXE_LINKER_FLAGS CMAKE_EXE_LINKER_FLAGS_${config} directory linked)
    string(REGEX REPLACE "[ ;\t]+" ";" options "${${source}}")
    foreach(option IN LISTS options)
      if(NOT option IN_LIST meshparity_forbidden_options AND NOT option MATCHES "^-mrecip=")
        continue()
      endif()
      message(FATAL_ERROR "The compiler option ${option} (in ${source}: '${${source}}') changes what "
        "floating point operations give; the numerics contract (model/NUMERICS.md, section 1) needs "
        "them as IEEE 754 has them.\ntry: remove build/, and configure without it (CXXFLAGS, CXX, "
        "LDFLAGS, -DCMAKE_CXX_FLAGS...)")
    endforeach()
  endforeach()
endfunction()
meshparity_refuse_forbidden_options()
