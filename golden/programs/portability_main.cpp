#include "golden/programs/portability_command.h"
#include "golden/programs/program.h"

int main(int argc, char** argv) {
  return meshparity::run_program(
      [&] { return meshparity::portability_command(meshparity::arguments_of(argc, argv)); });
}
