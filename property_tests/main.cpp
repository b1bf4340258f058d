// Every test program starts here: properties are random, but the same on every run unless RC_PARAMS
// says otherwise. RapidCheck prints the seed of a failure.

#include <gtest/gtest.h>

#include <cstdlib>

#include "model/numerics/floating_point.h"

int main(int argc, char** argv) {
  ::setenv("RC_PARAMS", "seed=20260101", /*overwrite=*/0);
  meshparity::set_floating_point_environment();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
