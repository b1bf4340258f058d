// meshparity-train as a user runs it: every bad input ends with status 2, the value, the reason and
// a next step, and leaves nothing behind.
#include <unistd.h>

#include "property_tests/golden/programs/command_line_fixture.h"

namespace meshparity::command_line {
namespace {

class CommandLine : public CommandLineFixture {};

TEST_F(CommandLine, BadCorporaAreRefused) {
  write_file(file("empty.txt"), "");
  write_file(file("blank.txt"), "\n\r\n\n");
  expect_bad({}, {"no corpus", "--data"});
  expect_bad({"--data", file("missing.txt")}, {file("missing.txt"), "No such file"});
  expect_bad({"--data", folder().string()}, {folder().string(), "is a directory"});
  expect_bad({"--data", file("empty.txt")}, {file("empty.txt"), "is empty"});
  expect_bad({"--data", file("blank.txt")}, {"no text"});
  expect_bad({"--data", ""}, {"--data has an empty value"});
}

TEST_F(CommandLine, AnUnreadableCorpusIsRefused) {
  fs::permissions(file("names.txt"), fs::perms::none);
  if (::geteuid() != 0) {
    expect_bad({"--data", file("names.txt")}, {file("names.txt"), "Permission denied"});
    return;
  }
  // Permissions do not hold root back: somebody else must try, where that is possible.
  fs::permissions(folder(), fs::perms::all);
  const ChildResult result =
      run("setpriv", {"--reuid=65534", "--regid=65534", "--clear-groups", MESHPARITY_TRAIN_PROGRAM,
                      "--data", file("names.txt")});
  if (result.status == 126 || result.status == 127) {
    GTEST_SKIP() << "root reads everything, and nobody else can run the program: " << result.errors;
  }
  expect_refused(result, {file("names.txt"), "Permission denied"}, "as nobody");
}

TEST_F(CommandLine, BadMeshesAreRefused) {
  const auto bad = [&](const std::string& mesh, const Words& complaints) {
    expect_bad(with_recipe({"--mesh", mesh}), complaints);
  };
  bad("dp=0", {"dp=0"});
  bad("dp=x", {"dp=x"});
  bad("dp=-1", {"dp=-1"});
  bad("dp", {"dp"});
  bad("dp=2,", {"dp=2"});
  bad("ep=2", {"ep=2"});
  bad("dp=2,tp=2,dp=2", {"dp", "twice"});
  bad("dp=99999999999999999999", {"99999999999999999999"});
  bad("dp=4294967296,tp=4294967296", {"4294967296"});
  bad("pp=4", {"pp=4", "3 blocks", "pp=3"});
  bad("dp=5000", {"dp=5000", "5000 simulated ranks", "1024"});
}

TEST_F(CommandLine, BadNumbersAreRefused) {
  for (const char* flag :
       {"context", "embedding", "hidden", "layers", "batch", "steps", "seed", "batch-grain",
        "feature-grain", "vocab-grain", "microbatches", "sample", "validate", "sim-seed"}) {
    const std::string option = std::string("--") + flag;
    for (const char* value : {"-1", "x", "1.5", "1x", "99999999999999999999"}) {
      expect_bad(with_recipe({option, value}), {option, std::string("'") + value + "'"});
    }
    expect_bad(with_recipe({option}), {option});
    expect_bad(with_recipe({option, "1", option, "1"}), {option});
  }
  for (const char* flag : {"context", "embedding", "hidden", "layers", "batch", "batch-grain",
                           "feature-grain", "vocab-grain", "microbatches", "sample", "validate"}) {
    expect_bad(with_recipe({std::string("--") + flag, "0"}), {flag, "0"});
  }
  expect_bad(with_recipe({"--deadline", "1000000001"}),
             {"--deadline: '1000000001' is too large", "--deadline 1000000000 or less"});
  for (const char* flag : {"lr", "init-scale"}) {
    const std::string option = std::string("--") + flag;
    for (const char* value : {"-0.1", "-inf", "inf", "nan", "x", "0.1x", "1e99", "1e-99"}) {
      expect_bad(with_recipe({option, value}), {option, std::string("'") + value + "'"});
    }
    expect_bad(with_recipe({option, "0"}), {flag, "0"});
  }
}

TEST_F(CommandLine, SizesThatOverflowAreRefused) {
  for (const char* flag : {"context", "embedding", "hidden", "layers", "batch", "batch-grain"}) {
    expect_bad(with_recipe({std::string("--") + flag, "9223372036854775807"}),
               {"9223372036854775807"});
  }
  expect_bad(with_recipe({"--hidden", "2097152"}), {"hidden", "2097152 x 2097152"});
}

TEST_F(CommandLine, WaysThatDoNotExistAreRefused) {
  expect_bad(with_recipe({"--microbatches", "4"}), {"4 microbatches", "3 leaves"});
  expect_bad(with_recipe({"--schedule", "zigzag"}), {"zigzag", "gpipe"});
  expect_bad(with_recipe({"--transport", "smoke"}), {"smoke", "sim"});
  expect_bad(with_recipe({"--reduction", "wild"}), {"wild", "native"});
  expect_bad(with_recipe({"--trainer", "train_ep"}), {"train_ep", "train_mesh"});
  expect_bad(with_recipe({"--trainer", "train_dp", "--mesh", "tp=2"}), {"train_dp", "tp=2"});
  expect_bad(with_recipe({"--trainer", "train_single", "--mesh", "tp=2"}), {"train_single"});
  expect_bad(with_recipe({"--trainer", "train_single", "--microbatches", "2"}), {"train_single"});
  expect_bad(with_recipe({"--colour", "red"}), {"--colour"});
  expect_bad(with_recipe({"stray"}), {"stray"});
}

TEST_F(CommandLine, BadRecipesAreRefused) {
  const auto bad = [&](const std::string& text, const Words& complaints) {
    write_file(file("bad.recipe"), text);
    expect_bad({"--recipe", file("bad.recipe")}, complaints);
  };
  bad("data = names.txt\nhiden = 3\n", {file("bad.recipe") + ":2", "hiden", "known keys"});
  bad("hidden = 3\nhidden = 3\n", {file("bad.recipe") + ":2", "repeated"});
  bad("hidden = -3\n", {file("bad.recipe") + ":1", "'-3'"});
  bad("hidden\n", {file("bad.recipe") + ":1", "'hidden'"});
  bad("data = missing.txt\n", {file("missing.txt")});
  expect_bad({"--recipe", file("missing.recipe")}, {file("missing.recipe"), "No such file"});
  expect_bad({"--recipe", folder().string()}, {"is a directory"});
}

TEST_F(CommandLine, BadModelsAreRefused) {
  const std::string model = read_file(file("model"), "file");
  const auto bad = [&](const std::string& bytes, const Words& complaints) {
    write_file(file("bad"), bytes);
    Words all = complaints;
    all.push_back(file("bad"));
    expect_bad({"--load", file("bad"), "--sample", "1"}, all);
    expect_bad(with_recipe({"--load", file("bad")}), all);
  };
  bad("", {"0 bytes"});
  bad(model.substr(0, model.size() - 1), {"cut off"});
  bad(model.substr(0, 100), {"header"});
  bad(model + "x", {"1 bytes follow"});
  bad("emma\nolivia\nava\n", {"header"});
  bad(std::string("\xff\xff\xff\x7f\0\0\0\0{}", 10), {"2147483647"});
  expect_bad({"--load", file("missing"), "--sample", "1"}, {file("missing"), "No such file"});
  expect_bad({"--load", folder().string(), "--sample", "1"}, {"is a directory"});

  const std::string refused = "tensor 'hidden.0.weight' is (12, 5), the recipe needs (12, 7)";
  expect_bad(with_recipe({"--load", file("model"), "--hidden", "7"}), {refused});
  expect_bad({"--load", file("model"), "--sample", "1", "--hidden", "7"}, {refused});
  expect_bad({"--load", file("model"), "--sample", "1", "--layers", "2"}, {"hidden.1.weight"});
  write_file(file("other.txt"), "xyz\n");
  expect_bad({"--load", file("model"), "--data", file("other.txt"), "--sample", "1"},
             {"characters"});
  expect_bad({"--load", file("model"), "--validate", "1"}, {"no corpus", "--data"});
  expect_bad({"--load", file("model"), "--sample", "1", "--save", file("new")}, {"--steps"});
}

TEST_F(CommandLine, OutputsThatCannotBeWrittenAreRefused) {
  fs::create_directory(file("recorded"));
  write_file(file("recorded/step-000000.safetensors"), "x");
  for (const char* flag : {"--trace", "--save", "--record-tensors"}) {
    expect_bad(with_recipe({flag, file("no/such/folder/out")}), {file("no/such/folder/out")});
    expect_bad(with_recipe({flag, ""}), {flag});
  }
  for (const char* flag : {"--trace", "--save"}) {
    expect_bad(with_recipe({flag, folder().string()}), {folder().string(), "is a directory"});
    expect_bad(with_recipe({flag, "/dev/full"}), {"/dev/full"});
    expect_bad(with_recipe({flag, file("names.txt")}), {file("names.txt"), "input"});
    expect_bad(with_recipe({flag, file("ok.recipe")}), {file("ok.recipe"), "input"});
  }
  expect_bad(with_recipe({"--trace", file("out"), "--save", file("out")}), {file("out")});
  expect_bad(with_recipe({"--record-tensors", file("names.txt")}), {"not a directory"});
  expect_bad(with_recipe({"--record-boundaries"}), {"nothing is recorded", "--record-tensors DIR"});
  expect_bad(with_recipe({"--record-tensors", file("recorded")}), {"already holds"});
}

TEST_F(CommandLine, ARunThatDivergesLeavesNothing) {
  expect_bad(with_recipe({"--lr", "1e30", "--steps", "50", "--trace", file("out"), "--save",
                          file("model"), "--mesh", "dp=2"}),
             {"the loss at step", "--lr"});
}

TEST_F(CommandLine, AFullDiskIsTheEnvironmentsError) {
  const auto before = contents();
  // GCOV_PREFIX: the counters of a coverage build, which would be cut off, go nowhere.
  const std::string command =
      std::string("export GCOV_PREFIX=/dev/null; ulimit -f 1; trap '' XFSZ; exec ") +
      MESHPARITY_TRAIN_PROGRAM + " --recipe " + file("ok.recipe") +
      " --quiet --hidden 400 --save " + file("model");
  const ChildResult result = run("sh", {"-c", command});
  EXPECT_EQ(result.status, 3) << result.errors;
  EXPECT_TRUE(says(result.errors, "error: writing '" + file("model"))) << result.errors;
  EXPECT_TRUE(contents() == before);
}

#ifdef MESHPARITY_WITH_MPI

TEST_F(CommandLine, ErrorsUnderMpirunArePrintedOnce) {
  const auto before = contents();
  const auto expect_once = [&](std::size_t ranks, const Words& arguments, const Words& complaints) {
    ChildResult result = mpirun(ranks, with_recipe(arguments));
    // What some versions of mpirun say before is theirs.
    result.errors.erase(0, ("\n" + result.errors).find("\nerror: "));
    expect_refused(result, complaints, arguments.back());
    EXPECT_EQ(count(result.errors, "error: "), 1U) << result.errors;
  };
  expect_once(2, {"--mesh", "dp=3"}, {"mesh dp=3 needs 3 ranks", "2", "mpirun -n 3"});
  expect_once(2, {"--mesh", "dp=2", "--steps", "-4"}, {"'-4'"});
  expect_once(2, {"--mesh", "dp=2", "--save", file("no/out")}, {file("no/out")});
  expect_once(2, {"--mesh", "dp=2", "--transport", "sim"}, {"--transport sim", "2"});
  expect_once(2, {"--mesh", "dp=2", "--steps", "50", "--lr", "1e30"}, {"the loss at step"});
  EXPECT_TRUE(contents() == before);
}

#else

TEST_F(CommandLine, WithoutMpiTheTransportIsTheEnvironmentsError) {
  const ChildResult result = train(with_recipe({"--transport", "mpi"}));
  EXPECT_EQ(result.status, 3);
  EXPECT_TRUE(says(result.errors, "error: this build has no MPI")) << result.errors;
}

#endif

}  // namespace
}  // namespace meshparity::command_line
