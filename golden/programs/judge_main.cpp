#include "golden/programs/judge_command.h"
#include "golden/programs/program.h"

int main(int argc, char** argv) {
  return meshparity::run_program(
      [&] { return meshparity::judge_command(meshparity::arguments_of(argc, argv)); });
}
