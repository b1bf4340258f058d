#include "golden/programs/checkpoint_command.h"
#include "golden/programs/program.h"

int main(int argc, char** argv) {
  return meshparity::run_program(
      [&] { return meshparity::checkpoint_command(meshparity::arguments_of(argc, argv)); });
}
