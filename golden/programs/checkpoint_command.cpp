#include "golden/programs/checkpoint_command.h"

#include <CLI/CLI.hpp>

#include "golden/files/number_text.h"
#include "golden/jobs/convert_checkpoint.h"
#include "golden/programs/program.h"
#include "model/error.h"

namespace meshparity {
namespace {

constexpr const char* kCheckpointDescription =
    "Writes a checkpoint of meshparity-train again, in the other layout. Training needs neither:\n"
    "any mesh reads both.";

constexpr const char* kCheckpointFooter =
    R"(meshparity-diff compares checkpoints, and --explain says what is in one.

Exit status: 0 done, 2 bad usage or input, 3 the environment failed.

  meshparity-checkpoint merge run/step-00000500 merged
  meshparity-checkpoint split merged/step-00000500.safetensors pieces --ranks 4)";

constexpr std::size_t kMostRanks = 1024;  // of a simulated world: each has a stack

struct Paths {
  std::string from;
  std::string to;

  void add_to(CLI::App& verb) {
    verb.add_option("checkpoint", from, "a file or a folder")->required()->type_name("PATH");
    verb.add_option("folder", to, "where it goes")->required()->type_name("DIR");
  }
};

}  // namespace

int checkpoint_command(const std::vector<std::string>& arguments) {
  CLI::App app(kCheckpointDescription, "meshparity-checkpoint");
  app.footer(kCheckpointFooter);
  app.set_version_flag("--version", std::string("meshparity-checkpoint ") + MESHPARITY_VERSION);
  app.require_subcommand(1);
  Paths paths;
  std::string ranks_text;
  CLI::App* const merge = app.add_subcommand("merge", "as one file of whole tensors");
  CLI::App* const split = app.add_subcommand("split", "as files of the parts of some ranks");
  paths.add_to(*merge);
  paths.add_to(*split);
  split->add_option("--ranks", ranks_text, "how many")->required()->type_name("N");
  parse_arguments(app, arguments);

  std::size_t ranks = 1;
  if (split->parsed()) ranks = parse_whole(ranks_text);
  if (ranks == 0 || ranks > kMostRanks) {
    throw UsageError("--ranks: '" + ranks_text + "' is out of range",
                     "--ranks 1 to " + std::to_string(kMostRanks));
  }
  const CheckpointLayout layout =
      split->parsed() ? CheckpointLayout::sharded : CheckpointLayout::gathered;
  convert_checkpoint(Checkpoint(paths.from), paths.to, layout, ranks);
  return kSuccess;
}

}  // namespace meshparity
