#include "golden/programs/program.h"
#include "golden/programs/train_command.h"

int main(int argc, char** argv) {
  return meshparity::run_program(
      [&] { return meshparity::train_command(meshparity::arguments_of(argc, argv)); });
}
